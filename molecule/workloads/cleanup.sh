# shellcheck shell=sh
# All that the role brought.
rm -f /usr/local/bin/rtvirt-*
changed "removed the programs"
