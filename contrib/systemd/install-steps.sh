# The steps of contrib/install-test.sh: runs as root in its container, with a release in /release, bitcoind in /bitcoind and
# contrib/common.sh in /.
# shellcheck shell=bash
set -euo pipefail
# shellcheck source=../common.sh
. /common.sh

readonly WAIT_S=60
address=bcrt1qqypqxpq9qcrsszg2pvxq6rs0zqg3yyc5phstwt
settings=/etc/p2pool/p2pool.toml
# bitcoind is on regtest; the cookie's place is that of regtest then.
export P2POOL_NETWORK=regtest P2POOL_MDNS=false

fail() {
    echo "FAILED: $*"
    systemctl status p2pool --no-pager --lines 20 || true
    exit 1
}
logged() { journalctl --unit p2pool --output cat | grep -- "$1" >/dev/null; }
# A value that systemd knows about the service.
is() { [ "$(systemctl show p2pool --property "$1" --value)" = "$2" ]; }
healthy() { p2pool health; }
chains() { find "$1" -maxdepth 1 -name 'regtest-*' | wc -l; }

gone() { for path in "$@"; do [ ! -e "$path" ] || fail "$path exists"; done; }

ip link set lo up 2>/dev/null || true
export PATH=$PATH:/bitcoind LD_LIBRARY_PATH=/bitcoind
cd /release

echo "== bitcoind of a user of its own, whose home directory is closed"
adduser --quiet --disabled-password --gecos "" bitcoin
[ "$(stat -c %a /home/bitcoin)" = 700 ] || fail "this is not a stock Debian 12"
install -d -m 0700 -o bitcoin -g bitcoin /home/bitcoin/.bitcoin
printf 'regtest=1\nserver=1\nlisten=0\n' >/home/bitcoin/.bitcoin/bitcoin.conf
cat >/etc/systemd/system/bitcoind.service <<END
[Service]
User=bitcoin
Environment=LD_LIBRARY_PATH=/bitcoind
ExecStart=/bitcoind/bitcoind
END
systemctl start bitcoind

# Data of version 0.1, whose service had a user that existed only while it ran.
install -d -m 0700 /var/lib/private
install -d -m 0700 -o 61184 -g 61184 /var/lib/private/p2pool
install -m 0600 -o 61184 -g 61184 /dev/null /var/lib/private/p2pool/old
ln -s private/p2pool /var/lib/p2pool

echo "== the installer asks for an address and installs nothing half"
! contrib/install.sh </dev/null >/out 2>&1 || fail "it needs no address"
gone /usr/local/bin/p2pool /etc/p2pool
grep -q 'PAYOUT_ADDRESS=' /out || fail "it does not say what to give: $(cat /out)"

echo "== an address of another network: systemctl start fails, and there is no restart"
! P2POOL_NETWORK='' PAYOUT_ADDRESS=$address contrib/install.sh >/out 2>&1 || fail "it accepts an address of regtest on mainnet"
grep -q 'is a regtest address, but -network is mainnet' /out || fail "it does not say what is wrong: $(cat /out)"
is ActiveState failed || fail "the service did not fail"
is NRestarts 0 || fail "it restarts"
[ "$(stat -c '%a %U %G' $settings)" = "640 root p2pool" ] || fail "others can read the settings"

echo "== a password of all characters that shells and systemd treat specially"
rm $settings
# shellcheck disable=SC2016 # meant literally
password='a"b\c`d $e '"'f#"
PAYOUT_ADDRESS=$address BITCOIN_RPC_USER=me BITCOIN_RPC_PASSWORD=$password contrib/install.sh || fail "it does not install"
# shellcheck disable=SC2016 # meant literally
grep -Fx 'rpc-password = "a\"b\\c`d $e '"'f#"'"' $settings >/dev/null ||
    fail "the password arrives differently: $(cat $settings)"

echo "== the right settings"
rm $settings
PAYOUT_ADDRESS=$address contrib/install.sh >/out || fail "it does not install"
grep -q 'Dashboard: http://.*:3333/' /out || fail "it does not say where the dashboard is: $(cat /out)"
is ActiveState active || fail "it does not run"
[ "$(stat -c '%a %U' /var/lib/p2pool)" = "700 p2pool" ] || fail "others can read the data"
[ "$(stat -c %U /var/lib/p2pool/old)" = p2pool ] || fail "the data of version 0.1 is not taken over: $(ls -ld /var/lib/p2pool /var/lib/p2pool/*)"

