//! Chains that are kept candidate until they are whole and judged (rules, section 6): a newcomer's first, those that do not
//! join ours, and forks from far below the tip.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use bitcoin::BlockHash;

use super::adoption::rank;
use super::anchor::Anchor;
use super::failure::{Failure, Need, Rule};
use super::rules::check_alone;
use super::tree::{Depth, Tree};
use super::{Effect, Sharechain, Source, HELD_MAX_S};
use crate::params::ChainParams;
use crate::share::Share;
use crate::units::{UnixTime, Work};

/// Chains kept candidate at once. Each holds at most [`candidate_shares_max`] shares of up to 1,800 bytes, 47 MB with the standard windows,
/// if somebody has mined them all: each share is checked for its work before it is kept.
pub const CANDIDATES_MAX: usize = 4;
/// A newcomer that has one chain ready to be judged waits this long for the Bitcoin blocks of another, to take the best.
///
/// The planner ([`crate::sync`]) waits as long for the shares of others.
pub const COMPARE_MAX_S: u32 = 60;
/// Bitcoin blocks that one chain asks for at once; each answer makes room for another question.
const ANCHORS_ASKED_MAX: usize = 8;
/// Waiting shares that are looked through for such blocks, at each share that comes; those behind get their turn.
const ASKED_FOR_MAX: usize = 512;

/// Shares that are fetched of one chain: those a node keeps, and half as many for uncles and for what comes meanwhile.
pub fn candidate_shares_max(params: &ChainParams) -> usize {
    let kept = params.shares_kept() as usize;
    kept.saturating_add(kept / 2)
}

/// Number of a chain kept candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CandidateId(pub u64);

/// What became of a chain kept candidate. It is forgotten then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CandidateOutcome {
    /// It is our chain now.
    Adopted,
    /// It is valid, as far as it can be verified, but no reason to leave ours.
    NotBetter,
    /// A share of it breaks a rule.
    False {
        /// Which.
        rule: Rule,
        /// In what way.
        why: &'static str,
        /// Who sent the share.
        source: Source,
        /// Whether the share's payout window has shares that could not be verified: then rule 8 may have failed
        /// because those are false.
        on_base: bool,
    },
    /// It could not be judged: a Bitcoin block stayed unknown, or there was no room.
    GivenUp,
}

/// A chain beside ours.
pub(super) struct CandidateChain {
    tree: Tree,
    /// Whether it grows from a share of ours.
    joined: bool,
    waiting: VecDeque<(Arc<Share>, Work, Source)>,
    /// Shares taken in all.
    taken: usize,
    /// When the last share came; none while more come.
    whole_since: Option<UnixTime>,
    /// When it last got on.
    moved: UnixTime,
    /// Bitcoin blocks asked for since the last tick.
    asked: HashSet<BlockHash>,
}

impl CandidateChain {
    fn new(ours: &Tree, joined: bool, now: UnixTime) -> Self {
        let tree = if joined { ours.snapshot() } else { ours.empty_beside() };
        Self { tree, joined, waiting: VecDeque::new(), taken: 0, whole_since: None, moved: now, asked: HashSet::new() }
    }

    fn taken_max(&self) -> usize {
        candidate_shares_max(self.tree.params())
    }

    fn is_complete(&self) -> bool {
        self.whole_since.is_some() && self.waiting.is_empty()
    }

    fn take(&mut self, share: Arc<Share>, source: Source, now: UnixTime) -> Result<(), CandidateOutcome> {
        self.taken = self.taken.saturating_add(1);
        if self.taken > self.taken_max() {
            return Err(CandidateOutcome::GivenUp);
        }
        match check_alone(self.tree.params(), &share, &share.id()) {
            Ok(work) => self.waiting.push_back((share, work, source)),
            Err(failure) => return Err(self.failed(&share, source, &failure)),
        }
        self.step(now)
    }

