#!/bin/sh
# Keep the state of a running board in $OUT: its card with QEMU's snapshot `rtvirt` in it, compressed, its console so far, and sums of both.
# BOARD_FOLDER, SOCKETS and GUEST_SOCKETS (folders of kept-open connections), PYTHON, LIMIT_MIB of all snapshots. The board stands still meanwhile, and nobody may be connected to it: the other end of a
# connection would be gone when the snapshot is entered.
set -eu
umask 077  # the board's memory and card have its keys
qmp() { "$PYTHON" -m rtvirt_runner.machine.qmp "$BOARD_FOLDER/qmp.sock" "$@"; }

find "$SOCKETS" "$GUEST_SOCKETS" -maxdepth 1 -type s 2>/dev/null | while read -r socket; do
  ssh -F /dev/null -o "ControlPath=$socket" -O exit board 2>/dev/null || :
done
# A connection of this machine to the board's port, established or half closed; not one that only waits for its number to be free.
port=$(printf '%04X' "$(cat "$BOARD_FOLDER/port")")
tries=0
while grep -Eiq "^ *[0-9]+: 0100007F:$port [0-9A-F]+:[0-9A-F]+ (01|02|03|04|05|08|09) " /proc/net/tcp; do
  tries=$((tries + 1))
  [ "$tries" -lt 100 ] || { echo '!! Somebody is connected to the board.'; exit 1; }
  sleep 0.1
done

qmp stop
trap 'qmp cont' EXIT
qmp hmp 'savevm rtvirt'
zstd -q -1 -T0 -o "$OUT/card.qcow2.zst" "$BOARD_FOLDER/card.qcow2"
cp "$BOARD_FOLDER/console.log" "$OUT/console.log"
cd "$OUT"
sha256sum card.qcow2.zst console.log >sums

# Those that were used longest ago leave.
room=$((LIMIT_MIB - $(du -sm . | cut -f 1)))
[ "$room" -ge 0 ] || { echo "!! It takes more than the $LIMIT_MIB MiB that the cache keeps of snapshots."; exit 1; }
"${PYTHON%/*}/rtvirt" cache prune --kind snapshot --to "${room}MiB" || echo 'The others are in use: the limit is passed for now.'
