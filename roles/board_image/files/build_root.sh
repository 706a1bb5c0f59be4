#!/bin/sh
# Take the root file system out of an image, for a board that is written over the network: $OUT/root.img.gz, root.sha256 and root_bytes of what
# is in it. Needs: IMAGE.
set -eu
root_mib=$(cat "$IMAGE/root_mib")
echo ":: packing $root_mib MiB"
take() { dd if="$IMAGE/card.img" bs=1M skip="$(($(cat "$IMAGE/first_mib") + $(cat "$IMAGE/boot_mib")))" count="$root_mib" status=none; }
take | gzip -n -6 >"$OUT/root.img.gz"
take | sha256sum | cut -d ' ' -f 1 >"$OUT/root.sha256"
echo "$((root_mib * 1048576))" >"$OUT/root_bytes"
