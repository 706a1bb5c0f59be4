# shellcheck shell=sh disable=SC2153,SC2154
# check mode: safe
# Start the guest and wait until it is ready, unless it runs with the same definition; then place QEMU's threads.
# Needs: unit.sh, stop_guest.sh, find_vcpus.sh, place_guest.sh. The role's tasks name the variables.
mkdir -p "$run" "$lib"
# The reason for the guest's panic (a call trace follows it), or the last lines of its console.
console() {
  { grep -m 1 -E 'Kernel panic|^guest: ' "$run/guest.console" || tail -n 5 "$run/guest.console"; } 2>/dev/null | tr -s '\r\n' ' ' | sed 's/ $//'
}
# Stop a guest that did not come up: it would keep a core busy during the following cells.
give_up() {
  stop_guest
  fail "$*"
}

# The kernel is installed on the board by kernel_boot (the same build, not only the same name), or was copied with the guest.
find_kernel() {
  vmlinuz=
  for folder in "/boot/kernels/$KERNEL"-*; do
    [ "$(cat "$folder/release" 2>/dev/null)" != "$RELEASE" ] || vmlinuz=$folder/vmlinuz
  done
  [ "$BROUGHT" = no ] || vmlinuz=$lib/guest.vmlinuz
  [ -n "$vmlinuz" ] ||
    fail "The guest's kernel $KERNEL ($RELEASE) is not on this board; bring it with the role kernel_boot, or set guest_bring_kernel."
}

# QEMU's program and machine arguments. With tcg it is the same machine with a CPU model of QEMU's.
find_machine() {
  serial=ttyAMA0 net=virtio-net-device disk=virtio-blk-device irqchip=on gic=host cpu=host
  case $GIC in
  in_kernel) ;;
  user_space) irqchip=off gic=2 ;;
  *) fail "guest_gic is '$GIC', expected in_kernel or user_space." ;;
  esac
  case $ACCELERATOR in
  kvm) irqchip=,kernel-irqchip=$irqchip accel=kvm ;;
  tcg)
    irqchip='' cpu=max accel=tcg,thread=multi
    [ "$gic" = 2 ] || gic=3
    ;;
  *) fail "guest_accelerator is '$ACCELERATOR', expected kvm or tcg." ;;
  esac
  # shellcheck disable=SC2153  # the task sets it
  case $(uname -m)/$ARCHITECTURE in
  aarch64/arm64) program=qemu-system-aarch64 machine=virt,gic-version=$gic$irqchip ;;
  aarch64/armhf)
    program=qemu-system-aarch64 machine=virt,gic-version=$gic$irqchip
    if [ "$ACCELERATOR" = kvm ]; then cpu=host,aarch64=off; else program=qemu-system-arm; fi
    ;;
  armv7l/armhf) program=qemu-system-arm machine=virt,gic-version=$gic$irqchip ;;
  # Without the option ROM for network boot.
  x86_64/amd64) program=qemu-system-x86_64 machine=q35$irqchip serial=ttyS0 net=virtio-net-pci,romfile= disk=virtio-blk-pci ;;
  *) fail "The guest's kernel $KERNEL is for $ARCHITECTURE, which this board ($(uname -m)) cannot run; give the guest one of the board's architecture." ;;
  esac
  machine=${MACHINE:-$machine}
  set -- "$program" -machine "$machine" -accel "$accel" -cpu "$cpu"
  machine="$*"
}

# The disk of the flavour debian: the card's partition with a copy of the board's root file system, under a copy-on-write layer.
# With snapshot=on QEMU keeps the layer in an unlinked file in TMPDIR: each start finds the disk unchanged, nothing is left however QEMU
# ends, and no other program is needed. werror=report: when the board's disk is full the guest's write fails; by default QEMU would pause.
find_root_disk() {
  root_disk=
  [ "$FLAVOUR" = debian ] || return 0
  case $(uname -m)/$ARCHITECTURE in
  aarch64/arm64 | armv7l/armhf | x86_64/amd64) ;;
  *) fail "The guest's kernel $KERNEL is for $ARCHITECTURE and the board's own Debian is not; give a guest of flavour debian a kernel of the board's architecture." ;;
  esac
  base=/dev/disk/by-partlabel/guest
  [ -b "$base" ] ||
    fail "This board's card has no partition named guest, which a guest of flavour debian starts from; make the card anew with the role board_image, or take the flavour minimal."
  root_disk="-drive if=none,id=root,file=$base,format=raw,snapshot=on,werror=report -device $disk,drive=root,serial=root"
}

