#!/usr/bin/env bash
# Tests the guides: runs their marked commands (<!-- test: NAME -->) on a Debian 12 with a running systemd, in a container of
# systemd-nspawn, and checks what needs no machine: figures, messages and names that they quote. Uses the program of target/debug.
# Other scripts run the commands of docker.md, of monitoring.md and for the cookie. The container is skipped where it cannot run.
#
#   contrib/docs/test.sh [--quick]     --quick checks only what needs no machine
set -euo pipefail
cd "$(dirname "$0")/../.."
. contrib/common.sh

# The steps take less than two minutes.
readonly TIMEOUT_S=400
# What the guides' commands need beside the program.
readonly PACKAGES=dbus,iproute2,nftables,python3-minimal,systemd-timesyncd,ufw

contrib/docs/figures.py --check
contrib/docs/check.py
[ "${1-}" != --quick ] || exit 0

[ "$(id -u)" = 0 ] || skip contrib/docs/test.sh "needs root"
(install_packages systemd-container debootstrap binutils jq python3) || skip contrib/docs/test.sh "needs the packages systemd-container and debootstrap"
bitcoind=$(tests/bitcoind/bitcoind.sh)
base=$(debian_root bookworm guides $PACKAGES) || skip contrib/docs/test.sh "debootstrap cannot make a Debian 12"

work=$(mktemp -d)
trap 'rm -rf --one-file-system "$work"' EXIT
root=$work/root
mkdir "$root"
tar -C "$root" -xf "$base"

# What a reader has downloaded: a tarball, its hashes, and the package.
download=$root/download
name=p2pool-0.0.1-$(rustc -vV | sed -n 's/^host: //p')
mkdir "$download"
stage_release "$download/$name"
(cd "$download" && tar -czf "$name.tar.gz" "$name" && sha256sum ./*.tar.gz ./*.deb >"$name.sha256" && rm -r "$name")
mkdir "$root/bitcoind"
copy_bitcoind "$bitcoind" "$root/bitcoind"

# Addresses without a known key stand in for the reader's.
mkdir "$root/guides"
for guide in README.md contrib/docs/*.md; do
    while read -r block; do
        guide_block "$guide" "$block" |
            sed 's/bc1q\.\.\./bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4/; s/bcrt1q\.\.\./bcrt1qqypqxpq9qcrsszg2pvxq6rs0zqg3yyc5phstwt/' \
                >"$root/guides/$(basename "$guide" .md).$block"
    done < <(sed -n 's/^<!-- test: \(.*\) -->$/\1/p' "$guide")
done
cp contrib/common.sh "$root/"
cp contrib/docs/steps.sh "$root/steps.sh"
status=$(run_steps "$root" $TIMEOUT_S) || skip contrib/docs/test.sh "systemd does not start in a container here"
[ "$status" = 0 ] || { cat "$root/steps.log" >&2; die "the steps end with status ${status:-none after $TIMEOUT_S s}"; }
grep '^== ' "$root/steps.log" >&2
say "the commands of the guides work on a Debian 12"
