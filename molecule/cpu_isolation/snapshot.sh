# shellcheck shell=sh
# All values that the settings can touch, in a file named by the variable SNAPSHOT. FILES: patterns of files.
mkdir -p /run/rtvirt
{
  for file in $FILES /proc/swaps; do
    [ ! -r "$file" ] || printf '%s %s\n' "$file" "$(cat "$file" 2>/dev/null)"
  done
  # Cores and priorities of kernel threads but those of workqueues, which come and go.
  for thread in $(pgrep -P 2); do
    name=$(cat "/proc/$thread/comm" 2>/dev/null) || continue
    case $name in
    kworker* | '' | khugepaged) ;;
    *) printf '%s %s %s\n' "$name" "$(taskset -c -p "$thread")" "$(chrt -p "$thread" | tr '\n' ' ')" ;;
    esac
  done | sed "s/pid [0-9]*'s//g" | sort
} >"/run/rtvirt/$SNAPSHOT"
