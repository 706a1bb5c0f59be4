# shellcheck shell=sh disable=SC2034,SC2153,SC2154
# check mode: safe
# The firmware of a Raspberry Pi, which starts the kernel itself. config.txt ends with a block of ours that names the default entry;
# without it the Pi starts what it started before. A trial is the firmware's one-shot `tryboot`: a flag, set through the mailbox and
# gone before anything starts, lets it read tryboot.txt in the place of config.txt.
# ARM_WATCHDOG: lines for tryboot.txt that start the hardware watchdog; UNTRIED: yes, if a kernel may be booted that cannot be tried.
# From the Pi 4 on bootcode.bin is not on the card, on a Pi 5 start*.elf neither.
rpi_found() {
  [ -s "$boot/config.txt" ] || return 1
  for file in "$boot/bootcode.bin" "$boot"/start*.elf "$boot"/bcm27*.dtb; do [ ! -e "$file" ] || return 0; done
  return 1
}

# What runs becomes the default entry, as it is: it has no folder of ours. Its line is that of the file that `cmdline` names, which is at the
# end of the running one; the firmware puts parameters of its own before, and writes the name of the port for console=serial0. In `adopted`.
rpi_adopt() {
  where=$(rpi_settings | OWN=$boot/config.txt awk -F '\t' '$2 == "initramfs" && $1 != ENVIRON["OWN"] { print $1; exit }')
  [ -z "$where" ] ||
    fail "$where, which $boot/config.txt includes, asks for an initramfs, which would go with every kernel; move that line to $boot/config.txt" \
      "itself, where it means the same to the board and can be switched off for other kernels."
  tried='' line=''
  for file in $(rpi_line_files); do
    tried="${tried:+$tried, }$file"
    line=$(rpi_line_that_runs "$file") && break
    line=
  done
  [ -n "$line" ] ||
    fail "The running command line does not end with that of $tried, where $boot/config.txt lets the firmware look for it (a file that is missing" \
      "or blank counts as none); write the board's own parameters there, in one line, and reboot the board first."
  adopted=$(KERNEL=as-found FOLDER='' COMMAND='' INITRD='' FDT='' entry_text '' "$line")
}

