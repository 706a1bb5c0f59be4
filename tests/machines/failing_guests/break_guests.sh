# shellcheck shell=sh
# On the board: kill the guest in the middle of the first cell that it runs, end the thread of its vCPU in the middle of the second, then
# fill the board's disk. Says what it did. Needs END_THREAD (the program).
run=/run/rtvirt
qemu() { systemctl show --property=MainPID --value rtvirt-guest; }
exits() { cat /sys/kernel/debug/kvm/"$(qemu)"-*/exits 2>/dev/null || echo 0; }
# A cell is measured in a guest that has been started and whose vCPU has been woken by cyclictest's timer, a thousand times a second, for
# two seconds in a row: neither a boot, nor somebody who talks to the guest, nor one who thinks meanwhile while the board's clock races.
wait_for_a_cell() {
  until [ -s $run/definition ]; do sleep 0.2; done
  busy_s=0 before=$(exits)
  while [ $busy_s -lt 2 ]; do
    sleep 1
    now=$(exits)
    if [ $((now - before)) -ge 900 ]; then busy_s=$((busy_s + 1)); else busy_s=0; fi
    before=$now
  done
}

wait_for_a_cell
pid=$(qemu)
kill -KILL "$pid"
echo "killed QEMU $pid"
until [ "$(qemu)" != "$pid" ] && [ "$(qemu)" != 0 ] && [ -s $run/definition ]; do sleep 0.2; done
wait_for_a_cell
read -r _ thread <$run/guest.vcpus
"$END_THREAD" "$thread" && echo "ended thread $thread"
fallocate -l "$(($(df -Pk / | awk 'NR == 2 { print $4 }') - 500))K" /filler && echo 'filled the disk'
