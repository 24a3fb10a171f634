//! The node as one state machine: [`Event`]s and the time go in, [`Effect`]s come out, and a driver performs them.
//!
//! Nothing here knows threads, channels, sockets, files or clocks, so the same node runs under `threads/chain` and, by the
//! hundreds, under `tests/simulation`. [`Node`] itself only routes between small machines of the same form:
//!
//! | file | decides |
//! |---|---|
//! | [`crate::sharechain`] | which shares are valid, and which chain is best |
//! | [`crate::sync`] | what to request from which peer, and whether this node is synced |
//! | `headers` | which peer to ask for a Bitcoin header |
//! | `block_relay` | what to do with found Bitcoin blocks of this node and of peers |
//! | `jobs` | whether miners may work, and on what |
//! | `newer_rules` | whether the pool follows rules that this software does not know |
//! | `clock` | whether this machine's clock is right |
//! | `persistence` | what to store, and what to do while the disk refuses it |
//! | `time` | how the two clocks relate |
//! | `report` | the log lines |
//! | `requests` | responses to peers, and what the responses to its own requests mean |
//!
//! One turn of a driver: [`Node::step`] for each event that has arrived, [`Node::advance`], commit
//! [`Node::changes`] and report the outcome to [`Node::committed`], then perform [`Node::take_effects`] in order. So a share
//! is on disk before it is announced.

mod block_relay;
mod clock;
mod effect;
mod event;
mod headers;
mod jobs;
mod newer_rules;
mod persistence;
mod report;
mod requests;
#[cfg(test)]
mod tests;
mod time;

use std::collections::BTreeMap;
use std::sync::Arc;

use bitcoin::consensus::deserialize;

pub use effect::{BlockLookup, Effect, NetworkCommand, PeerBlock};
pub use event::{AnchorLookup, AnchorResult, Event};
pub use persistence::{Changes, StoredShare};
pub use report::Report;
#[cfg(test)]
pub(crate) use tests::support as tests_support;
pub use time::Now;

use crate::config::Config;
use crate::peer::{GossipId, GossipVerdict, PeerHandle, RequestId};
use crate::share::{Share, ShareId};
use crate::sharechain::{self, BestChain, Branch, Need, Sharechain, Source, Tree, Verdict};
use crate::status::{ChainStatus, RulesStatus};
use crate::sync::{Progress, Route, Sync, SyncAction, SyncState};
use crate::table_size::TableSize;
use crate::units::SteadyTime;
use crate::wire::Misbehaviour;
use crate::work::{FoundShare, WorkUpdate};
use block_relay::{Announced, BlockRelay, RelayAction};
use clock::ClockJudge;
use headers::HeaderSources;
use jobs::Jobs;
use newer_rules::NewerRules;
use persistence::Persistence;
use requests::Purpose;
use time::WallClock;

/// Request ids that are not the planner's start here; the planner counts from one.
const OWN_REQUESTS_START: u64 = 1 << 63;
/// Copying the tree for readers takes some milliseconds: not more often than they look.
const SNAPSHOT_INTERVAL_S: u32 = 2;

/// Deferred shares are looked at and unanswered requests are repeated this often.
pub const TICK_S: u32 = 1;
/// Shares too old for any window are pruned this often.
const PRUNE_S: u32 = 300;

/// The node.
pub struct Node {
    chain: Sharechain,
    sync: Sync,
    headers: HeaderSources,
    relay: BlockRelay,
    jobs: Jobs,
    newer_rules: NewerRules,
    persistence: Persistence,
    clock: WallClock,
    clock_judge: ClockJudge,
    looks_for_peers: bool,
    /// Requests in flight that are not the planner's.
    requests: BTreeMap<RequestId, Purpose>,
    next_request: u64,
    effects: Vec<Effect>,
    /// [`TICK_S`], except in long simulations.
    pub tick_s: u32,
    tick_at: SteadyTime,
    prune_at: SteadyTime,
    sync_progress: Option<Progress>,
    snapshot: Arc<Tree>,
    snapshot_at: SteadyTime,
    is_snapshot_stale: bool,
    /// See [`RulesStatus::signals`]; taken with the snapshot.
    signals: Vec<(u8, f64)>,
}

