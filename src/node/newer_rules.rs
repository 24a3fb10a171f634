//! Notices that the pool follows newer rules than this software knows (rules, section 10).
//!
//! Peers are asked in turn for the envelopes of their newest shares whose rules are unknown here. When these shares have more
//! work than all that could be verified here over the same Bitcoin blocks, this node is *outdated*: its miners' work would
//! count nowhere.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::TableSize;
use crate::params::{ChainParams, RULES_VERSION_FIRST};
use crate::payouts::{Ballot, Window};
use crate::peer::PeerHandle;
use crate::share::envelope::{Envelope, EnvelopeError, ProvenWork};
use crate::share::ShareId;
use crate::sharechain::Tree;
use crate::units::{Bits, BlockHeight, SteadyTime, Work};
use crate::wire::limits::ENVELOPES_MAX;
use crate::wire::{List, Request, Response};

/// Seconds between two requests for envelopes. A response has up to four, and a pool makes two shares a minute.
const ASK_INTERVAL_S: u32 = 15;
/// Number of the newest Bitcoin blocks whose shares are compared: an hour, in which a pool makes 120 shares.
const BLOCKS: u32 = 6;
/// Shares with newer rules that are counted: many times what a pool makes on six blocks. Those with the most work are kept.
const PROVEN_MAX: usize = 1_024;
/// Per cent of the work in the payout window whose finders must know newer rules. So less than half of the hash rate cannot
/// stop the rest with shares of a version that does not exist.
const SIGNAL_PERCENT: u8 = 50;
/// The block height of a share may be this much below that of earlier ones (rules, section 5, rule 6), and as much again by
/// a reorganisation.
const HEIGHT_LAG_MAX: u32 = 4;

/// Compares the work under newer rules with the work that could be verified here.
#[derive(Debug, Default)]
pub struct NewerRules {
    /// The shares whose envelopes were checked, by id.
    proven: BTreeMap<ShareId, ProvenWork>,
    /// The newest of them.
    newest: ShareId,
    asked: Option<PeerHandle>,
    ask_at: SteadyTime,
    /// The version that the pool's work follows, if this node is outdated.
    needed: Option<u8>,
    /// The envelopes made for peers, oldest first: each is made once.
    served: VecDeque<(ShareId, Arc<Envelope>)>,
}

impl NewerRules {
    /// The version of the rules that the pool's work follows, if this software does not know it.
    pub const fn needed(&self) -> Option<u8> {
        self.needed
    }

    /// The size of the table.
    pub fn table(&self) -> TableSize {
        TableSize::new("shares with newer rules", self.proven.len(), PROVEN_MAX)
    }

    /// The next of the peers, in ascending order, to ask, and what, if it is time.
    pub fn due(
        &mut self,
        peers: &[PeerHandle],
        params: &ChainParams,
        now: SteadyTime,
    ) -> Option<(PeerHandle, Request)> {
        if now < self.ask_at {
            return None;
        }
        let after = peers.iter().find(|peer| self.asked.is_none_or(|asked| **peer > asked));
        let peer = *after.or_else(|| peers.first())?;
        self.asked = Some(peer);
        self.ask_at = now.plus(ASK_INTERVAL_S);
        Some((peer, Request::Envelopes { above: params.rules_version_known, after: self.newest }))
    }

    /// Takes a peer's envelopes, newest first.
    ///
    /// # Errors
    /// One of them is invalid under all versions of the rules. Those before it count.
    pub fn receive(&mut self, envelopes: &[Arc<Envelope>], tree: &Tree) -> Result<(), EnvelopeError> {
        let mut newest = None;
        for envelope in envelopes {
            let proven = envelope.prove(tree.params(), tree.chain_id())?;
            let is_newer = proven.rules_version > tree.params().rules_version_known;
            if is_newer && anchor_is_recent(tree, &proven) {
                newest = newest.or(Some(proven.id));
                self.proven.insert(proven.id, proven);
            }
        }
        self.newest = newest.unwrap_or(self.newest);
        while self.proven.len() > PROVEN_MAX {
            let least = self.proven.values().min_by_key(|proven| (proven.work, proven.id)).map(|proven| proven.id);
            least.and_then(|id| self.proven.remove(&id));
        }
        Ok(())
    }

    /// Compares the works. Returns true if [`Self::needed`] has changed.
    pub fn judge(&mut self, tree: &mut Tree) -> bool {
        self.proven.retain(|_, proven| anchor_is_recent(tree, proven));
        let before = self.needed;
        let newer = self.proven.values().fold(0u128, |sum, proven| sum.saturating_add(proven.work.0));
        if newer > 0 || before.is_some() {
            let verified = verified_work(tree);
            if Work(newer) > verified && most_work_signals_newer(tree) {
                self.needed = self.main_version();
            } else if verified > Work(newer) || (newer == 0 && tree.is_empty()) {
                self.needed = None;
            }
            // With equal works, such as none, nothing is learnt, unless there is no chain: one share of any version would keep
            // a pool from ever beginning.
        }
        self.needed != before
    }

