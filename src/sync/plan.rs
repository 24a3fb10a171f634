//! One list of shares being fetched, in batches from several peers.
//!
//! Each share on the list passes through these stages, oldest first: listed, pending (part of a batch that was requested
//! and has not arrived), received (out of order), delivered.

mod lead;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::action::Route;
use super::serve::locator_of;
use super::serving_rate::ServingRate;
use crate::params::UNCLE_DEPTH_MAX;
use crate::peer::PeerHandle;
use crate::share::{Share, ShareId};
use crate::units::{ShareHeight, SteadyTime};
use crate::wire::limits::SHARES_MAX;
use crate::wire::List;

/// Shares that may be pending or received beyond those delivered: 16 batches, 4 MB.
const AHEAD_MAX: usize = 16 * SHARES_MAX;
/// A leader that fails to give one batch this many times does not have it.
const LEADER_TRIES_MAX: u32 = 4;

/// A part of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Batch {
    /// Index of its first share.
    pub start: usize,
    pub len: usize,
}

/// How a response fits the batch that was requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BatchOutcome {
    /// It has all of it; or the batch is no longer awaited from this peer.
    Complete,
    /// It has some of it, perhaps nothing.
    Partial,
    /// It has shares that were not requested, or not in this order.
    Unrequested,
}

/// A batch that was requested and has not arrived. Its start is its key in [`Plan::pending`].
#[derive(Debug)]
struct PendingBatch {
    len: usize,
    /// The peer that is to give it, and since when; `None` if it must be requested again.
    requested: Option<(PeerHandle, SteadyTime)>,
    /// How often the leader failed to give it.
    leader_tries: u32,
    /// Peers that failed to give it.
    failed: Vec<PeerHandle>,
}

impl PendingBatch {
    fn is_requested_from(&self, peer: PeerHandle) -> bool {
        self.requested.is_some_and(|(requested_from, _)| requested_from == peer)
    }
}

/// A peer that serves the list.
#[derive(Debug)]
struct Server {
    /// It has the first shares of the list, up to this index.
    up_to: usize,
    rate: ServingRate,
    /// Whether something was awaited from it when waiting was last counted.
    was_awaited: bool,
    /// How often it lost the lead because it was too slow.
    demoted: u32,
}

impl Server {
    const fn new() -> Self {
        Self { up_to: 0, rate: ServingRate::new(), was_awaited: false, demoted: 0 }
    }
}

/// The end of the base of a chain whose oldest share has this height: from there on all can be verified.
pub(super) fn base_end(oldest: ShareHeight, payout_window: u32) -> ShareHeight {
    ShareHeight(oldest.0.saturating_add(payout_window.saturating_add(UNCLE_DEPTH_MAX)))
}

/// One list of shares being fetched.
#[derive(Debug)]
pub(super) struct Plan {
    /// The destination of its shares.
    pub route: Route,
    /// The peer that is responsible for the list: the one that gave it, or one that took it over.
    pub leader: PeerHandle,
    /// Whether another peer led it before, so that no peer is responsible for all of the list and the base.
    pub leader_changed: bool,
    /// Whether only the leader serves it.
    pub sole_source: bool,
    /// Whether another peer than the leader gave some of its shares.
    pub was_helped: bool,
    /// Whether the list has another page.
    pub has_more: bool,
    /// Whether all of it was delivered and is being judged.
    pub is_judging: bool,
    /// When it began.
    pub since: SteadyTime,
    /// When shares last arrived.
    pub progressed_at: SteadyTime,
    /// Height of the first share, as the leader stated it; `None` if the list continues our chain.
    start_height: Option<ShareHeight>,
    /// End of the base. Shares below this height are requested from the leader only.
    base_end: Option<ShareHeight>,
    ids: Vec<ShareId>,
    index: HashMap<ShareId, usize>,
    servers: BTreeMap<PeerHandle, Server>,
    waiting_counted_at: SteadyTime,
    /// Index of the first share that was never requested.
    next: usize,
    pending: BTreeMap<usize, PendingBatch>,
    /// Shares that wait for those before them, with their sender, by the index of the first.
    received: BTreeMap<usize, (PeerHandle, Vec<Arc<Share>>)>,
    delivered: usize,
}

