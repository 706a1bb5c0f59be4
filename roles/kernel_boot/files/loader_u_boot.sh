# shellcheck shell=sh disable=SC2154
# check mode: safe
# The boot loader U-Boot, which runs our boot.scr (boot.cmd is its source) from a boot partition that it can write: FAT.
# BOOT_SCR: boot.scr in base64; ARM_WATCHDOG: U-Boot's commands that start the hardware watchdog, or nothing; U_BOOT_ENV: variables of U-Boot's
# (<name>=<value> ...) that boot.scr sets first.

# Does this loader start the board, from entries of ours?
u_boot_found() { [ -e "$boot/boot.scr" ] && [ -s "$state/default.env" ]; }

# What runs on a board without entries of ours, as its first default entry: such a board is not of this loader.
u_boot_adopt() { :; }

# The name of the initrd that the board itself makes for each kernel, or nothing.
u_boot_own_initrd() { :; }

# Bring the loader's own files; entries that change later are read by boot.scr as they are.
u_boot_set_up() {
  printf '%s' "$BOOT_SCR" | base64 -d | put "$boot/boot.scr" "U-Boot's script"
  # shellcheck disable=SC2086 # a list of words
  printf '%s\n' "rtvirt_arm_watchdog=$ARM_WATCHDOG" $U_BOOT_ENV | put "$state/board.env" "the board's own, for U-Boot"
}

# Let the next boot, and only that one, be of the entry trial.
u_boot_mark() { echo ready | put "$state/trial" 'the mark that the next boot is a trial'; }
u_boot_unmark() { remove "$state/trial"; }

# Take our entries away: such a board starts nothing else.
u_boot_forget() { :; }

# The entries have changed: nothing to do, U-Boot reads them itself.
u_boot_entries_changed() { :; }
