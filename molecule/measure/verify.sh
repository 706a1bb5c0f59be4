# shellcheck shell=sh
# A short run as a cell makes it: real-time priority, memory locked, one thread on one core, every loop counted.
summary=$(cyclictest --quiet --mlockall --threads=1 --affinity=1 --policy=fifo --priority=80 --interval=1000 --loops=500) ||
  fail "cyclictest ended with status $?."
case $summary in
*'P:80 I:1000 C:    500 Min:'*) fact summary "$summary" ;;
*) fail "cyclictest printed: $summary" ;;
esac
