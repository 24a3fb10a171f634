//! Candidate chains (rules, section 6): chains that are fetched beside ours and judged when they are complete. They are the
//! chains offered to a newcomer, chains that share no history with ours, and forks from far below the tip.

use std::cmp::Reverse;
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use bitcoin::BlockHash;

use super::anchor::Anchor;
use super::failure::{Failure, Need, Rule};
use super::rules::check_alone;
use super::tree::{LinkedShare, Tree};
use super::{Checks, Effect, Sharechain, Source, DEFERRED_MAX_S};
use crate::params::ChainParams;
use crate::share::Share;
use crate::units::{ShareHeight, UnixTime, Work};

/// Number of candidate chains at once.
///
/// Each holds at most [`candidate_shares_max`] shares of up to 1,800 bytes, 47 MB with the standard windows. An attacker
/// must mine all of them: a share's proof of work is checked before the share is kept.
pub const CANDIDATES_MAX: usize = 4;
/// Seconds that a newcomer with a complete candidate waits for the anchors of another, to choose the better one.
///
/// The planner ([`crate::sync`]) waits as long for the shares of others.
pub const COMPARE_MAX_S: u32 = 60;
/// Number of anchors that one candidate requests at once. Each response makes room for another request.
const ANCHORS_REQUESTED_MAX: usize = 8;
/// Number of waiting shares that are searched for such anchors when a share arrives. Those behind come later.
const REQUESTED_FOR_MAX: usize = 512;

/// Returns how many shares of one candidate are fetched: as many as a node keeps, and half as many for uncles and for
/// shares that are mined meanwhile.
pub fn candidate_shares_max(params: &ChainParams) -> usize {
    let kept = params.shares_kept() as usize;
    kept.saturating_add(kept / 2)
}

/// Identifies a candidate chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CandidateId(pub u64);

/// What became of a candidate chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CandidateOutcome {
    /// It is our chain now.
    Adopted,
    /// It is valid as far as it can be verified, but not better than ours.
    NotBetter,
    /// None of its shares is due: by our clock it is no chain yet.
    NotDue,
    /// A share of it breaks a rule.
    Invalid {
        rule: Rule,
        why: &'static str,
        /// The sender of that share, and its share height.
        source: Source,
        height: ShareHeight,
        /// Whether that share's payout window has unverified shares. If so, rule 8 may have failed because of those.
        on_base: bool,
    },
    /// It could not be judged: an anchor stayed unknown, or there was no room.
    GivenUp,
}

/// A share that waits to be linked to a candidate's tree.
struct WaitingShare {
    share: Arc<Share>,
    work: Work,
    source: Source,
}

/// A chain beside ours.
pub(super) struct CandidateChain {
    tree: Tree,
    /// Whether it grows from a share of ours. If so, `tree` began as a copy of our tree.
    joined: bool,
    waiting: VecDeque<WaitingShare>,
    /// Number of shares received.
    received: usize,
    /// Whether shares were left out that are not due in time.
    has_early: bool,
    /// When the last share came; `None` while more are expected.
    complete_since: Option<UnixTime>,
    /// When it last made progress.
    progressed: UnixTime,
    /// Anchors requested since the last tick.
    requested: HashSet<BlockHash>,
}

impl CandidateChain {
    fn new(ours: &Tree, joined: bool, now: UnixTime) -> Self {
        Self {
            tree: if joined { ours.snapshot() } else { ours.without_shares() },
            joined,
            waiting: VecDeque::new(),
            received: 0,
            has_early: false,
            complete_since: None,
            progressed: now,
            requested: HashSet::new(),
        }
    }

    /// The clock was set forward: what the chain waits for has not taken longer for it.
    pub fn delay(&mut self, by_s: u32, now: UnixTime) {
        for since in std::iter::once(&mut self.progressed).chain(&mut self.complete_since) {
            *since = since.plus(by_s).min(now);
        }
    }

    /// Whether all shares have come and none waits.
    fn is_complete(&self) -> bool {
        self.complete_since.is_some() && self.waiting.is_empty()
    }

    /// Whether all shares have come and some wait.
    fn is_waiting_for_anchors(&self) -> bool {
        self.complete_since.is_some() && !self.waiting.is_empty()
    }

