# shellcheck shell=sh
# check mode: safe
# Verify QEMU's version, and probe whether KVM can run a guest; if not, guests are emulated, if that is allowed. If QEMU is missing, only say so,
# for the role to install it.
# PACKAGES: machine=package ...; MINIMUM: version; FALLBACK: fail or emulate; GIC: in_kernel or user_space; PROBE_RELEASE: of the kernel
# to boot in a guest, or empty; TIMEOUT_S: limit for each probe. Needs: kvm_said.sh.
run=/run/rtvirt lib=/var/lib/rtvirt
machine=$(uname -m)
package=
for entry in $PACKAGES; do
  [ "${entry%%=*}" != "$machine" ] || package=${entry#*=}
done
[ -n "$package" ] || fail "kvm_host knows no QEMU package for $machine; add it to kvm_host_packages."
irqchip=on
[ "$GIC" = in_kernel ] || irqchip=off
case $machine in
x86_64) program=qemu-system-x86_64 architecture=amd64 console=ttyS0 board="q35,kernel-irqchip=$irqchip" ;;
aarch64) program=qemu-system-aarch64 architecture=arm64 console=ttyAMA0 ;;
*) program=qemu-system-arm architecture=armhf console=ttyAMA0 ;;
esac
[ "$machine" = x86_64 ] || board=virt,kernel-irqchip=$irqchip,gic-version=$([ "$GIC" = in_kernel ] && echo host || echo 2)
fact architecture "$architecture"
if ! command -v "$program" >/dev/null; then
  command -v apt-get >/dev/null || fail "$program is missing, and this machine has no apt-get; install QEMU $MINIMUM or newer by its own means."
  fact missing "$package"
  [ "$RTVIRT_CHECK_MODE" = no ] || changed "would install $package"
  exit 0
fi
version=$("$program" --version | sed -n 's/^QEMU emulator version \([0-9.]*\).*/\1/p')
[ "$(printf '%s\n%s\n' "$MINIMUM" "$version" | sort -V | head -n 1)" = "$MINIMUM" ] ||
  fail "The board's QEMU is $version, expected $MINIMUM or newer."
fact qemu_program "$program"
fact qemu_version "$version"

once_under_kvm() {
  said=$(timeout "$TIMEOUT_S" "$program" -machine "$board" -accel kvm -cpu host -m 256 -nodefaults -display none -no-reboot "$@" 2>&1 </dev/null)
}

# under_kvm WHAT SUCCESS ARGUMENTS...: run WHAT under KVM; unless QEMU ends with the status SUCCESS, set reason and fail.
under_kvm() {
  what=$1 success=$2
  shift 2
  once_under_kvm "$@"
  status=$?
  # Retry after a timeout: while an emulated board waits for its card its clock runs far ahead, and the first try may only have loaded QEMU.
  if [ "$status" -eq 124 ]; then
    once_under_kvm "$@"
    status=$?
  fi
  [ "$status" -ne "$success" ] || return 0
  said=$(printf '%s' "$said" | tail -n 1)
  [ "$status" -ne 124 ] || said="it did not end within $TIMEOUT_S s"
  reason="/dev/kvm opens, but $what does not run under it: ${said:-QEMU ended with status $status}"
  return 1
}

# A KVM that cannot run a guest may still open, and create a VM and a vCPU. This program of a few instructions only powers the guest off.
instructions_run() {
  code=$run/probe.code
  case $architecture in
  # PSCI's SYSTEM_OFF: mov w0, #8; movk w0, #0x8400, lsl 16; hvc #0; b .
  arm64) printf '\000\001\200\122\000\200\260\162\002\000\000\324\000\000\000\024' >"$code" ;;
  # The same: mov r0, #0x84000000; orr r0, #8; hvc #0; b .
  armhf) printf '\041\003\240\343\010\000\200\343\160\000\100\341\376\377\377\352' >"$code" ;;
  # At the reset vector of a PC: mov al, 42; out 0xf4, al; hlt. isa-debug-exit ends QEMU with status 2 * 42 + 1.
  amd64) { head -c 65520 /dev/zero; printf '\260\052\346\364\364'; head -c 11 /dev/zero; } >"$code" ;;
  esac
  case $architecture in
  amd64) under_kvm "a program of three instructions" 85 -bios "$code" -device isa-debug-exit,iobase=0xf4,iosize=4 ;;
  *) under_kvm "a program of four instructions" 0 -kernel "$code" ;;
  esac
}

kernel_runs() {
  [ -n "$PROBE_RELEASE" ] || return 0
  rm -f "$run/probe.console"
  under_kvm "the kernel $PROBE_RELEASE" 0 -kernel "$lib/probe.vmlinuz" -initrd "$lib/probe.img" \
    -append "console=$console panic=-1 rtvirt.probe" -serial "file:$run/probe.console" || {
    reason="$reason (its console ends with: $(tail -n 3 "$run/probe.console" 2>/dev/null | tr '\r\n' '  '))"
    return 1
  }
  grep -q '^guest: up' "$run/probe.console" && return 0
  reason="/dev/kvm opens, but the kernel $PROBE_RELEASE ended before it was up: $(tail -n 3 "$run/probe.console" | tr '\r\n' '  ')"
  return 1
}

find_accelerator() {
  accelerator=tcg reason=
  if [ ! -c /dev/kvm ]; then
    said=$(kvm_said)
    reason="there is no /dev/kvm: ${said:-the kernel was built without KVM, or the machine did not start in hypervisor mode}"
  elif ! (exec 3<>/dev/kvm) 2>/dev/null; then
    reason="/dev/kvm is there but cannot be opened"
  elif instructions_run && kernel_runs; then
    accelerator=kvm reason="${PROBE_RELEASE:-a program of a few instructions} ran under it"
  fi
}

# Probe once per boot: on an emulated board each probe takes seconds.
boot=$(cat /proc/sys/kernel/random/boot_id)
tried="$boot $version $GIC $PROBE_RELEASE"
if [ "$(sed -n 1p "$run/accelerator" 2>/dev/null)" = "$tried" ]; then
  accelerator=$(sed -n 2p "$run/accelerator") reason=$(sed -n 3p "$run/accelerator")
elif [ "$RTVIRT_CHECK_MODE" = yes ]; then
  exit 0  # a probe would leave a file
else
  mkdir -p "$run"
  find_accelerator
  printf '%s\n' "$tried" "$accelerator" "$reason" >"$run/accelerator"
  rm -f "$run"/probe.*
fi
fact kvm_host_accelerator "$accelerator"
fact kvm_host_reason "$reason"
[ "$accelerator" = kvm ] || [ "$FALLBACK" = emulate ] ||
  fail "KVM cannot run guests on this board: $reason. Set kvm_host_fallback to emulate to run them without it, which says nothing of KVM's latencies."
