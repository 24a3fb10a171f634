#!/usr/bin/env bash
# Tests the systemd unit without a running systemd: systemd parses it without warnings, and the program works under its system
# call filter. Is skipped if the machine lacks the tools.
set -euo pipefail
cd "$(dirname "$0")/../.."
. contrib/common.sh

# A node starts listening within a second.
readonly START_TIMEOUT_S=30

if ! (install_packages systemd python3-seccomp jq); then
    skip contrib/systemd/test.sh "needs the packages systemd, python3-seccomp and jq"
fi
target=$(cargo metadata --locked --no-deps --format-version 1 | jq -r .target_directory)/debug
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

sed "s|^ExecStart=/usr/local/bin/p2pool|ExecStart=$target/p2pool|" contrib/systemd/p2pool.service >"$dir/p2pool.service"
complaints=$(systemd-analyze verify "$dir/p2pool.service" 2>&1) || true
[ -z "$complaints" ] || die "systemd-analyze verify: $complaints"

# Debian's python has the module; another one on PATH may not.
confined="/usr/bin/python3 contrib/systemd/confined.py contrib/systemd/p2pool.service"

# The filter has to block something.
for forbidden in 'nice -n 5 true' 'chroot / true'; do
    # The inner bash hides the message about the killed program.
    if bash -c "ulimit -c 0; $confined $forbidden; exit \$?" 2>/dev/null; then
        die "the filter allows '$forbidden'"
    fi
done

# Receives what the node reports to systemd, and ends when it is ready.
python3 -c 'import socket, sys
manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
manager.bind(sys.argv[1])
while manager.recv(999) != b"READY=1": pass
open(sys.argv[1] + ".ready", "w").close()' "$dir/notify" &
manager=$!
trap 'kill "$manager" 2>/dev/null || true; rm -rf "$dir"' EXIT
until [ -S "$dir/notify" ]; do sleep 0.1; done

# With peer discovery, which the demonstration does not use, and with a limit on open files that has to be raised.
port=$(shuf -i 20000-30000 -n 1)
export PAYOUT_ADDRESS=bcrt1qqypqxpq9qcrsszg2pvxq6rs0zqg3yyc5phstwt
(
    ulimit -S -n 256
    export NOTIFY_SOCKET=$dir/notify
    # shellcheck disable=SC2086 # words of a command
    exec $confined "$target/p2pool" -network regtest -rpc-port "$port" -rpc-user nobody -rpc-password none -stratum-port 0 -p2p-port 0 \
        -bootnodes "/dns4/localhost/tcp/$port/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN" -data-dir "$dir/p2pool"
) 2>"$dir/log" &
pid=$!
for _ in $(seq $((START_TIMEOUT_S * 10))); do
    ! { grep -q 'listening on /ip4/' "$dir/log" && [ -e "$dir/notify.ready" ]; } || break
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.1
done
grep -q 'listening on /ip4/' "$dir/log" || { cat "$dir/log" >&2; die "the node does not start under the filter"; }
[ -e "$dir/notify.ready" ] || { cat "$dir/log" >&2; die "systemd is not notified under the filter"; }
kill -TERM "$pid"
status=0
wait "$pid" || status=$?
[ "$status" = 0 ] || { cat "$dir/log" >&2; die "under the filter the node exits with status $status, not 0"; }
! grep -q 'limit on open files' "$dir/log" || { cat "$dir/log" >&2; die "the limit on open files is not raised under the filter"; }

contrib/demo.sh --blocks 1 --port "$(shuf -i 20000-30000 -n 1)" --under "$confined" >"$dir/log" 2>&1 ||
    { cat "$dir/log" >&2; die "the node does not find a block under the filter"; }
say "the unit is valid, and the node works under its filter"
