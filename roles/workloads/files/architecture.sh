# shellcheck shell=sh disable=SC2154
# check mode: safe
# Report the Debian name of this machine's architecture. ARCHITECTURES (words such as aarch64=arm64).
machine=$(uname -m) known=
for each in $ARCHITECTURES; do
  [ "${each%%=*}" != "$machine" ] || { fact architecture "${each#*=}"; exit 0; }
  known="$known${known:+, }${each%%=*}"
done
fail "No workload is compiled for $machine, expected one of $known."
