#!/bin/sh
# Build a kernel from a source archive into $OUT: vmlinuz, config, System.map, release, dtbs/, lib/modules/<release>, and the
# archive of them, the same bytes for the same input. A failure prints one sentence behind "!! ".
# Needs: NAME, KEY (of this build), SOURCE (archive), PATCHES (files, one per line, in order), ARCHITECTURE, ARCH (make's), SOURCE_ARCH
# (folder below arch/), CROSS_COMPILE, CONFIG_BASE, FRAGMENTS (files, one per line), IMAGE, DEVICE_TREES, MAKE_WORDS, OBJECTS (about how many,
# 0: unknown), TOOLCHAIN (folder, or nothing: installed), JOBS, KCONFIG (checker), CCACHE_DIR (nothing: no ccache).
set -eu
work=$OUT/.work
tree=$work/linux
mkdir -p "$tree"

# In a folder of the tree itself, where the kernel's Makefiles name every source by a relative path: no path of this machine gets
# into the objects, and ccache finds them again wherever the next build happens.
build=$tree/.build

say() { echo ":: $*"; }
stop() { echo "!! $NAME: $*"; exit 1; }

[ -z "$TOOLCHAIN" ] || PATH=$TOOLCHAIN/bin:$PATH
compiler=${CROSS_COMPILE}gcc
if [ -n "$CCACHE_DIR" ] && command -v ccache >/dev/null; then compiler="ccache $compiler"; fi
# The preprocessed text is compiled rather than preprocessed again, which is nearly all that a miss would cost more.
export CCACHE_NOCPP2=true CCACHE_MAXSIZE=3G
run_make() {
  # shellcheck disable=SC2086  # words of make
  make -C "$tree" O=.build ARCH="$ARCH" CROSS_COMPILE="$CROSS_COMPILE" CC="$compiler" LOCALVERSION="-$(echo "$KEY" | cut -c 1-8)" \
    KBUILD_BUILD_USER=rtvirt KBUILD_BUILD_HOST=rtvirt KBUILD_BUILD_VERSION=1 KBUILD_BUILD_TIMESTAMP="$(date -u -d "@$SOURCE_DATE_EPOCH")" $MAKE_WORDS "$@"
}

say "unpacking the source"
tar --extract --file "$SOURCE" --directory "$tree" --strip-components=1 --no-same-owner
[ -f "$tree/Makefile" ] && [ -d "$tree/arch/$SOURCE_ARCH" ] ||
  stop "the archive $(basename "$SOURCE") holds no kernel with arch/$SOURCE_ARCH; is it the right file?"
SOURCE_DATE_EPOCH=$(stat -c %Y "$tree/Makefile")
export SOURCE_DATE_EPOCH

count=0
printf '%s' "$PATCHES" >"$work/patches"
total=$(grep -c . "$work/patches") || :
while read -r patch || [ -n "$patch" ]; do
  count=$((count + 1))
  [ -f "$patch" ] || stop "the patch $(basename "$patch") is missing (patch $count of $total); expected a file at $patch."
  case $patch in
  *.xz) xz -dc "$patch" ;;
  *.gz) gzip -dc "$patch" ;;
  *) cat "$patch" ;;
  esac >"$work/patch"
  patch --directory="$tree" --strip=1 --forward --batch --no-backup-if-mismatch --quiet <"$work/patch" >"$work/patch.log" 2>&1 || {
    cat "$work/patch.log"
    stop "patch $(basename "$patch") ($count of $total) does not apply: $(grep -m 1 -E 'FAILED|No file|malformed|saving rejects|can.t find' "$work/patch.log" || tail -n 1 "$work/patch.log"); is it made for this version, and are the patches in their order?"
  }
done <"$work/patches"
[ "$count" -eq 0 ] || say "applied $count patches"

say "configuring: $CONFIG_BASE and $(printf '%s\n' "$FRAGMENTS" | grep -c .) fragments"
mkdir -p "$build"
printf '%s\n' "$FRAGMENTS" >"$work/fragments"
set --
while read -r fragment; do
  [ -z "$fragment" ] || set -- "$@" "$fragment"
done <"$work/fragments"
python3 "$KCONFIG" --wanted "$@" >"$work/wanted"
# With allnoconfig what the fragments do not name stays off, also where Kconfig's own default is on; with a defconfig that wins.
KCONFIG_ALLCONFIG=$work/wanted run_make -s "$CONFIG_BASE" 2>&1 || stop "'make $CONFIG_BASE' failed; is the name of the base configuration right?"
cat "$work/wanted" >>"$build/.config"
run_make -s olddefconfig 2>&1 | grep -v 'override: reassigning' || :
dropped=$(python3 "$KCONFIG" "$tree" "$SOURCE_ARCH" "$build/.config" "$@") ||
  stop "these options are not in the final configuration as the fragments ask for them: $(echo "$dropped" | paste -sd ';' | sed 's/;/; /g'). Correct the fragments."

release=$(run_make -s kernelrelease | tail -n 1)
say "compiling $release with $JOBS jobs"
began=$(date +%s)
# shellcheck disable=SC2086  # words of make
{ run_make -j "$JOBS" "$IMAGE" modules $DEVICE_TREES 2>&1 || touch "$work/failed"; } | {
  files=0
  while IFS= read -r line; do  # not awk, of which Debian's holds lines back
    printf '%s\n' "$line"
    case $line in '  CC '* | '  AS '* | '  LD '* | '  AR '* | '  HOSTCC '* | '  DTC '*) files=$((files + 1)) ;; *) continue ;; esac
    [ $((files % 100)) -ne 0 ] || say "$files$([ "$OBJECTS" -eq 0 ] || echo " of about $OBJECTS") files"
  done
  say "$files files in all"
}
[ ! -e "$work/failed" ] || exit 1
echo "make took $(($(date +%s) - began)) s"

say "packing"
cp "$build/arch/$SOURCE_ARCH/boot/$IMAGE" "$OUT/vmlinuz"
cp "$build/.config" "$OUT/config"
cp "$build/System.map" "$OUT/System.map"
printf '%s\n' "$release" >"$OUT/release"
if grep -q '^CONFIG_MODULES=y' "$OUT/config"; then
  run_make -s modules_install INSTALL_MOD_PATH="$OUT" INSTALL_MOD_STRIP=1
  rm -f "$OUT/lib/modules/$release/build" "$OUT/lib/modules/$release/source"
fi
for dtb in $DEVICE_TREES; do
  mkdir -p "$OUT/dtbs/$(dirname "$dtb")"
  cp "$build/arch/$SOURCE_ARCH/boot/dts/$dtb" "$OUT/dtbs/$dtb"
done
rm -rf "$work"
pack_kernel "$OUT" "$NAME" "$ARCHITECTURE" "$IMAGE"
