# shellcheck shell=sh disable=SC2153
# Functions with which a command holds this machine: a lock that all its processes inherit (descriptor 9), with its owner's name. What holds it
# already was left behind by a run that has ended, and is ended. LOCK (path), OWNER, ENDS_LOAD (whether a load on the board was left behind too).
# Not in sealed machines, where nothing is left behind.

# The processes that hold the lock; a machine without flock is asked this before each command too. In a container the path is that of another file.
lock_holders() {
  # shellcheck disable=SC2012  # only ls shows the links of many processes at once
  ls -l /proc/[0-9]*/fd 2>/dev/null |
    sed -n -e '/^\/proc\//{s,^/proc/\([0-9]*\)/fd:$,\1,;h;}' -e "\\,-> $LOCK\$,{x;p;x;}" | sort -u |
    while read -r holder; do
      # shellcheck disable=SC3013  # dash and busybox have -ef
      [ ! "/proc/$holder/fd/9" -ef "$LOCK" ] || echo "$holder"
    done
}

take_lock() {
  if command -v flock >/dev/null; then
    exec 9>>"$LOCK"
    flock -n 9
  else
    [ -z "$(lock_holders)" ] || return 1
    exec 9>>"$LOCK"
  fi
}

left=
end_holders() {
  read -r self _ </proc/self/stat
  for pid in $(lock_holders); do
    case $pid in "$$" | "$self") continue ;; esac
    IFS= read -r name 2>/dev/null <"/proc/$pid/comm" || continue
    kill -s KILL "$pid" 2>/dev/null && left="$left $name ($pid)"
  done
}

# The load, and with place both the board's own cyclictest.
end_load() {
  for name in load host; do
    [ -s "/run/rtvirt/$name.pid" ] || continue
    read -r pid <"/run/rtvirt/$name.pid"
    kill -s KILL -- "-$pid" 2>/dev/null && left="$left $name ($pid)"
    rm -f "/run/rtvirt/$name.pid"
  done
}

# A trace outlives the commands of its run; its guard removes it when it is told to end.
end_traces() {
  for path in /run/rtvirt/*.trace; do
    [ -s "$path" ] || continue
    read -r pid <"$path"
    kill "$pid" 2>/dev/null && left="$left trace ($pid)"
  done
}

# Working folders are named after the shell that made them: rtvirt.PID.XXXXXX.
remove_folders() {
  for path in /tmp/rtvirt.*.* /dev/shm/rtvirt.*.* /var/tmp/rtvirt.*.*; do
    pid=${path##*/rtvirt.}
    pid=${pid%%.*}
    case $pid in '' | *[!0-9]*) continue ;; esac
    # A process that has ended and is not reaped yet has no program.
    [ -d "$path" ] && [ ! -e "/proc/$pid/exe" ] || continue
    ! grep -q " $path " /proc/mounts || umount "$path" 2>/dev/null || umount -l "$path"
    rm -rf "$path" && left="$left $path"
  done
}

name_owner() { printf '%s %s\n' "$$" "$OWNER" >"$LOCK"; }

hold_machine() {
  [ -d "${LOCK%/*}" ] || mkdir -p "${LOCK%/*}"
  tries=0
  until take_lock; do
    exec 9>&-
    if [ "$tries" -eq 0 ]; then
      read -r _ owner 2>/dev/null <"$LOCK" || owner='an ended run'
      name_owner  # at once: who finds another name there than its own ends nothing
    fi
    [ "$tries" -lt 50 ] || fail "Processes of $owner do not end on this machine:$left; restart it."
    end_holders
    tries=$((tries + 1))
    sleep 0.2
  done
  [ "$tries" -gt 0 ] || read -r _ owner 2>/dev/null <"$LOCK" || owner=
  name_owner
  [ "$owner" = "$OWNER" ] || end_traces
  [ "$ENDS_LOAD" = no ] || end_load
  remove_folders
  [ -z "$left" ] || fact leftovers "ended or removed what ${owner:-an ended run} left behind:$left"
}

# End this command when its connection ends, which keeps its standard input open.
watch_connection() {
  while read -r _; do :; done
  read -r pid _ <"$LOCK"
  [ "$pid" = "$$" ] || return 0
  kill -s KILL "$$"
  end_holders
  end_load
  end_traces
  remove_folders
}
