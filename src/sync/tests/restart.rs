//! What a restart must not lose.

use std::sync::Arc;

use super::support::{chain, connect, copy, mine, node, tip, Manner, Remote};
use crate::params::ChainParams;
use crate::sharechain::tests_support::params;

/// Before bitcoind reports, the chain with the most work seems best, however old it is.
#[test]
fn a_restart_does_not_delete_the_chain_that_recent_work_chose() {
    let params = ChainParams { payout_window: 400, age_step_s: 8_000, ..params() };
    let base = chain(params, 100, 1, 30);
    let mut heavy = copy(&base, 100);
    mine(&mut heavy, 200, 2, 30);
    let mut light = copy(&base, 100);
    light.now = heavy.now.plus(3 * 8_000);
    mine(&mut light, 150, 3, 30);
    let mut cluster = node(&copy(&heavy, 100), light.now);
    connect(&mut cluster, 1, Remote::new(&heavy, Manner::Honest));
    cluster.pass_until(60, |cluster| cluster.nodes[0].tip() == tip(&heavy));
    connect(&mut cluster, 2, Remote::new(&light, Manner::Honest));
    cluster.pass_until(60, |cluster| cluster.nodes[0].tip() == tip(&light));
    // The store has only what was linked since the start.
    let stored = cluster.nodes[0].tree().shares().map(|linked| crate::node::StoredShare {
        id: linked.id,
        share: Arc::clone(&linked.share),
        verified: linked.verified,
    });
    cluster.nodes[0].stored = stored.map(|stored| (stored.id, stored)).collect();
    cluster.nodes[0].anchors = cluster.nodes[0].tree().headers().iter().cloned().collect();
    cluster.restart(0);
    cluster.pass(5);
    let held = light.main_ids().iter().filter(|id| cluster.nodes[0].tree().contains(id)).count();
    assert_eq!((cluster.nodes[0].tip(), held), (tip(&light), 250));
}
