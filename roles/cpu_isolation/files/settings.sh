# shellcheck shell=sh disable=SC2154,SC2016
# Settings of a running machine, each as items: a source, what is wanted there, what was found. One way through for all of them:
# `each_setting` looks at the items (ACT=show) or also makes them so (ACT=apply), and keeps what was there before in a journal, out of
# which `undo_settings` takes back whatever is wanted no more. Nothing lasts beyond a reboot.
# SETTINGS, HOST_CPUS, GUEST_CPUS. Builtins where they do: each program that is started costs an emulated board tens of milliseconds.
state_folder=/run/rtvirt
journal=$state_folder/isolation.journal  # setting, item and value before, with tabs between
fixed_items=$state_folder/isolation.fixed  # items that the kernel refuses to change
tab=$(printf '\t')
newline='
'
failures=

# ------------------------------------------------------------------------------------------------------------ items

# item_row SOURCE WANTED FOUND STATE; absent: the machine does not have it; fixed: the kernel will not have it changed
item_row() { printf '@row settings setting=%s state=%s wanted=%s found=%s source=%s\n' "$setting" "$4" "$2" "$3" "$1"; }

# cores LIST: 0,2-3 gives " 0 2 3 "
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
# within LIST LIST: whether all cores of the first are in the second
within() {
  [ "$1" != "$2" ] || return 0
  cores "$2"
  outer=$expanded
  cores "$1"
  for cpu in $expanded; do case $outer in *" $cpu "*) ;; *) return 1 ;; esac; done
}
# mask LIST: the same as the kernel's hexadecimal mask, in groups of 32 cores
mask() {
  cores "$1"
  mask='' group=0
  left=$expanded
  while [ -n "${left# }" ]; do
    bits=0 next=' '
    for cpu in $left; do
      if [ $((cpu / 32)) -eq "$group" ]; then bits=$((bits | 1 << cpu % 32)); else next="$next$cpu "; fi
    done
    left=$next group=$((group + 1))
    if [ "$left" = ' ' ] && [ -z "$mask" ]; then mask=$(printf '%x' "$bits"); else mask=$(printf '%08x' "$bits")${mask:+,$mask}; fi
  done
}
# bare MASK: without commas and leading zeros, to compare
bare() {
  digits=
  rest=$1,
  while [ -n "$rest" ]; do digits=$digits${rest%%,*} rest=${rest#*,}; done
  while [ "${digits#0}" != "$digits" ]; do digits=${digits#0}; done
}

# Whether what was found is as wanted, by the kind of item.
as_wanted() {
  case $kind in
  list) within "$found" "$wanted" ;;
  mask) bare "$found"; one=$digits; bare "$wanted"; [ "$one" = "$digits" ] ;;
  choice) case $found in *"[$wanted]"*) ;; *) return 1 ;; esac ;;
  *) [ "$found" = "$wanted" ] ;;
  esac
}
read_found() {
  case $source in
  /proc/sys/*) found=$(cat "$source" 2>/dev/null) ;;  # a number there is given whole or not at all, and read asks for a letter at a time
  *) found='' && IFS= read -r found 2>/dev/null <"$source" || : ;;
  esac
}

# item KIND FILE WANTED: one file with one value
item() {
  kind=$1 source=$2 wanted=$3
  seen=yes
  [ -e "$source" ] || { item_row "$source" "$wanted" '' absent; return 0; }
  read_found
  if as_wanted; then item_row "$source" "$wanted" "$found" ok; return 0; fi
  before=$found
  [ "$kind" != choice ] || { before=${found#*\[}; before=${before%%\]*}; }
  change "$source" "$before" "printf '%s\n' \"\$wanted\" >\"\$source\"" read_found
}

# change ITEM BEFORE COMMAND READ: report an item that differs, or make it so with COMMAND and READ again what is there then
change() {
  if [ "$ACT" = show ] || [ "$RTVIRT_CHECK_MODE" = yes ]; then
    case $newline$fixed$newline in
    *"$newline$1$newline"*) item_row "$1" "$wanted" "$found" fixed; return 0 ;;
    esac
    item_row "$1" "$wanted" "$found" differs
    [ "$ACT" = show ] || changed "$setting: $1 from $2 to $wanted"
    return 0
  fi
  { eval "$3"; } >/dev/null 2>&1
  $4
  if as_wanted; then
    case $journaled in
    *"$newline$setting$tab$1$tab"*) ;;
    *) printf '%s\t%s\t%s\n' "$setting" "$1" "$2" >>"$journal" ;;
    esac
    changed "$setting: $1 from $2 to $wanted"
    item_row "$1" "$wanted" "$found" ok
  elif [ "$may_be_fixed" = yes ]; then
    case $newline$fixed$newline in *"$newline$1$newline"*) ;; *) printf '%s\n' "$1" >>"$fixed_items" ;; esac
    item_row "$1" "$wanted" "$found" fixed
  else
    failures="${failures:+$failures; }$setting: $1 is '$found', expected '$wanted', and cannot be changed"
    item_row "$1" "$wanted" "$found" differs
  fi
}
absent() { [ -n "$seen" ] || item_row "$1" "${2:-}" '' absent; }

# --------------------------------------------------------------------------------------------------------- settings
# One function each. A kernel refuses to move some interrupts, work and threads, which bears no blame: may_be_fixed.

setting_irqs() {
  may_be_fixed=yes
  mask "$HOST_CPUS"
  item mask /proc/irq/default_smp_affinity "$mask"  # of interrupts that appear later
  for irq in /proc/irq/[0-9]*; do item list "$irq/smp_affinity_list" "$HOST_CPUS"; done
  if command -v irqbalance >/dev/null && [ -d /run/systemd/system ]; then
    kind=exact wanted=inactive
    found=$(systemctl is-active irqbalance)
    if as_wanted; then item_row 'unit irqbalance' "$wanted" "$found" ok; else
      change 'unit irqbalance' "$found" 'systemctl stop irqbalance' 'eval found=$(systemctl is-active irqbalance)'
    fi
  fi
}

setting_workqueues() {
  may_be_fixed=yes
  mask "$HOST_CPUS"
  for file in /sys/devices/virtual/workqueue/cpumask /sys/devices/virtual/workqueue/*/cpumask; do
    [ ! -e "$file" ] || item mask "$file" "$mask"
  done
  absent /sys/devices/virtual/workqueue/cpumask
}

