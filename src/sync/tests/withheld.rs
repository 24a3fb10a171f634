//! For how long peers keep a node's miners waiting.

use super::support::{chain, connect, disconnect, newcomer, node, sync_state, tip, Manner, Remote};
use crate::node::tests_support::Cluster;
use crate::sharechain::tests_support::params;

/// Seconds of the next `seconds` for which a node's miners may work, while one peer after the other serves a chain that costs
/// next to nothing, with a list of shares behind it that do not exist.
fn mining_s_beside_baits(cluster: &mut Cluster, seconds: u32) -> u32 {
    let cheap = chain(params(), 60, 66, 20);
    let mut mining_s = 0;
    for second in 0..seconds {
        // A plan ends when its peer gives nothing for a while, so that a new peer keeps it going.
        if second % 40 == 0 {
            connect(cluster, 1_000 + u64::from(second), Remote::new(&cheap, Manner::Bait));
        }
        if second % 40 == 20 && second > 40 {
            disconnect(cluster, 1_000 + u64::from(second) - 60);
        }
        cluster.pass(1);
        let node = &cluster.nodes[0];
        let may_mine = sync_state(cluster).may_mine() && (!node.tree().is_empty() || node.may_start_chain());
        mining_s += u32::from(may_mine);
    }
    mining_s
}

#[test]
fn cheap_chains_of_strangers_take_no_work_from_a_lone_node_and_little_from_one_that_starts() {
    let own = chain(params(), 600, 1, 30);
    // It has mined solo.
    let mut cluster = node(&own, own.now);
    cluster.pass(61);
    assert_eq!(mining_s_beside_baits(&mut cluster, 1_800), 1_800);
    assert_eq!(cluster.nodes[0].tip(), tip(&own));
    // It was synced with a peer, which left.
    let mut cluster = node(&own, own.now);
    connect(&mut cluster, 1, Remote::new(&own, Manner::Honest));
    cluster.pass(5);
    disconnect(&mut cluster, 1);
    assert_eq!(mining_s_beside_baits(&mut cluster, 1_800), 1_800);
    // It starts with its chain, and without one.
    let mut cluster = node(&own, own.now);
    let withheld_s = 1_800 - mining_s_beside_baits(&mut cluster, 1_800);
    assert!(withheld_s <= 301, "{withheld_s} s");
    let mut cluster = newcomer(params(), own.now);
    let withheld_s = 1_800 - mining_s_beside_baits(&mut cluster, 1_800);
    assert!(withheld_s <= 901, "{withheld_s} s");
}
