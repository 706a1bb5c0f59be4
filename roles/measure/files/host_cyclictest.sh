# shellcheck shell=sh
# A function for the board's own cyclictest, which start_host_cyclictest.sh starts.
# Stop it, if one runs, and drop what it wrote.
stop_host_cyclictest() {
  if [ -s /run/rtvirt/host.pid ]; then
    read -r pid </run/rtvirt/host.pid
    kill -s KILL -- "-$pid" 2>/dev/null
  fi
  rm -rf /run/rtvirt/host-cyclictest /run/rtvirt/host.pid
}
