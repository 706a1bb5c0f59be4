# shellcheck shell=sh disable=SC2154
# Does the wanted kernel run, as the board's default, with the wanted words? Changes nothing.
# KERNEL, RELEASE, REALTIME, WORDS, PARAMETERS, LOADERS and what these need.
find_loader
default=$state/default.env
[ -s "$default" ] || fail "Kernel $KERNEL does not run as wanted: kernel_boot was never applied to this board; apply it first."
others=$(words_of others "$(field "$default" bootargs)" "$managed" "$(field "$default" rtvirt_words)")
wanted=$(join_words "$others" "$(added_words "$others" "$WORDS rtvirt.kernel=$KERNEL")")
difference=$(difference "$default" '')
[ -n "$difference" ] || [ "$(field "$default" bootargs)" = "$wanted" ] || difference="the default entry's command line is '$(field "$default" bootargs)', expected '$wanted'"
[ -n "$difference" ] || [ ! -e "$state/trial.env" ] || difference="a trial of $(field "$state/trial.env" rtvirt_kernel) is not confirmed"
[ -z "$difference" ] || fail "Kernel $KERNEL does not run as wanted: $difference."