# read_thread PID: its name, flags, policy, priority; fields 9, 40 and 41 of stat (proc(5)), whose second may hold spaces
read_thread() {
  IFS= read -r stat 2>/dev/null <"/proc/$1/stat" || return 1
  name=${stat#*(} name=${name%)*}
  # shellcheck disable=SC2086  # the fields are words
  set -- ${stat##*) }
  flags=$7 priority=${38}
  case ${39} in 0) policy=other ;; 1) policy='fifo' ;; 2) policy=rr ;; 3) policy='batch' ;; 5) policy=idle ;; *) policy="number ${39}" ;; esac
}
read_priority() { found=gone; read_thread "$pid" && found="$policy $priority"; }
read_cores() {
  found=
  while read -r key value; do [ "$key" != Cpus_allowed_list: ] || found=$value; done 2>/dev/null <"/proc/$pid/status"
}
setting_kernel_threads() {
  may_be_fixed=yes
  cores "$GUEST_CPUS"
  isolated=$expanded
  for process in /proc/[0-9]*; do
    pid=${process#/proc/}
    read_thread "$pid" || continue
    [ $((flags & 0x00200000)) -ne 0 ] || continue  # PF_KTHREAD
    case $name in irq/*) continue ;; esac  # goes where its interrupt goes
    if [ $((flags & 0x04000000)) -eq 0 ]; then  # not PF_NO_SETAFFINITY
      kind=list wanted=$HOST_CPUS
      read_cores
      [ -n "$found" ] || continue  # it ended meanwhile
      if as_wanted; then item_row "cores of $name" "$wanted" "$found" ok; else
        change "cores of $name $pid" "$found" 'taskset -c -p "$wanted" "$pid"' read_cores
      fi
    fi
    # Those that a core cannot do without run before a vCPU (FIFO 1) that never sleeps: timers, then RCU, softirqs below both.
    case $name in ksoftirqd/*) wanted=2 ;; ktimers/* | ktimersoftd/*) wanted=3 ;; rcuc/*) wanted=4 ;; *) continue ;; esac
    case $isolated in *" ${name#*/} "*) ;; *) continue ;; esac
    kind=exact wanted="fifo $wanted" found="$policy $priority"
    if as_wanted; then item_row "priority of $name" "$wanted" "$found" ok; else
      change "priority of $name $pid" "$found" 'chrt -f -p "${wanted#fifo }" "$pid"' read_priority
    fi
  done
}

