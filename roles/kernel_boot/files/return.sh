# shellcheck shell=sh disable=SC2154
# check mode: safe
# Make the entry as-found the default again, on a board that had it before kernel_boot changed anything; others are booted on trial, as any kernel.
# Reports whether a reboot is required. LOADERS and what these need.
find_loader
original=$state/original.env
[ "$(field "$original" rtvirt_kernel)" = as-found ] || exit 0
ours=no
! our_kernel_runs || ours=yes
if [ "$ours" = yes ] || [ "$(cat "$original")" != "$(cat "$state/default.env")" ]; then
  "${loader}_unmark"
  remove "$state/trial.env" "$state/last_good.env"
  put "$state/default.env" 'what was started before the first change' <"$original"
  "${loader}_entries_changed"
fi
[ "$ours" = no ] || fact reboot yes
