# shellcheck shell=sh
# Cores kept at run time, on a machine that is not to be rebooted.
setting_cpuset_show() { fail "This version keeps no cores at run time."; }
