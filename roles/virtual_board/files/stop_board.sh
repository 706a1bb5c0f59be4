# shellcheck shell=sh disable=SC2154
# check mode: safe
# Shut the board down, and end QEMU when it does not. NAME, FOLDER, KEPT (no: leave a kept board running), SHUT_DOWN (no: end QEMU at once).
# Needs: board_process.sh.
cd "$FOLDER" 2>/dev/null || exit 0
running || exit 0
read_owner
[ "$KEPT" = yes ] || [ "$owner" -ne 0 ] || exit 0
changed "stopped $NAME"
[ "$RTVIRT_CHECK_MODE" = no ] || exit 0
qemu=$(cat pid)
if [ "$SHUT_DOWN" = yes ]; then
  timeout 30 ssh -F ssh_config -o ConnectTimeout=10 "$NAME" 'systemctl poweroff' >/dev/null 2>&1
  tries=0
  while running && [ "$tries" -lt 300 ]; do tries=$((tries + 1)); sleep 0.1; done
fi
if running; then
  kill -TERM "$qemu"
  tries=0
  while running && [ "$tries" -lt 100 ]; do tries=$((tries + 1)); sleep 0.1; done
fi
! running || kill -KILL "$qemu"
