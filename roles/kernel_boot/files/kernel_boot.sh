# shellcheck shell=sh
# Make one entry of U-Boot's extlinux.conf the default, with just the wanted words of the managed parameters on its command line.
# KERNEL, WORDS, PARAMETERS (managed ones), REALTIME (0 or 1), RELEASE (regular expression), VERIFY (yes: change nothing, complain).
conf=/boot/extlinux/extlinux.conf
[ -r "$conf" ] || fail "$conf is missing; this version of kernel_boot knows boards that boot through U-Boot's extlinux.conf."
entries=$(sed -n 's/^label //p' "$conf" | tr '\n' ' ')
case " $entries " in
*" $KERNEL "*) ;;
*) fail "There is no kernel $KERNEL on this board; it has: $entries" ;;
esac

# The words of a command line that are not ours to set, in their order.
others() {
  for word in $1; do
    case " $PARAMETERS " in *" ${word%%=*} "*) ;; *) printf '%s ' "$word" ;; esac
  done
}
ours() {
  for word in $1; do
    case " $PARAMETERS " in *" ${word%%=*} "*) printf '%s ' "$word" ;; esac
  done
}

# What runs is right when each managed parameter has the wanted value, and the kernel shows what its catalogue entry says.
difference=
running=$(ours "$(cat /proc/cmdline)")
[ "$running" = "${WORDS:+$WORDS }" ] || difference="the running command line has '$running', expected '$WORDS'"
realtime=$(cat /sys/kernel/realtime 2>/dev/null || echo 0)
# shellcheck disable=SC2153  # the task sets it
[ "$realtime" = "$REALTIME" ] || difference="/sys/kernel/realtime is $realtime, expected $REALTIME"
uname -r | grep -Eq -e "$RELEASE" || difference="the running kernel is $(uname -r), expected one that matches $RELEASE"

if [ "$VERIFY" = yes ]; then
  [ -z "$difference" ] || fail "Kernel $KERNEL does not run as wanted: $difference."
  exit 0
fi

append=$(sed -n "/^label $KERNEL\$/,/^label /s/^ *append //p" "$conf" | head -n 1)
wanted=$(echo "$(others "$append")$WORDS" | sed 's/ *$//')
sed -e "s/^default .*/default $KERNEL/" \
  -e "/^label $KERNEL\$/,/^label /{/^ *append /s|append .*|append $wanted|;}" "$conf" >"$conf.new"
# The range above ends at the next label, whose own append line comes after it and stays as it is.
if cmp -s "$conf" "$conf.new"; then
  rm -f "$conf.new"
else
  changed "boot entry $KERNEL: $wanted"
  if [ "$RTVIRT_CHECK_MODE" = yes ]; then rm -f "$conf.new"; else sync "$conf.new"; mv "$conf.new" "$conf"; sync; fi
fi
fact difference "$difference"
if [ -n "$difference" ]; then fact reboot_required yes; else fact reboot_required no; fi
