#!/bin/sh
# Run a sealed machine when it is its turn: as many run at once as there are lock files, one for each core of this computer, since an emulated
# board keeps a core busy. The locks are those of all runs of this user. A machine that waits has a pid file, and no console log yet.
# usage: take_turn.sh LOCKS CORES OWNER_PID KEEPER FOLDER BASE QEMU_COMMAND...     runs KEEPER OWNER_PID FOLDER QEMU_COMMAND... (keep_board.sh)
# STATE: folder of a saved state that it goes on from (keep_state.sh), if it is not empty. PYTHON: for attend.sh.
set -u
locks=$1 cores=$2 owner=$3 keeper=$4 folder=$5 base=$6
shift 6
cd "$folder" || exit 1
exec >qemu.log 2>&1
mkdir -p "$locks"

# Only the first of those that wait looks for a free core, so that they run in the order in which they came.
exec 8>"$locks/sealed-next.lock"
owner_runs() { [ "$owner" -eq 0 ] || kill -0 "$owner" 2>/dev/null; }
if ! flock --nonblock 8; then
  flock 8 &  # the lock is of the open file, which this shell has too
  waiting=$!
  while kill -0 "$waiting" 2>/dev/null; do
    owner_runs || { kill "$waiting"; exit 1; }
    sleep 0.2
  done
  wait "$waiting" || exit 1
fi
until
  for core in $(seq "$cores"); do
    exec 9>"$locks/sealed-$core.lock"
    flock --nonblock 9 && break
    exec 9>&-
    false
  done
do
  owner_runs || exit 1
  sleep 0.2
done
exec 8>&-

# A saved state that is what it was takes the place of power-on; of one that is not, a sentence is left for who waits.
if [ -n "$STATE" ]; then
  if (cd "$STATE" && sha256sum --status -c sums) 2>/dev/null && cp "$STATE/console.log" console.log; then
    ln -sfn "$STATE" state
    echo >initramfs  # it is in the saved memory; QEMU only takes none that is empty
  else
    echo "The saved state $STATE is damaged; it was removed, and the machine started from power-on." >damaged
    rm -rf "$STATE"
  fi
fi
# QEMU takes one file, so what all machines have is copied in front of what only this one has.
if [ ! -e state ] && ! said=$(cat "$base" queue.cpio 2>&1 >initramfs); then
  rm -f initramfs  # so that there is room for the sentence
  echo "The machine's initramfs could not be written to $folder: $said"
  exit 1
fi
monitor='-qmp unix:qmp.sock,server=on,wait=off'
if [ -e state ]; then
  sh "${0%/*}/attend.sh" "$$" "$folder" 9>&- &
  # shellcheck disable=SC2086  # words
  exec sh "$keeper" "$owner" "$folder" "$@" $monitor -action watchdog=none -incoming 'exec:zstd -dcq state/memory.zst'
fi
if [ -e state.json ]; then
  sh "${0%/*}/attend.sh" "$$" "$folder" 9>&- &
  # shellcheck disable=SC2086
  sh "$keeper" "$owner" "$folder" "$@" $monitor -action watchdog=pause
  # One that does not sleep at its save point is ended there, and the next one does not stop.
  [ -e awake ] || exit 0
  rm -f awake console.log
  echo "$$" >pid
fi
exec sh "$keeper" "$owner" "$folder" "$@" -action watchdog=none
