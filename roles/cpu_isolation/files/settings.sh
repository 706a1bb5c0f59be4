# shellcheck shell=sh disable=SC2154
# Interpreter of rows of the table of settings (rtvirt_runner/catalogue/settings.py): SETTING_ROWS, a line `SETTING KIND OPTIONS SOURCE WANTED`
# per item, generated from SETTINGS, HOST_CPUS and GUEST_CPUS. `each_item` compares the values found with those wanted (ACT=show) and also
# changes them (ACT=apply), with the previous value in a journal, from which `undo_settings` restores settings that are no longer requested.
# No change survives a reboot. Needs: thread.sh. Shell builtins where possible: starting a program takes an emulated board tens of milliseconds.
state_folder=/run/rtvirt
journal=$state_folder/isolation.journal  # per line: setting, item and previous value, separated by tabs
refused_items=$state_folder/isolation.refused  # per line: an item that could not be changed and its state, separated by a tab
tab=$(printf '\t')
newline='
'
failures='' failed=' ' refused='' refused_now=''

# ------------------------------------------------------------------------------------------------------------ items

# item_row SOURCE WANTED FOUND STATE [TOOL]. States: ok, differs; absent: the machine does not have it; fixed: the kernel refuses to change it;
# denied: changing it is not permitted; no_tool: TOOL, which changes it, is not installed
item_row() {
  tool=
  [ "$4" != no_tool ] || tool="tool=$5 "
  printf '@row settings setting=%s state=%s wanted=%s found=%s %ssource=%s\n' "$setting" "$4" "$2" "$3" "$tool" "$1"
}

# cores LIST: set expanded to the cores of a list; 0,2-3 gives " 0 2 3 "
cores() {
  expanded=' '
  rest=$1,
  while [ -n "$rest" ]; do
    part=${rest%%,*} rest=${rest#*,}
    [ -n "$part" ] || continue
    cpu=${part%-*}
    while [ "$cpu" -le "${part#*-}" ]; do expanded="$expanded$cpu " cpu=$((cpu + 1)); done
  done
}
# within LIST LIST: return whether all cores of the first are in the second; otherwise set cpu to one that is not
within() {
  [ "$1" != "$2" ] || return 0
  cores "$2"
  outer=$expanded
  cores "$1"
  for cpu in $expanded; do case $outer in *" $cpu "*) ;; *) return 1 ;; esac; done
}
# bare MASK: set digits to the mask without commas and leading zeros, for comparison
bare() {
  digits=
  rest=$1,
  while [ -n "$rest" ]; do digits=$digits${rest%%,*} rest=${rest#*,}; done
  while [ "${digits#0}" != "$digits" ]; do digits=${digits#0}; done
}

# Return whether the value found is the one wanted, by the kind of item.
as_wanted() {
  case $kind in
  list | thread_affinity) within "$found" "$wanted" ;;
  mask) bare "$found"; one=$digits; bare "$wanted"; [ "$one" = "$digits" ] ;;
  choice) case $found in *"[$wanted]"*) ;; *) return 1 ;; esac ;;
  *) [ "$found" = "$wanted" ] ;;
  esac
}

