# shellcheck shell=sh
# check mode: safe
# Create the guest's SSH keys, known_hosts and ssh_config; runs on the controller.
# NAME, FOLDER, PORT, BOARD_SSH_CONFIG. JUMP: the ProxyCommand that leads through the board, empty when that is the controller itself.
# CLIENT_KEY, KNOWN_HOSTS: paths of these files as ssh_config wants them.
if [ "$RTVIRT_CHECK_MODE" = yes ]; then
  [ -s "$FOLDER/identity.img" ] || changed "identity of $NAME"
  exit 0
fi
umask 077
mkdir -p "$FOLDER/tree/identity"
cd "$FOLDER" || fail "The folder $FOLDER cannot be used."
# The private key gets its name last, so that both halves are there once it is. usage: make_key FILE COMMENT
make_key() {
  [ ! -s "$1" ] || [ ! -s "$1.pub" ] || return 0
  rm -f "$1.new" "$1.new.pub"
  if [ -s "$1" ]; then
    ssh-keygen -y -f "$1" >"$1.new.pub"
  else
    ssh-keygen -q -t ed25519 -N '' -C "$2" -f "$1.new" && sync "$1.new" "$1.new.pub"
  fi || fail "ssh-keygen could not make $FOLDER/$1."
  mv "$1.new.pub" "$1.pub"
  [ ! -e "$1.new" ] || mv "$1.new" "$1"
}
make_key client_key "rtvirt to $NAME"
make_key host_key "$NAME"
echo "$NAME $(cut -d ' ' -f 1-2 host_key.pub)" >known_hosts
# The board's configuration first: after a Host line it would apply to that host only. Copied, since Include takes a path for a pattern.
cat >ssh_config.new <<CONFIG
$([ ! -e "$BOARD_SSH_CONFIG" ] || cat "$BOARD_SSH_CONFIG")
Host $NAME
  HostName 127.0.0.1
  Port $PORT
$([ -z "$JUMP" ] || printf '  ProxyCommand %s\n' "$JUMP")
  User root
  HostKeyAlias $NAME
  IdentityFile $CLIENT_KEY
  IdentitiesOnly yes
  UserKnownHostsFile $KNOWN_HOSTS
  StrictHostKeyChecking yes
  ConnectTimeout 60
CONFIG
if [ ! -s identity.img ] || [ ! -s tree/identity/ssh_host_ed25519_key ] || ! cmp -s ssh_config.new ssh_config; then
  changed "identity of $NAME"
  cp client_key.pub tree/identity/authorized_keys
  cp host_key tree/identity/ssh_host_ed25519_key  # OpenSSH's format, for the flavour debian
  dropbearconvert openssh dropbear host_key tree/identity/dropbear_ed25519_host_key >/dev/null 2>&1 ||
    fail "dropbearconvert could not convert $FOLDER/host_key."
  find tree -exec touch -d @0 {} +
  (cd tree && find . | LC_ALL=C sort | cpio --quiet --create --format=newc --owner=0:0 --reproducible) >identity.img
fi
mv ssh_config.new ssh_config
