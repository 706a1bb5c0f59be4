#!/bin/sh
# Compile lockstep.c for this computer into $OUT/lockstep.so, and keep its source beside it.
set -eu
command -v gcc >/dev/null || { echo "!! there is no gcc here; the role controller installs it"; exit 1; }
cp "$(dirname "$0")/lockstep.c" "$OUT/"
gcc -std=gnu11 -O2 -Wall -Wextra -Werror -shared -fPIC -s -o "$OUT/lockstep.so" "$OUT/lockstep.c" -ldl
