#!/usr/bin/env bash
# Tests p2pool in Docker as contrib/docs/docker.md describes it, with the program of target/debug: wrong settings, bitcoind in a container, a
# block, health, restart, upgrade, a reboot of the machine, a data directory of the host. Uses the engine that runs, or starts one
# (root). Is skipped if there is none.
#
#   contrib/docker/test.sh [COMPOSE...]     Compose to use, for instance: docker compose (default: docker-compose if installed)
set -euo pipefail
cd "$(dirname "$0")/../.."
. contrib/common.sh

# What the Dockerfile starts from; made by debootstrap where it cannot be pulled.
readonly BASE=debian:bookworm-slim
readonly PULL_TIMEOUT_S=120
# An engine, a container or a block comes within seconds.
readonly WAIT_S=60

# Debian's packages only where there is no other Docker, with which they conflict.
has_docker() { command -v docker && { command -v docker-compose || docker compose version; }; } >/dev/null 2>&1
has_docker || (install_packages docker.io docker-compose) || skip contrib/docker/test.sh "needs the packages docker.io and docker-compose"
(install_packages iproute2 jq python3 binutils) || skip contrib/docker/test.sh "needs the packages iproute2, jq, python3 and binutils"
compose=(docker compose)
! command -v docker-compose >/dev/null || compose=(docker-compose)
[ $# = 0 ] || compose=("$@")
cache=$(cache_dir)
target=$(cargo metadata --locked --no-deps --format-version 1 | jq -r .target_directory)/debug
bitcoind=$(tests/bitcoind/bitcoind.sh)

work=$(mktemp -d)
clone=$work/clone
project=p2pool-test-$$
all_files=contrib/docker/compose.yaml:contrib/docker/bitcoind.yaml:$work/override.yaml:$work/fast.yaml
engine=
miner=
# Device that an engine makes and leaves behind.
had_bridge=$(ip -o link show docker0 2>/dev/null || true)
clean_up() {
    trap - EXIT INT TERM
    [ -z "$miner" ] || kill "$miner" 2>/dev/null || true
    if [ -d "$clone" ] && docker info >/dev/null 2>&1; then
        (cd "$clone" && set_env COMPOSE_FILE="$all_files" && "${compose[@]}" down --volumes --timeout 10) >/dev/null 2>&1 || true
        docker image rm --force "$project" "$project-bitcoind" >/dev/null 2>&1 || true
    fi
    if [ -n "$engine" ]; then
        # What is left of the builds.
        { docker image prune --force && docker builder prune --force; } >/dev/null 2>&1 || true
        kill "$engine"
        wait "$engine" || true
        umount "$work"/run/netns/* 2>/dev/null || true
        [ -n "$had_bridge" ] || ip link delete docker0 2>/dev/null || true
    fi
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

fail() {
    (cd "$clone" && "${compose[@]}" logs --no-color --tail 30) >&2 || true
    die "$*; the log is above"
}

# An engine of this test. Its containers use the network of the machine, so it leaves the firewall alone.
start_engine() {
    dockerd --data-root "$cache/docker" --exec-root "$work/run" --pidfile "$work/docker.pid" --host "unix://$work/docker.sock" \
        --iptables=false >"$work/dockerd.log" 2>&1 &
    engine=$!
    await docker info
}
if ! docker info >/dev/null 2>&1; then
    [ "$(id -u)" = 0 ] || skip contrib/docker/test.sh "no Docker engine runs, and only root can start one"
    command -v dockerd >/dev/null || skip contrib/docker/test.sh "no Docker engine runs, and there is no dockerd to start one"
    export DOCKER_HOST=unix://$work/docker.sock
    start_engine || skip contrib/docker/test.sh "no Docker engine can be started: $(tail -n 1 "$work/dockerd.log")"
fi

if ! docker image inspect $BASE >/dev/null 2>&1 && ! timeout $PULL_TIMEOUT_S docker pull -q $BASE >/dev/null 2>&1; then
    [ "$(id -u)" = 0 ] || skip contrib/docker/test.sh "$BASE cannot be pulled, and only root can make one"
    root=$( (install_packages debootstrap) && debian_root bookworm) || skip contrib/docker/test.sh "$BASE can neither be pulled nor made by debootstrap"
    docker import "$root" $BASE >/dev/null
fi

# A checkout as git would make it, and this program in it, without its debug information.
mkdir "$clone"
git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -t "$clone"
strip -o "$clone/p2pool" "$target/p2pool"
cd "$clone"

# Prints the commands of a block of the guide, with this machine's Compose and directory, or of the README.
guide_commands() {
    # shellcheck disable=SC2016 # expanded where the commands run
    guide_block "${2:-contrib/docs/docker.md}" "$1" | sed 's/docker compose/"${compose[@]}"/; s/^sudo //; s|/srv/p2pool|"$work/data"|; s/ *#.*//'
}
[ "$(guide_commands docker README.md)" = "$(guide_commands up; guide_commands logs)" ] || die "README.md and docker.md have different commands"

# bitcoind with the libraries that a Debian lacks.
mkdir "$work/bitcoind"
copy_bitcoind "$bitcoind" "$work/bitcoind"
printf 'FROM %s\nENV LD_LIBRARY_PATH=/usr/local/bin\nCOPY * /usr/local/bin/\n' $BASE |
    docker build -q -t "$project-bitcoind" -f - "$work/bitcoind" >/dev/null

rpc_port=$(free_port)
port=$(free_port)
# With characters that shells and Compose treat specially.
# shellcheck disable=SC2016 # meant literally
password='se$c"r e#t'
hmac=$(python3 -c 'import hmac, sys; print(hmac.new(b"salt", sys.argv[1].encode(), "sha256").hexdigest())' "$password")
cat >"$work/override.yaml" <<END
services:
  bitcoind:
    command: [-regtest, "-rpcport=$rpc_port", -listen=0, "-rpcauth=pool:salt\$\$$hmac"]
END
# Faster than on a real machine: few restarts, frequent checks of the health.
cat >"$work/fast.yaml" <<END
services:
  p2pool:
    restart: on-failure:2
    healthcheck: { interval: 1s }
END

# Writes settings to .env, each in place of its line or, if it is commented out or missing, at the end.
set_env() {
    local setting
    for setting in "$@"; do
        sed -i "/^${setting%%=*}=/d" .env
        printf '%s\n' "$setting" >>.env
    done
}
up() { "${compose[@]}" up --build -d >"$work/up.log" 2>&1 || { cat "$work/up.log" >&2; die "compose up fails"; }; }
container() { docker ps -aq --filter "label=com.docker.compose.project=$project" --filter label=com.docker.compose.service=p2pool; }
# State of the container, by docker's template.
state() { docker inspect -f "$1" "$(container)"; }
is() { [ "$(state "$1")" = "$2" ]; }
logged() { docker logs "$(container)" 2>&1 | grep -F -- "$1" >/dev/null; }
# Prints a value of the API.
api() { request "$port" /api/v1/status | jq -er "$1"; }
has_share() { [ "$(api '.sharechain_height // -1')" -ge "$1" ]; }

say "== no address: one clear line, and an end of the restarts"
# The reader's editor; the address stays empty.
nano() { set_env COMPOSE_PROJECT_NAME="$project" BUILD_IMAGE=$BASE P2POOL_BINARY=p2pool COMPOSE_FILE="contrib/docker/compose.yaml:$work/fast.yaml"; }
eval "$(guide_commands up)" >"$work/up.log" 2>&1 || { cat "$work/up.log" >&2; die "the guide's commands fail"; }
"${compose[@]}" config | grep 'restart: on-failure:2' >/dev/null || die "the compose file is not read"
await is '{{.State.Status}} {{.State.ExitCode}} {{.RestartCount}}' 'exited 2 2' || fail "the container is not given up: $(state '{{json .State}}')"
logged 'PAYOUT_ADDRESS' || fail "the log does not name PAYOUT_ADDRESS"

say "== with bitcoind in a container, by its cookie: a block"
mkdir "$work/bitcoin"
uid=$(id -u)
if [ "$uid" = 0 ]; then
    uid=1000
    chown $uid:$uid "$work/bitcoin"
fi
set_env PAYOUT_ADDRESS=bcrt1qqypqxpq9qcrsszg2pvxq6rs0zqg3yyc5phstwt BITCOIND_IMAGE="$project-bitcoind" BITCOIN_DIR="$work/bitcoin" BITCOIN_UID="$uid" BITCOIN_GID="$uid" \
    COMPOSE_FILE="$all_files" \
    P2POOL_NETWORK=regtest P2POOL_RPC_PORT="$rpc_port" P2POOL_STRATUM_PORT="$port" P2POOL_P2P_PORT=0 P2POOL_MDNS=false
up
"$target/p2pool-miner" -o "127.0.0.1:$port" -u docker --hashrate-limit 20 >"$work/miner.log" 2>&1 &
miner=$!
cli() { "${compose[@]}" exec -T bitcoind bitcoin-cli -regtest -rpcport="$rpc_port" -rpccookiefile=/cookie/cookie "$@"; }
has_block() { [ "$(cli getblockcount)" -ge 1 ]; }
await has_block || fail "no block"
await has_share 0 || fail "no share"
# The check finds the port, which is not the default.
await is '{{.State.Health.Status}}' healthy || fail "not healthy: $(state '{{json .State.Health}}')"
kill "$miner"
wait "$miner" || true
miner=
height=$(api .sharechain_height)

say "== without bitcoind's file, by user and password; the volume is kept, and an upgrade too"
id=$(state '{{.Image}}')
printf ' ' >>p2pool
set_env COMPOSE_FILE="contrib/docker/compose.yaml:$work/fast.yaml" BITCOIN_RPC_USER=pool BITCOIN_RPC_PASSWORD="'$password'"
up
! is '{{.Image}}' "$id" || fail "the image is not built again"
await has_share "$height" || fail "the shares are not kept"
await is '{{.State.Health.Status}}' healthy || fail "not healthy by user and password: $(state '{{json .State.Health}}')"
! logged "$password" || fail "the log has the password"

say "== the log, restart, down and up"
eval "exec $(guide_commands logs)" >"$work/logs" 2>&1 &
reader=$!
await grep 'payout address' "$work/logs" || fail "the log does not come: $(cat "$work/logs")"
kill "$reader"
"${compose[@]}" restart >/dev/null 2>&1
logged 'shutdown complete' || fail "the node does not stop in order"
await has_share "$height" || fail "the shares are not kept by a restart"
eval "$(guide_commands down)" >/dev/null 2>&1
up
await has_share "$height" || fail "the shares are not kept by down and up"

if [ -n "$engine" ]; then
    say "== reboot"
    kill "$engine"
    wait "$engine" || true
    rm -f "$work/docker.pid"
    start_engine || { tail "$work/dockerd.log" >&2; die "the engine does not start again"; }
    await has_share "$height" || fail "the node does not start with the engine: $(state '{{json .State}}')"
fi

say "== a directory of the host"
mkdir "$work/data"
set_env P2POOL_DATA="$work/data"
up
await logged '/data' || fail "no message about the directory"
if [ "$(id -u)" = 0 ]; then
    await is '{{.State.Status}}' exited || fail "the node runs without a directory that it may write"
    logged 'uid 9171' || fail "the log does not say who must own the directory"
    eval "$(guide_commands directory)"
    up
    await is '{{.State.Health.Status}}' healthy || fail "the node does not start with its directory"
fi
say "the image builds, and the node works in a container"
