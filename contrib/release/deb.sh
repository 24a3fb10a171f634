#!/usr/bin/env bash
# Makes a package for Debian and its derivatives from the staged files of a release, and prints its path.
#
#   contrib/release/deb.sh STAGED TARGET VERSION     STAGED is a directory with the contents of the tarball
#
# It is reproducible: names, owners and times are fixed (the time is $SOURCE_DATE_EPOCH).
set -euo pipefail

die() { printf 'deb.sh: %s\n' "$*" >&2; exit 1; }
[ $# = 3 ] || die "usage: deb.sh STAGED TARGET VERSION"
staged=$1 target=$2 version=$3
: "${SOURCE_DATE_EPOCH:?}"
command -v dpkg-deb >/dev/null || die "dpkg-deb is missing"
case $target in
    x86_64-*) architecture=amd64 ;;
    aarch64-*) architecture=arm64 ;;
    armv7-*) architecture=armhf ;;
    *) die "no name of Debian for '$target'" ;;
esac
glibc=$(readelf -W --version-info "$staged/p2pool" | grep -oE 'GLIBC_[0-9.]+' | sort -uV | tail -n 1)
libgcc=
! readelf -W --dynamic "$staged/p2pool" | grep libgcc_s >/dev/null || libgcc=", libgcc-s1"

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
chmod 0755 "$root"
systemd=$staged/contrib/systemd
doc=$root/usr/share/doc/p2pool
install -D -m 0755 "$staged/p2pool" "$root/usr/bin/p2pool"
install -D -m 0644 "$systemd/p2pool.service" "$root/usr/lib/systemd/system/p2pool.service"
sed -i 's|^ExecStart=/usr/local/bin/|ExecStart=/usr/bin/|' "$root/usr/lib/systemd/system/p2pool.service"
install -D -m 0644 "$systemd/p2pool.sysusers" "$root/usr/lib/sysusers.d/p2pool.conf"
install -D -m 0644 "$systemd/p2pool.tmpfiles" "$root/usr/lib/tmpfiles.d/p2pool.conf"
install -D -m 0644 "$staged/contrib/p2pool.toml" "$root/usr/share/p2pool/p2pool.toml"
install -D -m 0644 "$staged/contrib/completions/p2pool.bash" "$root/usr/share/bash-completion/completions/p2pool"
install -D -m 0644 "$staged/contrib/completions/_p2pool" "$root/usr/share/zsh/vendor-completions/_p2pool"
install -D -m 0644 "$staged/contrib/completions/p2pool.fish" "$root/usr/share/fish/vendor_completions.d/p2pool.fish"
install -d "$root/usr/share/man/man1"
gzip -n -9 <"$staged/contrib/p2pool.1" >"$root/usr/share/man/man1/p2pool.1.gz"
mkdir -p "$doc"
# The documents link to each other by these paths.
cp -r "$staged/." "$doc/"
rm -rf "$doc/p2pool" "$doc/contrib/install.sh" "$doc/contrib/uninstall.sh"
cat "$staged/LICENSE" "$staged/THIRD-PARTY-LICENCES.txt" >"$doc/copyright"
rm "$doc/THIRD-PARTY-LICENCES.txt"

mkdir "$root/DEBIAN"
cat >"$root/DEBIAN/control" <<END
Package: p2pool
Version: $version
Architecture: $architecture
Maintainer: the p2pool developers <noreply@localhost>
Depends: libc6 (>= ${glibc#GLIBC_})$libgcc, systemd
Section: net
Priority: optional
Description: Bitcoin mining pool without an operator
 Each miner runs this program next to their own Bitcoin node. When a member of the pool finds a block, its coinbase pays
 everyone who worked for it, directly to their own addresses.
END
cat >"$root/DEBIAN/postinst" <<'END'
#!/bin/sh
set -e
[ "$1" = configure ] || exit 0
settings=/etc/p2pool/p2pool.toml
systemd-sysusers p2pool.conf
systemd-tmpfiles --create p2pool.conf
if getent group bitcoin >/dev/null; then usermod -aG bitcoin p2pool; fi
if [ ! -e "$settings" ]; then
    (umask 077 && sed 's|^#data-dir = .*|data-dir = "/var/lib/p2pool"|' /usr/share/p2pool/p2pool.toml >"$settings")
    chown root:p2pool "$settings"
    chmod 0640 "$settings"
fi
if [ -e /usr/local/bin/p2pool ]; then
    echo "p2pool: the program and the unit of a tarball are used instead of this package's; remove them with its contrib/uninstall.sh" >&2
fi
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
    # Only an upgrade finds it running. A service that does not start must not leave the package half installed.
    systemctl try-restart p2pool || true
fi
grep -q '^address = ' "$settings" || echo "p2pool: give the payout address in $settings, then: systemctl enable --now p2pool"
END
cat >"$root/DEBIAN/prerm" <<'END'
#!/bin/sh
set -e
[ "$1" = remove ] && [ -d /run/systemd/system ] || exit 0
systemctl disable --now --quiet p2pool
END
cat >"$root/DEBIAN/postrm" <<'END'
#!/bin/sh
set -e
if [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
[ "$1" = purge ] || exit 0
rm -rf /etc/p2pool /var/lib/p2pool
if getent passwd p2pool >/dev/null; then userdel p2pool; fi
END
chmod 0755 "$root/DEBIAN"/p*
chmod -R u=rwX,go=rX "$root"
find "$root" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
deb=$(dirname "$staged")/p2pool_${version}_$architecture.deb
dpkg-deb --root-owner-group -Zgzip --build "$root" "$deb" >/dev/null
printf '%s\n' "$deb"
