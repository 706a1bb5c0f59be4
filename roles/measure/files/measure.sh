# shellcheck shell=sh
# check mode: safe
# Verify cyclictest's version and that SCHED_FIFO is allowed; if cyclictest is missing, only say so, for the role to install it. PACKAGE, MINIMUM.
if ! command -v cyclictest >/dev/null; then
  [ "$(id -u)" -eq 0 ] || fail "Installing $PACKAGE needs root, and the user on this machine has id $(id -u); set become, or connect as root."
  command -v apt-get >/dev/null || fail "cyclictest is missing, and this machine has no apt-get; install cyclictest $MINIMUM or newer by its own means."
  fact missing "$PACKAGE"
  [ "$RTVIRT_CHECK_MODE" = no ] || changed "would install $PACKAGE"
  exit 0
fi
version=$(cyclictest --help 2>&1 | sed -n 's/^cyclictest V \([0-9.]*\).*/\1/p' | head -n 1)
[ "$(printf '%s\n%s\n' "$MINIMUM" "$version" | sort -V | head -n 1)" = "$MINIMUM" ] ||
  fail "cyclictest is version '$version', expected $MINIMUM or newer."
fact cyclictest_version "$version"
chrt --fifo 1 true 2>/dev/null || fail "This user may not use SCHED_FIFO; set become, connect as root, or raise the user's rtprio limit."