# Read and write the value of an item; source or pid must be set.
read_file() {
  case $source in
  /proc/sys/*) found=$(cat "$source" 2>/dev/null) ;;  # sysctl files return a number in one read() or not at all, and the builtin reads byte by byte
  *) found='' && IFS= read -r found 2>/dev/null <"$source" || : ;;
  esac
}
write_file() { printf '%s\n' "$wanted" >"$source"; }
read_unit() { found=$(systemctl is-active "$source"); }
write_unit() { systemctl stop "$source"; }
read_thread_affinity() { read_affinity "/proc/$pid"; found=$affinity; }
write_thread_affinity() { taskset -c -p "$wanted" "$pid"; }
read_thread_priority() { found=gone; read_thread "/proc/$pid" && found="$policy $priority"; }
write_thread_priority() { set_policy "${wanted% *}" "${wanted#* }" "$pid"; }
read_swap() { found=none; while read -r device _; do [ "$device" != "$swap" ] || found=$swap; done </proc/swaps; }
write_swap() { swapoff "$swap"; }

# change ITEM BEFORE WHAT [TOOL]: report an item that differs, or change it with write_WHAT and read it back with read_WHAT; TOOL is the
# program that write_WHAT runs
change() {
  if [ "$ACT" = show ] || [ "$RTVIRT_CHECK_MODE" = yes ]; then
    state=differs
    case $refused in
    *"$newline$1$tab"*) state=${refused#*"$newline$1$tab"} state=${state%%"$newline"*} ;;
    *) [ "$ACT" = show ] || changed "$setting: $1 from $2 to $wanted" ;;
    esac
    item_row "$1" "$wanted" "$found" "$state" "${4:-}"
    return 0
  fi
  { "write_$3"; } >/dev/null 2>&1
  "read_$3"
  if as_wanted; then
    case $journaled in
    *"$newline$setting$tab$1$tab"*) ;;
    *) printf '%s\t%s\t%s\n' "$setting" "$1" "$2" >>"$journal" ;;
    esac
    changed "$setting: $1 from $2 to $wanted"
    item_row "$1" "$wanted" "$found" ok
  else
    not_changed "$1" "$3" "${4:-}"
  fi
}

# not_changed ITEM WHAT TOOL: report an item that differs after write_WHAT, with the reason: for a file whether it can be opened for
# writing, for a program whether it is installed and what it prints when it is run again
not_changed() {
  state=fixed reason='the kernel refuses to change it'
  if [ -z "$3" ]; then
    # A file without write permission for anybody, or missing in a cgroup, counts as refused by the kernel.
    if [ -e "$source" ] || [ ! -d "${source%/*}" ]; then
      { true >"$source"; } 2>/dev/null || case $(ls -ld "$source" 2>/dev/null) in -r--r--r--*) ;; *) state=denied ;; esac
    fi
  elif ! command -v "$3" >/dev/null; then
    state=no_tool reason="$3, which changes it, is not installed"
  else
    case $("write_$2" 2>&1) in
    *'ermission denied'* | *'not permitted'* | *'ead-only file system'* | *'ccess denied'* | *'uthentication'*) state=denied ;;
    esac
  fi
  [ "$state" != denied ] || reason='changing it is not permitted (read-only /proc or /sys, a container, or kernel lockdown)'
  if [ "$state" = fixed ] && [ "$may_refuse" = no ]; then state=differs; else refused_now="$refused_now$1$tab$state$newline"; fi
  item_row "$1" "$wanted" "$found" "$state" "$3"
  [ "$state" != fixed ] || return 0
  # One sentence per setting and state.
  case $failed in *" $setting/$state "*) return 0 ;; esac
  failed="$failed$setting/$state "
  failures="${failures:+$failures; }$setting: $1 is '$found', expected '$wanted', and $reason"
}

# each_row COMMAND: call COMMAND for each row of SETTING_ROWS, with setting, kind, source, wanted, may_refuse and arch set.
each_row() {
  command=$1 old_ifs=$IFS
  set -f
  IFS=$newline
  # shellcheck disable=SC2086  # split into lines
  set -- $SETTING_ROWS
  IFS=$old_ifs
  set +f
  for row do
    setting=${row%% *} row=${row#* }
    kind=${row%% *} row=${row#* }
    options=${row%% *} row=${row#* }
    source=${row%% *} wanted=${row#* }
    case $options in *may_refuse*) may_refuse=yes ;; *) may_refuse=no ;; esac
    case $options in *arch=*) arch=${options##*arch=} arch=${arch%%,*} ;; *) arch='' ;; esac
    "$command"
  done
}

# ------------------------------------------------------------------------------------------------------------ kinds

item() {
  case $kind in
  parameter) parameter ;;
  unit) unit ;;
  thread_affinity) kernel_threads ;;
  thread_priority) ;;  # set by kernel_threads
  procedure) "procedure_$source" ;;
  *)
    pattern=$source
    for source in $pattern; do file_item; done ;;
  esac
}

file_item() {
  [ -e "$source" ] || { item_row "$source" "$wanted" '' absent; return 0; }
  read_file
  if as_wanted; then item_row "$source" "$wanted" "$found" ok; return 0; fi
  before=$found
  [ "$kind" != choice ] || { before=${found#*\[}; before=${before%%\]*}; }
  change "$source" "$before" file
}

unit() {
  command -v "$source" >/dev/null && [ -d /run/systemd/system ] || return 0
  read_unit
  if as_wanted; then item_row "unit $source" "$wanted" "$found" ok; else change "unit $source" "$found" unit systemctl; fi
}

# Set found to the last value of a parameter on the command line, as the kernel reads that: spaces in double quotes belong to a word, - and _ in a
# name are the same, and what follows -- is for init. RUNNING_LINE: another file than /proc/cmdline.
find_parameter() {
  line='' rest='' quoted=no
  IFS= read -r rest <"${RUNNING_LINE:-/proc/cmdline}"
  while :; do
    part=${rest%%\"*} more=${rest#"${rest%%\"*}"}
    while [ "$quoted" = yes ]; do case $part in *' '*) part=${part%% *}_${part#* } ;; *) break ;; esac; done
    line=$line$part
    [ -n "$more" ] || break
    rest=${more#?}
    if [ "$quoted" = yes ]; then quoted=no; else quoted=yes; fi
  done
  underscored "$parameter"
  wanted_name=$name
  set -f
  for word in $line; do
    case $word in --) break ;; *=*) ;; *) continue ;; esac
    underscored "${word%%=*}"
    [ "$name" != "$wanted_name" ] || found=${word#*=}
  done
  set +f
}

# Set name to a text with _ for each -. With builtins, as this runs once for each setting and each word.
underscored() {
  name=$1
  while :; do case $name in *-*) name=${name%%-*}_${name#*-} ;; *) break ;; esac; done
}

# A kernel parameter is only read, from source PARAMETER@FILE: from FILE if the kernel has it, otherwise from the command line.
parameter() {
  parameter=${source%@*} source=${source#*@} found=''
  [ -z "$arch" ] || [ "$(uname -m)" = "$arch" ] || { item_row /proc/cmdline "$wanted" '' absent; return 0; }
  if [ -n "$source" ] && [ -e "$source" ]; then
    read_file
    [ "$found" != '(null)' ] || found=
  else
    source=/proc/cmdline
    find_parameter
    case $found in *[a-z],*) found=${found##*[a-z],} ;; esac
  fi
  if as_wanted; then item_row "$source" "$wanted" "$found" ok; else item_row "$source" "$wanted" "$found" differs; fi
}

# All kernel threads in one pass: CPU affinity of those that may be moved, policy and priority of those with a row thread_priority.
kernel_threads() {
  wanted_cores=$wanted
  each_thread kernel_thread '/proc/[0-9]*'
}
kernel_thread() {
  [ $((flags & 0x00200000)) -ne 0 ] || return 0  # PF_KTHREAD
  case $name in irq/*) return 0 ;; esac  # follows the affinity of its interrupt
  pid=${task#/proc/}
  if [ $((flags & 0x04000000)) -eq 0 ]; then  # not PF_NO_SETAFFINITY
    kind=thread_affinity wanted=$wanted_cores found=$affinity
    if as_wanted; then item_row "cores of $name" "$wanted" "$found" ok; else change "cores of $name $pid" "$found" thread_affinity taskset; fi
  fi
  case $name in */*) ;; *) return 0 ;; esac
  case $priorities in *"$newline$setting $name "*) ;; *) return 0 ;; esac
  kind=thread_priority wanted=${priorities#*"$newline$setting $name "} wanted=${wanted%%"$newline"*} found="$policy $priority"
  if as_wanted; then item_row "priority of $name" "$wanted" "$found" ok; else change "priority of $name $pid" "$found" thread_priority chrt; fi
}

