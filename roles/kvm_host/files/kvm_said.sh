# shellcheck shell=sh
# check mode: safe
# A function that prints what the kernel said last of a KVM that it has no use for, or nothing: kvm_said
kvm_said() {
  dmesg 2>/dev/null |
    grep -i -e 'kvm.*vgic' -e 'kvm.*maintenance' -e 'kvm.*not available' -e 'kvm.*not supported' -e 'kvm.*disabled by bios' -e 'kvm: .*requires' |
    tail -n 1 | sed 's/^\[[^]]*\] *//'
}
