# shellcheck shell=sh
# QEMU is there and new enough, /dev/kvm opens. PACKAGES: machine=package ...; MINIMUM: version.
machine=$(uname -m)
package=
for entry in $PACKAGES; do
  [ "${entry%%=*}" != "$machine" ] || package=${entry#*=}
done
[ -n "$package" ] || fail "kvm_host knows no QEMU package for $machine; add it to kvm_host_packages."
case $machine in x86_64) program=qemu-system-x86_64 ;; aarch64) program=qemu-system-aarch64 ;; *) program=qemu-system-arm ;; esac

if ! command -v "$program" >/dev/null; then
  changed "installed $package"
  [ "$RTVIRT_CHECK_MODE" = no ] || exit 0
  export DEBIAN_FRONTEND=noninteractive
  { apt-get -qq update; apt-get -qq install --yes --no-install-recommends "$package"; } >/dev/null 2>&1 ||
    fail "apt-get could not install $package on the board."
fi
version=$("$program" --version | sed -n 's/^QEMU emulator version \([0-9.]*\).*/\1/p')
[ "$(printf '%s\n%s\n' "$MINIMUM" "$version" | sort -V | head -n 1)" = "$MINIMUM" ] ||
  fail "The board's QEMU is $version, expected $MINIMUM or newer."
fact qemu_program "$program"
fact qemu_version "$version"

[ -c /dev/kvm ] || fail "The board has no /dev/kvm: its kernel was built without KVM, or did not start in hypervisor mode."
(exec 3<>/dev/kvm) 2>/dev/null || fail "/dev/kvm is there but cannot be opened."
