# shellcheck shell=sh
# Stop the board's own cyclictest (start_host_cyclictest.sh), if one runs, and drop what it wrote.
if [ -s /run/rtvirt/host.pid ]; then
  read -r pid </run/rtvirt/host.pid
  kill -s KILL -- "-$pid" 2>/dev/null
fi
rm -rf /run/rtvirt/host-cyclictest /run/rtvirt/host.pid
