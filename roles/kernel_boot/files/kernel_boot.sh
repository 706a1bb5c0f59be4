# shellcheck shell=sh disable=SC2034
# check mode: safe
# What the steps of kernel_boot share: command lines, boot entries, and which boot loader this board has.
#
# An entry is a text file in $boot/rtvirt, lines of name=value, that says what boots and how:
#   rtvirt_kernel    name in the catalogue                rtvirt_folder   its folder, below $boot
#   rtvirt_command   U-Boot's command that starts it      rtvirt_initrd, rtvirt_fdt   files in that folder, or nothing
#   rtvirt_kernel_params  those in bootargs that are ours   bootargs        the whole command line
#   rtvirt_whole     yes, the last line: the file was not cut short
# There are up to three: default, last_good (the default before it), and trial. The loader's own part is behind the seven
# functions that loader_u_boot.sh begins with; each knows of the one loader in its name.
boot=${BOOT:-/boot}
[ ! -e "$boot/firmware/config.txt" ] || boot=$boot/firmware  # of a Raspberry Pi
kernels=$boot/kernels
managed="${PARAMETERS-} rtvirt.kernel rtvirt.trial rtvirt.trial_spins rtvirt.trial_no_watchdog"
state=$boot/rtvirt

running_line() { cat "${RUNNING_LINE:-/proc/cmdline}"; }

# Of a command line, ours are the managed parameters and those that we added before. Prints (others) all that is
# not ours, each word once, at its last place, since the kernel takes the last; or (ours) the rest. Spaces inside double
# quotes belong to a word, and - and _ in a parameter's name are the same, as for the kernel.
# Not in Python on the controller: the line to join to is on the board, and reading, joining and writing it are one command here, two there.
# usage: params_of others|ours COMMAND_LINE PARAMETERS FORMER_PARAMS
params_of() {
  PART=$1 LINE=$2 PARAMETERS=$3 FORMER=$4 awk '
    function split_params(text, words,   i, c, quoted, word, n) {
      for (i = 1; i <= length(text) + 1; i++) {
        c = i > length(text) ? " " : substr(text, i, 1)
        if (c == "\"") quoted = !quoted
        if ((c == " " || c == "\t" || c == "\n") && (!quoted || i > length(text))) {
          if (word != "") words[++n] = word
          word = ""
        } else word = word c
      }
      return n
    }
    function name_of(word) { sub(/=.*/, "", word); gsub(/-/, "_", word); return word }
    BEGIN {
      n = split_params(ENVIRON["PARAMETERS"], list); for (i = 1; i <= n; i++) managed[name_of(list[i])] = 1
      n = split_params(ENVIRON["FORMER"], list); for (i = 1; i <= n; i++) former[list[i]] = 1
      n = split_params(ENVIRON["LINE"], list); for (i = 1; i <= n; i++) last[list[i]] = i
      for (i = 1; i <= n; i++) {
        mine = (name_of(list[i]) in managed) || (list[i] in former)
        if (last[list[i]] == i && (mine ? "ours" : "others") == ENVIRON["PART"]) {
          printf "%s%s", separator, list[i]
          separator = " "
        }
      }
      print ""
    }'
}

# The wanted parameters in their order, without those that others put on the command line already: those stay theirs.
# usage: added_params OTHERS WANTED
added_params() { params_of others "$2" '' "$1"; }

# The whole command line: what others put there, then ours.
# usage: join_params KERNEL_PARAMS...
join_params() {
  line=
  for words in "$@"; do [ -z "$words" ] || line="$line${line:+ }$words"; done
  printf '%s\n' "$line"
}

field() { [ ! -e "$1" ] || sed -n "s/^$2=//p" "$1" | head -n 1; }

# usage: entry_text ADDED_PARAMS COMMAND_LINE
entry_text() {
  printf '%s\n' "rtvirt_kernel=$KERNEL" "rtvirt_folder=/kernels/$FOLDER" "rtvirt_command=$COMMAND" \
    "rtvirt_initrd=$INITRD" "rtvirt_fdt=$FDT" "rtvirt_kernel_params=$1" "bootargs=$2" rtvirt_whole=yes
}

# Write standard input to a file, whole or not at all, unless it has that content. usage: put FILE [what it is]
put() {
  if [ "$RTVIRT_CHECK_MODE" = yes ]; then
    cmp -s - "$1" || changed "would write $1${2:+ ($2)}"
    return
  fi
  mkdir -p "${1%/*}"
  cat >"$1.new" || fail "The file $1 cannot be written: $(df -Pk "${1%/*}" | tail -n 1)."
  if cmp -s "$1.new" "$1"; then
    rm -f "$1.new"
  else
    sync "$1.new"
    mv "$1.new" "$1"
    sync
    changed "wrote $1${2:+ ($2)}"
  fi
}

# Sets loader to the one of LOADERS that starts this board.
find_loader() {
  for loader in $LOADERS; do
    "${loader}_found" && return
  done
  there=
  for file in boot.scr extlinux rtvirt grub config.txt; do [ ! -e "$boot/$file" ] || there="$there $file"; done
  fail "kernel_boot does not know how this board starts: it knows $LOADERS, each with entries of its own in $state, and found in" \
    "$boot:${there:- nothing of a boot loader}. Is $boot mounted? Where U-Boot starts the board, was the card made by rtvirt?"
}

# What runs was started by this entry: its whole command line is there, if with more around it. usage: runs FILE
runs() { case " $(running_line) " in *" $(field "$1" bootargs) "*) [ -e "$1" ] ;; *) return 1 ;; esac; }

# How does what runs differ from an entry of the wanted kernel? Prints a phrase, or nothing. usage: difference FILE FORMER_PARAMS
difference() {
  running=$(running_line)
  expected=$(field "$1" bootargs)
  [ "$(uname -r)" = "$RELEASE" ] || { echo "the running kernel is $(uname -r), expected $RELEASE"; return; }
  case $(uname -v) in *PREEMPT_RT*) realtime=1 ;; *) realtime=0 ;; esac
  [ ! -r /sys/kernel/realtime ] || realtime=$(cat /sys/kernel/realtime)
  # shellcheck disable=SC2153  # the tasks set it
  [ "$realtime" = "$REALTIME" ] || { echo "/sys/kernel/realtime is $realtime, expected $REALTIME"; return; }
  runs "$1" || { echo "the running command line is '$running', expected '$expected'"; return; }
  around="${running%%"$expected"*} ${running#*"$expected"}"
  surplus=$(params_of ours "$around" "$managed" "$2" | sed 's/rtvirt\.trial[=_][^ ]* *//g')
  [ -z "$surplus" ] || echo "the running command line has '$surplus' beside '$expected'"
}
