# shellcheck shell=sh disable=SC2030,SC2031,SC2153
# check mode: safe
# The lease of this board, for the commands of the run that holds it (rtvirt_runner/machine/lease.py). LEASE_DO: keep, take, release or show;
# LEASE (path), LEASE_TOKEN, LEASE_HOLDER, LEASE_S (how long it holds after this command), and to take LEASE_OVER: a token that may be replaced.
# Builtins only where the lease is kept, which every command does.
lease_now() { IFS=. read -r lease_now _ </proc/uptime; }
lease_read() { lease=; IFS= read -r lease 2>/dev/null <"$LEASE" || :; }
lease_line() { printf '%s %s %s\n' "$LEASE_TOKEN" "$lease_now" "$LEASE_HOLDER"; }

# Changes of a lease that somebody has, one after the other; without flock the time for two at once is short.
lease_locked() {
  exec 7<"${LEASE%/*}" || fail "The folder of $LEASE cannot be read."
  ! command -v flock >/dev/null || flock 7
  lease_read
}

lease_create() {  # fails if there is one
  lease_line >"$LEASE.$$" || fail "$LEASE cannot be written on this board; measuring and changing it needs root."
  ln "$LEASE.$$" "$LEASE" 2>/dev/null
  lease_created=$?
  rm -f "$LEASE.$$"
  return "$lease_created"
}

lease_held() {
  fact lease "$lease"
  IFS= read -r lease_until 2>/dev/null <"$LEASE.until" || lease_until=
  fact lease_until "$lease_until"
  fact lease_now "$lease_now"
}

# A board that has booted has no lease any more, and whoever held it takes it again.
lease_keep() {
  [ -n "$lease" ] || lease_create || { lease_read; lease=${lease:-unreadable}; }
  case ${lease:-$LEASE_TOKEN } in
  "$LEASE_TOKEN "*) printf '%s %s\n' "$LEASE_TOKEN" "$((lease_now + LEASE_S))" >"$LEASE.until" ;;
  *)
    lease_held
    fail "The board is held."
    ;;
  esac
}

lease_now
lease_read
case $LEASE_DO in
keep) [ "$RTVIRT_CHECK_MODE" = yes ] || lease_keep ;;
take)
  if [ -n "$LEASE_OVER" ]; then
    (
      lease_locked
      lease=${lease:-unreadable}
      [ "${lease%% *}" != "$LEASE_OVER" ] || { lease_line >"$LEASE.$$" && mv -f "$LEASE.$$" "$LEASE"; }
    )
    lease_read
  fi
  lease_keep
  ;;
release)
  (
    lease_locked
    case $lease in "$LEASE_TOKEN "*) rm -f "$LEASE" "$LEASE.until" ;; esac
  )
  ;;
show) [ -z "$lease" ] || lease_held ;;
esac
