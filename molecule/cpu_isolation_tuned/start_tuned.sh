# shellcheck shell=sh
# A profile that sets two values which the role sets too, each as the kernel has it by default; tuned and irqbalance run.
if [ "$(tuned-adm active 2>/dev/null)" != "Current active profile: of-the-server" ]; then
  mkdir -p /etc/tuned/of-the-server
  printf '%s\n' '[sysctl]' kernel.sched_rt_runtime_us=950000 kernel.timer_migration=1 >/etc/tuned/of-the-server/tuned.conf
  # tuned 2.24 and later looks into a folder of profiles first
  [ ! -d /etc/tuned/profiles ] || cp -R /etc/tuned/of-the-server /etc/tuned/profiles
  systemctl start tuned irqbalance || fail "tuned or irqbalance does not start."
  tuned-adm profile of-the-server || fail "tuned does not take the profile."
  changed "tuned's profile of-the-server"
fi
for unit in tuned irqbalance; do
  [ "$(systemctl is-active "$unit")" = active ] || fail "$unit is $(systemctl is-active "$unit"), expected active."
done
