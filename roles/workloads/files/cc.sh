#!/bin/sh
# A C compiler whose programs are static and stand on musl. The same floating-point steps everywhere: no fused multiply-add unless written.
here=$(dirname "$(readlink -f "$0")")
read -r compiler <"$here/compiler"
links=yes
for word in "$@"; do
  case $word in -c | -S | -E | -M | -MM | --version | -dumpmachine | -dumpversion) links=no ;; esac
done
case $compiler in aarch64-*) set -- -mno-outline-atomics "$@" ;; esac  # those would ask glibc what the core can do
set -- -nostdinc -isystem "$here/include" -isystem "$("$compiler" -print-file-name=include)" -ffp-contract=off "$@"
[ "$links" = yes ] || exec "$compiler" "$@"
exec "$compiler" -static -no-pie -nostdlib "$here/lib/crt1.o" "$here/lib/crti.o" "$@" -x none -L"$here/lib" \
  -Wl,--start-group -lc -lm -lpthread -lgcc -lgcc_eh -Wl,--end-group "$here/lib/crtn.o"
