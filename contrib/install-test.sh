#!/usr/bin/env bash
# Tests installation as contrib/docs/installing.md describes it on a Debian 12 with a running systemd, in a container of systemd-nspawn: the
# installer, wrong settings, bitcoind's cookie in a home directory, upgrade, data on another disk, a node that hangs, removal, and the
# Debian package. Uses the program of target/debug. Is skipped where such a container cannot run.
set -euo pipefail
cd "$(dirname "$0")/.."
. contrib/common.sh

# The steps take a minute; the watchdog's alone 20 s.
readonly TIMEOUT_S=300

[ "$(id -u)" = 0 ] || skip contrib/install-test.sh "needs root"
(install_packages systemd-container debootstrap binutils jq python3) || skip contrib/install-test.sh "needs the packages systemd-container and debootstrap"
target=$(cargo metadata --locked --no-deps --format-version 1 | jq -r .target_directory)/debug
bitcoind=$(tests/bitcoind/bitcoind.sh)
base=$(debian_root bookworm) || skip contrib/install-test.sh "debootstrap cannot make a Debian 12"

work=$(mktemp -d)
trap 'rm -rf --one-file-system "$work"' EXIT
root=$work/root
mkdir "$root"
tar -C "$root" -xf "$base"

# A release tarball and package with this program.
staged=$root/release
SOURCE_DATE_EPOCH=$(date +%s)
export SOURCE_DATE_EPOCH
mapfile -t files < <(contrib/release/tarball.sh --list | xargs -d '\n' -I{} sh -c '[ ! -f "{}" ] || printf "%s\n" "{}"')
mkdir "$staged"
cp --parents "${files[@]}" "$staged/"
strip -o "$staged/p2pool" "$target/p2pool"
host=$(rustc -vV | sed -n 's/^host: //p')
contrib/release/licences.py "$host" >"$staged/THIRD-PARTY-LICENCES.txt"
grep -q 'The OpenLDAP Public License' "$staged/THIRD-PARTY-LICENCES.txt" || die "the licence of LMDB is missing"
contrib/release/deb.sh "$staged" "$host" 0.0.1 >/dev/null
mkdir "$root/bitcoind"
copy_bitcoind "$bitcoind" "$root/bitcoind"

# The commands of the guide, as a reader would copy them.
# shellcheck disable=SC2016 # a literal backquote
sed -n '/<!-- test: cookie -->/,/^```$/{/^[^<`]/p}' contrib/docs/installing.md | sed 's/\bsudo //g' >"$root/cookie.sh"
[ -s "$root/cookie.sh" ] || die "installing.md has no commands for the cookie"

cp contrib/common.sh "$root/"
cp contrib/systemd/install-steps.sh "$root/steps.sh"
status=$(run_steps "$root" $TIMEOUT_S) || skip contrib/install-test.sh "systemd does not start in a container here"
[ "$status" = 0 ] || { cat "$root/steps.log" >&2; die "the steps end with status ${status:-none after $TIMEOUT_S s}"; }
grep '^== ' "$root/steps.log" >&2
say "p2pool installs, runs, is upgraded and removed on a Debian 12"
