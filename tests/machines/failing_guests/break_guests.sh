# shellcheck shell=sh
# On the board: kill the guest in the middle of the first cell that it runs, end the thread of its vCPU in the middle of the second, then
# fill the board's disk. Says what it did. Needs END_THREAD (the program).
run=/run/rtvirt
# A cell has begun when somebody has talked to the guest's SSH server (port 2222) for a while and the vCPU is busy with it.
wait_for_a_cell() {
  until grep -q ' 0100007F:08AE .* 01 ' /proc/net/tcp; do sleep 0.2; done
  sleep 4
}
qemu() { systemctl show --property=MainPID --value rtvirt-guest; }

wait_for_a_cell
pid=$(qemu)
kill -KILL "$pid"
echo "killed QEMU $pid"
until [ "$(qemu)" != "$pid" ] && [ "$(qemu)" != 0 ] && [ -s $run/definition ]; do sleep 0.2; done
wait_for_a_cell
read -r _ thread <$run/guest.vcpus
"$END_THREAD" "$thread" && echo "ended thread $thread"
fallocate -l "$(($(df -Pk / | awk 'NR == 2 { print $4 }') - 500))K" /filler && echo 'filled the disk'
