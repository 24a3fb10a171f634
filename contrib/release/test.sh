#!/usr/bin/env bash
# Tests the program of a release tarball where it is meant to run: finds two blocks with a real bitcoind, kills it, starts it again
# and finds a third. All shares from before must be in its sharechain, and the audit must find no fault.
#
#   contrib/release/test.sh TARBALL
#
# By its name, a tarball for ARM runs under qemu, one for an older glibc in a Debian 11, a static one in an empty directory (both by
# chroot, as root), and any other on this machine as it is. Is skipped where that is not possible.
set -euo pipefail
cd "$(dirname "$0")/../.."
. contrib/common.sh

# A block takes seconds; under qemu, which is ten times slower, with other work on the machine, a minute.
readonly WAIT_S=300
# A share in milliseconds, slow enough for the node to give work on each.
readonly HASHES_PER_S=20
readonly BLOCKS=2
# Largest map of the store on 32 bits.
readonly MAP_MAX_32_BIT=$((1 << 30))
readonly ADDRESS=bcrt1qqypqxpq9qcrsszg2pvxq6rs0zqg3yyc5phstwt

if [ $# != 1 ] || [ ! -f "$1" ]; then die "usage: contrib/release/test.sh TARBALL"; fi
tarball=$(realpath "$1")
skip_this() { skip contrib/release/test.sh "${tarball##*/}: $1"; }
(install_packages jq python3) || skip_this "needs the packages jq and python3"
# shellcheck disable=SC2119 # No component is needed.
need_rust
bitcoind=$(tests/bitcoind/bitcoind.sh)
cargo build --locked --quiet --package p2pool-miner
miner=$(cargo metadata --locked --no-deps --format-version 1 | jq -r .target_directory)/debug/p2pool-miner

work=$(mktemp -d)
pids=()
clean_up() {
    trap - EXIT INT TERM
    [ ${#pids[@]} = 0 ] || kill -KILL "${pids[@]}" 2>/dev/null || true
    wait 2>/dev/null || true
    rm -rf --one-file-system "$work"
}
trap clean_up EXIT
trap 'exit 130' INT TERM
fail() {
    tail -n 20 "$work/log" >&2
    die "$*; the end of the log is above"
}

# The command that runs the program, where its root directory is on this machine, and its paths in there.
root=$work/root
mkdir -p "$root/data"
under=()
inside=
case ${tarball##*/} in
    *-aarch64-*-gnu.tar.gz) under=(qemu-aarch64-static -L /usr/aarch64-linux-gnu) ;;
    *-armv7-*-gnueabihf.tar.gz) under=(qemu-arm-static -L /usr/arm-linux-gnueabihf) ;;
    *-glibc*.tar.gz | *-musl.tar.gz)
        [ "$(id -u)" = 0 ] || skip_this "only root can change the root directory"
        under=(chroot "$root")
        inside=/
        ;;
esac
case ${under[0]-} in
    qemu-*) (install_packages qemu-user-static libc6-dev-arm64-cross libc6-dev-armhf-cross libgcc-s1-arm64-cross libgcc-s1-armhf-cross) || skip_this "needs qemu-user-static" ;;
esac
case ${tarball##*/} in
    *-glibc*)
        (install_packages debootstrap) || skip_this "needs the package debootstrap"
        base=$(debian_root bullseye) || skip_this "debootstrap cannot make a Debian 11"
        tar -C "$root" -xf "$base"
        ;;
esac
[ -n "$inside" ] || inside=$root/
tar -C "$root" --strip-components 1 -xf "$tarball"
p2pool() { "${under[@]}" "${inside}p2pool" "$@"; }
version=$(p2pool -version) || fail "the program does not run"
say "== $version: ${under[*]-}"

rpc_port=$(free_port)
port=$(free_port)
mkdir "$work/bitcoin"
"$bitcoind" -regtest -datadir="$work/bitcoin" -rpcport="$rpc_port" -listen=0 -rpcuser=pool -rpcpassword=pool >"$work/bitcoind.log" 2>&1 &
pids+=($!)
cli() { "$(dirname "$bitcoind")/bitcoin-cli" -regtest -rpcport="$rpc_port" -rpcuser=pool -rpcpassword=pool "$@"; }
await cli getblockcount || die "bitcoind does not start: $(tail -n 3 "$work/bitcoind.log")"

chain=(-network regtest -data-dir "${inside}data")
# Starts the node and waits until it is healthy.
start() {
    local begun
    begun=$(now_ms)
    BITCOIN_RPC_PASSWORD=pool "${under[@]}" "${inside}p2pool" "${chain[@]}" -address $ADDRESS -rpc-port "$rpc_port" -rpc-user pool \
        -stratum-port "$port" -p2p-port 0 -mdns=false >>"$work/log" 2>&1 &
    node=$!
    pids+=("$node")
    await healthy || fail "the node is not healthy"
    say "healthy after $(($(now_ms) - begun)) ms"
}
healthy() { p2pool health "${chain[@]}"; }
# Mines that many blocks, and waits until bitcoind has them.
mine() {
    local before begun
    begun=$(now_ms)
    before=$(cli getblockcount)
    timeout $WAIT_S "$miner" -o "127.0.0.1:$port" -u test --hashrate-limit $HASHES_PER_S --blocks "$1" >"$work/miner.log" || fail "the miner finds no block"
    has_blocks() { [ "$(cli getblockcount)" -ge $((before + $1)) ]; }
    await has_blocks "$1" || fail "bitcoind has no block of the node"
    say "$1 more blocks in $(($(now_ms) - begun)) ms"
}
has_share() { [ "$(request "$port" /api/v1/status | jq '.sharechain_height // -1')" -ge "$1" ]; }
ids() { p2pool export "${chain[@]}" | jq -r 'select(.id) | .id' | sort; }

start
mine $BLOCKS
await has_share $((BLOCKS - 1)) || fail "the blocks are not in the sharechain"
say "resident memory: $(awk '/^VmRSS/ { print $2 }' "/proc/$node/status") KiB"
kill -KILL "$node"
wait "$node" 2>/dev/null || true
ids >"$work/before"
[ "$(wc -l <"$work/before")" -ge $BLOCKS ] || fail "the shares are not stored"

start
height=$(request "$port" /api/v1/status | jq '.sharechain_height // -1')
mine 1
await has_share $((height + 1)) || fail "the sharechain does not continue"
kill -TERM "$node"
status=0
wait "$node" || status=$?
[ "$status" = 0 ] || fail "the node ends with status $status on SIGTERM"
ids >"$work/after"
[ -z "$(comm -23 "$work/before" "$work/after")" ] || fail "shares are lost: $(comm -23 "$work/before" "$work/after")"
p2pool export "${chain[@]}" >"$work/shares"
python3 tests/vectors/audit.py "$work/shares" || fail "the audit finds a fault"

if [ "${under[0]-}" = qemu-arm-static ]; then
    map=$(qemu-arm-static -strace "${under[@]:1}" "${inside}p2pool" export "${chain[@]}" 2>&1 >/dev/null |
        sed -n 's/.*mmap2([^,]*,\([0-9]*\),[^,]*,MAP_SHARED,.*/\1/p' | sort -n | tail -n 1)
    [ -n "$map" ] || die "the map of the store is not in qemu's trace"
    [ "$map" -le $MAP_MAX_32_BIT ] || die "the store maps $map bytes on 32 bits"
    say "map of the store: $((map >> 20)) MiB"
fi
say "the sharechain continues: $(wc -l <"$work/before") shares before the kill, $(wc -l <"$work/after") after it"
