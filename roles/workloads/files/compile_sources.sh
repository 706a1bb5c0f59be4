#!/bin/sh
# Compile the C files of each program into one static one, $OUT/bin/rtvirt-<name>.
# Needs: TOOLCHAIN (folder of build_compiler.sh), PROGRAMS (name=file,file ...; each below this folder or SOURCES_DIR).
set -eu
FILES=$(dirname "$0")
mkdir -p "$OUT/bin"
echo ":: compiling $(for entry in $PROGRAMS; do printf '%s ' "${entry%%=*}"; done)"
compile() {
  name=${1%%=*} files=${1#*=}
  set --
  while [ -n "$files" ]; do
    file=${files%%,*}
    if [ -f "$FILES/$file" ]; then folder=$FILES; else folder=$SOURCES_DIR; fi
    set -- "$@" "$folder/$file"
    case $files in *,*) files=${files#*,} ;; *) files= ;; esac
  done
  "$TOOLCHAIN/cc" -std=c99 -O2 -Wall -Wextra -Werror -s -o "$OUT/bin/rtvirt-$name" "$@" -lm -lpthread
}
running=0 jobs=$(nproc)
for entry in $PROGRAMS; do
  compile "$entry" &
  running=$((running + 1))
  [ $((running % jobs)) -ne 0 ] || wait
done
wait
for entry in $PROGRAMS; do
  [ -x "$OUT/bin/rtvirt-${entry%%=*}" ] || { echo "!! ${entry%%=*} did not compile"; exit 1; }
done
