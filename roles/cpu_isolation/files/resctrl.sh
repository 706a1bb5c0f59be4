# shellcheck shell=sh disable=SC2154,SC2034
# check mode: safe
# Keep the last-level cache and memory bandwidth apart by resctrl: the guest's cores are in a group of their own, all others stay in the default group.
# Needs: thread.sh, settings.sh.
resctrl=/sys/fs/resctrl
resctrl_group=$resctrl/rtvirt
resctrl_before=$state_folder/resctrl.before  # lines: `mounted`, if it was not; then the default group's previous schemata

# resctrl_has RESOURCE: return whether the machine controls it; mounts resctrl when applying
resctrl_has() {
  if [ ! -d "$resctrl/info" ] && [ "$ACT" = apply ] && [ "$RTVIRT_CHECK_MODE" = no ] && grep -qw resctrl /proc/filesystems; then
    mount -t resctrl resctrl "$resctrl" 2>/dev/null && echo mounted >>"$resctrl_before"
  fi
  [ -d "$resctrl/info/$1" ]
}

# Set found to the value of a resource in a group's schemata, 0=ff;1=ff of the line `L3:0=ff;1=ff`.
read_schema() {
  found=
  while IFS= read -r line; do
    line=${line#"${line%%[! ]*}"}
    case $line in "$resource":*) found=${line#*:} ;; esac
  done 2>/dev/null <"$source"
}
write_schema() { printf '%s:%s\n' "$resource" "$wanted" >"$source"; }

# Set wanted to the schema in found with another value in each of its domains.
all_domains() {  # VALUE
  wanted='' rest=$found
  while [ -n "$rest" ]; do
    part=${rest%%;*}
    case $rest in *\;*) rest=${rest#*;} ;; *) rest= ;; esac
    wanted=${wanted:+$wanted;}${part%%=*}=$1
  done
}

# set_schema GROUP VALUE: give a resource of a group a value in each domain
set_schema() {
  kind=exact source=$1/schemata may_refuse=no
  read_schema
  before=${found:=none}
  all_domains "$2"
  if as_wanted; then item_row "$source $resource" "$wanted" "$found" ok; return 0; fi
  if [ "$ACT" = apply ] && [ "$RTVIRT_CHECK_MODE" = no ]; then
    grep -qx "$resource:.*" "$resctrl_before" 2>/dev/null || [ "$1" != "$resctrl" ] || printf '%s:%s\n' "$resource" "$before" >>"$resctrl_before"
    { write_schema; } 2>/dev/null
    read_schema
  fi
  resctrl_row "$source $resource"
}

resctrl_row() {  # ITEM
  if as_wanted; then
    item_row "$1" "$wanted" "$found" ok
  elif [ "$ACT" = apply ] && [ "$RTVIRT_CHECK_MODE" = no ]; then
    item_row "$1" "$wanted" "$found" differs
    failures="${failures:+$failures; }$setting: $1 is '$found', expected '$wanted', and the kernel refuses to change it: $(cat "$resctrl/info/last_cmd_status" 2>/dev/null)"
  else
    item_row "$1" "$wanted" "$found" differs
  fi
}

# The group with the guest's cores.
resctrl_cores() {
  if [ "$ACT" = apply ] && [ "$RTVIRT_CHECK_MODE" = no ]; then
    case $journaled in
    *"$newline$setting${tab}resctrl$tab"*) ;;
    *)
      changed "$setting: cores $GUEST_CPUS in a group of resctrl"
      printf '%s\tresctrl\t%s\n' "$setting" none >>"$journal"
      ;;
    esac
    [ -d "$resctrl_group" ] || mkdir "$resctrl_group" 2>/dev/null
    { echo "$GUEST_CPUS" >"$resctrl_group/cpus_list"; } 2>/dev/null
  fi
  kind=exact source=$resctrl_group/cpus_list wanted=$GUEST_CPUS found=none
  [ ! -e "$source" ] || read_file
  resctrl_row "$source"
}

procedure_cache_partition() {
  some=
  for resource in L3 L3CODE L3DATA; do
    resctrl_has "$resource" || continue
    [ -n "$some" ] || resctrl_cores
    some=yes
    read -r mask <"$resctrl/info/$resource/cbm_mask"
    full=$((0x$mask)) ways=0
    while [ $((full >> ways)) -gt 0 ]; do ways=$((ways + 1)); done
    lower=$(((1 << (ways / 2)) - 1))
    set_schema "$resctrl_group" "$(printf '%x' $((full & ~lower)))"
    set_schema "$resctrl" "$(printf '%x' "$lower")"
  done
  [ -n "$some" ] || item_row "$resctrl/info/L3" "$GUEST_CPUS" '' absent
}

procedure_bandwidth_limit() {
  if ! resctrl_has MB; then
    item_row "$resctrl/info/MB" "$GUEST_CPUS" '' absent
    return 0
  fi
  resource=MB kind=exact source=$resctrl/schemata
  read_schema
  case $found in *=[1-9][0-9][0-9][0-9]*)  # AMD's are no shares, but multiples of 1/8 GB/s
    item_row "$source MB in percent" "$GUEST_CPUS" "$found" absent
    return 0 ;;
  esac
  resctrl_cores
  read -r step <"$resctrl/info/MB/bandwidth_gran"
  set_schema "$resctrl" $((50 - 50 % step))
}

# Restore the resources of the setting. Once neither of the two is wanted the group is removed, and what was mounted is unmounted.
resctrl_undo() {
  last=yes
  case $wanted_names in *' cache_partition '* | *' bandwidth_limit '*) last=no ;; esac
  [ "$last" = no ] || [ ! -d "$resctrl_group" ] || rmdir "$resctrl_group" 2>/dev/null || return 1
  [ -e "$resctrl_before" ] || return 0
  left=
  while IFS= read -r line; do
    case $setting/$line in
    cache_partition/L3*:* | bandwidth_limit/MB:*)
      for folder in "$resctrl" "$resctrl_group"; do
        [ ! -d "$folder" ] || printf '%s\n' "$line" >"$folder/schemata" || return 1
      done ;;
    *) left=$left$line$newline ;;
    esac
  done <"$resctrl_before"
  printf '%s' "$left" >"$resctrl_before"
  case $last$left in no* | *:*) return 0 ;; esac
  [ -z "$left" ] || umount "$resctrl" || return 1
  rm -f "$resctrl_before"
}
