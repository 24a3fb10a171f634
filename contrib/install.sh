#!/bin/sh
# Installs p2pool as a service of systemd, or upgrades it; data and settings stay as they are. Run it as root in an unpacked
# release tarball; from a checkout, copy target/release/p2pool to the top level first.
#
#   sudo contrib/install.sh
#
# It asks for the payout address, and nothing if that is in the environment:
#
#   PAYOUT_ADDRESS         written to /etc/p2pool/p2pool.env, as is every variable in the README's list that is set
#   P2POOL_DATA_DIR        data directory (default /var/lib/p2pool), for instance on another disk
#   BITCOIN_GROUP          group that may read bitcoind's cookie (default: bitcoin, if there is one)
set -eu

cd "$(dirname "$0")/.."
settings=/etc/p2pool/p2pool.env
drop_in=/etc/systemd/system/p2pool.service.d/data.conf

die() { printf 'install.sh: %s\n' "$*" >&2; exit 1; }
say() { printf '%s\n' "$*"; }

[ "$(id -u)" = 0 ] || die "run it as root: sudo contrib/install.sh"
[ -f p2pool ] || die "there is no program in $PWD: run it in an unpacked release tarball, or copy target/release/p2pool here"
command -v systemctl >/dev/null || die "this machine has no systemd; start the program by other means (contrib/appliance.md)"
# Fails on another processor or with an older glibc, before anything is changed.
version=$(./p2pool -version) || die "the program does not run on this machine ($(uname -m)); see the message above"
# Whether systemd is this machine's init, as it is not in a chroot.
is_booted() { [ -d /run/systemd/system ]; }

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
install -D -m 0644 contrib/systemd/p2pool.service /etc/systemd/system/p2pool.service
install -D -m 0644 contrib/systemd/p2pool.sysusers /etc/sysusers.d/p2pool.conf
install -D -m 0644 contrib/systemd/p2pool.tmpfiles /etc/tmpfiles.d/p2pool.conf
systemd-sysusers p2pool.conf
systemd-tmpfiles --create p2pool.conf

# To read bitcoind's cookie.
if getent group "${BITCOIN_GROUP:-bitcoin}" >/dev/null; then usermod -aG "${BITCOIN_GROUP:-bitcoin}" p2pool; fi

if [ ! -e "$settings" ]; then
    (
        umask 077
        {
            say "# Settings of p2pool: variables of the README, and flags in P2POOL_FLAGS. After a change: systemctl restart p2pool"
            for name in PAYOUT_ADDRESS BITCOIN_RPC_HOST BITCOIN_RPC_USER BITCOIN_RPC_PASSWORD P2POOL_BOOTNODES LOG_LEVEL P2POOL_FLAGS; do
                eval "value=\${$name:-}"
                # In quotes systemd takes backslashes and quotes in a value as they are only if they are escaped.
                [ -z "$value" ] || say "$name=\"$(printf %s "$value" | sed 's/[\\"$`]/\\&/g')\""
            done
        } >"$settings.new"
        mv "$settings.new" "$settings"
    )
fi

if [ -n "${P2POOL_DATA_DIR:-}" ]; then
    old=$(sed -n 's/^ReadWritePaths=//p' "$drop_in" 2>/dev/null || true)
    old=${old:-/var/lib/p2pool}
    if [ "$old" != "$P2POOL_DATA_DIR" ] && [ -n "$(find "$old" -name identity 2>/dev/null)" ]; then
        say "The data in $old is not moved. To keep it: stop the service, move the contents to $P2POOL_DATA_DIR, start it."
    fi
    install -d -m 0700 -o p2pool -g p2pool "$P2POOL_DATA_DIR"
    install -d -m 0755 "${drop_in%/*}"
    cat >"$drop_in" <<END
[Unit]
RequiresMountsFor=$P2POOL_DATA_DIR

[Service]
Environment=P2POOL_DATA_DIR=$P2POOL_DATA_DIR
ReadWritePaths=$P2POOL_DATA_DIR
END
fi

if ! is_booted; then
    say "$version is installed. Start it with: systemctl enable --now p2pool"
    exit 0
fi
systemctl daemon-reload
systemctl enable --quiet p2pool
if ! systemctl restart p2pool; then
    journalctl --unit p2pool --lines 20 --no-pager --output cat >&2
    die "p2pool is installed but does not start: correct $settings and run systemctl restart p2pool"
fi
port=$(sed -n 's/^P2POOL_FLAGS=.*-stratum-port[= ]\([0-9]*\).*/\1/p' "$settings")
say "$version runs. Log: journalctl -fu p2pool   Dashboard: http://$(uname -n):${port:-3333}/   Settings: $settings"