# The files that may have the command line, the likeliest first.
rpi_line_files() {
  rpi_settings | BOOT=$boot awk -F '\t' '
    $2 == "os_prefix" { prefix = $3 }
    $2 == "cmdline" && $3 != "" { file[++n] = $3 }
    END {
      file[0] = "cmdline.txt"
      for (i = n + 0; i >= 0; i--) {
        if (prefix != "" && file[i] !~ /^\//) print ENVIRON["BOOT"] "/" prefix file[i]
        sub(/^\//, "", file[i]); print ENVIRON["BOOT"] "/" file[i]
      }
    }' | awk '!seen[$0]++'
}

# The end of the running command line that is the first line of a file; fails if it is not. usage: rpi_line_that_runs FILE
rpi_line_that_runs() {
  [ -f "$1" ] || return 1
  THEIRS=$(head -n 1 "$1" | tr -d '\r') RUNNING=$(running_line | tr -d '\r') awk 'BEGIN {
    n = split(ENVIRON["THEIRS"], theirs, " "); m = split(ENVIRON["RUNNING"], running, " "); shift = m - n
    if (n == 0 || shift < 0) exit 1
    for (i = 1; i <= shift; i++) if (running[i] ~ /^root=/) lost = 1
    for (i = 1; i <= n; i++) {
      port = theirs[i] ~ /^console=serial[01],?/ && running[i + shift] ~ /^console=tty/
      if (theirs[i] != running[i + shift] && !port) exit 1
      if (running[i + shift] ~ /^root=/) lost = 0
      line = line (i > 1 ? " " : "") running[i + shift]
    }
    if (lost) exit 1
    print line
  }'
}

# config.txt as the firmware reads it: FILE, KEY and VALUE per line, separated by tabs. Sections that do not apply to this model are left out;
# those that cannot be judged here (a monitor, a pin, a serial number, the flag tryboot) are read. A line counts up to its 98th character, blanks
# around it and a carriage return do not; both forms that ask for an initramfs have the key initramfs.
rpi_settings() {
  BOOT=$boot MODEL=$(tr -d '\000' 2>/dev/null <"${MODEL_FILE:-/proc/device-tree/model}") awk '
    function model_names(model) {
      sub(/^Raspberry Pi */, "", model)
      if (model == "") return ""
      if (model ~ /^Compute Module 4S/) return " cm4s pi4 "
      if (model ~ /^Compute Module 5|^5|^500/) return " pi5" (model ~ /^Compute/ ? " cm5" : "") (model ~ /^500/ ? " pi500" : "") " "
      if (model ~ /^Compute Module 4|^4/) return " pi4" (model ~ /^Compute/ ? " cm4" : "") (model ~ /^400/ ? " pi400" : "") " "
      if (model ~ /^3 Model . Plus/) return " pi3 pi3+ "
      if (model ~ /^Compute Module 3|^3/) return " pi3 "
      if (model ~ /^2/) return " pi2 "
      if (model ~ /^Zero 2/) return " pi02 pi0 pi0w "
      if (model ~ /^Zero W/) return " pi0 pi0w "
      if (model ~ /^Zero/) return " pi0 "
      return " pi1 "
    }
    function section(name,   kind) {
      if (name == "all") { for (kind in off) delete off[kind] }
      else if (name ~ /^(pi|cm)[0-9]/) off["model"] = names != "" && !index(names, " " name " ")
      else if (name == "none") off["none"] = 1
    }
    function applies(   kind) { for (kind in off) if (off[kind]) return 0; return 1 }
    function tell(file, key, value) { print file "\t" key "\t" value }
    function read_file(name, depth,   path, line, word, key, at) {
      path = ENVIRON["BOOT"] "/" name
      if (depth > 8 || reading[path]) return
      reading[path] = 1
      while ((getline line < path) > 0) {
        line = substr(line, 1, 98); gsub(/^[ \t\r]+|[ \t\r]+$/, "", line)
        if (line == "" || line ~ /^#/) continue
        if (line ~ /^\[.*\]$/) { section(substr(line, 2, length(line) - 2)); continue }
        if (!applies()) continue
        if (line ~ /^include[ \t]/) { split(line, word, /[ \t]+/); read_file(word[2], depth + 1); continue }
        if (line ~ /^initramfs[ \t]/) { split(line, word, /[ \t]+/); tell(path, "initramfs", word[2]); continue }
        if (!(at = index(line, "="))) continue
        key = substr(line, 1, at - 1); sub(/[ \t]+$/, "", key)
        line = substr(line, at + 1); sub(/^[ \t]+/, "", line)
        tell(path, key == "ramfsfile" ? "initramfs" : key, line)
      }
      close(path); delete reading[path]
    }
    BEGIN { names = model_names(ENVIRON["MODEL"]); read_file("config.txt", 0) }'
}

rpi_own_initrd() { :; }

rpi_set_up() {
  rpi_check_lines
  [ "$(rpi_flag)" != unknown ] || [ "$UNTRIED" = yes ] ||
    fail "This Raspberry Pi cannot boot a kernel on trial: its firmware, its running kernel (/dev/vcio) or a missing vcmailbox does not" \
      "let the tryboot flag be set. Update them, or let it be booted untried (kernel_boot_untried): if it does not reach user space," \
      "somebody must take the card out, delete the lines after '$rpi_block' in config.txt, and '$rpi_off' where a line begins with it."
}

# The firmware ignores what is behind the 98th character of a line, and reads 64 of the name of an initramfs. usage: rpi_check_lines
rpi_check_lines() {
  for line in "kernel=kernels/$FOLDER/vmlinuz" "${FDT:+device_tree=kernels/$FOLDER/$FDT}" "${INITRD:+initramfs kernels/$FOLDER/$INITRD followkernel}"; do
    [ "${#line}" -le 98 ] ||
      fail "The line '$line' of config.txt would have ${#line} characters, and the firmware reads 98 of a line; give the kernel $KERNEL a" \
        "name in the catalogue that is $((${#line} - 98)) characters shorter."
  done
  name=kernels/$FOLDER/$INITRD
  [ -z "$INITRD" ] || [ "${#name}" -le 64 ] ||
    fail "The initramfs '$name' has a name of ${#name} characters, and the firmware reads 64; give the kernel $KERNEL a name in the catalogue" \
      "that is $((${#name} - 64)) characters shorter."
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

# Take our entries away: with the entry as-found there is nothing of ours outside $state.
rpi_forget() { :; }

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
rpi_tab=$(printf '\t')
rpi_no_end=' (the line above had no end)'
# Before lines of the operator's that must not apply to a kernel of ours: an initramfs goes with every kernel.
rpi_off='#rtvirt# '

# The operator's lines of config.txt, byte for byte.
rpi_theirs() {
  if grep -qF "$rpi_block" "$boot/config.txt"; then
    BLOCK=$rpi_block NO_END=$rpi_no_end awk '
      at = index($0, ENVIRON["BLOCK"]) {
        if (at > 1) printf "%s%s", separator, substr($0, 1, at - 1)
        else if (NR > 1 && !index($0, ENVIRON["NO_END"])) print ""
        exit
      }
      { printf "%s%s", separator, $0; separator = "\n" }' "$boot/config.txt"
  else
    cat "$boot/config.txt"
  fi | sed "s/^$rpi_off//"
}

# The file of an entry's command line; another line is another file, so that config.txt alone decides what boots. usage: rpi_line ENTRY
rpi_line() { echo "$state/line-$(field "$state/$1.env" bootargs | cksum | cut -d ' ' -f 1).txt"; }

# config.txt as an entry needs it. usage: rpi_config ENTRY
rpi_config() {
  folder=$(field "$state/$1.env" rtvirt_folder | sed 's|^/||')
  [ "$folder" != kernels/ ] || { rpi_theirs; return 0; }  # as found
  fdt=$(field "$state/$1.env" rtvirt_fdt)
  initrd=$(field "$state/$1.env" rtvirt_initrd)
  line=$(rpi_line "$1")
  rpi_theirs | sed -e "s/^[ $rpi_tab]*initramfs[ $rpi_tab]/$rpi_off&/" -e "s/^[ $rpi_tab]*ramfsfile[ $rpi_tab]*=/$rpi_off&/"
  end=
  [ -z "$(rpi_theirs | tail -c 1)" ] || { echo; end=$rpi_no_end; }
  printf '%s\n' "$rpi_block$end" '[all]' os_prefix= "kernel=$folder/vmlinuz" "cmdline=rtvirt/${line##*/}" auto_initramfs=0
  [ -z "$fdt" ] || echo "device_tree=$folder/$fdt"
  [ -z "$initrd" ] || echo "initramfs $folder/$initrd followkernel"
}
