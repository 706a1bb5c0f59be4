# shellcheck shell=sh
# The real /dev/kvm again, and nothing known of the other.
umount /dev/kvm || fail "/dev/kvm is still hidden."
rm -f /run/rtvirt/accelerator
changed "showed /dev/kvm"
