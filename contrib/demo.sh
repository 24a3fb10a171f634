#!/usr/bin/env bash
# Demonstrates the pool on this machine: a bitcoind on regtest, p2pool, and a small miner. Ctrl-C stops and removes
# everything.
#
#   contrib/demo.sh [--blocks N] [--port P] [--address A] [--under COMMAND]
#
#   --blocks N   end after N Bitcoin blocks; fails if bitcoind rejects one
#   --port P     p2pool's port for miners and browsers (default 3333)
#   --address A  payout address of the node (regtest)
#   --under C    start p2pool by the command C, split at spaces, such as "strace -f"
set -euo pipefail
cd "$(dirname "$0")/.."
. contrib/common.sh

# On regtest a block takes two hashes at first, and shares get harder: slow enough to read every line.
readonly HASHES_PER_S=20
readonly WAIT_S=60
# bitcoind has a block some milliseconds after p2pool found it.
readonly BLOCK_WAIT_S=15
# The API's figures are updated each second or two.
readonly SHARE_WAIT_S=5

blocks=0
port=3333
# An address without a known key; regtest coins are worth nothing.
address=bcrt1qqypqxpq9qcrsszg2pvxq6rs0zqg3yyc5phstwt
under=
while [ $# -gt 0 ]; do
    case $1 in
        --blocks=* | --port=* | --address=* | --under=*) set -- "${1%%=*}" "${1#*=}" "${@:2}" ;;
        --blocks | --port | --address | --under)
            [ $# -ge 2 ] || die "$1 needs a value"
            declare "${1#--}=$2"
            shift 2
            ;;
        -h | --help) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"; exit 0 ;;
        *) die "there is no option '$1'; the options are --blocks, --port, --address and --under" ;;
    esac
done
[[ $blocks =~ ^[0-9]+$ ]] || die "--blocks is '$blocks', which is not a number of blocks"
[[ $port =~ ^[0-9]+$ && $port -le 65535 ]] || die "--port is '$port', which is not a TCP port"

