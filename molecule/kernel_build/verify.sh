# shellcheck shell=sh
# Both can run guests, one of them is PREEMPT_RT, and each has an index of its modules. RT, ORDINARY: folders.
for folder in "$RT" "$ORDINARY"; do
  grep -q '^CONFIG_KVM=y' "$folder/config" || fail "The kernel in $folder has no KVM."
  release=$(cat "$folder/release")
  [ -s "$folder/lib/modules/$release/modules.dep" ] || fail "The modules in $folder are not indexed."
done
grep -q '^CONFIG_PREEMPT_RT=y' "$RT/config" || fail "The kernel in $RT is not PREEMPT_RT."
! grep -q '^CONFIG_PREEMPT_RT=y' "$ORDINARY/config" || fail "The kernel in $ORDINARY is PREEMPT_RT."
