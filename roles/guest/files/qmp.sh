# shellcheck shell=sh disable=SC2154
# Ask QEMU's monitor (QMP over a pair of FIFOs that only root may open, so that a shell can use it) once after its start which thread runs which vCPU.
# Writes vCPU number and thread id to guest.vcpus.
qmp_find_vcpus() {
  # A greeting and an answer to each command; events may come in between. In a background shell, since opening a FIFO blocks until the other end
  # is open, for ever where QEMU has ended. The limit counts polls, as seconds race on an emulated board that waits for its disk.
  # shellcheck disable=SC2016  # the inner shell's
  sh -c '
    exec 8>"$1.in" 9<"$1.out"
    printf "%s\n" "{\"execute\": \"qmp_capabilities\"}" "{\"execute\": \"query-cpus-fast\"}" >&8
    while IFS= read -r line <&9; do
      case $line in *\"cpu-index\"* | *\"error\"*) printf "%s\n" "$line" >"$1.answer" && break ;; esac
    done' sh "$run/guest.qmp" >/dev/null 2>&1 &
  asking=$! looks=0
  until [ -s "$run/guest.qmp.answer" ] || [ -z "$(unit_pid)" ] || [ "$looks" -ge 2000 ]; do
    looks=$((looks + 1))
    sleep 0.1
  done
  answer=$(cat "$run/guest.qmp.answer" 2>/dev/null)
  kill "$asking" 2>/dev/null
  case $answer in
  *'"cpu-index"'*) ;;
  '') give_up "QEMU ended, or does not answer on its monitor: $(unit_said)" ;;
  *) give_up "QEMU's monitor refused: $answer" ;;
  esac
  # Each vCPU also has "props" (its topology), with another "thread-id".
  printf '%s\n' "$answer" | sed 's/"props": {[^}]*}//g; s/{/\n{/g' |
    sed -n -e 's/.*"thread-id": \([0-9]*\).*"cpu-index": \([0-9]*\).*/\2 \1/p' -e 's/.*"cpu-index": \([0-9]*\).*"thread-id": \([0-9]*\).*/\1 \2/p' \
      >"$run/guest.vcpus"
  [ "$(wc -l <"$run/guest.vcpus")" -eq "$VCPUS" ] || give_up "QEMU's monitor tells $(wc -l <"$run/guest.vcpus") vCPUs, expected $VCPUS: $answer"
}
