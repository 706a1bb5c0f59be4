#!/bin/sh
# What Ansible calls in the place of ssh, since its option takes the name of a program only: relay.py, with ssh behind it.
exec "$RTVIRT_RELAY_PYTHON" -I -S "${0%.sh}.py" "$RTVIRT_RELAY_BYTES" "$RTVIRT_RELAY_LIMIT_S" "$RTVIRT_RELAY_INPUT" "$RTVIRT_RELAY_SSH" "$@"
