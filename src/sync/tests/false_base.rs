//! A base has no proof of its shares' bytes, which a newcomer cannot verify.

use std::sync::Arc;

use super::support::{chain, connect, copy, newcomer, node, pruned, tip, Manner, Remote};
use crate::node::tests_support::ScriptedPeer;
use crate::peer::RequestFailed;
use crate::share::Share;
use crate::sharechain::tests_support::params;
use crate::units::UnixTime;
use crate::wire::{List, Request, Response};

/// Serves a chain whose oldest shares, which a newcomer cannot verify, have other bytes.
struct BaseMutator {
    remote: Remote,
    below: u32,
}

impl ScriptedPeer for BaseMutator {
    fn respond(&mut self, request: &Request, now: UnixTime) -> Option<(u32, Result<Response, RequestFailed>)> {
        let (delay_s, response) = self.remote.respond(request, now)?;
        let Ok(Response::Shares(shares)) = response else { return Some((delay_s, response)) };
        let mutated = shares.iter().map(|share| {
            let mut copy = Share::clone(share);
            if copy.info.share_height.0 < self.below {
                copy.extranonce[0] ^= 1;
            }
            Arc::new(copy)
        });
        Some((delay_s, Ok(Response::Shares(List::first_of(mutated)))))
    }
}

#[test]
fn a_newcomer_that_was_given_false_copies_of_a_base_is_not_banned_for_them() {
    let whole = chain(params(), 300, 1, 30);
    let theirs = pruned(copy(&whole, 300));
    let oldest = theirs.chain.tree().main_chain()[0].info().share_height.0;
    // A newcomer follows the liar, and verifies all that it can.
    let mut cluster = newcomer(params(), whole.now);
    connect(&mut cluster, 1, BaseMutator { remote: Remote::new(&theirs, Manner::Honest), below: oldest + 20 });
    cluster.pass_until(60, |cluster| cluster.nodes[0].tip() == tip(&whole));
    assert_eq!(cluster.nodes[0].misbehaviours, [], "nothing shows that the copies are false");
    let newcomers = cluster.nodes[0].tree().snapshot();

    // A node that was away, and now meets the newcomer and another honest node.
    let mut cluster = node(&copy(&whole, oldest as usize + 10), whole.now);
    connect(&mut cluster, 1, Remote::with_tree(newcomers, Manner::Honest, 1));
    cluster.pass(2);
    connect(&mut cluster, 2, Remote::new(&whole, Manner::Honest));
    cluster.pass(120);
    assert_eq!(cluster.nodes[0].tip(), tip(&whole));
    assert_eq!(cluster.nodes[0].misbehaviours, [], "the newcomer could not know");
}
