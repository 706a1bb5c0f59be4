# shellcheck shell=sh
# Start the load of the cell on the board, on any core that the tuning leaves to ordinary programs. LOAD: a command line, or empty; LOAD_LIMIT_S, after which it ends
# if nobody has ended it.
# A load left behind by a killed run is stopped first.
if [ -s /run/rtvirt/load.pid ]; then
  read -r pid </run/rtvirt/load.pid
  kill -s KILL -- "-$pid" 2>/dev/null
  rm -f /run/rtvirt/load.pid
fi
if [ -n "$LOAD" ]; then
  mkdir -p /run/rtvirt
  # Without the lock of the command that starts it (hold_machine.sh): it is to outlive that command.
  setsid timeout "$LOAD_LIMIT_S" sh -c "$LOAD" >/run/rtvirt/load.log 2>&1 </dev/null 9>&- &
  echo $! >/run/rtvirt/load.pid
fi
