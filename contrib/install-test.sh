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
bitcoind=$(tests/bitcoind/bitcoind.sh)
base=$(debian_root bookworm) || skip contrib/install-test.sh "debootstrap cannot make a Debian 12"

work=$(mktemp -d)
trap 'rm -rf --one-file-system "$work"' EXIT
root=$work/root
mkdir "$root"
tar -C "$root" -xf "$base"

stage_release "$root/release"
mkdir "$root/bitcoind"
copy_bitcoind "$bitcoind" "$root/bitcoind"
guide_block contrib/docs/installing.md cookie | sed 's/\bsudo //g' >"$root/cookie.sh"
cp contrib/common.sh "$root/"
cp contrib/systemd/install-steps.sh "$root/steps.sh"
status=$(run_steps "$root" $TIMEOUT_S) || skip contrib/install-test.sh "systemd does not start in a container here"
[ "$status" = 0 ] || { cat "$root/steps.log" >&2; die "the steps end with status ${status:-none after $TIMEOUT_S s}"; }
grep '^== ' "$root/steps.log" >&2
say "p2pool installs, runs, is upgraded and removed on a Debian 12"
