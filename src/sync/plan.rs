//! One chain, or piece of a chain, that is being fetched: a list of ids, and batches of it from several peers.
//!
//! The list is its leader's: nobody else adds to it, and when the lead passes on it is cut to what the next leader
//! has. Who only helps can neither end it nor stand in its way.

mod lead;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::action::Route;
use super::serve::locator_of;
use super::serving_rate::ServingRate;
use crate::peer::PeerHandle;
use crate::share::{Share, ShareId};
use crate::units::{ShareHeight, SteadyTime};
use crate::wire::limits::SHARES_MAX;
use crate::wire::List;

/// Shares that may have come or be under way beyond the oldest that is missing: 16 batches, 4 MB.
const AHEAD_MAX: usize = 16 * SHARES_MAX;
/// A batch that the leader was asked for so often in vain is not to be had from it.
const TRIES_MAX: u32 = 4;

/// A part of the list: the first index and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Batch {
    pub start: usize,
    pub len: usize,
}

/// Purpose came in answer to a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BatchOutcome {
    /// All of it.
    Whole,
    /// The first shares of it, perhaps none.
    Part,
    /// Shares that were not asked for.
    Foreign,
}

/// A batch that was asked for and has not come.
#[derive(Debug)]
struct Wanted {
    len: usize,
    /// Who is to give it, and since when; nobody: it is to be asked for again.
    asked_of: Option<(PeerHandle, SteadyTime)>,
    /// How often the leader was asked for it in vain.
    tries: u32,
    /// Who failed to give it.
    failed: Vec<PeerHandle>,
}

impl Wanted {
    fn is_asked_of(&self, peer: PeerHandle) -> bool {
        self.asked_of.is_some_and(|(asked, _)| asked == peer)
    }
}

/// A peer that is asked for shares of the list.
#[derive(Debug)]
struct Server {
    /// Up to which index it has them.
    upto: usize,
    serving_rate: ServingRate,
    /// Whether it kept us waiting when that was counted last.
    owes: bool,
    /// How often it lost the lead for being too slow.
    demoted: u32,
}

impl Server {
    const fn new() -> Self {
        Self { upto: 0, serving_rate: ServingRate::new(), owes: false, demoted: 0 }
    }
}

/// A chain that is being fetched.
#[derive(Debug)]
pub(super) struct Plan {
    /// Where its shares go.
    pub route: Route,
    /// Who responses for the list: who gave it, or has it and took it over.
    pub leader: PeerHandle,
    /// Whether another led it before, so that nobody is to blame for the list or the base alone.
    pub leader_changed: bool,
    /// Whether all is asked of the leader only.
    pub solo: bool,
    /// Whether the list goes on.
    pub more: bool,
    /// Whether it grows from a share of ours.
    pub joined: bool,
    /// Whether all of it was handed over and is being judged.
    pub judging: bool,
    /// When it began.
    pub since: SteadyTime,
    /// When something came last.
    pub heard: SteadyTime,
    /// Shares of it that proved valid.
    pub linked: usize,
    /// Shares handed over before the last tick: had one no proof of work the plan would not be there any more.
    pub taken: usize,
    start_height: ShareHeight,
    /// Shares below this height are asked of the leader only: they cannot be verified, so whoever serves them is to
    /// blame for them.
    open_height: Option<ShareHeight>,
    ids: Vec<ShareId>,
    index: HashMap<ShareId, usize>,
    servers: BTreeMap<PeerHandle, Server>,
    /// Until when waiting was counted.
    counted: SteadyTime,
    /// First index that was never asked for.
    next: usize,
    wanted: BTreeMap<usize, Wanted>,
    /// Purpose came before its turn, by the index of its first share.
    got: BTreeMap<usize, (PeerHandle, Vec<Arc<Share>>)>,
    delivered: usize,
}

impl Plan {
    /// Starts with nothing on the list; `open_height` is where a base ends, if there is one.
    pub fn new(
        route: Route,
        leader: PeerHandle,
        start_height: ShareHeight,
        open_height: Option<ShareHeight>,
        now: SteadyTime,
    ) -> Self {
        Self {
            route,
            leader,
            leader_changed: false,
            solo: false,
            more: false,
            joined: false,
            judging: false,
            since: now,
            heard: now,
            linked: 0,
            taken: 0,
            start_height,
            open_height,
            ids: Vec::new(),
            index: HashMap::new(),
            servers: BTreeMap::from([(leader, Server::new())]),
            counted: now,
            next: 0,
            wanted: BTreeMap::new(),
            got: BTreeMap::new(),
            delivered: 0,
        }
    }

    /// Appends ids that the leader has, those known left out, up to `ids_max` in all.
    pub fn extend(&mut self, ids: impl IntoIterator<Item = ShareId>, ids_max: usize) {
        for id in ids {
            if self.ids.len() >= ids_max {
                self.more = false;
                break;
            }
            if !self.index.contains_key(&id) {
                self.index.insert(id, self.ids.len());
                self.ids.push(id);
            }
        }
        self.add_server(self.leader, self.ids.len());
    }

    /// Where on the list a share is.
    pub fn index_of(&self, id: &ShareId) -> Option<usize> {
        self.index.get(id).copied()
    }

    /// The newest id on the list.
    pub fn last(&self) -> Option<ShareId> {
        self.ids.last().copied()
    }

    /// Newest first, as [`locator_of`] has it.
    pub fn locator(&self) -> Vec<ShareId> {
        locator_of(&self.ids)
    }

    /// Shares handed over, and shares in all.
    pub fn counts(&self) -> (usize, usize) {
        (self.delivered, self.ids.len())
    }

