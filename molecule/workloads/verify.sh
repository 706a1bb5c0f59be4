# shellcheck shell=sh
# Each program answers, and rightly by its own checks; stopped from outside, as a cell does, it still does.
for program in basicmath bitcount qsort susan dijkstra patricia jpeg; do
  answer=$("/usr/local/bin/rtvirt-$program" --iterations 1) || fail "rtvirt-$program ended with status $?: $answer"
  case $answer in
  *'"iterations": 1,'*'"correct": true}') ;;
  *) fail "rtvirt-$program answered $answer." ;;
  esac
done
timeout 2 rtvirt-bitcount --forever | grep -q '"correct": true' || fail "rtvirt-bitcount did not answer when it was stopped."
rtvirt-ecu --duration 2 --rpm 1000 | grep -q '"revolutions": 34,' || fail "rtvirt-ecu did not begin 34 revolutions in 2 s at 1000 RPM."
rtvirt-sysbench cpu --cpu-max-prime=2000 --events=10 --time=0 run | grep -q 'total number of events: *10$' || fail "sysbench did not count 10 events."