echo "== the cookie: the hint names what is closed, and the guide's commands open it"
await logged 'the directory /home/bitcoin is closed to it' || fail "the log does not name the closed directory"
chmod g+x /home/bitcoin/.bitcoin/regtest
bash -euxo pipefail /cookie.sh || fail "the guide's commands fail"
mine() { bitcoin-cli -regtest -rpccookiefile=/home/bitcoin/.bitcoin/regtest/.cookie generatetodescriptor 1 'raw(51)'; }
await mine || fail "bitcoind does not start again"
await healthy || fail "it cannot read the cookie: $(healthy)"

echo "== an upgrade keeps settings and data"
printf ' ' >>p2pool
sed -i "s|^data-dir = .*|data-dir = '/var/lib/p2pool' # by hand|" $settings
before=$(sha256sum $settings; chains /var/lib/p2pool)
# Left by a run that was interrupted.
echo '# half' >$settings.new
PAYOUT_ADDRESS=bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080 contrib/install.sh >/out || fail "the upgrade fails"
grep -q 'PAYOUT_ADDRESS is not used' /out || fail "it does not say that it keeps the address: $(cat /out)"
cmp p2pool /usr/local/bin/p2pool || fail "the program is the old one"
[ "$(sha256sum $settings; chains /var/lib/p2pool)" = "$before" ] || fail "settings or data changed"
await healthy || fail "it is not healthy after the upgrade"

echo "== data on another disk"
mkdir /mnt/disk
mount -t tmpfs tmpfs /mnt/disk
touch /mnt/disk/other
for others in /mnt/disk / /mnt/disk/../..; do
    ! P2POOL_DATA_DIR=$others contrib/install.sh >/out 2>&1 || fail "it takes $others from its owner"
    grep -q "give a directory of its own" /out || fail "it does not say what to give: $(cat /out)"
    [ "$(stat -c '%U' "$others")" = root ] || fail "$others has another owner"
done
P2POOL_DATA_DIR=/mnt/disk/p2pool contrib/install.sh >/out || fail "it does not run with its data there"
grep -q 'data in /var/lib/p2pool is not moved' /out || fail "it does not say where the data was: $(cat /out)"
[ "$(chains /mnt/disk/p2pool)" = 1 ] || fail "the data is not there"
await healthy || fail "it is not healthy there"

echo "== a node that hangs is killed and started again"
mkdir -p /run/systemd/system/p2pool.service.d
printf '[Service]\nWatchdogSec=16\nTimeoutAbortSec=1\n' >/run/systemd/system/p2pool.service.d/fast.conf
systemctl daemon-reload
systemctl restart p2pool
pid=$(systemctl show p2pool --property MainPID --value)
# Longer than the timeout: it reports that it works.
sleep 17
is MainPID "$pid" || fail "it is killed although it works"
kill -STOP "$pid"
await is NRestarts 1 || fail "it hangs"
await healthy || fail "it does not come back"
journalctl --unit p2pool --output cat | grep -i 'watchdog timeout' >/dev/null || fail "something else ended it"
rm /run/systemd/system/p2pool.service.d/fast.conf

echo "== removal"
contrib/uninstall.sh
gone /usr/local/bin/p2pool /etc/systemd/system/p2pool.service
[ "$(ls $settings && chains /var/lib/p2pool)" = "$settings"$'\n1' ] || fail "settings or data are gone"
mkdir /mnt/disk/p2pool/family-photographs-2024 /mnt/disk/p2pool/mainnet-photographs-2024
contrib/uninstall.sh --purge
gone /etc/p2pool /var/lib/p2pool
[ "$(find /mnt/disk/p2pool -name '*-photographs-2024' | wc -l)" = 2 ] || fail "it removes what the node did not write"
! getent passwd p2pool || fail "the user is left"
[ "$(chains /mnt/disk/p2pool)" = 0 ] || fail "data is left on the other disk"

echo "== the Debian package"
dpkg -i /p2pool_0.0.1_*.deb || fail "the package does not install"
# The program is in another place now.
hash -r
[ "$(stat -c '%a %U %G' $settings)" = "640 root p2pool" ] || fail "no settings"
sed -i "s|^#address = .*|address = '$address'|; s|^#network = .*|network = 'regtest'|; s|^#mdns = .*|mdns = false|" $settings
systemctl enable --now p2pool || fail "it does not run"
await healthy || fail "it is not healthy"
pid=$(systemctl show p2pool --property MainPID --value)
dpkg -i /p2pool_0.0.1_*.deb || fail "the upgrade fails"
is ActiveState active || fail "it does not run after the upgrade"
! is MainPID "$pid" || fail "the old program runs after the upgrade"
dpkg -r p2pool
[ "$(ls $settings && chains /var/lib/p2pool)" = "$settings"$'\n1' ] || fail "removal takes settings or data"
dpkg -P p2pool
gone /etc/p2pool /var/lib/p2pool
echo "done"
