# shellcheck shell=sh disable=SC2154
# After the reboot: make the trial's kernel the default if it runs as expected, or report why the trial was given up.
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
  # The last kernel messages of the trial: from the guard, or from the journal of the previous boot where that is persistent.
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

# The new default entry is the trial's without the trial's parameters. Write last_good first, then default.
fact state confirmed
changed "kernel $KERNEL is the default"
[ "$RTVIRT_CHECK_MODE" = no ] || exit 0
confirmed=$(LINE=$(without_trial "$(field "$trial" bootargs)") awk '/^bootargs=/ { $0 = "bootargs=" ENVIRON["LINE"] } { print }' "$trial")
if [ "$confirmed" != "$(cat "$default")" ]; then
  put "$state/last_good.env" <"$default"
  printf '%s\n' "$confirmed" | put "$default"
fi
remove "$trial"
"${loader}_entries_changed"
sh /usr/local/lib/rtvirt/trial_guard confirm || fail "The guard of the trial does not end; the board would be reset: $(tail -n 1 /run/rtvirt-trial-guard 2>/dev/null)"

# Remove old kernels, except KEEP of them and those of boot entries; remove modules with the last kernel that uses them.
running=$(field "$default" rtvirt_folder) needed="${running##*/} $(field "$state/last_good.env" rtvirt_folder | sed 's|.*/||')"
{ grep -vFx "${running##*/}" "$state/kernels" 2>/dev/null; echo "${running##*/}"; } >"$state/kernels.new"
mv "$state/kernels.new" "$state/kernels"
old=$(for folder in "$kernels"/*; do
  folder=${folder##*/}
  case " $needed " in *" $folder "*) ;; *) echo "$folder" ;; esac
done)
# Ordered by last use; kernels that are not in the list came with the card, and are the oldest.
ordered=$({ echo "$old" | grep -vFx -f "$state/kernels"; grep -Fx "$old" "$state/kernels"; } | grep .)
[ -z "$ordered" ] || echo "$ordered" | awk -v keep="$KEEP" '{ line[NR] = $0 } END { for (i = 1; i <= NR - keep; i++) print line[i] }' | while read -r folder; do
  release=$(cat "$kernels/$folder/release")
  remove "$kernels/$folder"
  [ "$release" = "$(uname -r)" ] || grep -qsFx "$release" "$kernels"/*/release || [ ! -e "/lib/modules/$release/.rtvirt" ] ||
    remove "/lib/modules/$release"
done
sync
