#!/bin/sh
# Installs p2pool as a service of systemd, or upgrades it; data and settings stay as they are. Run it as root in an unpacked
# release tarball; from a checkout, copy target/release/p2pool to the top level first.
#
#   sudo contrib/install.sh
#
# It asks for the payout address, and nothing if that is in the environment:
#
#   PAYOUT_ADDRESS         written to /etc/p2pool/p2pool.toml, as is every variable of a setting: BITCOIN_RPC_HOST, P2POOL_NETWORK, ...
#                          (not the password, which other users see in sudo's command line: write it into that file)
#   P2POOL_DATA_DIR        data directory (default /var/lib/p2pool), for instance on another disk
#   BITCOIN_GROUP          group that may read bitcoind's cookie (default: bitcoin, if there is one)
set -eu

cd "$(dirname "$0")/.."
settings=/etc/p2pool/p2pool.toml
data=/var/lib/p2pool
drop_in=/etc/systemd/system/p2pool.service.d/data.conf

die() { printf 'install.sh: %s\n' "$*" >&2; exit 1; }
say() { printf '%s\n' "$*"; }

[ "$(id -u)" = 0 ] || die "run it as root: sudo contrib/install.sh"
[ -f p2pool ] || die "there is no program in $PWD: run it in an unpacked release tarball, or copy target/release/p2pool here"
command -v systemctl >/dev/null || die "this machine has no systemd; start the program by other means (contrib/docs/appliances.md)"
# Fails on another processor or with an older glibc, before anything is changed.
version=$(./p2pool -version) || die "the program does not run on this machine ($(uname -m)); see the message above"
# Whether systemd is this machine's init, as it is not in a chroot.
is_booted() { [ -d /run/systemd/system ]; }

[ ! -e /usr/lib/systemd/system/p2pool.service ] || die "p2pool is installed as a package: upgrade it with apt or dnf, or remove it first"
[ -e "$settings" ] || [ ! -e /etc/p2pool/p2pool.env ] ||
    die "the settings of version 0.1 in /etc/p2pool/p2pool.env are not read any more: write them into $settings (example: contrib/p2pool.toml)"
# The data directory in the settings, with or without a comment behind it.
data_dir="^data-dir *= *[\"']\\([^\"']*\\)[\"'] *\\(#.*\\)\\{0,1\\}\$"
old=$(sed -n "s/$data_dir/\\1/p" "$settings" 2>/dev/null || true)
if [ -z "$old" ] && [ -e "$settings" ] && grep -q '^ *data-dir' "$settings"; then
    die "data-dir in $settings is not understood: write it as data-dir = \"/path\""
fi
old=${old:-$data}
data=${P2POOL_DATA_DIR:-$old}
if [ "$old" != "$data" ] && [ -e "$settings" ] && ! grep -q "$data_dir" "$settings"; then
    die "write data-dir = \"$data\" into $settings"
fi
if [ ! -e "$settings" ]; then
    if [ -z "${PAYOUT_ADDRESS:-}" ] && [ -t 0 ]; then
        printf 'Payout address of your miners: '
        read -r PAYOUT_ADDRESS
    fi
    [ -n "${PAYOUT_ADDRESS:-}" ] || die "give the payout address: sudo PAYOUT_ADDRESS=bc1q... contrib/install.sh"
fi
case ${P2POOL_DATA_DIR:-/} in
    *[!A-Za-z0-9/._-]* | [!/]*) die "P2POOL_DATA_DIR is '$P2POOL_DATA_DIR'; give an absolute path without spaces" ;;
esac
# The directory gets another owner and is closed to all others, which must not happen to /mnt/ssd or / itself.
if [ -d "${P2POOL_DATA_DIR:-}" ] && [ "$(stat -L -c %U "$P2POOL_DATA_DIR")" != p2pool ] && [ -n "$(ls -A "$P2POOL_DATA_DIR/")" ]; then
    die "P2POOL_DATA_DIR is '$P2POOL_DATA_DIR', which is not p2pool's and not empty; give a directory of its own, as ${P2POOL_DATA_DIR%/}/p2pool"
fi
[ -z "${BITCOIN_GROUP:-}" ] || getent group "$BITCOIN_GROUP" >/dev/null || die "there is no group '$BITCOIN_GROUP'"

