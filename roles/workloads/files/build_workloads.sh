#!/bin/sh
# Compile each workload's sources into one static program, $OUT/bin/rtvirt-<workload>.
# Needs: COMPILER, PROGRAMS (name=source,source ...).
set -eu
SOURCES=$(dirname "$0")
mkdir -p "$OUT/bin"
for entry in $PROGRAMS; do
  name=${entry%%=*} sources=$(printf '%s' "${entry#*=}" | tr ',' ' ')
  echo ":: compiling $name"
  # shellcheck disable=SC2086  # a list of files
  (cd "$SOURCES" && "$COMPILER" -std=c99 -O2 -Wall -Wextra -Werror -static -s -o "$OUT/bin/rtvirt-$name" $sources -lm)
done