impl Node {
    /// Starts from the stored shares and anchors. A node that has no ways to find peers mines solo at once.
    pub fn new(config: &Config, looks_for_peers: bool, tree: Tree, now: Now) -> Self {
        let params = Arc::clone(tree.params());
        let sync = if looks_for_peers { Sync::new(&params, now.steady) } else { Sync::solo(&params, now.steady) };
        let mut node = Self {
            sync,
            headers: HeaderSources::default(),
            relay: BlockRelay::default(),
            jobs: Jobs::new(config, now),
            newer_rules: NewerRules::default(),
            persistence: Persistence::new(tree.headers().named().map(|(hash, _)| *hash).collect()),
            clock: WallClock::new(now),
            clock_judge: ClockJudge::default(),
            looks_for_peers,
            requests: BTreeMap::new(),
            next_request: OWN_REQUESTS_START,
            effects: Vec::new(),
            tick_s: TICK_S,
            tick_at: now.steady,
            prune_at: now.steady.plus(PRUNE_S),
            sync_progress: None,
            snapshot: Arc::new(Tree::new(params)),
            snapshot_at: now.steady,
            is_snapshot_stale: true,
            signals: Vec::new(),
            chain: Sharechain::new(tree),
        };
        if looks_for_peers {
            node.report(Report::LookingForPeers);
        }
        node
    }

    /// The valid shares.
    pub const fn tree(&self) -> &Tree {
        self.chain.tree()
    }

    /// The sync state.
    pub const fn sync_state(&self) -> SyncState<SteadyTime> {
        self.sync.state()
    }

    /// The version of the rules that the pool follows, if this software does not know it.
    pub const fn rules_version_needed(&self) -> Option<u8> {
        self.newer_rules.needed()
    }

    /// Takes one event.
    pub fn step(&mut self, event: Event, now: Now) {
        match event {
            Event::Template(template) => {
                // Looked up now, a share on it need not wait for the response.
                if self.tree().anchor(&template.prev_block).is_none() {
                    self.look_up(template.prev_block, None, now.steady);
                }
                self.clock_judge.template(&template, now);
                self.jobs.set_template(template, now.steady);
            }
            Event::TemplateWithdrawn(why) => {
                let update = self.jobs.withdraw_template(why);
                self.send_work(update);
            }
            Event::ShareFound(found) => self.on_share_found(&found, now),
            Event::FirmwareClass(class) => self.jobs.set_firmware_class(class),
            Event::BlockFound { height, block } => self.relay.announce(height, &block),
            Event::BestChain(report) => self.on_best_chain(report, now),
            Event::Anchor(lookup) => self.on_anchor(lookup, now),
            Event::PeerConnected { peer } => {
                self.looks_for_peers = true;
                self.sync.peer_connected(peer, now.steady);
            }
            Event::PeerDisconnected { peer } => {
                self.headers.peer_disconnected(peer);
                self.sync.peer_disconnected(peer);
            }
            Event::ShareGossiped { peer, share } => {
                let effects = self.chain.receive(share, Source::Gossip(peer), now.time);
                self.on_chain(effects, now);
            }
            Event::BlockAnnounced { peer, gossip, header, announcement } => {
                let (tree, template) = (self.chain.tree(), self.jobs.template.as_deref());
                let announced = Announced { peer, gossip, header, announcement };
                self.relay.announced(announced, now.steady, tree, template);
            }
            Event::Request { id, request, .. } => self.respond(id, &request, now),
            Event::Response { peer, id, response } => self.on_response(peer, id, response, now),
        }
        self.settle(now);
    }

