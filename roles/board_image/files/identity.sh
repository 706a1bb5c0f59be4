# shellcheck shell=sh
# The keys of a board, in $FOLDER on the controller: its SSH host key, the key by which we come, and the file that knows the first. Made once
# and kept, so that the board is known before its first boot; ROTATE=yes makes them anew. NAME; AUTHORIZED_KEYS: more keys, a line each;
# ADDRESS: where the board is, for an ssh_config beside the keys, or nothing.
umask 077
mkdir -p "$FOLDER" || fail "The folder $FOLDER for the keys of $NAME cannot be made."
cd "$FOLDER" || exit 1
[ "$RTVIRT_CHECK_MODE" = no ] || { [ -s ssh_host_ed25519_key ] && [ "$ROTATE" = no ] || changed "would make keys of $NAME"; exit 0; }
[ "$ROTATE" = no ] || rm -f client_key client_key.pub ssh_host_ed25519_key ssh_host_ed25519_key.pub
# usage: make_key FILE COMMENT
make_key() {
  [ ! -s "$1" ] || return 0
  ssh-keygen -q -t ed25519 -N '' -C "$2" -f "$1" || fail "ssh-keygen could not make $FOLDER/$1."
  changed "made $1 of $NAME"
}
make_key client_key "rtvirt to $NAME"
make_key ssh_host_ed25519_key "$NAME"
chmod 700 .
chmod 600 client_key ssh_host_ed25519_key
{ cat client_key.pub; [ -z "$AUTHORIZED_KEYS" ] || printf '%s\n' "$AUTHORIZED_KEYS"; } >authorized_keys
echo "$NAME $(cut -d ' ' -f 1-2 ssh_host_ed25519_key.pub)" >known_hosts
[ -z "$ADDRESS" ] || cat >ssh_config <<CONFIG
Host $NAME
  HostName $ADDRESS
Host * !*-guest
  User root
  HostKeyAlias $NAME
  IdentityFile "$FOLDER/client_key"
  IdentitiesOnly yes
  UserKnownHostsFile "$FOLDER/known_hosts"
  StrictHostKeyChecking yes
  ConnectTimeout 60
CONFIG
# The folder may be within a lab that is under version control: its keys are not to be.
[ -e .gitignore ] || printf '*\n' >.gitignore
