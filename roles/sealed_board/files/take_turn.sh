#!/bin/sh
# Run a sealed machine when it is its turn: as many run at once as there are lock files, one for each core of this computer, since an emulated
# board keeps a core busy. The locks are those of all runs of this user. A machine that waits has a pid file, and no console log yet.
# usage: take_turn.sh LOCKS CORES OWNER_PID KEEPER FOLDER BASE QEMU_COMMAND...     runs KEEPER OWNER_PID FOLDER QEMU_COMMAND... (keep_board.sh)
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

# QEMU takes one file, so what all machines have is copied in front of what only this one has.
if ! said=$(cat "$base" queue.cpio 2>&1 >initramfs); then
  rm -f initramfs  # so that there is room for the sentence
  echo "The machine's initramfs could not be written to $folder: $said"
  exit 1
fi
exec sh "$keeper" "$owner" "$folder" "$@"
