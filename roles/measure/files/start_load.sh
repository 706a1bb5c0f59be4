# shellcheck shell=sh
# Begin what runs on the board beside the cell, on any core that its tuning leaves to ordinary programs. LOAD: a command line, or nothing.
# One that a run left behind when it was killed ends first.
if [ -s /run/rtvirt/load.pid ]; then
  read -r pid </run/rtvirt/load.pid
  kill -s KILL -- "-$pid" 2>/dev/null
  rm -f /run/rtvirt/load.pid
fi
if [ -n "$LOAD" ]; then
  mkdir -p /run/rtvirt
  setsid sh -c "$LOAD" >/run/rtvirt/load.log 2>&1 </dev/null &
  echo $! >/run/rtvirt/load.pid
fi
