# shellcheck shell=sh
# A /dev/kvm that opens and cannot run a guest; what the role knows of the real one is forgotten.
mount --bind /dev/null /dev/kvm || fail "/dev/null could not be put in the place of /dev/kvm."
rm -f /run/rtvirt/accelerator
changed "hid /dev/kvm"