    /// Links what can be linked, in order.
    fn step(&mut self, now: UnixTime) -> Result<(), CandidateOutcome> {
        let depth = if self.joined { Depth::Full } else { Depth::Base };
        while let Some((share, work, source)) = self.waiting.front() {
            match self.tree.link(Arc::clone(share), *work, now, depth) {
                // Without its parent or uncle it is not part of this chain; the judgement will find it shorter.
                Ok(_) | Err(Failure::Missing(Need::Share(_))) => {}
                Err(Failure::Missing(Need::Anchor(_)) | Failure::Early(_)) => return Ok(()),
                Err(failure) => return Err(self.failed(&Arc::clone(share), *source, &failure)),
            }
            self.waiting.pop_front();
            self.moved = now;
        }
        Ok(())
    }

    fn failed(&self, share: &Share, source: Source, failure: &Failure) -> CandidateOutcome {
        let Failure::Broken { rule, why } = failure else { return CandidateOutcome::GivenUp };
        let window = self.tree.params().payout_window as usize;
        let on_base = !self.joined && self.tree.ancestry(&share.info.parent).take(window).any(|node| !node.verified);
        CandidateOutcome::False { rule: *rule, why, source, on_base }
    }

    /// The next Bitcoin blocks that are missing, those not asked for since the last tick.
    fn asks(&mut self) -> Vec<Effect> {
        let mut missing = HashSet::new();
        let mut asks = Vec::new();
        for (share, _, source) in self.waiting.iter().take(ASKED_FOR_MAX) {
            let hash = share.header.prev_blockhash;
            if missing.len() == ANCHORS_ASKED_MAX {
                break;
            }
            if self.tree.anchor(&hash).is_none() && missing.insert(hash) && self.asked.insert(hash) {
                asks.push(Effect::Ask { need: Need::Anchor(hash), source: *source });
            }
        }
        asks
    }
}

impl Sharechain {
    /// Starts to keep a chain candidate: one that grows from a share of ours (`joined`), or one of its own.
    pub fn open_candidate(&mut self, id: CandidateId, joined: bool, now: UnixTime) -> Vec<Effect> {
        if self.candidate.len() >= CANDIDATES_MAX {
            return vec![Effect::CandidateJudged { id, outcome: CandidateOutcome::GivenUp }];
        }
        self.candidate.insert(id, CandidateChain::new(&self.tree, joined, now));
        Vec::new()
    }

    /// Takes the next share of a chain kept candidate; parents and uncles come first.
    ///
    /// A share for a chain that was judged or forgotten is ignored.
    pub fn receive_candidate(
        &mut self,
        id: CandidateId,
        share: Arc<Share>,
        source: Source,
        now: UnixTime,
    ) -> Vec<Effect> {
        let Some(candidate) = self.candidate.get_mut(&id) else { return Vec::new() };
        let taken = candidate.take(share, source, now);
        self.after_step(id, taken);
        std::mem::take(&mut self.effects)
    }

    /// No more shares come for this chain: it is judged as soon as the Bitcoin blocks it is built on are known.
    pub fn finish_candidate(&mut self, id: CandidateId, now: UnixTime) -> Vec<Effect> {
        if let Some(candidate) = self.candidate.get_mut(&id) {
            candidate.whole_since = Some(now);
        }
        // Others may be finished in the same breath: a newcomer compares at the next tick.
        if !self.tree.is_empty() {
            self.judge_candidates(now);
        }
        std::mem::take(&mut self.effects)
    }

    /// Forgets a chain kept candidate.
    pub fn drop_candidate(&mut self, id: CandidateId) {
        self.candidate.remove(&id);
    }

    /// A Bitcoin block became known.
    pub(super) fn candidates_anchor_known(&mut self, anchor: &Anchor, now: UnixTime) {
        for candidate in self.candidate.values_mut() {
            candidate.tree.add_anchor(anchor.clone());
        }
        self.step_candidates(now);
    }

