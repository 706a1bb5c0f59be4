# shellcheck shell=sh
# check mode: safe
# Install cyclictest, and verify its version and that SCHED_FIFO is allowed. PACKAGE, MINIMUM.
if ! command -v cyclictest >/dev/null; then
  changed "installed $PACKAGE"
  [ "$RTVIRT_CHECK_MODE" = no ] || exit 0
  export DEBIAN_FRONTEND=noninteractive
  { apt-get -qq update; apt-get -qq install --yes --no-install-recommends "$PACKAGE"; } >/dev/null 2>&1 ||
    fail "cyclictest is missing and apt-get could not install $PACKAGE."
fi
version=$(cyclictest --help 2>&1 | sed -n 's/^cyclictest V \([0-9.]*\).*/\1/p' | head -n 1)
[ "$(printf '%s\n%s\n' "$MINIMUM" "$version" | sort -V | head -n 1)" = "$MINIMUM" ] ||
  fail "cyclictest is version '$version', expected $MINIMUM or newer."
fact cyclictest_version "$version"
chrt --fifo 1 true 2>/dev/null || fail "This user may not use SCHED_FIFO; connect as root or raise its rtprio limit."