    /// Does what is due by time, and what follows from the events before.
    pub fn advance(&mut self, now: Now) {
        if now.steady >= self.tick_at {
            self.tick_at = now.steady.plus(self.tick_s);
            self.tick(now);
        }
        if now.steady >= self.prune_at {
            self.prune_at = now.steady.plus(PRUNE_S);
            self.prune();
        }
        self.judge_clock(now);
        self.settle(now);
        self.jobs.note_policy(self.chain.tree(), &self.sync);
        if self.jobs.due_at(self.chain.tree()).is_some_and(|at| now.steady >= at) {
            let (update, report) = self.jobs.make(&mut self.chain, &self.sync, now);
            self.send_work(update);
            self.effects.extend(report.map(Effect::Report));
        }
    }

    /// When to call [`Self::advance`] next, if no event arrives before.
    pub fn wake_at(&self) -> SteadyTime {
        let job_at = self.jobs.due_at(self.chain.tree()).unwrap_or(SteadyTime::NEVER);
        let retry_at = self.persistence.wake_at().unwrap_or(SteadyTime::NEVER);
        self.tick_at.min(self.prune_at).min(job_at).min(retry_at)
    }

    /// What to commit to the store now, if anything, as one atomic change.
    pub fn changes(&self, now: SteadyTime) -> Option<&Changes> {
        self.persistence.due(now)
    }

    /// Takes the outcome of committing [`Self::changes`]. After an error they stay, and are due again later.
    pub fn committed(&mut self, result: Result<(), String>, now: SteadyTime) {
        let report = self.persistence.committed(result, now);
        // Before everything else: it is what the operator must know.
        self.effects.splice(0..0, report.map(Effect::Report));
    }

    /// Everything that waits to be stored, for a last attempt before the end.
    pub fn backlog(&self) -> &Changes {
        &self.persistence.pending
    }

    /// Returns the effects since the last call, in order.
    pub fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// Returns the published status.
    pub fn status(&mut self, now: SteadyTime) -> ChainStatus {
        if self.is_snapshot_stale && now >= self.snapshot_at {
            self.is_snapshot_stale = false;
            self.snapshot_at = now.plus(SNAPSHOT_INTERVAL_S);
            self.snapshot = Arc::new(self.chain.tree().snapshot());
            self.signals = newer_rules::signals(self.chain.tree_mut());
        }
        let (deferred, unverified) = self.chain.waiting();
        ChainStatus {
            tree: Arc::clone(&self.snapshot),
            job: self.jobs.job.clone(),
            deferred,
            unverified,
            unsaved: self.persistence.is_failing(),
            no_work: self.jobs.no_work,
            rules: RulesStatus {
                known: self.chain.tree().params().rules_version_known,
                needed: self.newer_rules.needed(),
                signals: self.signals.clone(),
            },
            outputs_vote: self.jobs.outputs_vote(),
            sync: self.sync.state().published(|moment| self.clock.time_of(moment)),
            syncing: self.sync_progress,
            clock: self.clock_judge.status,
        }
    }

    /// The sizes of all tables that grow with what peers send.
    pub fn tables(&self) -> impl Iterator<Item = TableSize> {
        let tables = self.headers.tables().into_iter().chain([self.newer_rules.table()]);
        tables.chain(self.relay.tables()).chain(self.chain.tables()).chain(self.sync.tables())
    }

    fn tick(&mut self, now: Now) {
        if let Some(by_s) = self.clock.follow(now) {
            self.report(Report::ClockSet { by_s });
            self.chain.clock_set_forward(u32::try_from(by_s).unwrap_or(0), now.time);
        }
        // First, so that no flood of lookups for others takes its place.
        let missing = self.jobs.template.as_ref().map(|template| template.prev_block);
        if let Some(hash) = missing.filter(|hash| self.tree().anchor(hash).is_none()) {
            self.look_up(hash, None, now.steady);
        }
        let effects = self.chain.tick(now.time);
        self.on_chain(effects, now);
        self.sync.tick(now.steady);
        self.clock_judge.ahead_of_peers_s = self.sync.clock_ahead_s(now.steady, now.time);
        if let Some(ahead_s) = self.sync.clock_report(now.steady, now.time) {
            self.report(Report::ClockOff { ahead_s });
        }
        self.settle(now);
        let peers: Vec<PeerHandle> = self.sync.peers().collect();
        self.relay.tick(&peers, now.steady, self.chain.tree());
        self.judge_newer_rules();
        let request = self.newer_rules.due(&peers, self.chain.tree().params(), now.steady);
        if let Some((peer, request)) = request {
            self.request(peer, Purpose::Envelopes, request);
        }
    }