    fn receive(&mut self, share: Arc<Share>, source: Source, now: UnixTime) -> Result<(), CandidateOutcome> {
        self.received += 1;
        if self.received > candidate_shares_max(self.tree.params()) {
            return Err(CandidateOutcome::GivenUp);
        }
        match check_alone(self.tree.params(), &share, &share.id()) {
            Ok(work) => self.waiting.push_back(WaitingShare { share, work, source }),
            Err(failure) => return Err(self.failed(&share, source, &failure)),
        }
        self.advance(now)
    }

    /// Links the waiting shares in order, up to the first whose anchor is unknown or which is due soon.
    fn advance(&mut self, now: UnixTime) -> Result<(), CandidateOutcome> {
        let checks = if self.joined { Checks::Full } else { Checks::Base };
        while let Some(WaitingShare { share, work, source }) = self.waiting.front() {
            // Shares of ours that the peer's list repeats may be too old to be verified again.
            let is_held = self.tree.contains(&share.id());
            let linked = if is_held { Ok(false) } else { self.tree.link(Arc::clone(share), *work, now, checks) };
            match linked {
                // A share without its parent or uncle is no part of this chain, which will be judged without it.
                Ok(_) | Err(Failure::Missing(Need::Share(_))) => {}
                // It is due after a candidate is given up that makes no progress: the rest is judged without it.
                Err(Failure::Early(due)) if due.since(now) > DEFERRED_MAX_S => self.has_early = true,
                Err(Failure::Missing(Need::Anchor(_)) | Failure::Early(_)) => return Ok(()),
                Err(failure) => return Err(self.failed(share, *source, &failure)),
            }
            self.waiting.pop_front();
            self.progressed = now;
        }
        Ok(())
    }

    fn failed(&self, share: &Share, source: Source, failure: &Failure) -> CandidateOutcome {
        let Failure::Broken { rule, why } = failure else { return CandidateOutcome::GivenUp };
        let window = self.tree.params().payout_window as usize;
        let is_unverified = self.tree.ancestry(&share.info.parent).take(window).any(|ancestor| !ancestor.verified);
        let height = share.info.share_height;
        CandidateOutcome::Invalid { rule: *rule, why, source, height, on_base: !self.joined && is_unverified }
    }

    /// Returns requests for the next anchors that are missing and were not requested since the last tick.
    fn anchor_requests(&mut self) -> Vec<Effect> {
        let mut missing = HashSet::new();
        let mut requests = Vec::new();
        for WaitingShare { share, source, .. } in self.waiting.iter().take(REQUESTED_FOR_MAX) {
            let hash = share.header.prev_blockhash;
            if missing.len() == ANCHORS_REQUESTED_MAX {
                break;
            }
            if self.tree.anchor(&hash).is_none() && missing.insert(hash) && self.requested.insert(hash) {
                requests.push(Effect::Request { need: Need::Anchor(hash), share: share.id(), source: *source });
            }
        }
        requests
    }
}

impl Sharechain {
    /// Opens a candidate chain: one that grows from a share of ours (`joined`), or a separate one.
    pub fn open_candidate(&mut self, id: CandidateId, joined: bool, now: UnixTime) -> Vec<Effect> {
        if self.candidates.len() >= CANDIDATES_MAX {
            return vec![Effect::CandidateJudged { id, outcome: CandidateOutcome::GivenUp }];
        }
        self.candidates.insert(id, CandidateChain::new(&self.tree, joined, now));
        Vec::new()
    }

    /// Receives the next share of a candidate chain. Parents and uncles come first.
    ///
    /// A share of a candidate that does not exist any more is ignored.
    pub fn receive_candidate(
        &mut self,
        id: CandidateId,
        share: Arc<Share>,
        source: Source,
        now: UnixTime,
    ) -> Vec<Effect> {
        let Some(candidate) = self.candidates.get_mut(&id) else { return Vec::new() };
        let advanced = candidate.receive(share, source, now);
        self.after_advance(id, advanced);
        std::mem::take(&mut self.effects)
    }

    /// Notes that no more shares of a candidate come. It is judged as soon as its anchors are known.
    pub fn finish_candidate(&mut self, id: CandidateId, now: UnixTime) -> Vec<Effect> {
        if let Some(candidate) = self.candidates.get_mut(&id) {
            candidate.complete_since = Some(now);
        }
        // Others may be finished right after this one: a newcomer compares them at the next tick.
        if !self.tree.is_empty() {
            self.judge_candidates(now);
        }
        std::mem::take(&mut self.effects)
    }

    /// Drops a candidate chain without judging it.
    pub fn drop_candidate(&mut self, id: CandidateId) {
        self.candidates.remove(&id);
    }

