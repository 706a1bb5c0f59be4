# shellcheck shell=sh disable=SC2016,SC2034,SC2153,SC2154
# check mode: safe
# The boot loader GRUB of a PC or server that was installed from its distribution. Our entries are in grub/rtvirt.cfg, which one line
# in the operator's custom.cfg reads; grub.cfg reads that, and whenever the distribution makes grub.cfg anew, that stays so.
# A trial is GRUB's own one-shot entry: next_entry in grubenv, which grub.cfg takes away before it starts anything.
grub=$boot/grub
grub_hook='if [ -s "${config_directory}/rtvirt.cfg" ]; then source "${config_directory}/rtvirt.cfg"; fi  # by rtvirt'

grub_found() { [ -s "$grub/grub.cfg" ]; }

# What runs becomes the default entry, and so the last good one: the distribution's kernel with its initrd under names of ours, so
# that no upgrade takes them away. In `adopted`.
grub_adopt() {
  release=$(uname -r)
  folder=as-found-$release
  image=$(running_line | tr ' ' '\n' | sed -n 's/^BOOT_IMAGE=//p' | head -n 1)
  image=$boot/${image##*/}
  [ -s "$image" ] || image=$boot/vmlinuz-$release
  [ -s "$image" ] || fail "The running kernel is not in $boot: $image was expected; is $boot mounted?"
  initrd=$boot/initrd.img-$release
  [ -s "$initrd" ] || initrd=
  if [ "$RTVIRT_CHECK_MODE" = no ]; then
    mkdir -p "$kernels/$folder"
    link "$image" "$kernels/$folder/vmlinuz"
    [ -z "$initrd" ] || link "$initrd" "$kernels/$folder/initrd.img"
    echo "$release" >"$kernels/$folder/release"
  fi
  adopted=$(KERNEL=as-found FOLDER=$folder COMMAND='' INITRD=${initrd:+initrd.img} FDT='' \
    entry_text '' "$(running_line | sed 's/BOOT_IMAGE=[^ ]* *//')")
}

# A second name costs no room; FAT has no such thing. usage: link FROM TO
link() { ln -f "$1" "$2" 2>/dev/null || cp "$1" "$2" || fail "The file $2 cannot be written: $(df -Pk "$kernels" | tail -n 1)."; }

# A distribution that makes initrds has a command line that needs one (root=UUID=...), whatever the kernel.
grub_own_initrd() { ! command -v mkinitramfs >/dev/null || echo initrd.img; }

grub_set_up() {
  # shellcheck disable=SC2154  # set.sh has it, before it writes an entry
  [ -z "${trial_line-}" ] || reason=$(grub_quoted "$trial_line") || fail "$reason"
  command -v grub-editenv >/dev/null || fail "The board's GRUB has no grub-editenv; install the board's package grub-common."
  for wanted_there in next_entry custom.cfg; do
    grep -q "$wanted_there" "$grub/grub.cfg" ||
      fail "There is no $wanted_there in $grub/grub.cfg, so it knows no one-shot entry or none of ours; make it with update-grub, with" \
        "/etc/grub.d/00_header and 41_custom as Debian has them."
  done
  # Without this the mark of a trial would stay, and the board would start a bad kernel again and again.
  beneath="$(grub-probe --target=fs "$grub") $(grub-probe --target=abstraction "$grub")"
  case $beneath in
  ' '* | btrfs* | zfs* | *' '?*)
    fail "GRUB cannot write to the file system of $grub ($beneath), so it cannot boot a kernel just once; put /boot on a" \
      "partition of its own, ext4 or FAT."
    ;;
  esac
  if [ "$INITRD" = initrd.img ] && [ ! -s "$kernels/$FOLDER/initrd.img" ] && [ "$RTVIRT_CHECK_MODE" = no ]; then
    # It looks for the kernel's configuration where Debian's packages have it.
    config=
    [ -e "$boot/config-$RELEASE" ] || config=$boot/config-$RELEASE
    [ -z "$config" ] || cp "$kernels/$FOLDER/config" "$config"
    mkinitramfs -o "$kernels/$FOLDER/initrd.new" "$RELEASE" >&2 && sync "$kernels/$FOLDER/initrd.new" &&
      mv "$kernels/$FOLDER/initrd.new" "$kernels/$FOLDER/initrd.img"
    [ -z "$config" ] || rm "$config"
    [ -s "$kernels/$FOLDER/initrd.img" ] ||
      fail "The board's mkinitramfs could not make an initrd for kernel $RELEASE: $(df -Pk "$kernels" | tail -n 1)."
    changed "made the initrd of $RELEASE"
  fi
  grub_put_hook
}

grub_put_hook() {
  { grep -vsF 'rtvirt.cfg' "$grub/custom.cfg" || :; echo "$grub_hook"; } | put "$grub/custom.cfg" 'the line that reads our entries'
}