    /// Takes the work from miners while the clock is wrong. Shares that are early by a clock that is right wait again.
    fn judge_clock(&mut self, now: Now) {
        let tree = self.chain.tree();
        let newest = tree.headers().best().filter(|_| tree.headers().is_settled());
        if let Some(fault) = self.clock_judge.judge(now, tree.params().network, newest) {
            self.report(Report::ClockFault(fault));
            self.jobs.set_clock_off(fault.is_some());
        }
        if self.clock_judge.is_right() {
            let effects = self.chain.take_early(now.time);
            self.on_chain(effects, now);
        }
    }

    /// Takes the work from miners whose shares would count nowhere, and gives it back if the others' were not real.
    fn judge_newer_rules(&mut self) {
        if self.newer_rules.judge(self.chain.tree_mut()) {
            let (needed, known) = (self.newer_rules.needed(), self.chain.tree().params().rules_version_known);
            self.report(Report::RulesVersionNeeded { needed, known });
            self.jobs.set_rules_version_needed(needed);
        }
    }

    fn prune(&mut self) {
        // Which chain is best, and so what is too old, depends on Bitcoin's time.
        if !self.chain.tree().headers().is_settled() {
            return;
        }
        let shares = self.chain.prune();
        self.is_snapshot_stale |= !shares.is_empty();
        self.persistence.prune(shares, self.chain.tree().headers());
    }

    fn on_share_found(&mut self, found: &FoundShare, now: Now) {
        let share = Share {
            header: deserialize(&found.header).expect("eighty bytes are a header"),
            info: found.job.info.clone(),
            extranonce: found.extranonce,
            merkle_branch: found.job.merkle_branch.clone(),
        };
        let effects = self.chain.receive(Arc::new(share), Source::Local, now.time);
        self.on_chain(effects, now);
    }

    fn on_best_chain(&mut self, report: BestChain, now: Now) {
        let was_known = self.knows_template_block();
        let was_settled = self.tree().headers().is_settled();
        let effects = self.chain.follow_best_chain(report, now.time);
        self.persistence.put_headers(self.chain.tree().headers());
        self.on_new_headers(was_known, effects, now);
        if !was_settled {
            self.prune();
        }
    }

    fn on_anchor(&mut self, lookup: AnchorLookup, now: Now) {
        let AnchorLookup { hash, result } = lookup;
        self.headers.looked_up(&hash, matches!(result, AnchorResult::Unknown));
        match result {
            AnchorResult::Known(anchor) => {
                let was_known = self.knows_template_block();
                let effects = self.chain.anchor_known(*anchor, now.time);
                self.on_new_headers(was_known, effects, now);
            }
            // What waits for it goes on waiting; it is looked up again later.
            AnchorResult::Reported | AnchorResult::Unavailable => {}
            AnchorResult::Unknown => self.request_header(hash, now.steady),
        }
    }

    /// Whether the block that the template builds on is known.
    fn knows_template_block(&self) -> bool {
        self.jobs.template.as_ref().is_some_and(|template| self.tree().anchor(&template.prev_block).is_some())
    }

    /// Bitcoin blocks became known: does what the sharechain's effects ask for and what else waited for them.
    fn on_new_headers(&mut self, was_known: bool, effects: Vec<sharechain::Effect>, now: Now) {
        // On testnets the latest time of a job follows from the block it builds on.
        if !was_known && self.knows_template_block() {
            self.jobs.is_due = true;
        }
        self.on_chain(effects, now);
        let tree = self.chain.tree();
        for (peer, headers) in self.headers.take_linked(|hash| tree.anchor(hash).is_some()) {
            self.take_headers(peer, headers, Branch::Fetched, now);
        }
    }

