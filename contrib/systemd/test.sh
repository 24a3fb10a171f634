#!/usr/bin/env bash
# Checks the systemd unit without a systemd that runs: that systemd understands it, and that the program does all its work
# under the unit's system call filter. Leaves out, and says so, what this machine lacks the tools for.
set -euo pipefail
cd "$(dirname "$0")/../.."
. contrib/common.sh

# A node without bitcoind listens within a second.
readonly START_TIMEOUT_S=30

if ! (install_packages systemd python3-seccomp jq); then
    skipped="skipped: contrib/systemd/test.sh: needs the packages systemd, python3-seccomp and jq"
    say "$skipped"
    [ -z "${P2POOL_TEST_SKIPS:-}" ] || echo "$skipped" >>"$P2POOL_TEST_SKIPS"
    exit 0
fi
target=$(cargo metadata --locked --no-deps --format-version 1 | jq -r .target_directory)/debug
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

sed "s|^ExecStart=/usr/local/bin/p2pool|ExecStart=$target/p2pool|" contrib/systemd/p2pool.service >"$folder/p2pool.service"
complaints=$(systemd-analyze verify "$folder/p2pool.service" 2>&1) || true
[ -z "$complaints" ] || die "systemd-analyze verify: $complaints"

# Debian's own python has the module; another one first on PATH need not.
confined="/usr/bin/python3 contrib/systemd/confined.py contrib/systemd/p2pool.service"

# A filter that lets everything through would prove nothing.
for forbidden in 'nice -n 5 true' 'chroot / true'; do
    # The inner bash is there to keep to itself that a program was killed.
    if bash -c "ulimit -c 0; $confined $forbidden; exit \$?" 2>/dev/null; then
        die "the filter lets '$forbidden' pass"
    fi
done

# Everything that looks for other nodes, which the demonstration leaves out; from a limit on open files that has to be raised.
port=$(shuf -i 20000-30000 -n 1)
export PAYOUT_ADDRESS=bcrt1qqypqxpq9qcrsszg2pvxq6rs0zqg3yyc5phstwt
(
    ulimit -S -n 256
    # shellcheck disable=SC2086 # words of a command
    exec $confined "$target/p2pool" -network regtest -rpc-port "$port" -rpc-user nobody -rpc-password none -stratum-port 0 -p2p-port 0 \
        -bootnodes "/dns4/localhost/tcp/$port/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN" -data-dir "$folder/p2pool"
) 2>"$folder/log" &
pid=$!
for _ in $(seq $((START_TIMEOUT_S * 10))); do
    ! grep -q 'listening on /ip4/' "$folder/log" || break
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.1
done
grep -q 'listening on /ip4/' "$folder/log" || { cat "$folder/log" >&2; die "the node does not start under the filter"; }
kill -TERM "$pid"
status=0
wait "$pid" || status=$?
[ "$status" = 0 ] || { cat "$folder/log" >&2; die "under the filter the node ends with status $status, not 0"; }
! grep -q 'files may be open' "$folder/log" || { cat "$folder/log" >&2; die "the limit on open files is not raised under the filter"; }

contrib/demo.sh --blocks 1 --port "$(shuf -i 20000-30000 -n 1)" --under "$confined" >"$folder/log" 2>&1 ||
    { cat "$folder/log" >&2; die "the node does not find a block under the filter"; }
say "the unit is understood, and the node works under its filter"
