#!/bin/sh
# Save the state of a sealed machine that stands still in $OUT: its memory and devices, its console so far, and sums of both. It goes on afterwards.
# FOLDER (of the machine), PYTHON, LIMIT_MIB of all snapshots in the cache.
set -eu
cd "$FOLDER"
qmp() { "$PYTHON" -m rtvirt_runner.machine.qmp qmp.sock "$@"; }
trap 'qmp cont; rm -f kept' EXIT

ln -sfn "$OUT" kept  # QEMU takes a line for a shell, and the cache's path may hold anything
qmp hmp 'migrate_set_parameter max-bandwidth 100G'
qmp hmp 'migrate -d "exec:zstd -q -1 -f -o kept/memory.zst"'
while :; do
  case $(qmp query-migrate) in
  *'"status": "completed"'*) break ;;
  *'"status": "failed"'* | *'"status": "cancelled"'*) echo '!! QEMU could not write the state; the disk may be full.'; exit 1 ;;
  esac
  sleep 0.1
done
cp console.log kept/
qmp cont
cd "$OUT"
sha256sum memory.zst console.log >sums

# Those that were used longest ago leave.
room=$((LIMIT_MIB - $(du -sm . | cut -f 1)))
[ "$room" -ge 0 ] || { echo "!! It takes more than the $LIMIT_MIB MiB that the cache keeps of snapshots."; exit 1; }
"${PYTHON%/*}/rtvirt" cache prune --kind snapshot --to "${room}MiB" || echo 'The others are in use: the limit is passed for now.'
