# shellcheck shell=sh
# Make the board's identity and card, and start QEMU, unless just this board already runs for us.
# A running board that is defined otherwise, or whose run is gone, is stopped first. The role's tasks name the variables.
umask 077
mkdir -p "$FOLDER/identity"
cd "$FOLDER" || fail "The folder $FOLDER cannot be used."

running() { [ -s pid ] && kill -0 "$(cat pid)" 2>/dev/null && tr '\0' ' ' <"/proc/$(cat pid)/cmdline" | grep -q "guest=$NAME,"; }

# Identity: kept for good, so that the board is known before its first boot.
[ -s identity/client_key ] || ssh-keygen -q -t ed25519 -N '' -C "rtvirt to $NAME" -f identity/client_key
[ -s identity/ssh_host_ed25519_key ] || ssh-keygen -q -t ed25519 -N '' -C "$NAME" -f identity/ssh_host_ed25519_key
cp identity/client_key.pub identity/authorized_keys
echo "$NAME $(cut -d ' ' -f 1-2 identity/ssh_host_ed25519_key.pub)" >known_hosts

definition="$IMAGE $QEMU $CPUS $VCPUS $MEMORY_MIB $(cat identity/authorized_keys) $(cat "$MAKE_CARD" "$ENTRIES" | sha256sum | cut -d ' ' -f 1)"
if running; then
  owner=$(cat owner 2>/dev/null || echo 0)
  if [ "$owner" -ne 0 ] && [ "$owner" -ne "$RTVIRT_OWNER_PID" ] && kill -0 "$owner" 2>/dev/null; then
    fail "The board $NAME is in use by the run with process id $owner; wait for it or stop it."
  fi
  if [ "$(cat definition 2>/dev/null)" = "$definition" ] && { [ "$owner" -eq 0 ] || [ "$owner" -eq "$RTVIRT_OWNER_PID" ]; }; then
    fact port "$(cat port)"
    exit 0
  fi
  kill -TERM "$(cat pid)" 2>/dev/null
  tries=0
  while running && [ "$tries" -lt 100 ]; do tries=$((tries + 1)); sleep 0.1; done
fi
[ "$RTVIRT_CHECK_MODE" = no ] || { changed "would start $NAME"; exit 0; }

# A port of the loopback that nobody listens on, the last one if it is still free.
free() { ! grep -qi ":$(printf '%04X' "$1") 00000000:0000 0A" /proc/net/tcp; }
port=$(cat port 2>/dev/null || echo 0)
if [ "$port" -eq 0 ] || ! free "$port"; then
  port=$((22000 + $(printf '%s' "$FOLDER" | cksum | cut -d ' ' -f 1) % 8000))
  while ! free "$port"; do port=$((port + 1)); done
fi
echo "$port" >port

cat >ssh_config <<CONFIG
Host $NAME
  HostName 127.0.0.1
  Port $port
  User root
  HostKeyAlias $NAME
  IdentityFile "$FOLDER/identity/client_key"
  IdentitiesOnly yes
  UserKnownHostsFile "$FOLDER/known_hosts"
  StrictHostKeyChecking yes
  ConnectTimeout 60
CONFIG

[ ! -e console.log ] || mv console.log console.previous.log
machine_id=$(printf '%s' "$NAME" | sha256sum | cut -c 1-32)
env "IDENTITY=$FOLDER/identity" "CARD=$FOLDER/card.qcow2" "QEMU=$QEMU" "IMAGE=$IMAGE" "BOOT_MIB=$BOOT_MIB" \
  "KERNEL=$KERNEL" "FOLDER=$FOLDER_OF_KERNEL" "INITRD=$INITRD" "WORDS=$WORDS" "ENTRIES=$ENTRIES" "BOOT_SCRIPT=$BOOT_SCRIPT" \
  "OTHERS=root=/dev/vda2 rw console=ttyAMA0 quiet nokaslr maxcpus=$CPUS systemd.hostname=$NAME systemd.machine_id=$machine_id" \
  sh "$MAKE_CARD" || fail "The card of $NAME could not be made."

owner=$RTVIRT_OWNER_PID
[ "$KEEP" = no ] || owner=0
echo "$owner" >owner
echo "$definition" >definition
rm -f pid
# The card is made anew for each start, so nothing need be flushed to this machine's disk (cache=unsafe).
# Virtual time: the clock counts instructions (shift=2: 4 ns each) and runs ahead when every core sleeps; the fixed date, seed and
# device tree take out the rest of what differs from run to run.
set -- "$QEMU/bin/qemu-system-aarch64" \
  -name "guest=$NAME,debug-threads=on" -nodefaults -display none \
  -machine virt,virtualization=on,gic-version=3 -cpu cortex-a57 -smp "$VCPUS" -m "$MEMORY_MIB" \
  -icount shift=2,sleep=off -rtc base=2026-01-01,clock=vm -seed 1 \
  -bios "$QEMU/u-boot/qemu_arm64.bin" \
  -drive if=none,id=card,file=card.qcow2,format=qcow2,cache=unsafe -device virtio-blk-device,drive=card \
  -device i6300esb,addr=10.0 -watchdog-action reset \
  -netdev "user,id=net,restrict=on,hostname=$NAME,hostfwd=tcp:127.0.0.1:$port-:22" -device virtio-net-device,netdev=net \
  -chardev file,id=console,path=console.log -serial chardev:console \
  -qmp unix:qmp.sock,server=on,wait=off
printf '%s\n%s\n%s\n' "$VERSION" "$*" "$WARNING" >emulator
setsid sh "$KEEP_BOARD" "$owner" "$FOLDER" "$@" >/dev/null 2>&1 </dev/null &
tries=0
until [ -s pid ]; do
  tries=$((tries + 1))
  [ "$tries" -lt 100 ] || fail "QEMU did not start: $(tail -n 3 qemu.log 2>/dev/null | tr '\n' ' ')"
  sleep 0.1
done
fact port "$port"
changed "started $NAME on port $port"
