#!/bin/sh
# Save the state of a sealed machine that stands still in $OUT: its memory and devices, its console so far, and sums of both. One that does not
# sleep has none, which is kept too, as $OUT/awake: it would not sleep another time either.
# FOLDER (of the machine), MACHINE_CPUS, PYTHON, LIMIT_MIB of all snapshots in the cache.
set -eu
cd "$FOLDER"
qmp() { "$PYTHON" -m rtvirt_runner.machine.qmp qmp.sock "$@"; }
trap 'rm -f "$FOLDER/kept"' EXIT

status=0
"$PYTHON" -m rtvirt_runner.machine.sleeping qmp.sock "$MACHINE_CPUS" || status=$?
if [ "$status" -ne 0 ]; then
  : >awake
  [ "$status" -eq 1 ] || exit 1  # QEMU did not say
  : >"$OUT/awake"
  exit 0
fi

ln -sfn "$OUT" kept  # QEMU takes a line for a shell, and the cache's path may hold anything
qmp hmp 'migrate_set_parameter max-bandwidth 100G'
# It gets its name when zstd has written it all: QEMU says that it has completed when it has sent the last byte.
qmp hmp 'migrate -d "exec:zstd -q -1 -f -o kept/part && mv kept/part kept/memory.zst"'
tries=0
until [ -e kept/memory.zst ]; do
  case $(qmp query-migrate) in
  *'"status": "completed"'*) tries=$((tries + 1)) ;;
  *'"status": "failed"'* | *'"status": "cancelled"'*) tries=100 ;;
  esac
  [ "$tries" -lt 100 ] || { echo '!! The state could not be written; the disk may be full.'; exit 1; }
  sleep 0.1
done
cp console.log kept/
cd "$OUT"
sha256sum memory.zst console.log >sums

# Those that were used longest ago leave.
room=$((LIMIT_MIB - $(du -sm . | cut -f 1)))
[ "$room" -ge 0 ] || { echo "!! It takes more than the $LIMIT_MIB MiB that the cache keeps of snapshots."; exit 1; }
"${PYTHON%/*}/rtvirt" cache prune --kind snapshot --to "${room}MiB" || echo 'The others are in use: the limit is passed for now.'
