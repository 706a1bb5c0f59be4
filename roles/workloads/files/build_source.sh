#!/bin/sh
# Build a workload's program from a source tree, as its entry says, into $OUT/bin/rtvirt-*.
# Needs: TOOLCHAIN (folder of build_compiler.sh), SOURCE (archive or folder; or empty), DEBIAN_SOURCE and SUITE (a source package, if SOURCE is
# empty), BUILD (shell commands; they find CC, HOST, ARCHITECTURE and OUT, and the tree as their working folder), ARCHITECTURE.
set -eu
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
tree=$work/tree
mkdir "$tree"

if [ -n "$DEBIAN_SOURCE" ]; then
  echo ":: fetching the source of $DEBIAN_SOURCE ($SUITE)"
  debian_source_package "$SUITE" "$DEBIAN_SOURCE" "$work/package"
  SOURCE=$(find "$work/package" -name '*.orig.tar.*' ! -name '*.asc' | head -n 1)
fi
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
