# shellcheck shell=sh
# The first 4096 numbers of the generator have 65515 bits that are set, counted apart from the program.
answer=$(/usr/local/bin/rtvirt-bitcount --iterations 10 --seed 1) || fail "rtvirt-bitcount ended with status $?."
case $answer in
*'"iterations": 10,'*'"bits": 65515}') ;;
*) fail "rtvirt-bitcount answered $answer." ;;
esac
# Stopped from outside, as a cell does, it still answers.
timeout 5 rtvirt-bitcount --forever | grep -q '"bits": 65515' || fail "rtvirt-bitcount did not answer when it was stopped."
