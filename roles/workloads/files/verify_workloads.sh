# shellcheck shell=sh
# Each program runs here and gets its answer right. PROGRAMS: file names.
for program in $PROGRAMS; do
  "/usr/local/bin/$program" --iterations 1 >/dev/null || fail "$program does not run on this machine."
done
