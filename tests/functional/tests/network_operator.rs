//! An operator bans a peer of a running network, and lifts the ban.

use p2pool_test_bitcoind::{wait_until, Bitcoind, Chain};
use p2pool_test_functional::network::{id, peers, start, wait_connected, wait_tip, ManualMiner, TIMEOUT};

use crate::network::options;

#[test]
fn a_peer_banned_by_command_gets_shares_by_others_and_returns_when_it_is_unbanned() {
    let bitcoind = Bitcoind::start(Chain::OpTrueSignet);
    let first = start(&bitcoind, options(1), &[]);
    let second = start(&bitcoind, options(2), &[&first]);
    let third = start(&bitcoind, options(3), &[&first, &second]);
    wait_connected(&[&first, &second, &third]);
    let banned = id(&second);
    assert!(first.command(&["ban", &banned, "-hours=1"]).status.success());
    wait_until("the end of the connection", TIMEOUT, || !peers(&first).contains(&banned));
    let bans = first.api("/api/v1/bans").unwrap();
    assert_eq!((&bans["bans"][0]["subject"], &bans["banned"]), (&banned.clone().into(), &1.into()));
    // Only the third node is between them.
    let share = ManualMiner::at(&first).mine(&first);
    wait_tip(&[&second, &third], &share);
    assert!(!peers(&first).contains(&banned));
    assert_eq!(first.metric("p2pool_peers_banned"), Some(1.0));

    assert!(first.command(&["unban", &banned]).status.success());
    assert_eq!(first.command(&["unban", &banned]).status.code(), Some(1), "it is lifted at once");
    // The second node retries its bootnode, at least every minute.
    wait_connected(&[&first, &second, &third]);
    let share = ManualMiner::at(&second).mine(&second);
    wait_tip(&[&first, &third], &share);
}
