# shellcheck shell=sh
# Kill a board that could not be restored from its snapshot, and remove the snapshot. NAME, FOLDER, SNAPSHOT.
pid=$(cat "$FOLDER/pid" 2>/dev/null || echo 0)
if [ "$pid" -gt 0 ] && tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -q "guest=$NAME,"; then
  kill -KILL "$pid"
  tries=0
  while [ -e "/proc/$pid" ] && [ "$tries" -lt 100 ]; do tries=$((tries + 1)); sleep 0.1; done
fi
case ${SNAPSHOT##*/} in
snapshot-*) remove "$SNAPSHOT" ;;
esac