install -D -m 0755 p2pool /usr/local/bin/p2pool
install -D -m 0644 contrib/p2pool.1 /usr/local/share/man/man1/p2pool.1
install -D -m 0644 contrib/completions/p2pool.bash /usr/local/share/bash-completion/completions/p2pool
install -D -m 0644 contrib/completions/_p2pool /usr/local/share/zsh/site-functions/_p2pool
install -D -m 0644 contrib/completions/p2pool.fish /usr/local/share/fish/vendor_completions.d/p2pool.fish
install -D -m 0644 contrib/systemd/p2pool.service /etc/systemd/system/p2pool.service
install -D -m 0644 contrib/systemd/p2pool.sysusers /etc/sysusers.d/p2pool.conf
install -D -m 0644 contrib/systemd/p2pool.tmpfiles /etc/tmpfiles.d/p2pool.conf
systemd-sysusers p2pool.conf
systemd-tmpfiles --create p2pool.conf

# To read bitcoind's cookie.
if getent group "${BITCOIN_GROUP:-bitcoin}" >/dev/null; then usermod -aG "${BITCOIN_GROUP:-bitcoin}" p2pool; fi

# Prints the example of a settings file with the settings that the environment has.
with_settings() {
    P2POOL_ADDRESS=${P2POOL_ADDRESS:-${PAYOUT_ADDRESS:-}} P2POOL_RPC_HOST=${P2POOL_RPC_HOST:-${BITCOIN_RPC_HOST:-}} \
        P2POOL_RPC_USER=${P2POOL_RPC_USER:-${BITCOIN_RPC_USER:-}} P2POOL_LOG_LEVEL=${P2POOL_LOG_LEVEL:-${LOG_LEVEL:-}} \
        P2POOL_RPC_PASSWORD=${P2POOL_RPC_PASSWORD:-${BITCOIN_RPC_PASSWORD:-}} P2POOL_DATA_DIR=$data \
        awk '/^#[a-z0-9-]+ = / {
            key = substr($1, 2)
            name = "P2POOL_" toupper(key)
            gsub(/-/, "_", name)
            value = ENVIRON[name]
            if (value ~ /[\001-\037\177]/) {
                print "install.sh: " name " has a control character" >"/dev/stderr"
                exit 1
            }
            if (value != "") {
                quoted = ""
                for (i = 1; i <= length(value); i++) {
                    c = substr(value, i, 1)
                    quoted = quoted (c == "\\" || c == "\"" ? "\\" : "") c
                }
                printf "%s = \"%s\"\n", key, quoted
                next
            }
        }
        { print }' contrib/p2pool.toml
}

if [ "$old" != "$data" ] && [ -n "$(find "$old" -name identity 2>/dev/null)" ]; then
    say "The data in $old is not moved. To keep it: stop the service, move the contents to $data, start it."
fi
# Of a run that was interrupted.
rm -f "$settings.new"
if [ ! -e "$settings" ]; then
    (umask 077 && with_settings >"$settings.new")
elif [ "$old" != "$data" ]; then
    (umask 077 && sed "s|$data_dir|data-dir = \"$data\"|" "$settings" >"$settings.new")
elif [ -n "${PAYOUT_ADDRESS:-}" ] && ! grep -qF "$PAYOUT_ADDRESS" "$settings"; then
    say "The settings in $settings are kept; PAYOUT_ADDRESS is not used."
fi
if [ -e "$settings.new" ]; then
    # The service reads it, and cannot change it. It may have bitcoind's password.
    chown root:p2pool "$settings.new"
    chmod 0640 "$settings.new"
    mv "$settings.new" "$settings"
fi
if [ "$data" != /var/lib/p2pool ]; then
    install -d -m 0700 -o p2pool -g p2pool "$data"
    install -d -m 0755 "${drop_in%/*}"
    cat >"$drop_in" <<END
[Unit]
RequiresMountsFor=$data

[Service]
ReadWritePaths=$data
END
else
    rm -f "$drop_in"
fi

if ! is_booted; then
    say "$version is installed. Start it with: systemctl enable --now p2pool"
    exit 0
fi
systemctl daemon-reload
systemctl enable --quiet p2pool
is_started=1
systemctl restart p2pool || is_started=
# The last lines may still be on their way to the journal.
journalctl --sync 2>/dev/null || true
if [ -z "$is_started" ]; then
    journalctl --unit p2pool --lines 20 --no-pager --output cat >&2
    die "p2pool is installed but does not start: correct $settings and run systemctl restart p2pool"
fi
dashboard=$(journalctl --unit p2pool --lines 50 --no-pager --output cat | sed -n 's/.*dashboard: //p' | tail -n 1)
say "$version runs. Log: journalctl -fu p2pool   Dashboard: ${dashboard:-off}   Settings: $settings"
