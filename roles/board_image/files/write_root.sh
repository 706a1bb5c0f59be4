# shellcheck shell=sh
# Write standard input (gzip) to the inactive root, and read it back. ROOTS: values of root=; BYTES and SUM of the input.
running=$(sed -n 's/.*\broot=\([^ ]*\).*/\1/p' "${RUNNING_LINE:-/proc/cmdline}")
other=
for root in $ROOTS; do [ "$root" = "$running" ] || other=$root; done
case " $ROOTS " in *" $running "*) ;; *) fail "The board runs from $running, expected one of $ROOTS; is its board_image_profile right?" ;; esac
[ -b "$other" ] || fail "The board has no $other, expected its other root; write a card instead, whose first boot makes it."
! grep -q "^$other " /proc/mounts || fail "The other root, $other, is mounted; unmount it, and run this again."
size=$(($(cat "/sys/class/block/${other##*/}/size") * 512))
[ "$size" -ge "$BYTES" ] || fail "The other root, $other, has $((size / 1048576)) MiB, expected $((BYTES / 1048576)) or more; write a larger card."
gzip -dc | dd of="$other" bs=1M conv=fsync 2>/dev/null
echo 3 >/proc/sys/vm/drop_caches  # read back from the card, not from the page cache
found=$(head -c "$BYTES" "$other" | sha256sum | cut -d ' ' -f 1)
[ "$found" = "$SUM" ] ||
  fail "What was written to $other is not what was sent; it is not booted. Run this again, and take another card if that ends the same way."
resize2fs "$other" >/dev/null 2>&1 || fail "The file system on $other could not be made as large as its partition."
# Its first boot must not partition the card.
there=$(mktemp -d)
mount "$other" "$there" || fail "The file system on $other cannot be mounted."
rm -f "$there/etc/rtvirt-first-boot"
umount "$there"
rmdir "$there"
fact root "$other"
changed "wrote $((BYTES / 1048576)) MiB to $other"
