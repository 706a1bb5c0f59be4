# shellcheck shell=sh
# A user who has sudo and a password, as the installer makes one, and whom root's key lets in. USER_NAME, PASSWORD.
if ! id "$USER_NAME" >/dev/null 2>&1; then
  useradd --create-home --shell /bin/bash --groups sudo "$USER_NAME" || fail "The user $USER_NAME could not be made."
  printf '%s:%s\n' "$USER_NAME" "$PASSWORD" | chpasswd || fail "The password of $USER_NAME could not be set."
  home=$(getent passwd "$USER_NAME" | cut -d: -f6)
  install -d -m 700 -o "$USER_NAME" -g "$USER_NAME" "$home/.ssh"
  # A card of rtvirt's lets in whom its file names, which root alone reads.
  install -m 600 -o "$USER_NAME" -g "$USER_NAME" /boot/identity/authorized_keys "$home/.ssh/authorized_keys"
  echo 'AuthorizedKeysFile /boot/identity/authorized_keys .ssh/authorized_keys' >/etc/ssh/sshd_config.d/0-users.conf
  systemctl reload ssh || fail "The SSH server does not take its configuration."
  changed "made the user $USER_NAME"
fi