    /// Does what the sharechain's effects ask for.
    fn on_chain(&mut self, effects: Vec<sharechain::Effect>, now: Now) {
        for effect in effects {
            match effect {
                sharechain::Effect::Verdict { id, digest, source, verdict } => {
                    match (&verdict, source) {
                        (Verdict::Rejected { .. }, _) => self.sync.share_rejected(&id, source, now.steady),
                        (Verdict::NewerRules(_), Source::Fetch(peer)) => self.sync.newer_rules(peer, now.steady),
                        _ => {}
                    }
                    self.on_verdict(GossipId(digest.0), id, source, verdict);
                }
                sharechain::Effect::Request { need: Need::Share(id), source, .. } => {
                    self.sync.share_missing(id, source, now.steady, self.chain.tree());
                }
                sharechain::Effect::Request { need: Need::Anchor(hash), share, source } => {
                    self.look_up_anchor(hash, &share, source, now.steady);
                }
                sharechain::Effect::Linked(id) => {
                    self.is_snapshot_stale = true;
                    self.persistence.put_share(&id, self.chain.tree());
                    self.sync.share_linked(&id);
                }
                sharechain::Effect::Unlinked(id) => {
                    self.is_snapshot_stale = true;
                    self.persistence.delete_share(id);
                }
                sharechain::Effect::Early { shares, tip, last_due } => {
                    self.is_snapshot_stale = true;
                    // They stay in the store, and are found to be early again after a restart.
                    self.persistence.pending.tip = Some(tip.unwrap_or(ShareId::ZERO));
                    self.jobs.is_due = true;
                    self.report(Report::SharesEarly { shares, tip, for_s: last_due.since(now.time) });
                }
                sharechain::Effect::Replaced { old, new, depth } => {
                    // An own share that this turn linked and left is not stored, so it must not be announced either.
                    let tree = self.chain.tree();
                    self.effects.retain(|effect| match effect {
                        Effect::Network(NetworkCommand::Announce(share)) => tree.contains(&share.id()),
                        _ => true,
                    });
                    self.report(Report::Reorganised { old, new, depth });
                }
                sharechain::Effect::NewTip(id) => {
                    self.persistence.pending.tip = Some(id);
                    self.jobs.is_due = true;
                    self.report(Report::NewTip(id));
                }
                sharechain::Effect::CandidateJudged { id, outcome } => {
                    self.sync.candidate_judged(id, &outcome, now.steady);
                    self.report(Report::CandidateJudged(outcome));
                }
            }
        }
    }

    /// Reports a verdict to the network, and announces an accepted share of ours.
    fn on_verdict(&mut self, gossip: GossipId, id: ShareId, source: Source, verdict: Verdict) {
        // Often only bitcoind's response is missing, which takes milliseconds.
        if verdict != Verdict::Deferred {
            let (gossip_verdict, misbehaviour) = match verdict {
                Verdict::Accepted => (GossipVerdict::Accept, None),
                Verdict::Rejected { rule, height, .. } if rule.proves_fault() => {
                    let is_excused = self.sync.is_excused(source, rule, height);
                    (GossipVerdict::Reject, (!is_excused).then_some(Misbehaviour::BrokenRule(rule)))
                }
                _ => (GossipVerdict::Ignore, None),
            };
            match source {
                Source::Gossip(_) => self.network(NetworkCommand::Verdict { gossip, verdict: gossip_verdict }),
                Source::Local if verdict == Verdict::Accepted => {
                    // Unless a separate chain replaced the share's in the same input.
                    if let Some(linked) = self.chain.tree().get(&id) {
                        let share = Arc::clone(&linked.share);
                        self.network(NetworkCommand::Announce(share));
                    }
                }
                Source::Local | Source::Fetch(_) => {}
            }
            if let (Some(peer), Some(misbehaviour)) = (source.peer(), misbehaviour) {
                self.penalize(peer, misbehaviour);
            }
        }
        self.report(match (source, verdict) {
            // Our own shares are made by our own rules: one that is refused is worth a look.
            (Source::Local, Verdict::Rejected { rule, why, .. }) => Report::OwnShareRejected { id, rule, why },
            (Source::Local, Verdict::Dropped) => Report::OwnShareLost(id),
            (_, verdict) => Report::ShareVerdict { id, source, verdict },
        });
    }