    /// The newer version with the most work.
    fn main_version(&self) -> Option<u8> {
        let mut works: BTreeMap<u8, u128> = BTreeMap::new();
        for proven in self.proven.values() {
            let work = works.entry(proven.rules_version).or_default();
            *work = work.saturating_add(proven.work.0);
        }
        works.into_iter().max_by_key(|(version, work)| (*work, *version)).map(|(version, _)| version)
    }

    /// Responds with the envelopes of our newest main-chain shares with rules above a version, down to a share that the
    /// requester has.
    pub fn respond(&mut self, tree: &mut Tree, above: u8, after: &ShareId) -> Response {
        let newest = tree.main_chain().iter().rev().take(ENVELOPES_MAX);
        let newer = newest.take_while(|share| share.info().rules_version > above && share.id != *after);
        let ids: Vec<ShareId> = newer.map(|share| share.id).collect();
        // Oldest first, in which order the payout window moves least.
        let mut envelopes: Vec<Arc<Envelope>> = ids.iter().rev().filter_map(|id| self.envelope(tree, id)).collect();
        envelopes.reverse();
        Response::Envelopes(List::first_of(envelopes))
    }

    /// The envelope of a share of the main chain; `None` if its payout window is not held.
    fn envelope(&mut self, tree: &mut Tree, id: &ShareId) -> Option<Arc<Envelope>> {
        if let Some((_, made)) = self.served.iter().find(|(made, _)| made == id) {
            return Some(Arc::clone(made));
        }
        let share = Arc::clone(&tree.get(id)?.share);
        let payouts = tree.payouts(&share.info, Bits(share.header.bits.to_consensus())).ok()?;
        let envelope = Arc::new(Envelope::new(tree.chain_id(), &share, &payouts));
        if self.served.len() >= ENVELOPES_MAX {
            self.served.pop_front();
        }
        self.served.push_back((*id, Arc::clone(&envelope)));
        Some(envelope)
    }
}

/// The lowest block whose shares are compared.
fn lowest_block(tree: &Tree) -> BlockHeight {
    let best = tree.headers().best().map(|best| best.height).unwrap_or_default();
    BlockHeight(best.0.saturating_sub(BLOCKS - 1))
}

fn anchor_is_recent(tree: &Tree, proven: &ProvenWork) -> bool {
    tree.anchor(&proven.anchor).is_some_and(|anchor| anchor.height >= lowest_block(tree))
}

/// The work of the main chain's shares that build on the newest blocks, and of the uncles they name.
fn verified_work(tree: &Tree) -> Work {
    let lowest = lowest_block(tree).0;
    let newest_first = tree.main_chain().iter().rev();
    let near = newest_first.take_while(|share| share.info().block_height.0.saturating_add(HEIGHT_LAG_MAX) > lowest);
    // A share's block height is that of the block which it would be.
    let recent = near.filter(|share| share.verified && share.info().block_height.0 > lowest);
    let work = recent.fold(0u128, |sum, share| {
        let uncles = share.info().uncles.iter().filter_map(|id| tree.get(id)).map(|uncle| uncle.work.0);
        uncles.fold(sum.saturating_add(share.work.0), u128::saturating_add)
    });
    Work(work)
}

/// Whether the finders of at least half of the work in the payout window at the tip know newer rules. A node that holds no
/// window has no work for miners and nothing to lose.
fn most_work_signals_newer(tree: &mut Tree) -> bool {
    let newer = tree.params().rules_version_known.saturating_add(1);
    ballot(tree).is_none_or(|ballot| ballot.is_at_least(ballot.signalling(newer), SIGNAL_PERCENT))
}

/// The votes in the payout window at the tip, if it is held.
fn ballot(tree: &mut Tree) -> Option<&Ballot> {
    let tip = tree.tip()?;
    let (id, bits) = (tip.id, Bits(tip.share.header.bits.to_consensus()));
    tree.window(id, bits).ok().map(Window::ballot)
}

/// See [`RulesStatus::signals`](crate::status::RulesStatus::signals).
pub fn signals(tree: &mut Tree) -> Vec<(u8, f64)> {
    let Some(ballot) = ballot(tree).filter(|ballot| ballot.total() > Work::ZERO) else { return Vec::new() };
    let later = ballot.signals().filter(|(version, _)| *version > RULES_VERSION_FIRST);
    later.map(|(version, work)| (version, work.0 as f64 * 100.0 / ballot.total().0 as f64)).collect()
}

#[cfg(test)]
mod tests;