# Refuse a placement that would make QEMU hang, or that has no core for a vCPU, before anything is changed.
check_placement() {
  # shellcheck disable=SC2046  # the cores are words
  case $MODE in
  process)
    [ "$POLICY" != fifo ] ||
      fail "guest_placement puts all of QEMU on cores $CPUS with policy fifo, where a vCPU would never let QEMU's main thread have the core; take rr, or mode threads."
    ;;
  threads)
    set -- $(cores_of "$CPUS")
    [ $# -ge "$VCPUS" ] || fail "guest_placement has $# cores in cpus ('$CPUS') for $VCPUS vCPUs, expected one for each; give it more, or the guest fewer vCPUs."
    for core in $(cores_of "$OTHERS_CPUS"); do
      case " $* $POLICY" in
      *" $core "*fifo | *" $core "*rr)
        fail "guest_placement has core $core in cpus and in others_cpus, where a vCPU of policy $POLICY would starve QEMU's own threads; take it out of one." ;;
      esac
    done
    [ -n "$OTHERS_CPUS" ] || fail "guest_placement has no others_cpus, expected cores for QEMU's own threads; give them."
    ;;
  esac
}

# Reserve huge pages for the guest's memory; stop_guest restores the previous number.
set_huge_pages_aside() {
  [ "$HUGE_PAGES" = yes ] && [ -e /proc/sys/vm/nr_hugepages ] || return 0
  while read -r key value _; do [ "$key" != Hugepagesize: ] || size=$value; done </proc/meminfo
  had=$(cat /proc/sys/vm/nr_hugepages)  # not by read, which reads a byte at a time: the kernel returns a number whole or not at all
  wanted=$((had + MEMORY_MIB * 1024 / size))
  [ -e "$run/guest.huge_pages" ] || echo "$had" >"$run/guest.huge_pages"
  [ ! -e /proc/sys/vm/compact_memory ] || echo 1 >/proc/sys/vm/compact_memory
  echo "$wanted" >/proc/sys/vm/nr_hugepages
  has=$(cat /proc/sys/vm/nr_hugepages)
  [ "$has" -ge "$wanted" ] ||
    give_up "The board has no $((wanted - had)) huge pages of $size KiB to give to the guest, only $((has - had)); give the guest less memory, or do without huge_pages."
  mkdir -p "$run/huge_pages"
  grep -q " $run/huge_pages " /proc/mounts || mount -t hugetlbfs none "$run/huge_pages" || fail "hugetlbfs could not be mounted."
  huge_pages="-mem-path $run/huge_pages -mem-prealloc"
}

