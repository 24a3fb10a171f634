#!/bin/sh
# Removes what contrib/install.sh installed. Data and settings stay, unless --purge is given.
#
#   sudo contrib/uninstall.sh [--purge]
set -eu

case ${1-} in '' | --purge) ;; *) printf "uninstall.sh: there is no option '%s'; the only one is --purge\n" "$1" >&2; exit 1 ;; esac
[ "$(id -u)" = 0 ] || { echo "uninstall.sh: run it as root: sudo contrib/uninstall.sh" >&2; exit 1; }

[ ! -e /usr/lib/systemd/system/p2pool.service ] || { echo "uninstall.sh: p2pool is installed as a package: remove it with apt or dnf" >&2; exit 1; }

drop_in=/etc/systemd/system/p2pool.service.d/data.conf
data=$(sed -n 's/^ReadWritePaths=//p' "$drop_in" 2>/dev/null || true)
if [ -d /run/systemd/system ]; then
    systemctl disable --now --quiet p2pool 2>/dev/null || true
fi
rm -f /usr/local/share/man/man1/p2pool.1 /usr/local/share/bash-completion/completions/p2pool \
    /usr/local/share/zsh/site-functions/_p2pool /usr/local/share/fish/vendor_completions.d/p2pool.fish
rm -f /usr/local/bin/p2pool /etc/systemd/system/p2pool.service /etc/sysusers.d/p2pool.conf /etc/tmpfiles.d/p2pool.conf
if [ "${1-}" = --purge ]; then
    rm -rf /etc/p2pool /var/lib/p2pool "$drop_in"
    rmdir "${drop_in%/*}" 2>/dev/null || true
    # Only what the node writes, a directory for each chain: the directory of another disk may hold more.
    for chain in ${data:+"$data"/mainnet-* "$data"/testnet[34]-* "$data"/signet-* "$data"/regtest-*}; do
        id=${chain##*-}
        case $id in *[!0-9a-f]*) ;; ????????????????) rm -rf "$chain" ;; esac
    done
    if getent passwd p2pool >/dev/null; then userdel p2pool; fi
else
    echo "kept: /etc/p2pool, ${data:-/var/lib/p2pool}, and the user p2pool; --purge removes them"
fi
if [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
