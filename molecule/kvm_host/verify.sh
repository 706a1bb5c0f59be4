# shellcheck shell=sh
# A machine with one vCPU is made by KVM and ended, without running anything.
said=$(echo quit | timeout 120 qemu-system-aarch64 -machine virt,gic-version=host -accel kvm -cpu host -nodefaults \
  -display none -S -monitor stdio 2>&1) || fail "KVM made no machine: $said"
case $(dmesg) in *"Hyp mode initialized"*) ;; *) fail "The kernel does not say that it started in hypervisor mode." ;; esac
