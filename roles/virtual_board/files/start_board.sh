# shellcheck shell=sh
# check mode: safe
# Make the board's card and start QEMU, unless the board runs already with the same definition and owner.
# A running board with another definition, or whose owner has ended, is stopped first. The role's variables name the environment.
# Needs: board_process.sh.
# CLIENT_KEY, KNOWN_HOSTS: paths of these files as ssh_config wants them. SNAPSHOT: a folder of keep_snapshot.sh to restore the board and its card from. MAY_BE_RESTORED: whether a running board may be one that was restored.
umask 077
[ "$RTVIRT_CHECK_MODE" = no ] || [ -d "$FOLDER" ] || { changed "would start $NAME"; exit 0; }
mkdir -p "$FOLDER"
cd "$FOLDER" || fail "The folder $FOLDER cannot be used."

definition="$IMAGE $QEMU $UEFI $ARGUMENTS $CPUS $VCPUS $MEMORY_MIB $(cat identity/authorized_keys identity/ssh_host_ed25519_key.pub) \
$(cat "$MAKE_CARD" "$LOADERS"/*.sh | sha256sum | cut -d ' ' -f 1)"
if running; then
  read_owner
  # A board that was restored is only reused where a snapshot may be used: a matrix measures on a board that has booted.
  if [ "$(cat definition 2>/dev/null)" = "$definition" ] && { [ "$owner" -eq 0 ] || [ "$owner" -eq "$RTVIRT_OWNER_PID" ]; } &&
    { [ "$MAY_BE_RESTORED" = yes ] || [ "$(cat entered 2>/dev/null)" != snapshot ]; }; then
    # A run that was killed while it saved a snapshot has left the board paused.
    [ "$RTVIRT_CHECK_MODE" = yes ] || "$PYTHON" -m rtvirt_runner.machine.qmp qmp.sock cont >/dev/null || :
    fact port "$(cat port)"
    exit 0
  fi
  [ "$RTVIRT_CHECK_MODE" = no ] || { changed "would stop $NAME and start it anew"; exit 0; }
  kill -TERM "$(cat pid)" 2>/dev/null
  tries=0
  while running && [ "$tries" -lt 100 ]; do tries=$((tries + 1)); sleep 0.1; done
fi
[ "$RTVIRT_CHECK_MODE" = no ] || { changed "would start $NAME"; exit 0; }

[ -x "$QEMU/bin/$PROGRAM" ] || fail "There is no $PROGRAM to run $NAME; run: sudo apt-get install --no-install-recommends qemu-system-x86"

# A free port of the loopback, the last one if it is still free.
free() { ! grep -qi ":$(printf '%04X' "$1") 00000000:0000 0A" /proc/net/tcp; }
port=$(cat port 2>/dev/null)
port=${port:-0}  # also of a file that a power cut has left empty
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
  IdentityFile $CLIENT_KEY
  IdentitiesOnly yes
  UserKnownHostsFile $KNOWN_HOSTS
  StrictHostKeyChecking yes
  ConnectTimeout 60
CONFIG

[ ! -e console.log ] || mv console.log console.previous.log
machine_id=$(printf '%s' "$NAME" | sha256sum | cut -c 1-32)
make_card() {
  export IMAGE LOADERS LOADER BOOT_SCR ARM_WATCHDOG U_BOOT_ENV KERNEL COMMAND INITRD FDT KERNEL_PARAMS QEMU NAME CARD_MIB
  # A login may take 120 s, which a clock that races while it waits for the other side runs through in four of ours, or less: no limit.
  env "FORMAT=qcow2" "IDENTITY=$FOLDER/identity" "CARD=$FOLDER/card.qcow2" "FOLDER=$FOLDER_OF_KERNEL" \
    "OTHERS=$OTHERS maxcpus=$CPUS systemd.hostname=$NAME systemd.machine_id=$machine_id systemd.setenv=SSHD_OPTS=-oLoginGraceTime=0" \
    sh "$MAKE_CARD" || fail "The card of $NAME could not be made."
}
unpack_snapshot() {
  (cd "$SNAPSHOT" && sha256sum --quiet --status -c sums) || fail "It is damaged: its files do not have the sums that it was kept with."
  if ! zstd -q -d -f -o card.qcow2 "$SNAPSHOT/card.qcow2.zst" || ! cp "$SNAPSHOT/console.log" .; then fail "It could not be unpacked to $FOLDER."; fi
}
if [ -n "$SNAPSHOT" ]; then unpack_snapshot; else make_card; fi

owner=$RTVIRT_OWNER_PID
[ "$KEEP" = no ] || owner=0
echo "$owner" >owner
echo "$definition" >definition
entered=boot
[ -z "$SNAPSHOT" ] || entered=snapshot
echo "$entered" >entered
rm -f pid
# Each start makes a new card, so nothing needs to be flushed to the controller's disk (cache=unsafe).
# Virtual time: the clock counts instructions (shift=2: 4 ns each) and runs ahead when every core sleeps; the fixed date, seed and
# device tree remove the other differences between runs.
ln -sfn "$QEMU/u-boot" u-boot  # a name without spaces
if [ -n "$UEFI" ]; then
  ln -sfn "$UEFI" uefi
  # Raw, so that QEMU saves no snapshot of such a machine: one would have to hold these too.
  cp --sparse=always uefi/vars.fd uefi-vars.fd || fail "The firmware's settings of $NAME could not be made."
fi
eval "set -- $ARGUMENTS"
set -- "$QEMU/bin/$PROGRAM" -name "guest=$NAME,debug-threads=on" -nodefaults -display none "$@" \
  -icount shift=2,sleep=off -rtc base=2026-01-01,clock=vm -seed 1 \
  -netdev "user,id=net,restrict=on,hostname=$NAME,hostfwd=tcp:127.0.0.1:$port-:22" \
  -chardev file,id=console,path=console.log,append=on -serial chardev:console \
  -qmp unix:qmp.sock,server=on,wait=off
[ "$RESETS" != keeper ] || set -- "$@" -no-reboot
[ -z "$SNAPSHOT" ] || set -- "$@" -loadvm rtvirt
BOOT_MIB=$(cat "$IMAGE/boot_mib")
export RESETS FIRMWARE PYTHON BOOT_MIB QEMU_IMG="$QEMU/bin/qemu-img"
printf '%s\n%s\n%s\n' "$VERSION" "$*" "$WARNING" >emulator
setsid sh "$KEEP_BOARD" "$owner" "$FOLDER" "$@" >/dev/null 2>&1 </dev/null &
tries=0
until [ -s pid ]; do
  tries=$((tries + 1))
  [ "$tries" -lt 100 ] || fail "QEMU did not start: $(tail -n 3 qemu.log 2>/dev/null | tr '\n' ' ')"
  sleep 0.1
done
fact port "$port"
fact entered "$entered"
changed "started $NAME on port $port"
