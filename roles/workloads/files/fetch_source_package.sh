#!/bin/sh
# Fetch the source of a Debian package into $OUT, as its authors published it.
# Needs: PACKAGE, SUITE.
set -eu
echo ":: fetching the source of $PACKAGE ($SUITE)"
debian_source_package "$SUITE" "$PACKAGE" "$OUT"
