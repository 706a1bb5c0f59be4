# shellcheck shell=sh
# check mode: safe
# Install the packed programs below /usr/local, and remove those of an earlier set. ARCHIVE: the archive on this machine.
cd /usr/local || exit 1
sums=lib/rtvirt-workloads/sums
wanted=$(tar -xzOf "$ARCHIVE" "$sums" 2>/dev/null)
if [ "$RTVIRT_CHECK_MODE" = yes ]; then
  [ -n "$wanted" ] && [ "$wanted" = "$(cat "$sums" 2>/dev/null)" ] || changed "would unpack the workloads' programs"
  exit 0
fi
[ -n "$wanted" ] || fail "$ARCHIVE is no archive of workloads; remove it and run this again."
if [ "$wanted" != "$(cat "$sums" 2>/dev/null)" ] || ! sha256sum -c "$sums" >/dev/null 2>&1; then
  changed "unpacked the workloads' programs"
  [ ! -s "$sums" ] || while read -r _ path; do
    rm -rf "$path" "${path%.tar.gz}"  # with the package that was unpacked on its first use
  done <"$sums"
  tar -xzf "$ARCHIVE" || fail "There is no room for the workloads' programs in /usr/local."
fi
sha256sum -c "$sums" >/dev/null 2>&1 || fail "The workloads' programs below /usr/local are not what was unpacked there; is the disk full?"
