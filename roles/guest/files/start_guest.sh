# shellcheck shell=sh
# Start the guest as a unit, wait until it says that it is ready, then place QEMU's threads; nothing if just this guest already runs.
mkdir -p /run/rtvirt /var/lib/rtvirt
case $GIC in
in_kernel) machine=virt,gic-version=host,kernel-irqchip=on ;;
user_space) machine=virt,gic-version=2,kernel-irqchip=off ;;
*) fail "guest_gic is '$GIC', expected in_kernel or user_space." ;;
esac
# The board has it already, where kernel_boot puts kernels: the same build, whatever else has its name.
vmlinuz=
for folder in "/boot/kernels/$KERNEL"-*; do
  [ "$(cat "$folder/release" 2>/dev/null)" != "$RELEASE" ] || vmlinuz=$folder/vmlinuz
done
[ -n "$vmlinuz" ] || fail "The guest's kernel $KERNEL ($RELEASE) is not in /boot/kernels on this board; bring it with the role kernel_boot."

# shellcheck disable=SC2153  # the task sets it
definition="$NAME $VCPUS $MEMORY_MIB $machine $vmlinuz $PORT $CPUS $POLICY $PRIORITY $(cat /var/lib/rtvirt/*.img | sha256sum)"
if systemctl --quiet is-active rtvirt-guest && [ "$(cat /run/rtvirt/definition 2>/dev/null)" = "$definition" ]; then
  exit 0
fi
stop_guest
changed "started $NAME"
[ "$RTVIRT_CHECK_MODE" = no ] || exit 0
systemctl reset-failed rtvirt-guest 2>/dev/null
rm -f /run/rtvirt/guest.console /run/rtvirt/definition
cat /var/lib/rtvirt/guest.img /var/lib/rtvirt/guest-identity.img >/run/rtvirt/guest.initrd

systemd-run --quiet --unit=rtvirt-guest --property=LimitMEMLOCK=infinity \
  qemu-system-aarch64 -name "guest=$NAME,debug-threads=on" -nodefaults -display none \
  -machine "$machine" -accel kvm -cpu host -smp "$VCPUS" -m "$MEMORY_MIB" \
  -kernel "$vmlinuz" -initrd /run/rtvirt/guest.initrd -append "console=ttyAMA0 quiet rtvirt.hostname=$NAME" \
  -netdev "user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:$PORT-:22" -device virtio-net-device,netdev=net \
  -chardev file,id=console,path=/run/rtvirt/guest.console -serial chardev:console \
  -qmp unix:/run/rtvirt/qmp.sock,server=on,wait=off || fail "systemd did not start QEMU."

console() { tail -n 8 /run/rtvirt/guest.console 2>/dev/null | tr '\r\n' '  '; }
deadline=$(($(cut -d . -f 1 /proc/uptime) + TIMEOUT_S))
until grep -q '^guest: ready' /run/rtvirt/guest.console 2>/dev/null; do
  systemctl --quiet is-active rtvirt-guest || fail "QEMU ended: $(journalctl --unit=rtvirt-guest --lines=3 --output=cat | tr '\n' ' ') $(console)"
  [ "$(cut -d . -f 1 /proc/uptime)" -lt "$deadline" ] || fail "The guest was not ready after $TIMEOUT_S s of the board's time: $(console)"
  sleep 0.3
done

# Placed only now: a vCPU that spins at the highest priority while it waits for QEMU's main thread on the same core would wait for ever.
pid=$(systemctl show --property=MainPID --value rtvirt-guest)
if [ -n "$CPUS" ]; then
  taskset --all-tasks --cpu-list --pid "$CPUS" "$pid" >/dev/null || fail "taskset could not put QEMU on cores $CPUS."
fi
if [ -n "$POLICY" ]; then
  chrt "--$POLICY" --all-tasks --pid "$PRIORITY" "$pid" || fail "chrt could not give QEMU $POLICY priority $PRIORITY."
fi
echo "$definition" >/run/rtvirt/definition