impl Plan {
    /// Starts with an empty list, which continues our chain or else starts at this height.
    pub fn new(
        route: Route,
        leader: PeerHandle,
        start_height: Option<ShareHeight>,
        payout_window: u32,
        now: SteadyTime,
    ) -> Self {
        // A chain from its genesis has no base. Above a base every share's payout window, with its uncles, is on the list.
        let base_end = start_height.filter(|start| start.0 > 0).map(|start| base_end(start, payout_window));
        Self {
            route,
            leader,
            leader_changed: false,
            sole_source: false,
            was_helped: false,
            has_more: false,
            is_judging: false,
            since: now,
            progressed_at: now,
            start_height,
            base_end,
            ids: Vec::new(),
            index: HashMap::new(),
            servers: BTreeMap::from([(leader, Server::new())]),
            waiting_counted_at: now,
            next: 0,
            pending: BTreeMap::new(),
            received: BTreeMap::new(),
            delivered: 0,
        }
    }

    /// Appends ids from the leader, except those listed already, up to `ids_max` in all.
    pub fn extend(&mut self, ids: impl IntoIterator<Item = ShareId>, ids_max: usize) {
        for id in ids {
            if self.ids.len() >= ids_max {
                self.has_more = false;
                break;
            }
            if !self.index.contains_key(&id) {
                self.index.insert(id, self.ids.len());
                self.ids.push(id);
            }
        }
        self.add_server(self.leader, self.ids.len());
    }

    /// Returns a share's position on the list.
    pub fn index_of(&self, id: &ShareId) -> Option<usize> {
        self.index.get(id).copied()
    }

    /// Whether the list continues our chain.
    pub const fn continues_ours(&self) -> bool {
        self.start_height.is_none()
    }

    /// What a peer that serves the list has of it.
    pub fn ids_of(&self, peer: PeerHandle) -> &[ShareId] {
        let up_to = self.servers.get(&peer).map_or(0, |server| server.up_to);
        self.ids.get(..up_to).unwrap_or_default()
    }

    /// The oldest id on the list.
    pub fn first(&self) -> Option<ShareId> {
        self.ids.first().copied()
    }

    /// The newest id on the list.
    pub fn last(&self) -> Option<ShareId> {
        self.ids.last().copied()
    }

    /// The locator of the list, see [`locator_of`].
    pub fn locator(&self) -> Vec<ShareId> {
        locator_of(&self.ids, |id| *id)
    }

    /// Number of shares delivered, and of shares on the list.
    pub fn counts(&self) -> (usize, usize) {
        (self.delivered, self.ids.len())
    }

    /// Whether all was delivered.
    pub fn is_fetched(&self) -> bool {
        self.delivered == self.ids.len() && !self.has_more
    }

    /// Whether no batch is awaited from any peer.
    pub fn is_idle(&self) -> bool {
        self.pending.values().all(|batch| batch.requested.is_none())
    }

    /// The end of what may be requested from a peer now; `None` if nothing may.
    fn limit(&self, peer: PeerHandle) -> Option<usize> {
        let is_open = peer == self.leader || !(self.sole_source || self.base_end.is_some());
        self.servers.get(&peer).map(|server| server.up_to).filter(|_| is_open)
    }

    /// Chooses the next batch to request from a peer and marks it as requested.
    pub fn next_batch(&mut self, peer: PeerHandle, now: SteadyTime) -> Option<Batch> {
        let up_to = self.limit(peer)?;
        let leader = self.leader;
        let again = self.pending.iter_mut().find(|(start, batch)| {
            // After one helper failed the leader is next, so that a series of bad helpers does not delay the batch. The
            // others are asked only if the leader fails as well.
            let is_for_leader = !batch.failed.is_empty() && !batch.failed.contains(&leader);
            batch.requested.is_none()
                && !batch.failed.contains(&peer)
                && (peer == leader || !is_for_leader)
                && *start + batch.len <= up_to
        });
        if let Some((start, batch)) = again {
            batch.requested = Some((peer, now));
            return Some(Batch { start: *start, len: batch.len });
        }
        let end = up_to.min(self.delivered.saturating_add(AHEAD_MAX));
        let len = end.saturating_sub(self.next).min(SHARES_MAX);
        if len == 0 {
            return None;
        }
        let batch = Batch { start: self.next, len };
        self.next += len;
        let pending = PendingBatch { len, requested: Some((peer, now)), leader_tries: 0, failed: Vec::new() };
        self.pending.insert(batch.start, pending);
        Some(batch)
    }

    /// The ids of a batch.
    pub fn batch_ids(&self, batch: Batch) -> List<ShareId, SHARES_MAX> {
        List::first_of(self.ids.iter().skip(batch.start).take(batch.len).copied())
    }

