# shellcheck shell=sh disable=SC2034
# check mode: safe
# What the steps of kernel_boot share: command lines, boot entries, and which boot loader this board has.
#
# An entry is a text file in $boot/rtvirt, lines of name=value, that says what boots and how:
#   rtvirt_kernel    name in the catalogue                rtvirt_folder   its folder, below $boot
#   rtvirt_command   U-Boot's command that starts it      rtvirt_initrd, rtvirt_fdt   files in that folder, or nothing
#   rtvirt_kernel_params  those in bootargs that are ours   bootargs        the whole command line
#   rtvirt_whole     yes, the last line: the file was not cut short
# There are up to three: default, last_good (the default before it), and trial. The loader's own part is behind the eight
# functions that loader_u_boot.sh begins with; each knows of the one loader in its name.
boot=${BOOT:-/boot}
[ ! -e "$boot/firmware/config.txt" ] || boot=$boot/firmware  # of a Raspberry Pi
kernels=$boot/kernels
managed="${PARAMETERS-} rtvirt.kernel rtvirt.trial rtvirt.trial_spins rtvirt.trial_no_watchdog"
state=$boot/rtvirt

running_line() { cat "${RUNNING_LINE:-/proc/cmdline}"; }

# Of a command line, ours are the managed parameters and those that we added before. Prints (others) all that is
# not ours, each word once, at its last place, since the kernel takes the last; or (ours) the rest. Spaces inside double
# quotes belong to a word, and - and _ in a parameter's name are the same, as for the kernel. hugepages= is about the
# hugepagesz= before it: equal are only those of equal pairs. What follows -- is for init: it is not ours and stays the end.
# Not in Python on the controller: the line to join to is on the board, and reading, joining and writing it are one command here, two there.
# usage: params_of others|ours COMMAND_LINE PARAMETERS FORMER_PARAMS
params_of() {
  PART=$1 LINE=$2 PARAMETERS=$3 FORMER=$4 awk "$split_params"'
    function name_of(word) { sub(/^"/, "", word); sub(/=.*/, "", word); gsub(/-/, "_", word); return word }
    function find_keys(words, n, keys,   i, j, size) {
      for (i = 1; i <= n; i++) {
        keys[i] = words[i]
        if (words[i] ~ /^hugepages=/) keys[i] = size " " words[i]
        if (words[i] !~ /^hugepagesz=/) continue
        size = words[i]
        for (j = i + 1; j <= n && words[j] !~ /^hugepagesz=/; j++) if (words[j] ~ /^hugepages=/) { keys[i] = size " " words[j]; break }
      }
    }
    BEGIN {
      n = split_params(ENVIRON["PARAMETERS"], list); for (i = 1; i <= n; i++) managed[name_of(list[i])] = 1
      n = split_params(ENVIRON["FORMER"], list); find_keys(list, n, keys); for (i = 1; i <= n; i++) former[keys[i], list[i]] = 1
      n = split_params(ENVIRON["LINE"], list); find_keys(list, n, keys); for (i = 1; i <= n; i++) last[keys[i], list[i]] = i
      for (i = 1; i <= n; i++) {
        mine = (name_of(list[i]) in managed) || ((keys[i], list[i]) in former)
        if (last[keys[i], list[i]] == i && (mine ? "ours" : "others") == ENVIRON["PART"]) {
          printf "%s%s", separator, list[i]
          separator = " "
        }
      }
      if (ENVIRON["PART"] == "others" && for_init != "") printf "%s%s", separator, for_init
      print ""
    }'
}

# For awk: split a command line into words; returns their number. Sets for_init: -- and what follows, or nothing.
split_params='
  function split_params(text, words,   i, c, quoted, word, n, key) {
    for (key in words) delete words[key]
    for_init = ""
    for (i = 1; i <= length(text) + 1; i++) {
      c = i > length(text) ? " " : substr(text, i, 1)
      if (c == "\"") quoted = !quoted
      if ((c == " " || c == "\t" || c == "\n") && (!quoted || i > length(text))) {
        if (word == "--") { for_init = "--" substr(text, i); gsub(/[ \t\n]+$/, "", for_init); return n + 0 }
        if (word != "") words[++n] = word
        word = ""
      } else word = word c
    }
    return n + 0
  }
'

# The wanted parameters in their order, without those that others put on the command line already: those stay theirs.
# usage: added_params OTHERS WANTED
added_params() { params_of others "$2" '' "$1"; }

# The whole command line: what others put there, then ours, then what is for init.
# usage: join_params KERNEL_PARAMS...
join_params() {
  line='' for_init=''
  for words in "$@"; do
    params=$(LINE=$words awk "$split_params"'BEGIN {
      n = split_params(ENVIRON["LINE"], list); for (i = 1; i <= n; i++) printf "%s%s", (i > 1 ? " " : ""), list[i]; print ""; print for_init
    }')
    rest=${params#*"
"}
    [ "$rest" != "$params" ] || rest=
    params=${params%%"
"*}
    [ -z "$params" ] || line="$line${line:+ }$params"
    [ -z "$rest" ] || for_init="$for_init${for_init:+ }$rest"
  done
  printf '%s\n' "$line${for_init:+${line:+ }$for_init}"
}

# A command line without the parameters of a trial, which are the last before those for init. usage: without_trial COMMAND_LINE
without_trial() {
  LINE=$1 awk "$split_params"'BEGIN {
    n = split_params(ENVIRON["LINE"], list)
    for (i = 1; i <= n && list[i] !~ /^rtvirt\.trial=/; i++) printf "%s%s", (i > 1 ? " " : ""), list[i]
    print (for_init == "" ? "" : " " for_init)
  }'
}

# Fail if the kernel would cut a command line. COMMAND_LINE_SIZE is that of its architecture, with the byte that ends it; the boot loader adds
# to a line what it adds to the running one, and GRUB the path of the kernel. usage: check_length COMMAND_LINE
check_length() {
  running=$(running_line) known=$(field "${default:-$state/default.env}" bootargs) added_length=0
  case " $running " in *" $known "*) added_length=$((${#running} - ${#known})) ;; esac
  if [ "$loader" = grub ]; then
    path="BOOT_IMAGE=/boot/kernels/$FOLDER/vmlinuz "
    [ "$added_length" -ge "${#path}" ] || added_length=${#path}
  fi
  most=$((${COMMAND_LINE_SIZE:-2048} - 1)) length=$((${#1} + added_length))
  [ "$length" -le "$most" ] ||
    fail "The kernel's command line would have $length characters ($added_length of them from the boot loader), and a kernel of this architecture" \
      "reads $most: it would cut off '$(printf '%s' "$1" | tail -c "$((length - most))")'; remove parameters from the board's own line" \
      "or from the settings."
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

# Was what runs started by an entry of a kernel that we brought? The entry as-found does not name its kernel.
our_kernel_runs() { case " $(running_line) " in *" rtvirt.kernel="*) ;; *) return 1 ;; esac; }

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
