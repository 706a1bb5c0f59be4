# shellcheck shell=sh
# check mode: safe
# Create the keys of a board in $FOLDER on the controller: its SSH host key, the client key, and a known_hosts file with the first. Created once
# and kept, so that the board is known before its first boot; ROTATE=yes replaces them. NAME; AUTHORIZED_KEYS: more keys, one per line;
# ADDRESS: of the board, for an ssh_config beside the keys, or empty. CLIENT_KEY, KNOWN_HOSTS: paths of these files as ssh_config wants them.
umask 077
if [ "$RTVIRT_CHECK_MODE" = yes ]; then
  { [ -s "$FOLDER/client_key" ] && [ -s "$FOLDER/ssh_host_ed25519_key" ] && [ "$ROTATE" = no ]; } || changed "would make keys of $NAME"
  exit 0
fi
mkdir -p "$FOLDER" || fail "The folder $FOLDER for the keys of $NAME cannot be made."
cd "$FOLDER" || fail "The folder $FOLDER for the keys of $NAME cannot be entered."
# Keep the old keys: they are the only ones that work until the board has the new card.
[ "$ROTATE" = no ] || for key in client_key client_key.pub ssh_host_ed25519_key ssh_host_ed25519_key.pub; do
  [ ! -e "$key" ] || mv "$key" "$key.previous"
done
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
  changed "made $1 of $NAME"
}
# Write standard input to a file, unless it has that content. usage: put FILE
put() {
  cat >"$1.new" || fail "The file $FOLDER/$1 cannot be written."
  if cmp -s "$1.new" "$1"; then rm "$1.new"; else mv "$1.new" "$1" && changed "wrote $1 of $NAME"; fi
}
make_key client_key "rtvirt to $NAME"
make_key ssh_host_ed25519_key "$NAME"
chmod 700 .
chmod 600 client_key ssh_host_ed25519_key
{ cat client_key.pub; [ -z "$AUTHORIZED_KEYS" ] || printf '%s\n' "$AUTHORIZED_KEYS"; } | put authorized_keys
echo "$NAME $(cut -d ' ' -f 1-2 ssh_host_ed25519_key.pub)" | put known_hosts
# A % of ssh_config begins a token, and an IPv6 address may have a zone: fe80::1%eth0.
[ -z "$ADDRESS" ] || put ssh_config <<CONFIG
Host $NAME
  HostName $(printf '%s' "$ADDRESS" | sed 's/%/%%/g')
Host * !*-guest
  User root
  HostKeyAlias $NAME
  IdentityFile $CLIENT_KEY
  IdentitiesOnly yes
  UserKnownHostsFile $KNOWN_HOSTS
  StrictHostKeyChecking yes
  ConnectTimeout 60
CONFIG
# Keep the keys out of the lab's version control.
[ -e .gitignore ] || echo '*' >.gitignore
