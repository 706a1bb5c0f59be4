# shellcheck shell=sh
# All can run guests, two of them are PREEMPT_RT, and each has an index of its modules. RT, ORDINARY, COMPILED: folders.
for folder in "$RT" "$ORDINARY" "$COMPILED"; do
  grep -q '^CONFIG_KVM=y' "$folder/config" || fail "The kernel in $folder has no KVM."
  release=$(cat "$folder/release")
  [ -e "$folder/lib/modules/$release/modules.dep" ] || fail "The modules in $folder are not indexed."
done
for folder in "$RT" "$COMPILED"; do
  grep -q '^CONFIG_PREEMPT_RT=y' "$folder/config" || fail "The kernel in $folder is not PREEMPT_RT."
done
! grep -q '^CONFIG_PREEMPT_RT=y' "$ORDINARY/config" || fail "The kernel in $ORDINARY is PREEMPT_RT."

# What was compiled has the drivers of the board built in, is known by its content, and its archive holds the same files.
for option in VIRTIO_BLK VIRTIO_NET EXT4_FS VFAT_FS I6300ESB_WDT; do
  grep -q "^CONFIG_$option=y" "$COMPILED/config" || fail "The kernel in $COMPILED has no $option built in."
done
case $(cat "$COMPILED/release") in
*-"$(basename "$COMPILED" | sed 's/.*-\(........\)........$/\1/')") ;;
*) fail "The release $(cat "$COMPILED/release") does not end in the first digits of $COMPILED." ;;
esac
for name in vmlinuz config System.map release kernel.json; do
  [ "$(tar -xzOf "$COMPILED/kernel.tar.gz" "./$name" | sha256sum)" = "$(sha256sum <"$COMPILED/$name")" ] ||
    fail "$name in $COMPILED/kernel.tar.gz is not the one beside it."
done
