# shellcheck shell=sh
# Stop the board's own cyclictest, if one runs, and drop what it wrote. Needs: host_cyclictest.sh.
stop_host_cyclictest
