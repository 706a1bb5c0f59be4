# shellcheck shell=sh disable=SC2154
# check mode: safe
# Make the next boot the wanted one. Reports a state: nothing to do, a trial set up, or the kernel must be installed first.
# KERNEL, RELEASE, REALTIME (0 or 1), FOLDER, COMMAND, INITRD, FDT, KERNEL_PARAMS, ROOT (or nothing), PARAMETERS, TRIAL_PARAMS, TRIAL_TIMEOUT_S, BOOT_BYTES,
# MODULES_BYTES, COMMAND_LINE_SIZE, GUARD, GUARD_UNIT (texts), LOADERS and what these need.
# Install the guard of the trial on the root that the trial boots, if that is not the running one. usage: bring_guard DEVICE
bring_guard() {
  there=$(mktemp -d)
  mount "$1" "$there" || fail "The root $1 cannot be mounted."
  (cd / && tar -cf - usr/local/lib/rtvirt etc/systemd/system/rtvirt-trial-guard.service \
    etc/systemd/system/sysinit.target.wants/rtvirt-trial-guard.service) | tar -xf - -C "$there" || fail "The root $1 cannot be written."
  umount "$there"
  rmdir "$there"
}

find_loader
default=$state/default.env trial=$state/trial.env
# The default entry could not be booted or is truncated, and the last good one runs: make it the default again.
if ! runs "$default" && runs "$state/last_good.env"; then
  put "$default" 'what runs, the last good entry' <"$state/last_good.env"
  "${loader}_entries_changed"
fi
[ -n "$INITRD" ] || INITRD=$("${loader}_own_initrd")
if [ ! -s "$default" ]; then
  "${loader}_adopt"
  printf '%s\n' "$adopted" | put "$default" 'what runs now, as the entry to come back to'
  [ "$RTVIRT_CHECK_MODE" = no ] || { default=$(mktemp); printf '%s\n' "$adopted" >"$default"; }
fi
former=$(field "$default" rtvirt_kernel_params)
others=$(params_of others "$(field "$default" bootargs)" "$managed" "$former")
[ -z "$ROOT" ] || others=$(join_params "root=$ROOT" "$(params_of others "$others" root '')")
added=$(added_params "$others" "$KERNEL_PARAMS rtvirt.kernel=$KERNEL")
line=$(join_params "$others" "$added")
wanted=$(entry_text "$added" "$line")
trial_line=$(join_params "$line" "rtvirt.trial=$TRIAL_TIMEOUT_S" "$(added_params "$line" "$TRIAL_PARAMS")")
trial_wanted=$(entry_text "$added" "$trial_line")

if [ -e "$trial" ] && runs "$trial"; then
  [ "$trial_wanted" != "$(cat "$trial")" ] || { fact state on_trial; exit 0; }
elif [ "$wanted" = "$(cat "$default")" ]; then
  difference=$(difference "$default" '')
  if [ -z "$difference" ]; then
    "${loader}_unmark"
    remove "$trial"  # of an interrupted run
    fact state settled
    exit 0
  fi
  fact difference "$difference"
fi

check_length "$trial_line"
if [ ! -e "$kernels/$FOLDER/vmlinuz" ] || [ ! -d "/lib/modules/$RELEASE" ]; then
  # All files are unpacked beside the modules first; those that boot are then moved to the boot partition.
  free_kib() { df -Pk "$1" | awk 'NR == 2 { print $4 }'; }
  boot_kib=$((BOOT_BYTES / 1024 + 1024)) modules_kib=$((MODULES_BYTES * 21 / 20480 + 1024))
  free=$(free_kib "$boot")
  [ "$free" -ge "$boot_kib" ] ||
    fail "There is no room for kernel $KERNEL on $boot: it needs $((boot_kib / 1024)) MiB, $((free / 1024)) MiB are free;" \
      "remove old kernels from $kernels, or keep fewer of them (kernel_boot_keep)."
  free=$(free_kib /lib/modules)
  [ "$free" -ge "$((boot_kib + modules_kib))" ] ||
    fail "There is no room for kernel $KERNEL on the file system of /lib/modules: it needs $(((boot_kib + modules_kib) / 1024)) MiB," \
      "$((free / 1024)) MiB are free; make room there."
  fact state missing
  [ "$RTVIRT_CHECK_MODE" = no ] || changed "would install kernel $KERNEL ($RELEASE) and boot it on trial: $line"
  exit 0
fi

[ -e "$state/original.env" ] || put "$state/original.env" 'what was started before the first change' <"$default"
"${loader}_set_up"
[ "$RTVIRT_CHECK_MODE" = yes ] || rm -f "$state/last_words"  # of an earlier trial
printf '%s\n' "$GUARD" | put /usr/local/lib/rtvirt/trial_guard 'who gives a trial up'
printf '%s\n' "$GUARD_UNIT" | put /etc/systemd/system/rtvirt-trial-guard.service
wanted_by=/etc/systemd/system/sysinit.target.wants
[ "$RTVIRT_CHECK_MODE" = yes ] || { mkdir -p "$wanted_by" && ln -sfn ../rtvirt-trial-guard.service "$wanted_by/rtvirt-trial-guard.service"; }
[ -z "$ROOT" ] || [ "$RTVIRT_CHECK_MODE" = yes ] || bring_guard "$ROOT"
printf '%s\n' "$trial_wanted" | put "$trial" "kernel $KERNEL: $line"
"${loader}_entries_changed"
"${loader}_mark"
fact state reboot