    /// A Bitcoin block is invalid, and with it whatever is built on it.
    pub(super) fn candidates_anchor_invalid(&mut self, hash: BlockHash) {
        let why = "built on an invalid Bitcoin block";
        let is_on_it = |(share, _, _): &&(Arc<Share>, Work, Source)| share.header.prev_blockhash == hash;
        let hit: Vec<(CandidateId, Source)> = self
            .candidate
            .iter()
            .filter_map(|(id, candidate)| Some((*id, candidate.waiting.iter().find(is_on_it)?.2)))
            .collect();
        for (id, source) in hit {
            self.end_candidate(id, CandidateOutcome::False { rule: Rule::Anchor, why, source, on_base: false });
        }
    }

    /// Time passes: asks again, and gives up what does not get on.
    pub(super) fn tick_candidates(&mut self, now: UnixTime) {
        for candidate in self.candidate.values_mut() {
            candidate.asked.clear();
            // Where the clock was set back waiting begins anew, and does not last until the clock is there again.
            candidate.moved = candidate.moved.min(now);
            candidate.whole_since = candidate.whole_since.map(|since| since.min(now));
        }
        self.step_candidates(now);
        let stuck: Vec<CandidateId> = self
            .candidate
            .iter()
            .filter(|(_, candidate)| !candidate.is_complete() && now.since(candidate.moved) > HELD_MAX_S)
            .map(|(id, _)| *id)
            .collect();
        for id in stuck {
            self.end_candidate(id, CandidateOutcome::GivenUp);
        }
        self.judge_candidates(now);
    }

    fn step_candidates(&mut self, now: UnixTime) {
        let steps: Vec<(CandidateId, Result<(), CandidateOutcome>)> =
            self.candidate.iter_mut().map(|(id, candidate)| (*id, candidate.step(now))).collect();
        for (id, step) in steps {
            self.after_step(id, step);
        }
        self.judge_candidates(now);
    }

    fn after_step(&mut self, id: CandidateId, step: Result<(), CandidateOutcome>) {
        match step {
            Ok(()) => {
                let asks = self.candidate.get_mut(&id).map(CandidateChain::asks);
                self.effects.extend(asks.into_iter().flatten());
            }
            Err(outcome) => self.end_candidate(id, outcome),
        }
    }

    fn end_candidate(&mut self, id: CandidateId, outcome: CandidateOutcome) {
        self.candidate.remove(&id);
        self.effects.push(Effect::CandidateJudged { id, outcome });
    }

    /// Judges what is whole.
    fn judge_candidates(&mut self, now: UnixTime) {
        if self.tree.is_empty() {
            let oldest = self
                .candidate
                .values()
                .filter(|candidate| candidate.is_complete())
                .filter_map(|candidate| candidate.whole_since);
            let is_waiting =
                self.candidate.values().any(|candidate| candidate.whole_since.is_some() && !candidate.is_complete());
            let Some(since) = oldest.min() else { return };
            if is_waiting && now.since(since) < COMPARE_MAX_S {
                return;
            }
        }
        let mut whole: Vec<(CandidateId, &CandidateChain)> = self
            .candidate
            .iter()
            .filter(|(_, candidate)| candidate.is_complete())
            .map(|(id, candidate)| (*id, candidate))
            .collect();
        // The best first, so that the others need not be taken on the way to it.
        whole.sort_by_cached_key(|(_, candidate)| std::cmp::Reverse(rank(&candidate.tree)));
        for id in whole.into_iter().map(|(id, _)| id).collect::<Vec<_>>() {
            let Some(candidate) = self.candidate.remove(&id) else { continue };
            let outcome = match self.better_of(candidate.tree, candidate.joined, now) {
                Some(better) => {
                    self.take_over(better);
                    CandidateOutcome::Adopted
                }
                None => CandidateOutcome::NotBetter,
            };
            self.effects.push(Effect::CandidateJudged { id, outcome });
            self.drain(now);
        }
    }
}
