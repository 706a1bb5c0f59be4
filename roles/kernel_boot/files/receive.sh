# shellcheck shell=sh disable=SC2154
# Unpack a kernel from standard input, so that it is installed completely or not at all. KERNEL, RELEASE, FOLDER, MODULES_KEY.
incoming=/lib/modules/.rtvirt-incoming
rm -rf "$incoming" "$kernels/.incoming"
mkdir -p "$incoming" "$kernels/.incoming"
give_up() { rm -rf "$incoming" "$kernels/.incoming"; fail "$@"; }
tar -xzf - -C "$incoming" || give_up "The files of kernel $KERNEL did not arrive whole; run this again."
[ "$(cat "$incoming/release")" = "$RELEASE" ] || give_up "What arrived is kernel $(cat "$incoming/release"), expected $RELEASE."

# Modules of another build with the same release may belong to the running or the last good kernel.
modules=/lib/modules/$RELEASE
if [ -e "$modules" ] && [ "$(cat "$modules/.rtvirt" 2>/dev/null)" != "$MODULES_KEY" ]; then
  if [ "$(uname -r)" = "$RELEASE" ] || grep -qsFx "$RELEASE" "$kernels"/*/release; then
    diff -r -q -x 'modules.*' -x .rtvirt "$modules" "$incoming$modules" >/dev/null 2>&1 ||
      give_up "Kernel $KERNEL ($RELEASE) has other modules than the kernel of the same release that is on this board already," \
        "and both would need $modules; build it with another release, or remove the other kernel."
  else
    rm -rf "$modules"
  fi
fi
[ -e "$modules" ] || mv "$incoming$modules" "$modules"
rm -rf "${incoming:?}/lib"
cp -R "$incoming/." "$kernels/.incoming/" || give_up "The boot files of kernel $KERNEL cannot be written to $kernels: $(df -Pk "$kernels" | tail -n 1)."
sync
rm -rf "$incoming" "${kernels:?}/$FOLDER"
mv "$kernels/.incoming" "$kernels/$FOLDER"
{ grep -vFx "$FOLDER" "$state/kernels" 2>/dev/null; echo "$FOLDER"; } >"$state/kernels.new"
mv "$state/kernels.new" "$state/kernels"
sync
changed "installed kernel $KERNEL ($RELEASE) in $kernels/$FOLDER"
