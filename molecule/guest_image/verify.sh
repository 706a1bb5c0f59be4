# shellcheck shell=sh
# IMAGE: folder of the guest; PROGRAMS: folder of the workloads' programs, which must be in it byte for byte.
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
case $(od -A n -t x1 -N 4 "$IMAGE/initrd.img" | tr -d ' ') in
1f8b*) gzip -dc "$IMAGE/initrd.img" ;;
28b52ffd) zstd -dc "$IMAGE/initrd.img" ;;
fd377a58) xz -dc "$IMAGE/initrd.img" ;;
*) cat "$IMAGE/initrd.img" ;;
esac >"$folder/initrd" || fail "$IMAGE/initrd.img is not whole."
(cd "$folder" && cpio --quiet --extract --make-directories <initrd) || fail "$IMAGE/initrd.img is no archive."
for path in init usr/bin/cyclictest usr/sbin/dropbear modules/order; do
  [ -e "$folder/$path" ] || fail "The guest has no $path."
done
different=$(diff -r "$PROGRAMS" "$folder/usr/local") || fail "The guest's programs are not those that boards get: $different"
! grep -q . "$folder"/identity/* 2>/dev/null || fail "A key is in the image that all guests share."
