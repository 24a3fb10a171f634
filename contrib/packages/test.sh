#!/usr/bin/env bash
# Tests the packages for appliances as far as that needs no appliance and nothing from the internet: they have the version of the
# program, Compose reads Umbrel's, the node of target/debug starts with the settings that it gets there, and Buildroot's init
# script starts and stops it. What was checked by hand is in contrib/docs/appliances.md.
set -euo pipefail
cd "$(dirname "$0")/../.."
. contrib/common.sh

# A node starts within a second.
readonly WAIT_S=30

work=$(mktemp -d)
pid=
clean_up() {
    trap - EXIT INT TERM
    [ -z "$pid" ] || kill "$pid" 2>/dev/null || true
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

say "== versions"
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
cd contrib/packages
for place in "version: \"$version\"|umbrel/umbrel-app.yml" "image: p2pool:$version|umbrel/docker-compose.yml" \
    "version: '$version:0'|start9/startos/versions/index.ts" "P2POOL_VERSION = $version|buildroot/package/p2pool/p2pool.mk"; do
    grep -qF -- "${place%|*}" "${place#*|}" || die "${place#*|} has another version than $version"
done

say "== Umbrel"
(install_packages jq python3) || skip contrib/packages/test.sh "needs the packages jq and python3"
compose=(docker compose)
! command -v docker-compose >/dev/null || compose=(docker-compose)
"${compose[@]}" version >/dev/null 2>&1 || skip contrib/packages/test.sh "there is no Compose"
cp -r umbrel "$work/"
cd ../..
target=$(cargo metadata --locked --no-deps --format-version 1 | jq -r .target_directory)/debug
# What umbrelOS adds: an image for its proxy, and the variables of its Bitcoin app.
printf 'version: "3.7"\nservices:\n  app_proxy:\n    image: proxy\n' >"$work/os.yml"
export APP_DATA_DIR=$work/umbrel APP_BITCOIN_NETWORK=regtest APP_BITCOIN_NODE_IP=127.0.0.1 APP_BITCOIN_RPC_PORT=1 APP_BITCOIN_RPC_USER=umbrel \
    APP_BITCOIN_RPC_PASS=secret DEVICE_DOMAIN_NAME=umbrel.local
# Compose 1.29 knows no other format than YAML, in which it writes a variable a line.
"${compose[@]}" -f "$work/umbrel/docker-compose.yml" -f "$work/os.yml" config >"$work/config.yml" 2>"$work/log" || { cat "$work/log" >&2; die "Compose does not read Umbrel's file"; }
mapfile -t settings < <(sed -nE "s/^      ((P2POOL|BITCOIN|PAYOUT|LOG)_[A-Z_]*): ['\"]?([^'\"]*)['\"]?$/\1=\3/p" "$work/config.yml")
[ "${#settings[@]}" = 7 ] || die "the node gets other settings than expected: ${settings[*]}"
sed -i 's/^#address = .*/address = "bcrt1qqypqxpq9qcrsszg2pvxq6rs0zqg3yyc5phstwt"/' "$work/umbrel/data/p2pool.toml"
env "${settings[@]}" "$target/p2pool" -data-dir "$work/umbrel/data" -stratum-port 0 -p2p-port 0 2>"$work/log" &
pid=$!
for _ in $(seq $((WAIT_S * 10))); do
    ! grep -q 'listening for miners' "$work/log" || break
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.1
done
grep -q 'listening for miners' "$work/log" || { cat "$work/log" >&2; die "the node does not start with Umbrel's settings"; }
! grep -qE 'unknown (setting|environment)' "$work/log" || { cat "$work/log" >&2; die "the node does not know one of Umbrel's settings"; }
kill "$pid"
wait "$pid" || die "the node does not stop in order"
pid=

say "== Buildroot's init script"
(install_packages busybox) || skip contrib/packages/test.sh "needs the package busybox"
busybox=$(command -v busybox)
"$busybox" start-stop-daemon --help 2>&1 | grep BusyBox >/dev/null || skip contrib/packages/test.sh "busybox has no start-stop-daemon"
mkdir "$work/bin" "$work/data" "$work/run"
ln -s "$busybox" "$work/bin/start-stop-daemon"
printf '#!/bin/sh\nexec cat >>"%s/syslog"\n' "$work" >"$work/bin/logger"
chmod +x "$work/bin/logger"
# In places of this test, as the user of this test.
sed -e "s|/var/run|$work/run|; s|/var/lib/p2pool|$work/data|; s|/usr/bin/p2pool|$target/p2pool|g; s| -c p2pool:p2pool||" \
    contrib/packages/buildroot/package/p2pool/S95p2pool >"$work/init"
export PAYOUT_ADDRESS=bcrt1qqypqxpq9qcrsszg2pvxq6rs0zqg3yyc5phstwt P2POOL_DATA_DIR=$work/data P2POOL_NETWORK=regtest P2POOL_STRATUM_PORT=0 P2POOL_P2P_PORT=0 P2POOL_MDNS=false
init() { PATH=$work/bin:$PATH sh "$work/init" "$@"; }
init start >/dev/null
for _ in $(seq $((WAIT_S * 10))); do
    ! grep -qs 'listening for miners' "$work/syslog" || break
    sleep 0.1
done
pid=$(cat "$work/run/p2pool.pid")
grep -qs 'listening for miners' "$work/syslog" || die "the node does not start, or its log is lost"
init stop >/dev/null
# Unless it waits for an init that does not reap.
[ ! -e "/proc/$pid/exe" ] || die "the node does not stop"
pid=
grep -q 'shutdown complete' "$work/syslog" || die "the node does not stop in order"
say "the packages have version $version, and the node starts as they start it"
