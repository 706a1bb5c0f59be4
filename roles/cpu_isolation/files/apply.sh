# shellcheck shell=sh disable=SC2154,SC2034
# Make the machine as wanted, item by item, and take back what is wanted no more. Reads: settings.sh, cpuset.sh.
ACT=apply
[ "$RTVIRT_CHECK_MODE" = yes ] || [ -z "$SETTINGS" ] || mkdir -p "$state_folder"
undo_settings
each_setting
if [ "$RTVIRT_CHECK_MODE" = no ]; then
  if [ -n "$SETTINGS" ]; then
    printf '%s\n%s\n%s\n' "$HOST_CPUS" "$GUEST_CPUS" "$SETTINGS" >"$state_folder/isolation.wanted"
  else
    rm -f "$state_folder/isolation.wanted" "$journal" "$fixed_items"
  fi
fi
# Kernels before 4.15 read flags of isolcpus as the start of a list of cores. Asked only where the word is still missing.
case " $SETTINGS " in
*' isolcpus '*)
  flags=yes
  read -r line </proc/cmdline
  case $line in *isolcpus=*) ;; *) [ ! -r /proc/kallsyms ] || grep -q -m 1 housekeeping_isolcpus_setup /proc/kallsyms || flags=no ;; esac
  fact isolcpus_flags "$flags" ;;
esac
[ -z "$failures" ] || fail "The machine is not as wanted: $failures."
# check mode: safe
