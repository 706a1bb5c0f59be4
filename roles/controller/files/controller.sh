# shellcheck shell=sh
# check mode: safe
# Install the packages whose tools are missing. TOOLS: tool=package ...; INSTALL: yes or no.
missing=
for entry in $TOOLS; do
  tool=${entry%%=*} package=${entry#*=}
  case $tool in
  /*) [ -e "$tool" ] && continue ;;
  *) command -v "$tool" >/dev/null 2>&1 && continue ;;
  esac
  missing="$missing $package"
done
fact missing "$missing"
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null 2>&1; then
  fail "This machine has no apt-get; install what Debian calls$missing with its own package manager, then run this again."
fi
sudo=
[ "$(id -u)" -eq 0 ] || sudo="sudo -n"
if [ "$INSTALL" != yes ] || { [ -n "$sudo" ] && ! $sudo true 2>/dev/null; }; then
  fail "Packages are missing on this machine; run: sudo apt-get install --no-install-recommends$missing"
fi
changed "installed$missing"
[ "$RTVIRT_CHECK_MODE" = no ] || exit 0
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get -qq update || true  # one broken source is no reason to stop
# shellcheck disable=SC2086  # a list of words
$sudo apt-get -qq install --yes --no-install-recommends $missing >/dev/null ||
  fail "apt-get could not install$missing; run: sudo apt-get install --no-install-recommends$missing"
