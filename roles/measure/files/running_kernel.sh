# shellcheck shell=sh
# check mode: safe
# Facts of the running kernel: release; kernel, its name in the catalogue if rtvirt installed it; trial, whether this boot began as a trial.
fact release "$(uname -r)"
fact kernel "$(sed -n 's/.*\brtvirt\.kernel=\([^ ]*\).*/\1/p' /proc/cmdline)"
case " $(cat /proc/cmdline) " in *' rtvirt.trial='*) fact trial yes ;; *) fact trial no ;; esac
