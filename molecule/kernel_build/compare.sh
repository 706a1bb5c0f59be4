# shellcheck shell=sh
# RELEASE: of the kernel that was made.
[ "$(uname -r)" = "$RELEASE" ] || fail "The board runs $(uname -r), made was $RELEASE."
