# The steps of contrib/docs/test.sh: runs as root in its container. /download has what a reader has downloaded, /guides the commands
# of the guides, one file for each block; /common.sh is contrib/common.sh.
# shellcheck shell=bash
set -euo pipefail
# shellcheck source=../common.sh
. /common.sh

readonly WAIT_S=60
address=bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4

fail() {
    echo "FAILED: $*"
    systemctl status p2pool --no-pager --lines 20 || true
    exit 1
}
# The commands of a reader who is root: sudo, and an editor in which the payout address is written.
sudo() { case $1 in nano) shift; nano "$@" ;; *) env "$@" ;; esac }
nano() { printf 'address = "%s"\n' "$address" >>"$1"; }
# Runs the commands of a block of a guide in this shell, which keeps its directory for the next block.
run() {
    echo "-- $1: $2"
    set -x
    # shellcheck disable=SC1090 # a file of the test
    . "/guides/$1.$2"
    { set +x; } 2>/dev/null
}
# Runs each command of a block in the background, as in a terminal of its own, and remembers the processes.
run_each() {
    # The package has put the program elsewhere.
    hash -r
    local command
    while read -r command; do
        echo "-- $1: $2: $command"
        eval "exec $command" &
        pids+=($!)
    done <"/guides/$1.$2"
}
pids=()
end() {
    kill "${pids[@]}"
    wait "${pids[@]}" || true
    pids=()
}
is_active() { systemctl is-active --quiet p2pool; }
is_gone() { [ ! -e /usr/local/bin/p2pool ] && [ ! -e /usr/bin/p2pool ]; }
responds() { request "$1" /healthz | grep '"healthy":' >/dev/null; }
healthy() { request "$1" /healthz | grep '"healthy":true' >/dev/null; }

ip link set lo up
export PATH=$PATH:/bitcoind LD_LIBRARY_PATH=/bitcoind HOME=/root
cd /download

echo "== README: as a service, as a package"
# The answer to the installer's question.
export PAYOUT_ADDRESS=$address
run README tarball
is_active || fail "it does not run"
contrib/uninstall.sh --purge
unset PAYOUT_ADDRESS
cd /download
run README package
is_active || fail "it does not run"
apt-get -qq purge p2pool
is_gone || fail "it is still there"

echo "== installing"
cd /download
export PAYOUT_ADDRESS=$address
run installing tarball
unset PAYOUT_ADDRESS
is_active || fail "it does not run"
contrib/uninstall.sh --purge
run installing unattended
is_active || fail "it does not run"
run installing restart
mkdir /mnt/ssd
mount -t tmpfs tmpfs /mnt/ssd
run installing disk
await test -e /mnt/ssd/p2pool/mainnet-*/identity || fail "there is no data on the other disk"

echo "== upgrading: from the tarball"
cd /download
run upgrading tarball
run upgrading version
is_active || fail "it does not run after the upgrade"

echo "== troubleshooting"
bitcoind -server -daemonwait -listen=0 -connect=0 >/dev/null
run troubleshooting look
run troubleshooting port
run troubleshooting clock
bitcoin-cli stop >/dev/null

echo "== payouts: the export"
cd /tmp
mkdir -p /var/lib/p2pool
run payouts export
grep -q '"payout_window"' shares.jsonl || fail "the export has no first line: $(head -c 300 shares.jsonl)"

echo "== network: the firewall"
run network ufw
ufw show added | grep 'allow 9171/tcp' >/dev/null || fail "ufw does not have the rule: $(ufw show added)"
nft add table inet filter
nft add chain inet filter input '{ type filter hook input priority 0; policy accept; }'
run network nftables
nft list ruleset | grep 'tcp dport 9171 accept' >/dev/null || fail "nftables does not have the rule: $(nft list ruleset)"
ss -ltn | grep ':9171 ' >/dev/null || fail "the node does not listen on port 9171: $(ss -ltn)"

echo "== installing: removal, and the package"
cd /download/p2pool-*/
run installing remove
is_gone || fail "it is still there"
contrib/uninstall.sh --purge
cd /download
run installing package
is_active || fail "it does not run"
run upgrading package
is_active || fail "it does not run after the upgrade"
run installing package-disk
is_active || fail "it does not run"
await test -e /mnt/ssd/p2pool/mainnet-*/identity || fail "there is no data on the other disk"
systemctl stop p2pool

echo "== raspberry-pi"
run raspberry-pi system
run raspberry-pi time
[ "$(systemctl is-enabled systemd-time-wait-sync)" = enabled ] || fail "the service does not wait for the time"

echo "== miners: two addresses on one machine"
run_each miners two-addresses
for port in 3333 3334; do await responds $port || fail "no node responds on port $port"; done
end

echo "== test-networks: regtest"
cd /download/p2pool-*/
run test-networks regtest
pids=($!)
healthy 3333 || fail "it is not healthy"
end

echo "== private-pools"
cd /tmp
run_each private-pools two-nodes
for port in 3333 3334; do await responds $port || fail "no node responds on port $port"; done
end
bitcoin-cli -regtest stop >/dev/null
echo "== done"
