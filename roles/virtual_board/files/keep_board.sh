#!/bin/sh
# Run QEMU, and end it when the process that asked for the board has ended: an idle board would keep a core busy for ever.
# usage: keep_board.sh OWNER_PID FOLDER QEMU_COMMAND...     OWNER_PID 0: nobody, the board is kept
set -u
owner=$1 folder=$2
shift 2
cd "$folder" || exit 1

# A number may come back for another process; its start time (field 22, after the name in parentheses) does not.
started() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d ' ' -f 20; }

owner_started=$(started "$owner")
"$@" >qemu.log 2>&1 </dev/null &
qemu=$!
trap 'kill -TERM "$qemu"' TERM INT HUP
echo "$qemu" >pid
while kill -0 "$qemu" 2>/dev/null; do
  if [ "$owner" -ne 0 ] && [ "$(started "$owner")" != "$owner_started" ]; then
    kill -TERM "$qemu"
    break
  fi
  sleep 1
done
wait "$qemu"
echo "QEMU ended with status $?" >>qemu.log
# Only our own: by now the next board may have been started here.
[ "$(cat pid 2>/dev/null)" != "$qemu" ] || rm -f pid owner
