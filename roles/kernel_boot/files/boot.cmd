# U-Boot runs this as /boot.scr: an entry that is marked for a trial, once; else the default entry; else the last good one.
# Entries are text files in /rtvirt, made by loader_u_boot.sh. This is U-Boot's shell, which has neither functions nor $(...).

setenv rtvirt_arm_watchdog
if load ${devtype} ${devnum}:${distro_bootpart} ${kernel_addr_r} /rtvirt/board.env; then
  env import -t ${kernel_addr_r} ${filesize}
fi

# The mark goes before the trial begins, so that nothing that happens in the trial can bring a second one about.
setenv rtvirt_entries default last_good
if test -e ${devtype} ${devnum}:${distro_bootpart} /rtvirt/trial; then
  fatrm ${devtype} ${devnum}:${distro_bootpart} /rtvirt/trial
  if test -e ${devtype} ${devnum}:${distro_bootpart} /rtvirt/trial; then
    echo "rtvirt: the mark of the trial cannot be removed, so there is no trial"
  else
    setenv rtvirt_entries trial default last_good
    run rtvirt_arm_watchdog
  fi
fi

for entry in ${rtvirt_entries}; do
  # A file that was cut short lacks its last line, rtvirt_whole=yes, and is no entry.
  setenv rtvirt_whole
  if load ${devtype} ${devnum}:${distro_bootpart} ${kernel_addr_r} /rtvirt/${entry}.env; then
    env import -t ${kernel_addr_r} ${filesize}
  fi
  if test "${rtvirt_whole}" = yes; then
    echo "rtvirt: booting ${rtvirt_kernel} (${entry})"
    setenv rtvirt_loaded yes
    if test -n "${fdt_addr}"; then
      setenv rtvirt_tree ${fdt_addr}
    else
      setenv rtvirt_tree ${fdtcontroladdr}
    fi
    if test -n "${rtvirt_fdt}"; then
      setenv rtvirt_tree ${fdt_addr_r}
      load ${devtype} ${devnum}:${distro_bootpart} ${fdt_addr_r} ${rtvirt_folder}/${rtvirt_fdt} || setenv rtvirt_loaded no
    fi
    setenv rtvirt_ramdisk -
    if test -n "${rtvirt_initrd}"; then
      load ${devtype} ${devnum}:${distro_bootpart} ${ramdisk_addr_r} ${rtvirt_folder}/${rtvirt_initrd} || setenv rtvirt_loaded no
      setenv rtvirt_ramdisk ${ramdisk_addr_r}:${filesize}
    fi
    load ${devtype} ${devnum}:${distro_bootpart} ${kernel_addr_r} ${rtvirt_folder}/vmlinuz || setenv rtvirt_loaded no
    if test "${rtvirt_loaded}" = yes; then
      ${rtvirt_command} ${kernel_addr_r} ${rtvirt_ramdisk} ${rtvirt_tree}
    fi
  fi
  echo "rtvirt: the ${entry} entry could not be started"
  if test ${entry} = trial; then
    reset
  fi
done
