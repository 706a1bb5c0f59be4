# shellcheck shell=sh
# Stop a sealed machine if it is running or waits for its turn, and remove its initramfs. Needs: FOLDER, the machine's folder.
pid=$(cat "$FOLDER/pid" 2>/dev/null)
if [ -n "$pid" ] && tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | grep -q -- "-${FOLDER##*/},debug-threads=on"; then
  changed "ended the sealed machine"
  [ "$RTVIRT_CHECK_MODE" = yes ] || kill -TERM "$pid"
fi
[ "$RTVIRT_CHECK_MODE" = yes ] || rm -f "$FOLDER/initramfs" "$FOLDER/queue.cpio"
