# shellcheck shell=sh disable=SC2153
# The card of a board as a file of its own, whose keys only its owner may read. make_card.sh names the variables.
umask 077
card=$CARD
if [ ! -d "${card%/*}" ]; then
  mkdir -p "${card%/*}" || fail "The folder ${card%/*} for the card cannot be made."
  printf '*\n' >"${card%/*}/.gitignore"  # it may be within a lab that is under version control
fi
CARD=$card.made
export IMAGE LOADERS LOADER BOOT_SCR ARM_WATCHDOG KERNEL FOLDER COMMAND INITRD FDT OTHERS KERNEL_PARAMS CARD FORMAT NAME IDENTITY
said=$(sh "$MAKE_CARD" 2>&1) || fail "The card of $NAME could not be made: $(printf '%s' "$said" | tail -n 3)"
if cmp -s "$CARD" "$card"; then
  rm "$CARD"
else
  mv "$CARD" "$card"
  changed "made $card"
fi
