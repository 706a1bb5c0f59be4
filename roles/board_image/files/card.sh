# shellcheck shell=sh disable=SC2153
# The card of a board as a file of its own, whose keys only its owner may read. make_card.sh names the variables.
umask 077
mkdir -p "${CARD%/*}" || fail "The folder ${CARD%/*} for the card cannot be made."
export IMAGE LOADERS LOADER BOOT_SCR ARM_WATCHDOG KERNEL FOLDER COMMAND INITRD FDT OTHERS WORDS CARD FORMAT NAME IDENTITY
said=$(sh "$MAKE_CARD" 2>&1) || fail "The card of $NAME could not be made: $(printf '%s' "$said" | tail -n 3)"
fact card "$CARD"
fact card_bytes "$(stat -c %s "$CARD")"
changed "made $CARD"