    /// Gives all candidates the Bitcoin blocks that are known now.
    pub(super) fn update_candidates_headers(&mut self, now: UnixTime) {
        for candidate in self.candidates.values_mut() {
            let best = |tree: &Tree| tree.headers().best().map(|best| best.header.block_hash());
            let before = best(&candidate.tree);
            candidate.tree.update_headers(&self.tree);
            // The dates of its shares depend on the best chain.
            if best(&candidate.tree) != before {
                candidate.tree.choose_tip();
            }
        }
        self.advance_candidates(now);
    }

    /// Gives all candidates a block of the best chain that is below those held without gaps.
    pub(super) fn add_to_candidates(&mut self, anchor: &Anchor) {
        for candidate in self.candidates.values_mut() {
            candidate.tree.headers_mut().add_best_below(anchor.clone());
        }
    }

    /// Repeats requests, and gives up candidates that make no progress.
    pub(super) fn tick_candidates(&mut self, now: UnixTime) {
        for candidate in self.candidates.values_mut() {
            candidate.requested.clear();
            // Where the clock is set back, waiting starts again instead of lasting until the clock has caught up.
            candidate.progressed = candidate.progressed.min(now);
            candidate.complete_since = candidate.complete_since.map(|since| since.min(now));
        }
        self.advance_candidates(now);
        let is_stuck =
            |candidate: &CandidateChain| !candidate.is_complete() && now.since(candidate.progressed) > DEFERRED_MAX_S;
        for id in self.candidates_where(is_stuck) {
            self.end_candidate(id, CandidateOutcome::GivenUp);
        }
        self.judge_candidates(now);
    }

    fn candidates_where(&self, wanted: impl Fn(&CandidateChain) -> bool) -> Vec<CandidateId> {
        self.candidates.iter().filter(|(_, candidate)| wanted(candidate)).map(|(id, _)| *id).collect()
    }

    pub(super) fn advance_candidates(&mut self, now: UnixTime) {
        let advanced: Vec<(CandidateId, Result<(), CandidateOutcome>)> =
            self.candidates.iter_mut().map(|(id, candidate)| (*id, candidate.advance(now))).collect();
        for (id, advanced) in advanced {
            self.after_advance(id, advanced);
        }
        self.judge_candidates(now);
    }

    fn after_advance(&mut self, id: CandidateId, advanced: Result<(), CandidateOutcome>) {
        match advanced {
            Ok(()) => {
                let candidate = self.candidates.get_mut(&id).expect("a candidate that advanced exists");
                self.effects.extend(candidate.anchor_requests());
            }
            Err(outcome) => self.end_candidate(id, outcome),
        }
    }

    fn end_candidate(&mut self, id: CandidateId, outcome: CandidateOutcome) {
        self.candidates.remove(&id);
        self.effects.push(Effect::CandidateJudged { id, outcome });
    }

    /// Judges the candidates that are complete, once bitcoind has caught up.
    fn judge_candidates(&mut self, now: UnixTime) {
        if !self.tree.headers().is_settled() {
            return;
        }
        if self.tree.is_empty() {
            let complete = self.candidates.values().filter(|candidate| candidate.is_complete());
            let Some(since) = complete.filter_map(|candidate| candidate.complete_since).min() else { return };
            let is_another_waiting = self.candidates.values().any(CandidateChain::is_waiting_for_anchors);
            if is_another_waiting && now.since(since) < COMPARE_MAX_S {
                return;
            }
        }
        // The best one first, so that our tree is not replaced by the others on the way to it.
        let mut complete = self.candidates_where(CandidateChain::is_complete);
        complete.sort_by_cached_key(|id| {
            let tree = &self.candidates[id].tree;
            Reverse((tree.recent_work(), tree.tip().map(LinkedShare::rank)))
        });
        for id in complete {
            let candidate = self.candidates.remove(&id).expect("judging one candidate removes no other");
            let is_early = candidate.tree.is_empty() && candidate.has_early;
            let outcome = match self.replacement_by(candidate.tree, candidate.joined, now) {
                Some(replacement) => {
                    self.adopt(replacement);
                    CandidateOutcome::Adopted
                }
                None if is_early => CandidateOutcome::NotDue,
                None => CandidateOutcome::NotBetter,
            };
            self.effects.push(Effect::CandidateJudged { id, outcome });
            self.drain(now);
        }
    }
}
