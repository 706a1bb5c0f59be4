#!/bin/sh
# Run the machines of this capsule again, and compare what their cells answer with what they answered when they were measured.
# usage: ./run [--keep FOLDER] [MACHINE ...]
#   MACHINE        the name of a file in the folder machines, such as 01; by default all, one after the other
#   --keep FOLDER  unpack the answers into it, a folder for each cell
# Exit status: 0 all sums are the same, 1 some are not, 2 it cannot be run, more when interrupted. README.txt says what the sums mean.
set -u
export LC_ALL=C

progress_every_s=30

refuse() { printf 'run: %s\n' "$*" >&2; exit 2; }
now() { date +%s; }

qemu='' work=''
end_machine() {
  if [ -n "$qemu" ]; then
    kill -KILL "$qemu" 2>/dev/null
    wait "$qemu" 2>/dev/null
    qemu=''
  fi
}
clean_up() {
  end_machine
  [ -z "$work" ] || rm -rf -- "$work"
  work=''
}
trap clean_up EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 141' PIPE
trap 'exit 143' TERM

# A piece of the capsule, whose name is its SHA-256, to standard output.
piece() {
  printf '%s  %s\n' "$1" "$1" | (cd "$capsule/pieces" && sha256sum -c) >/dev/null 2>&1 ||
    refuse "pieces/$1 is not what it was, expected its name to be its SHA-256; unpack the capsule again."
  cat "$capsule/pieces/$1"
}

# In the folder of a machine: its parts, and in $arguments, $limit_s, $about_s the rest of what its file says.
assemble() {  # NAME
  for path in initramfs arguments console.log; do : >"$work/$path"; done
  while read -r what value; do
    case $what in
    runs_on) [ "$(uname -m)" = "$value" ] || refuse "this computer is $(uname -m), expected $value: QEMU was made for that." ;;
    qemu) ln -s "$capsule/$value" "$work/qemu" ;;
    kernel) piece "$value" >"$work/kernel" ;;
    initramfs) piece "$value" >>"$work/initramfs" ;;
    argument) printf '%s\n' "$value" >>"$work/arguments" ;;
    silent_s) limit_s=$value ;;
    about_s) about_s=$value ;;
    esac || refuse "machine $1 cannot be put together in $work, expected room for it; set TMPDIR to a folder that has some."
  done <"$capsule/machines/$1"
  grep "^$1 " "$capsule/sums" >"$work/expected" || refuse "the file sums has no cell of machine $1; unpack the capsule again."
}

switch_on() {
  set --
  while IFS= read -r argument; do set -- "$@" "$argument"; done <"$work/arguments"
  # Relative paths: the dynamic loader takes colons in its library path for separators, blanks too in what it preloads, and QEMU commas in options.
  (cd "$work" && exec env LD_PRELOAD=qemu/lockstep.so qemu/loader --library-path qemu/lib --argv0 qemu-system-aarch64 qemu/qemu-system-aarch64 "$@") \
    </dev/null >"$work/qemu.log" 2>&1 &
  qemu=$!
}

# Judge the cells whose answers have come since the last time; $waiting: how many are still to come.
judge() {
  tr -d '\r' <"$work/console.log" >"$work/console"
  waiting=0
  while read -r _ cell step expected; do
    case $judged in *" $step "*) continue ;; esac
    found=$(sed -n "s/^@end $step \([0-9a-f]\{64\}\)\$/\1/p" "$work/console" | tail -n 1)
    if [ -z "$found" ]; then
      waiting=$((waiting + 1))
      continue
    fi
    judged="$judged $step " told_s=$(now)
    if [ "$found" = "$expected" ]; then
      same=$((same + 1))
      printf 'same       %s\n' "$cell"
    else
      different=$((different + 1))
      printf 'DIFFERENT  %s\n           measured %s\n           here     %s\n' "$cell" "$expected" "$found"
    fi
    [ -z "$keep" ] || keep_answer "$cell" "$step"
  done <"$work/expected"
}

