#!/bin/sh
# Put musl's headers and library into $OUT, and a compiler, $OUT/cc, that makes static programs with them: a tenth of the size of glibc's, and
# the same digits on every architecture.
# Needs: COMPILER (gcc for the architecture), SUITE, ARCHITECTURE.
set -eu
command -v "$COMPILER" >/dev/null || { echo "!! there is no $COMPILER here; the role controller installs it"; exit 1; }
tree=$(mktemp -d)
trap 'rm -rf -- "$tree"' EXIT

echo ":: fetching musl ($ARCHITECTURE, $SUITE)"
debian_tree extract "$SUITE" "$ARCHITECTURE" "$tree/root" musl-dev
mv "$tree"/root/usr/include/*-linux-musl* "$OUT/include"
mv "$tree"/root/usr/lib/*-linux-musl* "$OUT/lib"
printf '%s\n' "$COMPILER" >"$OUT/compiler"
cp "$(dirname "$0")/cc.sh" "$OUT/cc"
chmod 755 "$OUT/cc"
"$OUT/cc" -x c -o "$tree/hello" - <<'EOT'
#include <stdio.h>
int main(void) { return puts("hello") < 0; }
EOT