    /// The batch, if it is still awaited from this peer. It is not when it was cut, or requested from another peer since.
    fn awaited_mut(&mut self, batch: Batch, peer: PeerHandle) -> Option<&mut PendingBatch> {
        let pending = self.pending.get_mut(&batch.start)?;
        (pending.len == batch.len && pending.is_requested_from(peer)).then_some(pending)
    }

    fn server_mut(&mut self, peer: PeerHandle) -> &mut Server {
        self.servers.get_mut(&peer).expect("only servers are asked for batches and lead")
    }

    /// Takes a peer's response to the request for a batch.
    pub fn receive(&mut self, batch: Batch, peer: PeerHandle, shares: &[Arc<Share>], now: SteadyTime) -> BatchOutcome {
        if self.awaited_mut(batch, peer).is_none() {
            return BatchOutcome::Complete;
        }
        let requested = self.batch_ids(batch);
        let mut rest = requested.iter();
        let is_in_order = shares.iter().all(|share| {
            let id = share.id();
            rest.any(|requested| *requested == id)
        });
        if !is_in_order {
            self.failed(batch, peer);
            return BatchOutcome::Unrequested;
        }
        // Shares behind a gap are requested again.
        let len = shares.iter().zip(requested.iter()).take_while(|(share, id)| share.id() == **id).count();
        if len == 0 {
            self.failed(batch, peer);
            return BatchOutcome::Partial;
        }
        self.pending.remove(&batch.start);
        self.was_helped |= peer != self.leader;
        self.progressed_at = now;
        self.server_mut(peer).rate.gave(len);
        self.received.insert(batch.start, (peer, shares.iter().take(len).map(Arc::clone).collect()));
        if len == batch.len {
            return BatchOutcome::Complete;
        }
        let rest = PendingBatch { len: batch.len - len, requested: None, leader_tries: 0, failed: vec![peer] };
        self.pending.insert(batch.start + len, rest);
        self.retry_where_all_failed();
        BatchOutcome::Partial
    }

    /// Notes that a peer did not give a batch.
    pub fn failed(&mut self, batch: Batch, peer: PeerHandle) {
        let is_leader = peer == self.leader;
        let Some(pending) = self.awaited_mut(batch, peer) else { return };
        pending.requested = None;
        pending.leader_tries += u32::from(is_leader);
        pending.failed.push(peer);
        self.server_mut(peer).rate.failed();
        self.retry_where_all_failed();
    }

    /// Whether no batch before this one is pending.
    pub fn awaits_first(&self, batch: Batch) -> bool {
        self.pending.keys().next().is_none_or(|first| *first >= batch.start)
    }

    /// Lets all peers try again where all have failed.
    fn retry_where_all_failed(&mut self) {
        let limits: Vec<(PeerHandle, usize)> =
            self.servers.keys().filter_map(|peer| Some((*peer, self.limit(*peer)?))).collect();
        for (start, batch) in &mut self.pending {
            let mut able = limits.iter().filter(|(_, up_to)| start + batch.len <= *up_to);
            if able.all(|(peer, _)| batch.failed.contains(peer)) {
                batch.failed.clear();
            }
        }
    }

    /// Returns the next shares in order, with their sender, and marks them as delivered.
    pub fn take_ready(&mut self) -> Option<(PeerHandle, Vec<Arc<Share>>)> {
        self.debug_check();
        let (peer, shares) = self.received.remove(&self.delivered)?;
        self.delivered += shares.len();
        let height = shares.last().map(|share| share.info.share_height);
        if height >= self.base_end {
            self.base_end = None;
        }
        Some((peer, shares))
    }

    /// Whether these shares come first on the list and do not start at the height that the leader stated. That height
    /// determines where the base ends.
    pub fn is_false_start(&self, shares: &[Arc<Share>]) -> bool {
        self.delivered == shares.len()
            && shares
                .first()
                .is_some_and(|first| self.start_height.is_some_and(|start| start != first.info.share_height))
    }

    /// Asserts that received and pending batches cover the list from `delivered` to `next`, each share once.
    fn debug_check(&self) {
        if !cfg!(debug_assertions) {
            return;
        }
        let received = self.received.iter().map(|(start, (_, shares))| (*start, shares.len()));
        let pending = self.pending.iter().map(|(start, batch)| (*start, batch.len));
        let mut parts: Vec<(usize, usize)> = received.chain(pending).collect();
        parts.sort_unstable();
        let end = parts.into_iter().fold(self.delivered, |end, (start, len)| {
            assert_eq!(start, end, "a gap or an overlap in {self:?}");
            end + len
        });
        assert!(end == self.next && end <= self.ids.len(), "batches end at {end} in {self:?}");
    }
}
