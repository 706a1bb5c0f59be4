# shellcheck shell=sh
# What runs here: its name in the catalogue if rtvirt put it there, and its release.
fact release "$(uname -r)"
fact kernel "$(sed -n 's/.*\brtvirt\.kernel=\([^ ]*\).*/\1/p' /proc/cmdline)"
