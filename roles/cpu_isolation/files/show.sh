# shellcheck shell=sh disable=SC2154,SC2034
# What is wanted and what is found, an item each; and what an earlier wish has left. Changes nothing. Reads: settings.sh, cpuset.sh.
# Without SETTINGS it looks at what was wanted last.
if [ -z "${SETTINGS+given}" ]; then
  SETTINGS='' HOST_CPUS='' GUEST_CPUS=''
  { read -r HOST_CPUS; read -r GUEST_CPUS; read -r SETTINGS; } 2>/dev/null <"$state_folder/isolation.wanted"
  fact isolation_wanted_settings "$SETTINGS"
  fact isolation_host_cpus "$HOST_CPUS"
  fact isolation_guest_cpus "$GUEST_CPUS"
fi
ACT=show
each_setting
applied=
while IFS=$tab read -r setting _; do
  case " $applied " in *" $setting "*) ;; *) applied="$applied $setting" ;; esac
done 2>/dev/null <"$journal"
fact isolation_applied "${applied# }"
# check mode: safe