setting_rt_throttling() {
  item exact /proc/sys/kernel/sched_rt_runtime_us -1
  # From 6.12 on ordinary tasks have a server of their own that takes its share of each core.
  cores "$GUEST_CPUS"
  for cpu in $expanded; do
    file=/sys/kernel/debug/sched/fair_server/cpu$cpu/runtime
    [ ! -e "$file" ] || item exact "$file" 0
  done
}
setting_governor() {
  for file in /sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor; do [ ! -e "$file" ] || item exact "$file" performance; done
  absent /sys/devices/system/cpu/cpu0/cpufreq/scaling_governor performance
}
setting_idle_states() {
  cores "$GUEST_CPUS"
  for cpu in $expanded; do
    for file in "/sys/devices/system/cpu/cpu$cpu"/cpuidle/state[1-9]*/disable; do [ ! -e "$file" ] || item exact "$file" 1; done
  done
  absent /sys/devices/system/cpu/cpu0/cpuidle/state1/disable 1
}
setting_timer_migration() { item exact /proc/sys/kernel/timer_migration 0; }
setting_watchdogs() { item exact /proc/sys/kernel/watchdog 0; }
setting_transparent_huge_pages() { item choice /sys/kernel/mm/transparent_hugepage/enabled never; }
setting_ksm() { item exact /sys/kernel/mm/ksm/run 0; }
setting_halt_poll() { may_be_fixed=yes && item exact /sys/module/kvm/parameters/halt_poll_ns 0; }
read_swap() { found=none; while read -r device _; do [ "$device" != "$swap" ] || found=$swap; done </proc/swaps; }
setting_swap() {
  kind=exact wanted=none
  [ -e /proc/swaps ] || { item_row /proc/swaps none '' absent; return 0; }
  while read -r swap _; do
    [ "$swap" != Filename ] || continue
    seen=yes found=$swap
    change "swap on $swap" "$swap" 'swapoff "$swap"' read_swap
  done </proc/swaps
  [ -n "$seen" ] || item_row /proc/swaps none none ok
}
setting_cpuset() { "setting_cpuset_$ACT"; }

# What was decided when the machine started can only be looked at.
setting_isolcpus() { booted isolcpus /sys/devices/system/cpu/isolated "$GUEST_CPUS"; }
setting_nohz_full() { booted nohz_full /sys/devices/system/cpu/nohz_full "$GUEST_CPUS"; }
setting_rcu_nocbs() { booted rcu_nocbs '' "$GUEST_CPUS"; }
setting_irqaffinity() { booted irqaffinity '' "$HOST_CPUS"; }
# KVM of 64-bit ARM lets an idle guest sleep on the core itself, where it would otherwise take the core back for the host.
setting_guest_idle() {
  if [ "$(uname -m)" = aarch64 ]; then
    booted kvm-arm.wfi_trap_policy '' notrap
  else
    item_row /proc/cmdline notrap '' absent
  fi
}
# booted WORD FILE WANTED: by the kernel's own file where it has one, otherwise by the word on its command line
booted() {
  source=/proc/cmdline wanted=$3 found='' kind=exact
  if [ -n "$2" ] && [ -e "$2" ]; then
    source=$2
    read_found
    [ "$found" != '(null)' ] || found=
  else
    read -r line </proc/cmdline
    for word in $line; do case $word in "$1="*) found=${word#*=} ;; esac; done
    case $found in *[a-z],*) found=${found##*[a-z],} ;; esac
  fi
  if as_wanted; then item_row "$source" "$wanted" "$found" ok; else item_row "$source" "$wanted" "$found" differs; fi
}

# ---------------------------------------------------------------------------------------------------- all of them

each_setting() {
  journaled=$newline$(cat "$journal" 2>/dev/null)
  fixed=$(cat "$fixed_items" 2>/dev/null)
  for setting in $SETTINGS; do
    seen='' may_be_fixed=no
    "setting_$setting"
  done
}

# Take back, out of the journal, all items of settings that are not among SETTINGS; what is gone needs nothing. The last change first: the
# kernel refuses to throttle real-time tasks again while a fair server has nothing.
undo_settings() {
  [ -s "$journal" ] || return 0
  kept=
  while IFS=$tab read -r setting source before; do
    case " $SETTINGS " in *" $setting "*) kept="$setting$tab$source$tab$before$newline$kept"; continue ;; esac
    changed "$setting: $source back to $before"
    [ "$RTVIRT_CHECK_MODE" = no ] || continue
    pid=${source##* }
    case $source in
    /*) [ ! -e "$source" ] || { printf '%s\n' "$before" >"$source"; } 2>/dev/null ;;
    'unit '*) [ "$before" != active ] || systemctl start "$pid" ;;
    'swap on '*) swapon "$pid" ;;
    'cores of '*) [ ! -d "/proc/$pid" ] || taskset -c -p "$before" "$pid" >/dev/null ;;
    'priority of '*) [ ! -d "/proc/$pid" ] || chrt "--${before% *}" -p "${before#* }" "$pid" ;;
    cpuset) setting_cpuset_undo ;;
    esac || failures="${failures:+$failures; }$setting: $source could not be set back to $before"
  done <<JOURNAL
$(sed '1!G;h;$!d' "$journal")
JOURNAL
  [ "$RTVIRT_CHECK_MODE" = yes ] || printf '%s' "$kept" >"$journal"
}
# check mode: safe
