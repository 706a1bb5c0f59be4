#!/bin/sh
# Let a sealed machine go on that stands still at its save point (save_point.c), after its state was saved if that is wanted.
# usage: attend.sh KEEPER_PID FOLDER     needs: PYTHON. FOLDER/state.json: how it is saved (rtvirt_runner.build.from_shell).
# A machine that does not sleep (FOLDER/awake, from keep_state.sh) is ended: the stop has made another machine of it.
keeper=$1
cd "$2" || exit 1
runs() { kill -0 "$keeper" 2>/dev/null; }
qmp() { "$PYTHON" -m rtvirt_runner.machine.qmp qmp.sock "$@"; }
stands_still() { case $(qmp query-status) in *watchdog*) return 0 ;; *) return 1 ;; esac; }

# First by its console: each question to QEMU is a Python that starts.
until grep -aq '^@save' console.log 2>/dev/null; do
  runs || exit 0
  sleep 0.1
done
until stands_still; do
  if ! runs || grep -aq '^@saved' console.log; then exit 0; fi
  sleep 0.1
done
[ -e state ] || "$PYTHON" -m rtvirt_runner.build.from_shell state.json
if [ -e awake ]; then qmp quit; else qmp cont; fi