procedure_swap() {
  [ -e /proc/swaps ] || { item_row /proc/swaps none '' absent; return 0; }
  some=
  while read -r swap _; do
    [ "$swap" != Filename ] || continue
    some=yes found=$swap
    change "swap on $swap" "$swap" swap swapoff
  done </proc/swaps
  [ -n "$some" ] || item_row /proc/swaps none none ok
}
procedure_cpuset() { "cpuset_$ACT"; }

# ---------------------------------------------------------------------------------------------------- all of them

note_row() {
  case $wanted_names in *" $setting "*) ;; *) wanted_names="$wanted_names$setting " ;; esac
  [ "$kind" != thread_priority ] || priorities="$priorities$setting $source $wanted$newline"
}
# Set wanted_names, the settings that have a row, and priorities, lines `SETTING THREAD POLICY PRIORITY`.
note_rows() {
  wanted_names=' ' priorities=$newline
  each_row note_row
}

each_item() {
  journaled=$newline$(cat "$journal" 2>/dev/null)
  refused=$newline$(cat "$refused_items" 2>/dev/null)
  each_row item
  [ "$ACT" = show ] || [ "$RTVIRT_CHECK_MODE" = yes ] || [ -z "$SETTINGS" ] || printf '%s' "$refused_now" >"$refused_items"
}

# Restore, from the journal, all items of settings that are no longer requested, except items that no longer exist. In reverse order, since
# the table is in the order in which the kernel accepts the values.
undo_settings() {
  [ -s "$journal" ] || return 0
  kept=
  while IFS=$tab read -r setting source before; do
    case $wanted_names in *" $setting "*) kept="$setting$tab$source$tab$before$newline$kept"; continue ;; esac
    changed "$setting: $source back to $before"
    [ "$RTVIRT_CHECK_MODE" = no ] || continue
    pid=${source##* }
    case $source in
    /*) [ ! -e "$source" ] || { printf '%s\n' "$before" >"$source"; } 2>/dev/null ;;
    'unit '*) [ "$before" != active ] || systemctl start "$pid" ;;
    'swap on '*) swapon "$pid" ;;
    'cores of '*) [ ! -d "/proc/$pid" ] || taskset -c -p "$before" "$pid" >/dev/null ;;
    'priority of '*) [ ! -d "/proc/$pid" ] || set_policy "${before% *}" "${before#* }" "$pid" ;;
    cpuset) cpuset_undo ;;
    resctrl) resctrl_undo ;;
    esac || failures="${failures:+$failures; }$setting: $source could not be set back to $before"
  done <<JOURNAL
$(sed '1!G;h;$!d' "$journal")
JOURNAL
  [ "$RTVIRT_CHECK_MODE" = yes ] || printf '%s' "$kept" >"$journal"
}
# check mode: safe
