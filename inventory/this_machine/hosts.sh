#!/bin/sh
# The machine that you sit at as the board: an x86 or arm64 one with two cores or more. It is never rebooted, so what runs is what is measured,
# and cores are kept with cpusets (docs/this-machine.md). A script, since only the machine knows how many cores it has.
#
#   ./rtvirt matrix -i inventory/this_machine --matrix this_machine
#   .venv/bin/ansible-playbook -i inventory/this_machine playbooks/reset.yml
#
# Ansible runs it and reads the variables that it prints; those that hold for any such machine are in group_vars.
set -eu
[ "${1:-}" != --host ] || { echo '{}'; exit 0; }
case $(uname -m) in x86_64) kernel=debian-rt-amd64 ;; *) kernel=debian-rt ;; esac
# Cores that are offline do not count: a list such as 0,2-3.
cores=$(tr ',' '\n' </sys/devices/system/cpu/online | awk -F - '{ n += ($2 == "" ? $1 : $2) - $1 + 1 } END { print n }')
become=true  # sudo -n for whoever is not root
[ "$(id -u)" -ne 0 ] || become=false
cat <<JSON
{
  "_meta": {"hostvars": {
    "this-machine": {
      "ansible_become": $become,
      "rtvirt_board_cpus": $cores,
      "rtvirt_board_clock": "real",
      "rtvirt_board_boots": false,
      "guest_kernel": "$kernel"
    },
    "this-machine-guest": {"rtvirt_guest_board": "this-machine"}
  }},
  "boards": {"hosts": ["this-machine"]},
  "guests": {"hosts": ["this-machine-guest"]}
}
JSON
