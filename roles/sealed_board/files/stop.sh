# shellcheck shell=sh
# Stop a sealed machine if it is running or waits for its turn, and remove what it needed. Needs: FOLDER, the machine's folder.
pid=$(cat "$FOLDER/pid" 2>/dev/null)
running() { [ -n "$pid" ] && tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | grep -q -- "-${FOLDER##*/},debug-threads=on"; }
if running; then
  changed "ended the sealed machine"
  if [ "$RTVIRT_CHECK_MODE" = no ]; then
    kill -TERM "$pid"
    tries=0
    while running && [ "$tries" -lt 100 ]; do tries=$((tries + 1)); sleep 0.1; done
    ! running || kill -KILL "$pid"
  fi
fi
[ "$RTVIRT_CHECK_MODE" = yes ] || rm -f "$FOLDER/initramfs" "$FOLDER/queue.cpio" "$FOLDER/owner"