    /// Whether all was handed over.
    pub fn is_fetched(&self) -> bool {
        self.delivered == self.ids.len() && !self.more
    }

    /// Whether nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.wanted.values().all(|wanted| wanted.asked_of.is_none())
    }

    /// Up to which index a peer is asked for shares.
    fn limit(&self, peer: PeerHandle) -> Option<usize> {
        let is_open = peer == self.leader || !(self.solo || self.open_height.is_some());
        self.servers.get(&peer).map(|server| server.upto).filter(|_| is_open)
    }

    /// Purpose to ask of a peer next; counts as asked.
    pub fn next_batch(&mut self, peer: PeerHandle, now: SteadyTime) -> Option<Batch> {
        let upto = self.limit(peer)?;
        let leader = self.leader;
        let again = self.wanted.iter_mut().find(|(start, wanted)| {
            // Purpose one helper did not give no second one may hold up: only if the leader has it neither are all asked.
            let is_leaders = !wanted.failed.is_empty() && !wanted.failed.contains(&leader);
            wanted.asked_of.is_none()
                && !wanted.failed.contains(&peer)
                && (peer == leader || !is_leaders)
                && *start + wanted.len <= upto
        });
        if let Some((start, wanted)) = again {
            wanted.asked_of = Some((peer, now));
            return Some(Batch { start: *start, len: wanted.len });
        }
        let end = upto.min(self.delivered.saturating_add(AHEAD_MAX));
        let len = end.saturating_sub(self.next).min(SHARES_MAX);
        if len == 0 {
            return None;
        }
        let batch = Batch { start: self.next, len };
        self.next += len;
        self.wanted.insert(batch.start, Wanted { len, asked_of: Some((peer, now)), tries: 0, failed: Vec::new() });
        Some(batch)
    }

    /// The ids of a batch.
    pub fn batch_ids(&self, batch: Batch) -> List<ShareId, SHARES_MAX> {
        List::first_of(self.ids.iter().skip(batch.start).take(batch.len).copied())
    }

    /// Whether the batch is still this peer's to give; others are asked when it is taken off the list.
    fn is_asked(&self, batch: Batch, peer: PeerHandle) -> bool {
        self.wanted.get(&batch.start).is_some_and(|wanted| wanted.len == batch.len && wanted.is_asked_of(peer))
    }

    /// Takes what a peer gave for a batch: some of it, in order, or nothing.
    pub fn answer(&mut self, batch: Batch, peer: PeerHandle, shares: &[Arc<Share>], now: SteadyTime) -> BatchOutcome {
        if !self.is_asked(batch, peer) {
            return BatchOutcome::Whole;
        }
        let asked = self.batch_ids(batch);
        let mut rest = asked.iter();
        if !shares.iter().all(|share| {
            let id = share.id();
            rest.any(|asked| *asked == id)
        }) {
            self.failed(batch, peer);
            return BatchOutcome::Foreign;
        }
        // Only what comes without a gap is of use; the others are asked for again.
        let fitting = shares.iter().zip(asked.iter()).take_while(|(share, id)| share.id() == **id).count();
        if fitting == 0 {
            self.failed(batch, peer);
            return BatchOutcome::Part;
        }
        self.wanted.remove(&batch.start);
        self.heard = now;
        if let Some(server) = self.servers.get_mut(&peer) {
            server.serving_rate.gave(fitting);
        }
        self.got.insert(batch.start, (peer, shares.iter().take(fitting).map(Arc::clone).collect()));
        if fitting == batch.len {
            return BatchOutcome::Whole;
        }
        let rest = Wanted { len: batch.len - fitting, asked_of: None, tries: 0, failed: vec![peer] };
        self.wanted.insert(batch.start + fitting, rest);
        self.forgive();
        BatchOutcome::Part
    }

    /// Notes that a peer did not give a batch.
    pub fn failed(&mut self, batch: Batch, peer: PeerHandle) {
        if !self.is_asked(batch, peer) {
            return;
        }
        if let Some(wanted) = self.wanted.get_mut(&batch.start) {
            wanted.asked_of = None;
            wanted.tries += u32::from(peer == self.leader);
            wanted.failed.push(peer);
        }
        if let Some(server) = self.servers.get_mut(&peer) {
            server.serving_rate.failed();
        }
        self.forgive();
    }

    /// Where all have failed, all may try again.
    fn forgive(&mut self) {
        let limits: Vec<(PeerHandle, usize)> =
            self.servers.keys().filter_map(|peer| Some((*peer, self.limit(*peer)?))).collect();
        for (start, wanted) in &mut self.wanted {
            let mut able = limits.iter().filter(|(_, upto)| start + wanted.len <= *upto);
            if able.all(|(peer, _)| wanted.failed.contains(peer)) {
                wanted.failed.clear();
            }
        }
    }

    /// The next shares in order, and who sent them; counts as handed over.
    pub fn take_ready(&mut self) -> Option<(PeerHandle, Vec<Arc<Share>>)> {
        let (peer, shares) = self.got.remove(&self.delivered)?;
        self.delivered += shares.len();
        let height = shares.last().map(|share| share.info.share_height);
        if height >= self.open_height {
            self.open_height = None;
        }
        Some((peer, shares))
    }

    /// Whether shares that come first on the list do not start where the leader said: it says where the base ends.
    pub fn is_false_start(&self, shares: &[Arc<Share>]) -> bool {
        !self.joined
            && self.delivered == shares.len()
            && shares.first().is_some_and(|share| share.info.share_height != self.start_height)
    }
}
