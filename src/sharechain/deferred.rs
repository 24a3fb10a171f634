//! The deferred pool: shares that wait for a parent, an uncle, their anchor, or until they are due.

use std::collections::BTreeMap;

use bitcoin::BlockHash;

use super::failure::Need;
use super::pool::{BoundedPool, PendingShare};
use super::Source;
use crate::share::{ShareDigest, ShareId};
use crate::units::UnixTime;

/// Number of needs of peers' shares that are requested again at once. A full pool has thousands.
const NEEDS_AT_ONCE_MAX: usize = 256;

/// What a deferred share waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wait {
    /// Something unknown.
    For(Need),
    /// The time at which it is due.
    Until(UnixTime),
}

/// Number of a share in order of arrival.
type Arrival = u64;

/// A share's key in the pool.
type Key = ((Arrival, Wait), ShareDigest);

/// Shares that wait. When room is short, the oldest of the sender with the most are evicted.
pub struct DeferredPool {
    pool: BoundedPool<(Arrival, Wait)>,
    by_wait: BTreeMap<(Wait, Arrival), ShareDigest>,
    arrivals: Arrival,
    /// The last of peers' shares whose need was requested again, if that of another follows.
    last_requested: Option<Key>,
}

impl DeferredPool {
    pub const LEN_MAX: usize = BoundedPool::<(Arrival, Wait)>::LEN_MAX;

    pub fn new() -> Self {
        Self { pool: BoundedPool::new(), by_wait: BTreeMap::new(), arrivals: 0, last_requested: None }
    }

    pub fn contains(&self, digest: &ShareDigest) -> bool {
        self.pool.contains(digest)
    }

    pub fn len(&self) -> usize {
        self.pool.len()
    }

    /// The Bitcoin block that a share in the pool waits for, if it waits for one.
    pub fn anchor_of(&self, digest: &ShareDigest) -> Option<BlockHash> {
        match self.pool.key(digest)? {
            (_, Wait::For(Need::Anchor(hash))) => Some(*hash),
            _ => None,
        }
    }

    /// Inserts a share. Returns the shares that no longer fit.
    pub fn insert(&mut self, pending: PendingShare, wait: Wait) -> Vec<PendingShare> {
        self.arrivals += 1;
        self.by_wait.insert((wait, self.arrivals), pending.digest);
        let evicted = self.pool.insert(pending, (self.arrivals, wait));
        evicted
            .into_iter()
            .map(|(pending, (arrival, wait))| {
                self.by_wait.remove(&(wait, arrival));
                pending
            })
            .collect()
    }

    /// Removes and returns all shares that wait for `need`, in order of arrival.
    pub fn release(&mut self, need: &Need) -> Vec<PendingShare> {
        let wait = Wait::For(*need);
        let keys = self.by_wait.range((wait, 0)..=(wait, Arrival::MAX)).map(|(key, _)| *key).collect();
        self.remove(keys)
    }

    /// Removes and returns all shares that are due, in order of arrival.
    pub fn release_due(&mut self, now: UnixTime) -> Vec<PendingShare> {
        let first = (Wait::Until(UnixTime(0)), 0);
        let keys = self.by_wait.range(first..=(Wait::Until(now), Arrival::MAX)).map(|(key, _)| *key).collect();
        self.remove(keys)
    }

    /// Removes and returns all shares that arrived before `since` and still wait for something unknown.
    pub fn expire(&mut self, since: UnixTime) -> Vec<PendingShare> {
        let expired = |(_, digest): &&Key| self.pool.get(digest).is_some_and(|pending| pending.since < since);
        let own = self.pool.own_keys().take_while(expired);
        let keys = own.chain(self.pool.peers_keys_after(None).take_while(expired));
        let keys =
            keys.filter(|((_, wait), _)| matches!(wait, Wait::For(_))).map(|((arrival, wait), _)| (*wait, *arrival));
        self.remove(keys.collect())
    }

    /// Lets no share have arrived after `now`: where the clock is set back, waiting starts again instead of lasting until
    /// the clock has caught up.
    pub fn clamp_arrivals(&mut self, now: UnixTime) {
        for pending in self.pool.shares_mut() {
            pending.since = pending.since.min(now);
        }
    }

    /// Lets all shares have arrived this much later, but not after `now`: the clock was set forward.
    pub fn delay_arrivals(&mut self, by_s: u32, now: UnixTime) {
        for pending in self.pool.shares_mut() {
            pending.since = pending.since.plus(by_s).min(now);
        }
    }

    /// Returns the needs to request again, each with the first share that waits for it, and its sender.
    ///
    /// The needs of our own miners' shares come first, all of them, then the next [`NEEDS_AT_ONCE_MAX`] of peers' in turn.
    pub fn needs(&mut self) -> Vec<(Need, ShareId, Source)> {
        let with_share = |(key, need): (&Key, Need)| {
            let PendingShare { id, source, .. } = self.pool.get(&key.1).expect("an indexed share is in the pool");
            (need, *id, *source)
        };
        let own = self.pool.own_keys().filter_map(|key| Some(with_share((key, self.first_need(key)?))));
        let mut needs: Vec<(Need, ShareId, Source)> = own.collect();
        let peers = self.pool.peers_keys_after(self.last_requested.as_ref());
        let mut peers = peers.filter_map(|key| Some((key, self.first_need(key)?)));
        let mut last = None;
        for (key, need) in peers.by_ref().take(NEEDS_AT_ONCE_MAX) {
            needs.push(with_share((key, need)));
            last = Some(*key);
        }
        // After the last one it is the turn of the first again.
        let is_cut = peers.next().is_some();
        self.last_requested = last.filter(|_| is_cut);
        needs
    }

    /// What a share waits for, if it is the first that waits for this and it is something unknown.
    fn first_need(&self, ((arrival, wait), _): &Key) -> Option<Need> {
        let Wait::For(need) = *wait else { return None };
        let (first, _) = self.by_wait.range((*wait, 0)..).next().expect("a share in the pool is indexed");
        (*first == (*wait, *arrival)).then_some(need)
    }

    /// The Bitcoin blocks that shares wait for.
    pub fn anchors(&self) -> Vec<BlockHash> {
        let anchor = |wait: &Wait| match wait {
            Wait::For(Need::Anchor(hash)) => Some(*hash),
            _ => None,
        };
        let mut anchors: Vec<BlockHash> = self.by_wait.keys().filter_map(|(wait, _)| anchor(wait)).collect();
        anchors.dedup();
        anchors
    }

    /// Removes and returns the shares with these keys, in order of arrival, which is the order they are linked in.
    fn remove(&mut self, mut keys: Vec<(Wait, Arrival)>) -> Vec<PendingShare> {
        keys.sort_unstable_by_key(|(_, arrival)| *arrival);
        keys.iter()
            .map(|key| {
                let digest = self.by_wait.remove(key).expect("the key was just read");
                self.pool.remove(&digest).expect("an indexed share is in the pool").0
            })
            .collect()
    }
}
