# shellcheck shell=sh disable=SC2153
# Create the card of a board as a file; it holds keys, so only its owner may read it. make_card.sh names the variables.
umask 077
card=$CARD
if [ ! -d "${card%/*}" ]; then
  mkdir -p "${card%/*}" || fail "The folder ${card%/*} for the card cannot be made."
  printf '*\n' >"${card%/*}/.gitignore"  # keep cards out of the lab's version control
fi
CARD=$card.made
export IMAGE LOADERS LOADER BOOT_SCR ARM_WATCHDOG U_BOOT_ENV KERNEL FOLDER COMMAND INITRD FDT OTHERS KERNEL_PARAMS CARD FORMAT NAME IDENTITY
said=$(sh "$MAKE_CARD" 2>&1) || fail "The card of $NAME could not be made: $(printf '%s' "$said" | tail -n 3)"
if cmp -s "$CARD" "$card"; then
  rm "$CARD"
else
  mv "$CARD" "$card"
  changed "made $card"
fi
