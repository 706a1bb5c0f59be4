# shellcheck shell=sh
# check mode: safe
# Look for tools; the role installs the packages of those that are missing. TOOLS: tool=package ...; INSTALL: yes or no.
missing=
for entry in $TOOLS; do
  tool=${entry%%=*} package=${entry#*=}
  case $tool in
  /*) [ -e "$tool" ] && continue ;;
  *) command -v "$tool" >/dev/null 2>&1 && continue ;;
  esac
  missing="$missing $package"
done
fact missing "${missing# }"
fact user_id "$(id -u)"
[ -n "$missing" ] || exit 0
if ! command -v apt-get >/dev/null 2>&1; then
  fail "This machine has no apt-get; install what Debian calls$missing with its own package manager, then run this again."
fi
[ "$INSTALL" = yes ] || fail "Packages are missing on this machine; run: sudo apt-get install --no-install-recommends$missing"
[ "$RTVIRT_CHECK_MODE" = no ] || changed "would install$missing"
