#!/bin/sh
# Work through /queue/plan, and write the answer of each step to the console. A line of the plan is one of
#   group                                    begins a group of cells that share a state of board and guest
#   setup STEP PLACE                         applies that state; if it fails, the cells of the group are skipped
#   cell PHASE_US STATE STEP PLACE END       after PHASE_US: read the board's state (STATE), measure, and read it again (END)
# A step is the file of that name next to the plan: the standard input of a shell in the place, board or guest.
# An answer is compressed, since a serial line is slow, and has a checksum, since the kernel may write between its lines.
queue=/queue mailbox=/run/rtvirt/guest.mailbox
answer_at=8192  # first block of the guest's answer in the mailbox
settle_s=20  # from the state of a group to its first cell

answer() {  # NAME
  printf '\n@answer %s\n' "$1"
  gzip -c </run/answer | base64
  printf '@end %s %s\n' "$1" "$(sha256sum </run/answer | cut -c 1-64)"
}

block() { dd if="$mailbox" bs=512 skip="$1" count=1 2>/dev/null | head -n 1; }

# Send a step to the guest by its mailbox (guest_init.sh): number and length in the first block, the text from the second block on.
# Whoever waits sleeps until the mailbox is written: a look each second would be seen in the guest's latencies.
ask_guest() {  # STEP
  : >/run/answer
  pid=$(cat /run/rtvirt/guest.pid 2>/dev/null)
  [ -s "$mailbox" ] && [ -d "/proc/${pid:-none}" ] || return 1
  number=$(block "$answer_at")
  number=$((${number%% *} + 1))
  dd if="$queue/$1" of="$mailbox" bs=512 seek=1 conv=notrunc 2>/dev/null
  [ -p /run/mailbox.events ] || mkfifo /run/mailbox.events
  inotifywait -m -e modify -e close_write "$mailbox" >/run/mailbox.events 2>&1 &
  watcher=$! said='' closed_by=us
  while read -r event; do
    case $event in
    'Setting up'*) continue ;;
    'Watches established'*)
      printf '%s %s\n' "$number" "$(wc -c <"$queue/$1")" | dd of="$mailbox" bs=512 conv=notrunc,sync 2>/dev/null
      continue
      ;;
    esac
    read -r said bytes <<HEADER
$(block "$answer_at")
HEADER
    [ "$said" != "$number" ] || break
    case $event in
    *CLOSE_WRITE*)
      [ "$closed_by" = us ] || { sleep 1; [ -d "/proc/$pid" ] || break; }  # QEMU closes it when it ends
      closed_by=others
      ;;
    esac
  done </run/mailbox.events
  kill "$watcher"
  [ "$said" = "$number" ] || return 1
  dd if="$mailbox" bs=512 skip=$((answer_at + 1)) count=$(((bytes + 511) / 512)) 2>/dev/null | head -c "$bytes" >/run/answer
}

step() {  # NAME PLACE: returns whether the step succeeded
  rm -f /run/answer
  case $2 in
  board) sh <"$queue/$1" >/run/answer 2>/run/answer.err ;;
  guest) ask_guest "$1" ;;
  *) printf '@fail The plan has step %s at the place %s.\n' "$1" "$2" >/run/answer ;;
  esac
  answer "$1"
  grep -q '^@whole 0$' /run/answer
}

set_up() {
  ready=yes
  for each in $setups; do
    step "${each%:*}" "${each#*:}" || { ready=no; return; }
  done
  # Kernels do for seconds what they have put off while they booted. Time in which nothing happens costs a sealed machine little.
  sleep "$settle_s"
}

setups='' ready=new
while read -r what first second third fourth fifth; do
  case $what in
  group) setups='' ready=new ;;
  setup) setups="$setups $first:$second" ;;
  cell)
    [ "$ready" != new ] || set_up
    if [ "$ready" = no ]; then echo "@skipped $third"; continue; fi
    usleep "$first"
    done=yes
    if step "$second" board; then step "$third" "$fourth" || done=no; else done=no; fi
    step "$fifth" board || done=no
    # Apply the state again: a failed cell may have changed it.
    [ "$done" = yes ] || ready=new
    ;;
  esac
done <"$queue/plan"
echo "@over"