# What has not come, and why.
judge_silent() {  # WHY
  while read -r _ cell step expected; do
    case $judged in *" $step "*) continue ;; esac
    different=$((different + 1))
    printf 'DIFFERENT  %s\n           measured %s\n           here     nothing: %s\n' "$cell" "$expected" "$1"
  done <"$work/expected"
  said=$({ grep -v '^@' "$work/console" | grep ' '; cat "$work/qemu.log"; } | tail -n 5)
  [ -z "$said" ] || printf '           the last lines of the machine:\n%s\n' "$said"
}

keep_answer() {  # CELL STEP
  mkdir -p "$keep/$1" || refuse "$keep/$1 cannot be written, expected a folder with room for the answers of the cells."
  sed -n "/^@answer $2\$/,/^@end $2 /p" "$work/console" | grep -v '^@' | base64 -d 2>/dev/null | gzip -dc >"$keep/$1/answer" ||
    printf '           its answer came damaged\n'
  # An answer has the files that tools wrote, each between two marks.
  awk -v folder="$keep/$1" '
    /^@file [a-z][A-Za-z0-9._-]*$/ { name = $2; next }
    $1 == "@end" && $2 == name { name = ""; next }
    name != "" { print >(folder "/" name) }' "$keep/$1/answer"
}

run_machine() {  # NAME
  work=$(mktemp -d "${TMPDIR:-/tmp}/capsule.XXXXXX") ||
    refuse "there is no folder ${TMPDIR:-/tmp} to write to; set TMPDIR to one that has room."
  limit_s=600 about_s=0
  assemble "$1"
  total=$(wc -l <"$work/expected")
  printf 'machine %s: %d cells, about %d s where they were measured\n' "$1" "$total" "$about_s"
  began_s=$(now) told_s=$began_s heard_s=$began_s bytes=-1 judged='' why=''
  switch_on
  while :; do
    runs=no
    ! kill -0 "$qemu" 2>/dev/null || runs=yes  # first: what it said last is then there
    judge
    [ "$waiting" -gt 0 ] || break
    [ "$runs" = yes ] || { why="the machine ended"; break; }
    now_s=$(now)
    size=$(wc -c <"$work/console")
    [ "$size" -eq 0 ] || [ -e "$work/in_lockstep" ] || { why="QEMU does not run in lockstep, and was ended"; break; }
    if [ "$size" -ne "$bytes" ]; then bytes=$size heard_s=$now_s; fi
    [ $((now_s - heard_s)) -lt "$limit_s" ] || { why="the machine said nothing for $limit_s s, and was ended"; break; }
    if [ $((now_s - told_s)) -ge "$progress_every_s" ]; then
      told_s=$now_s
      printf '  %d s, %d of %d cells to come\n' $((now_s - began_s)) "$waiting" "$total"
    fi
    sleep 1
  done
  end_machine
  [ -z "$why" ] || judge_silent "$why"
  [ -z "$keep" ] || cp "$work/console.log" "$keep/console_$1.log"
  clean_up
}

keep=''
while [ $# -gt 0 ]; do
  case $1 in
  --keep)
    [ -n "${2:-}" ] || refuse "--keep has no folder, expected one for the answers."
    keep=$2
    shift 2
    ;;
  --help | -h)
    sed -n '2,/^set /s/^# //p' "$0"
    exit 0
    ;;
  -*) refuse "$1 is no option, expected --keep FOLDER or --help." ;;
  *) break ;;
  esac
done
capsule=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd) || refuse "the folder of $0 cannot be entered."
if [ $# -eq 0 ]; then
  for path in "$capsule"/machines/*; do set -- "$@" "${path##*/}"; done
fi
for name in "$@"; do
  case $name in */* | '') found='' ;; *) found=$capsule/machines/$name ;; esac
  [ -f "$found" ] || refuse "there is no machine '$name', expected one of the folder machines; README.txt has a table of them."
done
if [ -n "$keep" ]; then
  mkdir -p -- "$keep" 2>/dev/null && keep=$(CDPATH='' cd -- "$keep" && pwd) && [ -w "$keep" ] ||
    refuse "$keep cannot be written, expected a folder for the answers."
fi
same=0 different=0
for name in "$@"; do run_machine "$name"; done
printf '%d cells: %d same, %d DIFFERENT\n' $((same + different)) "$same" "$different"
[ "$different" -eq 0 ]
