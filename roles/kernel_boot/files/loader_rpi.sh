# shellcheck shell=sh disable=SC2034,SC2154
# check mode: safe
# The firmware of a Raspberry Pi, which starts the kernel itself. config.txt ends with a block of ours that names the default entry;
# without it the Pi starts what it started before. A trial is the firmware's one-shot `tryboot`: a flag, set through the mailbox and
# gone before anything starts, lets it read tryboot.txt in the place of config.txt.
# ARM_WATCHDOG: lines for tryboot.txt that start the hardware watchdog; UNTRIED: yes, if a kernel may be booted that cannot be tried.
rpi_found() { [ -s "$boot/config.txt" ] && { [ -e "$boot/bootcode.bin" ] || [ -e "$boot/start.elf" ]; }; }

# What runs becomes the default entry, as it is: it has no folder of ours. Its line is that of cmdline.txt, which is at the end of the
# running one; the firmware puts parameters of its own before, and writes the name of the port for console=serial0. In `adopted`.
rpi_adopt() {
  [ "$(grep -c '^initramfs ' "$boot/config.txt")" -eq 0 ] ||
    fail "$boot/config.txt has a line 'initramfs', which would go with every kernel; take it out (auto_initramfs=1 does it for the board's own)."
  name=$(rpi_theirs | sed -n 's/^cmdline=//p' | tail -n 1)
  line=$(THEIRS=$(head -n 1 "$boot/${name:-cmdline.txt}") RUNNING=$(running_line) awk 'BEGIN {
    n = split(ENVIRON["THEIRS"], theirs, " "); shift = split(ENVIRON["RUNNING"], running, " ") - n
    for (i = 1; i <= n; i++) {
      port = theirs[i] ~ /^console=serial[01],?/ && running[i + shift] ~ /^console=tty/
      if (theirs[i] != running[i + shift] && !port) exit 1
      printf "%s%s", (i > 1 ? " " : ""), running[i + shift]
    }
  }') || fail "The running command line does not end with that of $boot/${name:-cmdline.txt}; if that was edited, reboot the board first."
  adopted=$(KERNEL=as-found FOLDER='' COMMAND='' INITRD='' FDT='' entry_text '' "$line")
}

rpi_own_initrd() { :; }

rpi_set_up() {
  [ "$(rpi_flag)" != unknown ] || [ "$UNTRIED" = yes ] ||
    fail "This Raspberry Pi cannot boot a kernel on trial: its firmware, its running kernel (/dev/vcio) or a missing vcmailbox does not" \
      "let the tryboot flag be set. Update them, or let it be booted untried (kernel_boot_untried): if it does not reach user space," \
      "somebody must take the card out and delete the lines after '$rpi_block' in config.txt."
}

# The flag as the firmware holds it: 0, 1, or unknown. The reply's fifth word says whether it knows the question.
rpi_flag() {
  # shellcheck disable=SC2046  # a list of words
  set -- $(vcmailbox 0x00030064 4 0 0 2>/dev/null)
  case "${5:-} ${6:-}" in '0x80000004 0x00000001') echo 1 ;; '0x80000004 0x00000000') echo 0 ;; *) echo unknown ;; esac
}

rpi_mark() {
  case $(rpi_flag) in
  1) return 0 ;;
  unknown)
    # Untried. As soon as the kernel runs, the guard puts this copy back: from then on it is a trial.
    put "$state/config.txt" <"$boot/config.txt"
    rpi_config trial | put "$boot/config.txt" 'for the firmware: the untried kernel'
    return 0
    ;;
  esac
  changed 'marked the next boot as the trial'
  [ "$RTVIRT_CHECK_MODE" = no ] || return 0
  vcmailbox 0x00038064 4 0 1 >/dev/null
  [ "$(rpi_flag)" = 1 ] || fail 'The firmware does not keep the flag tryboot, so this Raspberry Pi cannot boot a kernel on trial.'
}

rpi_unmark() {
  rpi_config default | put "$boot/config.txt"
  [ "$(rpi_flag)" = 1 ] || return 0
  changed 'removed the mark that the next boot is a trial'
  [ "$RTVIRT_CHECK_MODE" = yes ] || vcmailbox 0x00038064 4 0 0 >/dev/null
}

# First what the texts for the firmware name, then those, then what nobody names any longer.
rpi_entries_changed() {
  [ "$RTVIRT_CHECK_MODE" = no ] || return 0
  for entry in default trial; do
    [ ! -e "$state/$entry.env" ] || field "$state/$entry.env" bootargs | put "$(rpi_line "$entry")"
  done
  rpi_config default | put "$boot/config.txt" 'for the firmware: the default entry'
  if [ -e "$state/trial.env" ]; then
    { rpi_config trial; printf '%s\n' "$ARM_WATCHDOG"; } | put "$boot/tryboot.txt" 'for the firmware: the trial'
  else
    remove "$boot/tryboot.txt"
  fi
  for file in "$state"/line-*.txt; do
    grep -qsF "${file##*/}" "$boot/config.txt" "$boot/tryboot.txt" || remove "$file"
  done
  remove "$state/config.txt"
}

rpi_block='# Made by rtvirt; what is below is its own:'

# The operator's lines of config.txt.
rpi_theirs() { sed "/^$rpi_block/,\$d" "$boot/config.txt"; }

# The file of an entry's command line; another line is another file, so that config.txt alone decides what boots. usage: rpi_line ENTRY
rpi_line() { echo "$state/line-$(field "$state/$1.env" bootargs | cksum | cut -d ' ' -f 1).txt"; }

# config.txt as an entry needs it. usage: rpi_config ENTRY
rpi_config() {
  rpi_theirs
  folder=$(field "$state/$1.env" rtvirt_folder | sed 's|^/||')
  [ "$folder" != kernels/ ] || return 0  # as found
  fdt=$(field "$state/$1.env" rtvirt_fdt)
  initrd=$(field "$state/$1.env" rtvirt_initrd)
  line=$(rpi_line "$1")
  printf '%s\n' "$rpi_block" '[all]' os_prefix= "kernel=$folder/vmlinuz" "cmdline=rtvirt/${line##*/}" auto_initramfs=0
  [ -z "$fdt" ] || echo "device_tree=$folder/$fdt"
  [ -z "$initrd" ] || echo "initramfs $folder/$initrd followkernel"
}
