# shellcheck shell=sh
# Stop the load that start_load.sh started, with all of its session; fail if it had ended by itself. LOAD: empty if none was started.
if [ -n "$LOAD" ]; then
  read -r pid </run/rtvirt/load.pid || fail "No load was begun on this board."
  alive=yes
  kill -0 "$pid" 2>/dev/null || alive=no
  kill -s KILL -- "-$pid" 2>/dev/null
  rm -f /run/rtvirt/load.pid /dev/shm/rtvirt-load*
  [ "$alive" = yes ] || fail "The load on the board ended before the cell did: $(tail -n 2 /run/rtvirt/load.log | tr '\n' ' ')"
fi