start_guest() {
  changed "started $NAME"
  [ "$RTVIRT_CHECK_MODE" = no ] || exit 0
  [ ! -e "$run/guest.console" ] || mv "$run/guest.console" "$run/guest.console.previous"
  set -- "$lib/guest.img"
  [ -z "$PORT" ] || set -- "$@" "$lib/guest-identity.img"
  rm -f "$run/guest.initrd"
  (umask 077; cat "$@" >"$run/guest.initrd") || give_up "There is no room for the guest's initramfs in $run."
  huge_pages=
  set_huge_pages_aside
  scratch=
  if [ "$SCRATCH_MIB" -gt 0 ]; then
    # Allocate all of it now: a write must not fail in the middle of a cell because the board's disk is full.
    fallocate -l "${SCRATCH_MIB}M" "$lib/guest.scratch" ||
      give_up "There is no room for the guest's scratch disk of $SCRATCH_MIB MiB in $lib; make room on the board, or give the guest a smaller one."
    scratch="-drive if=none,id=scratch,file=$lib/guest.scratch,format=raw,cache=none,werror=report -device $disk,drive=scratch,serial=scratch"
  fi
  if [ -n "$PORT" ]; then
    reached="-netdev user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:$PORT-:22 -device $net,netdev=net"
  else  # by its mailbox, where the board has no network either
    rm -f "$run/guest.mailbox"
    truncate -s 8M "$run/guest.mailbox"
    for block in 0 8192; do echo '0 0' | dd of="$run/guest.mailbox" bs=512 seek="$block" conv=notrunc 2>/dev/null; done
    reached="-drive if=none,id=mailbox,file=$run/guest.mailbox,format=raw -device $disk,drive=mailbox,serial=mailbox"
  fi
  # Threads inherit their creator's CPU affinity: QEMU's own, and those it starts later, are on the right cores from the beginning.
  # panic=-1 and -no-reboot: a kernel panic ends QEMU at once. TERM: systemd queries the capabilities of any other terminal.
  # shellcheck disable=SC2086  # words
  unit_start "$OTHERS_CPUS" env "TMPDIR=$lib" $machine -name "guest=$NAME,debug-threads=on" -nodefaults -display none -no-reboot \
    -smp "$VCPUS" -m "$MEMORY_MIB" $huge_pages -overcommit "mem-lock=$([ "$MEMORY_LOCK" = yes ] && echo on || echo off)" \
    -kernel "$vmlinuz" -initrd "$run/guest.initrd" -append "console=$serial quiet panic=-1 TERM=dumb rtvirt.hostname=$NAME${KERNEL_PARAMS:+ $KERNEL_PARAMS}" \
    $reached $root_disk $scratch \
    -chardev "file,id=console,path=$run/guest.console" -serial chardev:console || fail "QEMU could not be started: $(unit_said)"
  find_vcpus
}

# Seldom, and with what the shell has: on an emulated board each look takes time from the guest.
wait_for_guest() {
  read -r began _ </proc/uptime
  until [ -s "$run/guest.console" ] && grep -q '^guest: ready' "$run/guest.console"; do
    unit_runs || give_up "The $who ended before it was ready: $(console) $(unit_said)"
    read -r now _ </proc/uptime
    [ $((${now%.*} - ${began%.*})) -lt "$TIMEOUT_S" ] || give_up "The $who was not ready after $TIMEOUT_S s of the board's time: $(console)"
    sleep 0.5
  done
}

# A vCPU thread can die while QEMU goes on, and the guest hangs.
runs_whole() {
  pid=$(unit_pid)
  [ -n "$pid" ] && [ -s "$run/guest.vcpus" ] || return 1
  while read -r _ thread; do [ -d "/proc/$pid/task/$thread" ] || return 1; done <"$run/guest.vcpus"
}

check_placement
find_kernel
find_machine
find_root_disk
# An image that was brought anew has another inode or time; its checksum would take an emulated board seconds.
images=$(stat -L -c '%n %s %i %Y' "$lib"/guest*.img)
definition="$NAME $FLAVOUR $VCPUS $MEMORY_MIB $machine $vmlinuz $RELEASE $PORT $SCRATCH_MIB $MEMORY_LOCK $HUGE_PAGES $KERNEL_PARAMS $images"
if ! runs_whole || [ "$(cat "$run/definition" 2>/dev/null)" != "$definition" ]; then
  stop_guest
  start_guest
  wait_for_guest
  echo "$definition" >"$run/definition"
fi
# For whoever reads the state back before and after each cell: an emulated board takes seconds to load QEMU.
[ "$RTVIRT_CHECK_MODE" = yes ] || [ -s "$run/guest.version" ] ||
  "/proc/$(unit_pid)/exe" --version | sed -n 's/^QEMU emulator version //p' >"$run/guest.version"
# Not before the guest is up: a real-time vCPU that spins while it waits for QEMU's main thread on the same core would never let it run.
place_guest