is_free() { ! (: <"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
is_free "$port" || die "port $port is in use; choose another with --port"

say "== packages"
install_packages gcc libc6-dev jq
# shellcheck disable=SC2119 # No component is needed.
need_rust
bitcoind=$(tests/bitcoind/bitcoind.sh)
bitcoin_cli=$(dirname "$bitcoind")/bitcoin-cli
[ -x "$bitcoin_cli" ] || bitcoin_cli=$(command -v bitcoin-cli) || die "there is no bitcoin-cli next to $bitcoind"
say "== building p2pool and the miner (minutes the first time)"
cargo build --locked --package p2pool --package p2pool-miner
# CARGO_TARGET_DIR and the like may change the path.
target=$(cargo metadata --locked --no-deps --format-version 1 | jq -r .target_directory)/debug

dir=$(mktemp -d)
pids=()
# Stops all child processes, the last one first, and waits for them.
clean_up() {
    trap - EXIT INT TERM
    local i
    for ((i = ${#pids[@]} - 1; i >= 0; i--)); do
        kill -TERM "${pids[i]}" 2>/dev/null || true
        for _ in $(seq 100); do
            kill -0 "${pids[i]}" 2>/dev/null || break
            sleep 0.1
        done
        kill -KILL "${pids[i]}" 2>/dev/null || true
    done
    wait
    rm -rf "$dir"
}
trap clean_up EXIT
trap 'say; say "== stopping"; exit 130' INT TERM

# Waits until a command succeeds; fails when process $2 has ended or on a timeout.
wait_until() {
    local what=$1 pid=$2 log=$3
    shift 3
    for _ in $(seq $((WAIT_S * 10))); do
        if "$@" >/dev/null 2>&1; then return; fi
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.1
    done
    tail -n 20 "$log" >&2
    die "$what does not start; its last lines are above"
}
is_open() { ! is_free "$1"; }

say "== starting bitcoind on regtest"
rpc_port=$(shuf -i 20000-30000 -n 1)
until is_free "$rpc_port"; do rpc_port=$((rpc_port + 1)); done
cli() { "$bitcoin_cli" -regtest -datadir="$dir" -rpcport="$rpc_port" "$@"; }
"$bitcoind" -regtest -datadir="$dir" -rpcport="$rpc_port" -listen=0 >"$dir/bitcoind.log" 2>&1 &
pids+=($!)
wait_until bitcoind "${pids[0]}" "$dir/bitcoind.log" cli getblockcount

say "== starting p2pool"
read -ra under <<<"$under"
"${under[@]}" "$target/p2pool" -network regtest -address "$address" -rpc-port "$rpc_port" \
    -rpc-cookie-file "$dir/regtest/.cookie" -stratum-port "$port" -p2p-port 0 -mdns=false -data-dir "$dir/p2pool" -share-period 5 \
    > >(tee "$dir/p2pool.log" | sed -u 's/^/p2pool | /') 2>&1 &
pids+=($!)
wait_until p2pool "${pids[1]}" "$dir/p2pool.log" is_open "$port"
say "== dashboard: http://127.0.0.1:$port/   miners: stratum+tcp://127.0.0.1:$port"

say "== starting the miner"
mkfifo "$dir/miner"
"$target/p2pool-miner" -o "127.0.0.1:$port" -u demo --hashrate-limit "$HASHES_PER_S" >"$dir/miner" &
pids+=($!)

# Ends if p2pool has ended. Ctrl-C ends p2pool too, and bash misses a Ctrl-C that comes while a command ends.
check_p2pool() {
    if kill -0 "${pids[1]}" 2>/dev/null; then return; fi
    grep -q ' SIG[A-Z]* received, shutting down$' "$dir/p2pool.log" || die "p2pool has ended"
    say "== stopping"
    exit 130
}

# Prints the share with this hash. On regtest shares are harder than blocks, so most finds are both.
show_share() {
    local hash=$1
    for _ in $(seq $((SHARE_WAIT_S * 10))); do
        if request "$port" "/api/v1/share/$hash" 2>/dev/null | jq -er '.info | select(. != null) |
            "== share found at height \(.share_height) of the sharechain, for \(.payout_address)"' 2>/dev/null; then
            return
        fi
        check_p2pool
        sleep 0.1
    done
    echo "== no share: the sharechain requires more work by now"
}

# Prints the payouts of a block; fails if bitcoind has rejected it: does not know it, or has marked it invalid.
show_block() {
    local hash=$1 block status second=0
    for _ in $(seq $((BLOCK_WAIT_S * 10))); do
        if block=$(cli getblock "$hash" 2 2>/dev/null); then
            if jq -e '.confirmations > 0' <<<"$block" >/dev/null; then
                jq -r '"== block found at height \(.height): \(.hash)", (.tx[0].vout[] | select(.value > 0) |
                    "   paid \(.value) BTC to \(.scriptPubKey.address // .scriptPubKey.hex)")' <<<"$block"
                return
            fi
            # bitcoind is about to connect it, or has marked it invalid, or another one came first.
            status=$(cli getchaintips | jq -r --arg hash "$hash" \
                '(.[] | select(.hash == $hash).status) // if any(.status == "invalid") then "invalid" else "" end')
            case $status in
                invalid) break ;;
                valid-*) second=$((second + 1)) ;;
            esac
            if [ "$second" = 10 ]; then
                echo "== block found, but another one came first: $hash"
                return
            fi
        fi
        check_p2pool
        sleep 0.1
    done
    say "== bitcoind rejected block $hash"
    return 1
}

found=0
while read -r line; do
    echo "miner  | $line"
    case $line in
        "accepted block "*)
            show_block "${line##* }" || die "see the log of p2pool above"
            show_share "${line##* }"
            found=$((found + 1))
            [ "$found" != "$blocks" ] || break
            ;;
        "not connected"*) check_p2pool ;;
    esac
done <"$dir/miner"
if [ "$blocks" = 0 ] || [ "$found" != "$blocks" ]; then
    status=0
    wait "${pids[2]}" || status=$?
    # 128 and the number of SIGINT or SIGTERM.
    [[ $status =~ ^(130|143)$ ]] || die "the miner ended with status $status after $found blocks"
    say "== stopping"
    exit 130
fi
say "== $found blocks found, all accepted by bitcoind"