# Take our entries away, so that the distribution's own default is started.
grub_forget() {
  remove "$grub/rtvirt.cfg"
  if grep -qsF rtvirt.cfg "$grub/custom.cfg"; then
    if grep -qvF rtvirt.cfg "$grub/custom.cfg"; then
      grep -vF rtvirt.cfg "$grub/custom.cfg" | put "$grub/custom.cfg" 'without the line that reads our entries'
    else
      remove "$grub/custom.cfg"
    fi
  fi
  # grub.cfg has emptied it, after a trial
  [ "$RTVIRT_CHECK_MODE" = yes ] || [ -n "$(grub_next)" ] || [ ! -s "$grub/grubenv" ] || grub-editenv "$grub/grubenv" unset next_entry
}

# How GRUB finds our kernels: the id of their file system, and their folder's path in that.
grub_device() { grub-probe --target=fs_uuid "$kernels"; }
grub_folder() { grub-mkrelpath "$kernels"; }

grub_mark() {
  [ "$(grub_next)" != rtvirt-trial ] || return 0
  [ "$RTVIRT_CHECK_MODE" = yes ] || grub-editenv "$grub/grubenv" set next_entry=rtvirt-trial ||
    fail "The mark of the trial cannot be written to $grub/grubenv."
  sync
  changed 'marked the next boot as the trial'
}

grub_unmark() {
  [ "$(grub_next)" = rtvirt-trial ] || return 0
  [ "$RTVIRT_CHECK_MODE" = yes ] || grub-editenv "$grub/grubenv" unset next_entry
  changed 'removed the mark that the next boot is a trial'
}

grub_next() { [ ! -s "$grub/grubenv" ] || grub-editenv "$grub/grubenv" list | sed -n 's/^next_entry=//p'; }

grub_entries_changed() {
  [ "$RTVIRT_CHECK_MODE" = no ] || return 0
  for entry in last_good default trial; do
    [ ! -e "$state/$entry.env" ] || reason=$(grub_quoted "$(field "$state/$entry.env" bootargs)") || fail "$reason"
  done
  text=$(
    echo "# Made by rtvirt's role kernel_boot from /boot/rtvirt. Without this file the distribution's own default is started again."
    echo "search --no-floppy --fs-uuid --set=rtvirt_device $(grub_device)"
    for entry in last_good default trial; do
      [ ! -e "$state/$entry.env" ] || grub_entry "$entry"
    done
  )
  printf '%s\n' "$text" | put "$grub/rtvirt.cfg" 'our entries, for GRUB'
}

# The menu entry of one of ours. usage: grub_entry NAME
grub_entry() {
  file=$state/$1.env
  kernel=$(field "$file" rtvirt_kernel)
  folder=$(grub_folder)/$(field "$file" rtvirt_folder | sed 's|.*/||')
  initrd=$(field "$file" rtvirt_initrd)
  words=$(grub_quoted "$(field "$file" bootargs)")
  if=
  otherwise=
  if [ "$1" = trial ]; then if='if ' otherwise="; then true; else echo 'rtvirt: the trial entry could not be started'; reboot; fi"; fi
  echo "menuentry 'rtvirt: $kernel ($1)' --id rtvirt-$1 --unrestricted {"
  echo "  set root=\${rtvirt_device}"
  echo "  echo 'rtvirt: booting $kernel ($1)'"
  echo "  ${if}linux '$folder/vmlinuz' $words$otherwise"
  [ -z "$initrd" ] || echo "  ${if}initrd '$folder/$initrd'$otherwise"
  # What cannot be started is no trial: the next boot is of the default entry.
  [ "$1" != trial ] || printf '  %s\n' boot reboot
  echo '}'
  # The last of those that are there; not when grub.cfg has just taken a one-shot entry, ours or the operator's (boot_once).
  [ "$1" = trial ] ||
    echo "if [ -z \"\${boot_once}\" -a -f \"(\${rtvirt_device})$folder/vmlinuz\" ]; then set default=rtvirt-$1; fi"
}

# Each word of a command line in single quotes, so that GRUB's shell leaves it alone. What GRUB itself writes before quotes
# inside a word the kernel would not understand; a word that is quoted as a whole it writes just so. usage: grub_quoted LINE
grub_quoted() {
  LINE=$1 awk 'BEGIN {
    line = ENVIRON["LINE"]
    while (match(line, /^ *("[^"]*"|[^ "]+)( |$)/)) {
      word = substr(line, RSTART, RLENGTH); line = substr(line, RSTART + RLENGTH); gsub(/^ *| *$/, "", word)
      if (word ~ /^".* .*"$/) word = substr(word, 2, length(word) - 2)
      if (word ~ /["\\\047]/) break
      text = text separator "\047" word "\047"; separator = " "; word = ""
    }
    if (word line != "") {
      print "GRUB cannot pass the command line on as it is, because of quotes or backslashes in: " word line \
        "; quote a word as a whole, as in \"name=two words\"."
      exit 1
    }
    printf "%s", text
  }'
}
