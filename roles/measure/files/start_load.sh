# shellcheck shell=sh
# Begin what runs on the board beside the cell, on any core that its tuning leaves to ordinary programs. LOAD: a command line, or nothing.
if [ -n "$LOAD" ]; then
  mkdir -p /run/rtvirt
  setsid sh -c "$LOAD" >/run/rtvirt/load.log 2>&1 </dev/null &
  echo $! >/run/rtvirt/load.pid
fi
