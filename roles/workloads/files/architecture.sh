# shellcheck shell=sh
# Report the Debian name of this machine's architecture.
case $(uname -m) in
aarch64) fact architecture arm64 ;;
armv7l) fact architecture armhf ;;
x86_64) fact architecture amd64 ;;
*) fail "No workload is compiled for $(uname -m), expected aarch64, armv7l or x86_64." ;;
esac
