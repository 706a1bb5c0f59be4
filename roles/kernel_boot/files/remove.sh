# shellcheck shell=sh disable=SC2154
# check mode: safe
# Remove kernels and boot entries of kernel_boot from a board that boots its original entry again. LOADERS and what these need.
find_loader
default=$state/default.env
[ -s "$state/original.env" ] || exit 0
if [ "$(cat "$default")" != "$(cat "$state/original.env")" ]; then
  fact difference "it starts $(field "$default" rtvirt_kernel) with '$(field "$default" bootargs)'"
  exit 0
fi
[ ! -e "$state/trial.env" ] || fail "A trial of kernel $(field "$state/trial.env" rtvirt_kernel) is not confirmed; let it end first."
found=no
[ "$(field "$default" rtvirt_kernel)" != as-found ] || found=yes
if [ "$found" = yes ]; then
  if our_kernel_runs; then
    fact difference "kernel $(uname -r) still runs, which this role brought"
    exit 0
  fi
  "${loader}_forget"
fi
folder=$(field "$default" rtvirt_folder) folder=${folder##*/}
if [ -n "$folder" ] || [ "$found" = yes ]; then
  for other in "$kernels"/*; do
    [ -s "$other/release" ] || continue
    [ "${other##*/}" != "$folder" ] || [ "$found" = yes ] || continue
    release=$(cat "$other/release")
    remove "$other"
    [ "$release" = "$(uname -r)" ] || [ ! -e "/lib/modules/$release/.rtvirt" ] || remove "/lib/modules/$release"
  done
fi
remove "$state/last_good.env" "$state/original.env" "$state/kernels" /usr/local/lib/rtvirt \
  /etc/systemd/system/sysinit.target.wants/rtvirt-trial-guard.service /etc/systemd/system/rtvirt-trial-guard.service
if [ "$found" = yes ]; then
  remove "$state"
  [ "$RTVIRT_CHECK_MODE" = yes ] || rmdir "$kernels" 2>/dev/null || :
else
  "${loader}_entries_changed"
fi
sync
