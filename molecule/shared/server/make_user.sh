# shellcheck shell=sh
# A user who has sudo and a password, as the installer makes one, and whom root's key lets in. USER_NAME, PASSWORD.
if ! id "$USER_NAME" >/dev/null 2>&1; then
  useradd --create-home --shell /bin/bash --groups sudo "$USER_NAME" || fail "The user $USER_NAME could not be made."
  printf '%s:%s\n' "$USER_NAME" "$PASSWORD" | chpasswd || fail "The password of $USER_NAME could not be set."
  home=$(getent passwd "$USER_NAME" | cut -d: -f6)
  install -d -m 700 -o "$USER_NAME" -g "$USER_NAME" "$home/.ssh"
  install -m 600 -o "$USER_NAME" -g "$USER_NAME" /root/.ssh/authorized_keys "$home/.ssh/authorized_keys"
  changed "made the user $USER_NAME"
fi
