# shellcheck shell=sh
# check mode: safe
# Whether a board's QEMU runs, and for whom. Needs: NAME; the board's folder is the working directory.
running() { [ -s pid ] && kill -0 "$(cat pid)" 2>/dev/null && tr '\0' ' ' <"/proc/$(cat pid)/cmdline" | grep -q "guest=$NAME,"; }

# Set owner to the process id of the run that the board ends with, 0 if it is kept; fail if another run has it.
read_owner() {
  owner=$(cat owner 2>/dev/null)
  owner=${owner:-0}  # also of a file that a power cut has left empty
  if [ "$owner" -ne 0 ] && [ "$owner" -ne "$RTVIRT_OWNER_PID" ] && kill -0 "$owner" 2>/dev/null; then
    fail "The board $NAME is in use by the run with process id $owner; wait for it or stop it."
  fi
}
