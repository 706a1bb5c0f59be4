# shellcheck shell=sh disable=SC2154
# check mode: safe
# Report the kernel and parameters that the board booted before kernel_boot changed anything, if it did. Changes nothing. LOADERS and what these need.
find_loader
if [ -s "$state/original.env" ]; then
  fact kernel "$(field "$state/original.env" rtvirt_kernel)"
  fact kernel_params "$(field "$state/original.env" rtvirt_kernel_params)"
fi
