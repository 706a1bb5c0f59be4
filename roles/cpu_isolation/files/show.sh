# shellcheck shell=sh disable=SC2154,SC2034
# Report the value wanted and the value found, a row per item, and the settings that are applied. Changes nothing.
# Needs: thread.sh, settings.sh, cpuset.sh, resctrl.sh. Without SETTINGS it compares with the settings applied last.
if [ -z "${SETTINGS+given}" ]; then
  SETTINGS='' HOST_CPUS='' GUEST_CPUS='' SETTING_ROWS=''
  {
    read -r HOST_CPUS
    read -r GUEST_CPUS
    read -r SETTINGS
    while IFS= read -r row; do SETTING_ROWS=$SETTING_ROWS$row$newline; done
  } 2>/dev/null <"$state_folder/isolation.wanted"
  fact isolation_wanted_settings "$SETTINGS"
  fact isolation_host_cpus "$HOST_CPUS"
  fact isolation_guest_cpus "$GUEST_CPUS"
fi
ACT=show
note_rows
each_item
applied=
while IFS=$tab read -r setting _; do
  case " $applied " in *" $setting "*) ;; *) applied="$applied $setting" ;; esac
done 2>/dev/null <"$journal"
fact isolation_applied "${applied# }"
# check mode: safe