    /// Does what the planner and the block relay request, until nothing is left.
    fn settle(&mut self, now: Now) {
        loop {
            let actions = self.sync.advance(now.steady, self.chain.tree());
            if actions.is_empty() {
                break;
            }
            actions.into_iter().for_each(|action| self.on_sync(action, now));
        }
        self.relay.settle(self.chain.tree(), self.jobs.template.as_deref());
        for action in self.relay.take_actions() {
            self.on_relay(action, now);
        }
    }

    fn on_sync(&mut self, action: SyncAction, now: Now) {
        match action {
            SyncAction::Request { peer, id, request } => self.network(NetworkCommand::Request { peer, id, request }),
            SyncAction::Open { candidate, joined } => {
                let effects = self.chain.open_candidate(candidate, joined, now.time);
                self.on_chain(effects, now);
            }
            SyncAction::Deliver { route, peer, shares } => {
                for share in shares {
                    let source = Source::Fetch(peer);
                    let effects = match route {
                        Route::Tree => self.chain.receive(share, source, now.time),
                        Route::Candidate(candidate) => self.chain.receive_candidate(candidate, share, source, now.time),
                    };
                    self.on_chain(effects, now);
                }
            }
            SyncAction::Finish(candidate) => {
                let effects = self.chain.finish_candidate(candidate, now.time);
                self.on_chain(effects, now);
            }
            SyncAction::Drop(candidate) => self.chain.drop_candidate(candidate),
            SyncAction::Penalize { peer, misbehaviour } => self.penalize(peer, misbehaviour),
            SyncAction::Progress(progress) => {
                self.sync_progress = Some(progress);
                self.report(Report::Fetching(progress));
            }
            SyncAction::State(state) => self.on_sync_state(state),
        }
    }

    fn on_sync_state(&mut self, state: SyncState<SteadyTime>) {
        let report = match state {
            SyncState::Solo { .. } => {
                Report::MiningSolo { looks_for_peers: self.looks_for_peers, has_work: self.jobs.template.is_some() }
            }
            SyncState::Syncing => Report::Syncing,
            SyncState::Synced => Report::Synced {
                peers: self.sync.peers().count(),
                height: self.tree().tip().map(|tip| tip.share.info.share_height),
            },
            SyncState::NoPeers { was_synced: true, .. } => Report::LastPeerGone,
            SyncState::NoPeers { was_synced: false, .. } => Report::NoPeerYet,
        };
        self.report(report);
        if state != SyncState::Syncing {
            self.sync_progress = None;
        }
        self.jobs.is_due = true;
    }

    fn on_relay(&mut self, action: RelayAction, now: Now) {
        match action {
            RelayAction::Announce(announcement) => self.network(NetworkCommand::AnnounceBlock(announcement)),
            RelayAction::Verdict(gossip, verdict) => self.network(NetworkCommand::Verdict { gossip, verdict }),
            RelayAction::Penalize(peer) => self.penalize(peer, Misbehaviour::FalseBlock),
            RelayAction::Request(peer, of, request) => self.request(peer, Purpose::Transactions(of), request),
            RelayAction::Submit(block) => self.effects.push(Effect::SubmitBlock(block)),
            RelayAction::LookUp(hash, from) => {
                self.look_up(hash, from.map(|peer| (peer, Branch::Gossiped)), now.steady);
            }
            RelayAction::RequestHeader(hash, peers) => self.headers.add_other(hash, peers.into_iter()),
            RelayAction::Report(report) => self.report(report),
        }
    }

    fn network(&mut self, command: NetworkCommand) {
        self.effects.push(Effect::Network(command));
    }

    fn penalize(&mut self, peer: PeerHandle, misbehaviour: Misbehaviour) {
        self.network(NetworkCommand::Penalize { peer, misbehaviour });
    }

    fn send_work(&mut self, update: Option<WorkUpdate>) {
        self.effects.extend(update.map(Effect::Work));
    }

    fn report(&mut self, report: Report) {
        self.effects.push(Effect::Report(report));
    }
}
