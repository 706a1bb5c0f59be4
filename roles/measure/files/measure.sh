# shellcheck shell=sh
# check mode: safe
# Verify cyclictest's version and that SCHED_FIFO is allowed; if cyclictest is missing, only say so, for the role to install it. PACKAGE, MINIMUM.
if ! command -v cyclictest >/dev/null; then
  [ "$(id -u)" -eq 0 ] || fail "Installing $PACKAGE needs root, and the user on this machine has id $(id -u); set become, or connect as root."
  command -v apt-get >/dev/null || fail "cyclictest is missing, and this machine has no apt-get; install cyclictest $MINIMUM or newer by its own means."
  fact missing "$PACKAGE"
  [ "$RTVIRT_CHECK_MODE" = no ] || changed "would install $PACKAGE"
  exit 0
fi
version=$(cyclictest --help 2>&1 | sed -n 's/^cyclictest V \([0-9.]*\).*/\1/p' | head -n 1)
[ "$(printf '%s\n%s\n' "$MINIMUM" "$version" | sort -V | head -n 1)" = "$MINIMUM" ] ||
  fail "cyclictest is version '$version', expected $MINIMUM or newer."
fact cyclictest_version "$version"
said=$(chrt -f 1 true 2>&1) && exit 0
# A missing tool, a missing permission and a kernel that refuses need different help.
command -v chrt >/dev/null || fail "chrt is not installed, with which cyclictest's priority is tried; install the package util-linux."
user='' capabilities=
while read -r key value rest; do
  case $key in Uid:) user=${rest%%[!0-9]*} ;; CapEff:) capabilities=$value ;; esac
done <"${STATUS_FILE:-/proc/self/status}"
[ "$user" = 0 ] || fail "The user with id $user may not use SCHED_FIFO; connect as root, set become, or raise the user's rtprio limit."
# CAP_SYS_NICE is bit 23.
[ $((0x${capabilities:-0} >> 23 & 1)) -eq 1 ] ||
  fail "Root may not use SCHED_FIFO here, since it lacks the capability CAP_SYS_NICE, as in a container; give the container that, or measure outside of it."
# Was the kernel built with RT_GROUP_SCHED? By its configuration, or by the file that each group of cgroup v1 then has.
rt_group_sched() {
  if { zcat /proc/config.gz || cat "${KERNEL_CONFIG:-/boot/config-$(uname -r)}"; } 2>/dev/null | grep -q '^CONFIG_RT_GROUP_SCHED=y'; then return 0; fi
  for file in /sys/fs/cgroup/cpu*/cpu.rt_runtime_us; do [ ! -e "$file" ] || return 0; done
  return 1
}
group=$(sed -n 's/^[0-9]*:[^:]*\bcpu\b[^:]*://p' /proc/self/cgroup | head -n 1)
if rt_group_sched; then
  fail "The kernel refuses SCHED_FIFO to root: it was built with RT_GROUP_SCHED, and this session's cgroup '${group:-/}' has no real-time runtime." \
    "Boot with rt_group_sched=0 (from Linux 6.16 on), or another kernel; with cgroup v1, give each group down to this one a cpu.rt_runtime_us above 0."
fi
fail "The kernel refuses SCHED_FIFO to root ($said); see whether a container, a security module or a limit of real-time runtime" \
  "(/proc/sys/kernel/sched_rt_runtime_us is $(cat /proc/sys/kernel/sched_rt_runtime_us 2>/dev/null)) forbids it."
