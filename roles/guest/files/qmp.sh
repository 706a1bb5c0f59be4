# shellcheck shell=sh disable=SC2154
# Ask QEMU, once after its start, over its monitor, which is a pair of pipes: any shell can speak into one and listen at the other, and only root may.
# The number of each vCPU and of the thread that runs it go to guest.vcpus.
qmp_find_vcpus() {
  exec 8>"$run/guest.qmp.in" 9<"$run/guest.qmp.out"
  printf '%s\n' '{"execute": "qmp_capabilities"}' '{"execute": "query-cpus-fast"}' >&8
  answer=
  # A greeting, an answer to each; events may come between.
  while IFS= read -r line <&9; do
    case $line in *'"cpu-index"'*) answer=$line && break ;; *'"error"'*) fail "QEMU's monitor refused: $line" ;; esac
  done
  exec 8>&- 9<&-
  # Each vCPU also has the place that the guest sees it in, with a "thread-id" of its own.
  printf '%s\n' "$answer" | sed 's/"props": {[^}]*}//g; s/{/\n{/g' |
    sed -n -e 's/.*"thread-id": \([0-9]*\).*"cpu-index": \([0-9]*\).*/\2 \1/p' -e 's/.*"cpu-index": \([0-9]*\).*"thread-id": \([0-9]*\).*/\1 \2/p' \
      >"$run/guest.vcpus"
  [ "$(wc -l <"$run/guest.vcpus")" -eq "$VCPUS" ] || fail "QEMU's monitor tells $(wc -l <"$run/guest.vcpus") vCPUs, expected $VCPUS: $answer"
}
