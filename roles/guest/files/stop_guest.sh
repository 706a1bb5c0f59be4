# shellcheck shell=sh
# End the guest's unit. Run alone it reports; start_guest.sh, read after it, uses it when the definition has changed.
stop_guest() {
  systemctl --quiet is-active rtvirt-guest 2>/dev/null || return 0
  changed "stopped the guest"
  [ "$RTVIRT_CHECK_MODE" = no ] || return 0
  systemctl stop rtvirt-guest
  rm -f /run/rtvirt/definition
}
[ -n "${NAME:-}" ] || stop_guest
