#!/usr/bin/env bash
# Measures the way from a release tarball to the first share on a clean Debian 12 with a running systemd, in a container of
# systemd-nspawn (as root): unpack, install with the settings in the environment, connect a miner. bitcoind (regtest) runs already.
# Prints the seconds of each step; fails if there is no share.
#
#   contrib/release/first-share.sh TARBALL
set -euo pipefail
cd "$(dirname "$0")/../.."
. contrib/common.sh

# The steps take seconds.
readonly TIMEOUT_S=300

if [ $# != 1 ] || [ ! -f "$1" ]; then die "usage: contrib/release/first-share.sh TARBALL"; fi
[ "$(id -u)" = 0 ] || skip contrib/release/first-share.sh "needs root"
(install_packages systemd-container debootstrap jq) || skip contrib/release/first-share.sh "needs the packages systemd-container and debootstrap"
# shellcheck disable=SC2119 # No component is needed.
need_rust
cargo build --locked --quiet --package p2pool-miner
target=$(cargo metadata --locked --no-deps --format-version 1 | jq -r .target_directory)/debug
bitcoind=$(tests/bitcoind/bitcoind.sh)
base=$(debian_root bookworm) || skip contrib/release/first-share.sh "debootstrap cannot make a Debian 12"

root=$(mktemp -d)
trap 'rm -rf --one-file-system "$root"' EXIT
tar -C "$root" -xf "$base"
mkdir "$root/bitcoind"
copy_bitcoind "$bitcoind" "$root/bitcoind"
cp "$target/p2pool-miner" contrib/common.sh "$root/"
cp "$1" "$root/root/p2pool.tar.gz"
cat >"$root/steps.sh" <<'END'
set -euo pipefail
. /common.sh
WAIT_S=60
export LD_LIBRARY_PATH=/bitcoind
ip link set lo up 2>/dev/null || true
/bitcoind/bitcoind -regtest -listen=0 -rpcuser=me -rpcpassword=secret -daemonwait

total=0
# Ends a step: prints its name and its time.
step() {
    local now
    now=$(now_ms)
    printf '%6d ms  %s\n' $((now - begun)) "$1"
    total=$((total + now - begun))
    begun=$(now_ms)
}
has_share() { request 3333 /api/v1/status | grep '"share_count":[1-9]'; }
begun=$(now_ms)
cd /root
tar xzf p2pool.tar.gz
cd p2pool-*/
step "unpack the tarball"
PAYOUT_ADDRESS=bcrt1qqypqxpq9qcrsszg2pvxq6rs0zqg3yyc5phstwt BITCOIN_RPC_USER=me BITCOIN_RPC_PASSWORD=secret \
    P2POOL_NETWORK=regtest P2POOL_MDNS=false contrib/install.sh
step "contrib/install.sh, until systemd has the service started"
await p2pool health || die "not healthy: $(p2pool health)"
step "/healthz says 200: work for miners"
/p2pool-miner -o 127.0.0.1:3333 -u first --hashrate-limit 20 >/miner.log &
await grep -q '^accepted' /miner.log || die "no submit is accepted: $(cat /miner.log)"
step "first accepted submit of a miner with 20 hashes per second"
await has_share || die "no share in the sharechain"
step "the share in the sharechain, by the API"
printf '%6d ms  in all\n' $total
END
status=$(run_steps "$root" $TIMEOUT_S) || skip contrib/release/first-share.sh "systemd does not start in a container here"
cat "$root/steps.log"
[ "$status" = 0 ] || die "the steps end with status ${status:-none after $TIMEOUT_S s}"
