#!/bin/sh
# Build a workload's program from a source tree, as its entry says, into $OUT/bin/rtvirt-*.
# Needs: TOOLCHAIN (folder of build_compiler.sh), SOURCE (an archive, a folder, or one with a source package), ARCHITECTURE,
# BUILD (shell commands; they find CC, HOST, ARCHITECTURE and OUT, and the tree as their working folder).
set -eu
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
tree=$work/tree
mkdir "$tree"

for archive in "$SOURCE"/*.orig.tar.*; do
  case $archive in *.asc) ;; *) [ ! -f "$archive" ] || SOURCE=$archive ;; esac
done
if [ -d "$SOURCE" ]; then
  cp -a "$SOURCE/." "$tree/"
else
  tar -C "$tree" -xf "$SOURCE"
  # Archives have one folder at the top, as a rule.
  set -- "$tree"/*
  [ $# -ne 1 ] || [ ! -d "$1" ] || tree=$1
fi

read -r compiler <"$TOOLCHAIN/compiler"
jobs=$(nproc)
export CC="$TOOLCHAIN/cc" HOST="${compiler%-gcc}" ARCHITECTURE OUT MAKEFLAGS="-j$jobs"
mkdir -p "$OUT/bin"
echo ":: building $(basename "$tree")"
(cd "$tree" && sh -eu -c "$BUILD")
[ -n "$(ls "$OUT/bin")" ] || { echo '!! its build commands left no program in OUT/bin'; exit 1; }
for program in "$OUT"/bin/*; do
  case $(basename "$program") in
  rtvirt-*) ;;
  *) echo "!! its build commands left $(basename "$program") in OUT/bin, expected names that begin with rtvirt-, by which reset finds them"; exit 1 ;;
  esac
done
