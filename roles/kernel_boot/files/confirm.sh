# shellcheck shell=sh disable=SC2154
# After the reboot: make the trial's kernel the default if it runs and shows what it must, or say what became of the trial.
# KERNEL, RELEASE, REALTIME, PARAMETERS, KEEP, LOADERS and what these need.
find_loader
default=$state/default.env trial=$state/trial.env
fact release "$(uname -r)"
fact kernel "$(field "$default" rtvirt_kernel)"
if [ ! -e "$trial" ]; then
  difference=$(difference "$default" '')
  [ -z "$difference" ] && [ "$(field "$default" rtvirt_kernel)" = "$KERNEL" ] ||
    fail "There is no trial of kernel $KERNEL on this board, which runs $(field "$default" rtvirt_kernel) ($(uname -r)); apply kernel_boot first."
  fact state settled  # it was confirmed before
  exit 0
fi
[ "$(field "$trial" rtvirt_kernel)" = "$KERNEL" ] ||
  fail "The trial on this board is of kernel $(field "$trial" rtvirt_kernel), not of $KERNEL; apply kernel_boot for it first."

give_up() {
  "${loader}_unmark"
  remove "$trial"
  "${loader}_entries_changed"
}

if ! runs "$trial"; then
  # Its own last words: what the guard kept, or the journal of the boot before where that is kept.
  if [ -e "$state/last_words" ]; then file last_words "$state/last_words"; else
    journalctl -k -b -1 -n 15 --no-pager 2>/dev/null >/run/rtvirt.last_words && file last_words /run/rtvirt.last_words
  fi
  fact state abandoned
  give_up
  remove "$state/last_words"
  exit 0
fi

difference=$(difference "$trial" "$(field "$default" rtvirt_kernel_params)")
if [ -n "$difference" ]; then
  fact state rejected
  fact difference "$difference"
  give_up
  exit 0
fi

# The wanted entry is the trial's without the parameters of the trial. First the way back, then the new default.
fact state confirmed
changed "kernel $KERNEL is the default"
[ "$RTVIRT_CHECK_MODE" = no ] || exit 0
confirmed=$(sed 's/^\(bootargs=.*\) rtvirt\.trial=.*/\1/' "$trial")
if [ "$confirmed" != "$(cat "$default")" ]; then
  put "$state/last_good.env" <"$default"
  printf '%s\n' "$confirmed" | put "$default"
fi
remove "$trial"
"${loader}_entries_changed"
sh /usr/local/lib/rtvirt/trial_guard confirm || fail "The guard of the trial does not end; the board would be reset: $(tail -n 1 /run/rtvirt-trial-guard 2>/dev/null)"

# Old kernels go, but for KEEP of them and those that may still be needed; modules go with the last kernel that has them.
running=$(field "$default" rtvirt_folder) needed="${running##*/} $(field "$state/last_good.env" rtvirt_folder | sed 's|.*/||')"
{ grep -vFx "${running##*/}" "$state/kernels" 2>/dev/null; echo "${running##*/}"; } >"$state/kernels.new"
mv "$state/kernels.new" "$state/kernels"
old=$(for folder in "$kernels"/*; do
  folder=${folder##*/}
  case " $needed " in *" $folder "*) ;; *) echo "$folder" ;; esac
done)
# In the order of their last use; those that are not in the list came with the card, and are the oldest.
ordered=$({ echo "$old" | grep -vFx -f "$state/kernels"; grep -Fx "$old" "$state/kernels"; } | grep .)
[ -z "$ordered" ] || echo "$ordered" | awk -v keep="$KEEP" '{ line[NR] = $0 } END { for (i = 1; i <= NR - keep; i++) print line[i] }' | while read -r folder; do
  release=$(cat "$kernels/$folder/release")
  remove "$kernels/$folder"
  [ "$release" = "$(uname -r)" ] || grep -qsFx "$release" "$kernels"/*/release || [ ! -e "/lib/modules/$release/.rtvirt" ] ||
    remove "/lib/modules/$release"
done
sync
