#!/bin/sh
# Unpack a toolchain archive into $OUT. Needs: ARCHIVE, PREFIX (of its programs).
set -eu
echo ":: unpacking $(basename "$ARCHIVE")"
tar --extract --file "$ARCHIVE" --directory "$OUT" --strip-components=1 --no-same-owner
[ -x "$OUT/bin/${PREFIX}gcc" ] || { echo "!! the toolchain $(basename "$ARCHIVE") has no bin/${PREFIX}gcc; is its prefix right?"; exit 1; }
"$OUT/bin/${PREFIX}gcc" --version || { echo "!! bin/${PREFIX}gcc of $(basename "$ARCHIVE") does not run on this machine; is it made for this processor?"; exit 1; }
