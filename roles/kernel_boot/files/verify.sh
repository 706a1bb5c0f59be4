# shellcheck shell=sh disable=SC2154
# check mode: safe
# Verify that the wanted kernel runs as the board's default entry, with the wanted parameters. Changes nothing.
# KERNEL, RELEASE, REALTIME, KERNEL_PARAMS, PARAMETERS, LOADERS and what these need.
find_loader
default=$state/default.env
[ -s "$default" ] || fail "Kernel $KERNEL does not run as wanted: kernel_boot was never applied to this board; apply it first."
others=$(params_of others "$(field "$default" bootargs)" "$managed" "$(field "$default" rtvirt_kernel_params)")
wanted=$(join_params "$others" "$(added_params "$others" "$KERNEL_PARAMS rtvirt.kernel=$KERNEL")")
difference=$(difference "$default" '')
[ -n "$difference" ] || [ "$(field "$default" bootargs)" = "$wanted" ] || difference="the default entry's command line is '$(field "$default" bootargs)', expected '$wanted'"
[ -n "$difference" ] || [ ! -e "$state/trial.env" ] || difference="a trial of $(field "$state/trial.env" rtvirt_kernel) is not confirmed"
[ -z "$difference" ] || fail "Kernel $KERNEL does not run as wanted: $difference."
