# shellcheck shell=sh
# check mode: safe
# What runs here: its name in the catalogue if rtvirt put it there, its release, and whether this boot began as a trial.
fact release "$(uname -r)"
fact kernel "$(sed -n 's/.*\brtvirt\.kernel=\([^ ]*\).*/\1/p' /proc/cmdline)"
case " $(cat /proc/cmdline) " in *' rtvirt.trial='*) fact trial yes ;; *) fact trial no ;; esac
