# shellcheck shell=sh
# IMAGE: folder with card.img and boot/.
card=$IMAGE/card.img
table=$(sfdisk --json "$card") || fail "$card has no partition table."
[ "$(printf '%s\n' "$table" | sed -n 's/.*"name": *"\([a-z]*\)".*/\1/p' | tr '\n' ' ')" = "boot root guest " ] ||
  fail "The partitions of $card are not boot, root and guest: $table"
start_of() { printf '%s\n' "$table" | tr -d ' \n' | sed "s/.*\"start\":\([0-9]*\),[^}]*\"name\":\"$1\".*/\1/"; }
start=$(start_of root)
root="$card?offset=$((start * 512))"
look() { debugfs -R "$1" "$root" 2>/dev/null; }

[ -n "$(look 'ls -p /etc/ssh')" ] || fail "The root partition at sector $start has no /etc/ssh."
case $(look 'ls -p /etc/ssh') in *ssh_host_*) fail "A host key is in the image that all boards share." ;; esac
case $(look 'ls -p /root/.ssh') in *authorized_keys*) fail "A client's key is in the image that all boards share." ;; esac
[ -z "$(look 'cat /etc/machine-id')" ] || fail "A machine id is in the image that all boards share."
look 'cat /etc/shadow' | grep -q '^root:\*:' || fail "root can log in with a password."
case $(look 'cat /etc/ssh/sshd_config.d/rtvirt.conf') in
*'PasswordAuthentication no'*) ;;
*) fail "sshd takes passwords." ;;
esac
for file in vmlinuz initrd.img release; do
  found=$(find "$IMAGE/boot/kernels" -path "*/debian-rt-*/$file" -size +0)
  [ -n "$found" ] || fail "$IMAGE/boot/kernels has no debian-rt-*/$file."
done
release=$(cat "$IMAGE"/boot/kernels/*/release)
[ -n "$(look "cat /usr/lib/modules/$release/modules.dep")" ] || fail "The image has no modules of $release."
# The guest's partition holds the same, from the same tree.
guest="$card?offset=$(($(start_of guest) * 512))"
for path in /etc/machine-id /var/lib/dpkg/status "/usr/lib/modules/$release/modules.dep"; do
  [ "$(look "cat $path")" = "$(debugfs -R "cat $path" "$guest" 2>/dev/null)" ] || fail "The guest's $path is not the board's."
done

# A board's own card: the same but for the boot partition, which holds its name and its keys.
# shellcheck disable=SC2153 # the playbook sets it
[ "$(stat -c %a "$CARD")" = 600 ] || fail "Others may read $CARD, which holds a secret key."
at=$((1 + $(cat "$IMAGE/boot_mib")))
cmp -s -i "${at}M" "$CARD" "$card" || fail "$CARD differs from the image behind its boot partition."
boot="$CARD@@1M"
for key in ssh_host_ed25519_key authorized_keys; do
  mtype -i "$boot" "::identity/$key" | cmp -s - "$IDENTITY/$key" || fail "The card's $key is not the board's."
done
mtype -i "$boot" ::rtvirt/default.env | grep -q '^bootargs=.*systemd.hostname=molecule-card' || fail "The card's entry does not name the board."
