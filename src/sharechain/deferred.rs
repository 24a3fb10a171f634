//! The deferred pool: shares that wait for a parent, an uncle, their anchor, or until they are due.

use std::collections::BTreeMap;

use super::failure::Need;
use super::pool::{BoundedPool, PendingShare};
use super::Source;
use crate::share::ShareDigest;
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

/// Shares that wait. When room is short, the oldest are evicted.
pub struct DeferredPool {
    pool: BoundedPool<(Arrival, Wait)>,
    by_wait: BTreeMap<(Wait, Arrival), ShareDigest>,
    arrivals: Arrival,
    /// Arrival of the last share whose need was requested again.
    last_requested: Arrival,
}

impl DeferredPool {
    pub const LEN_MAX: usize = BoundedPool::<(Arrival, Wait)>::LEN_MAX;

    pub fn new() -> Self {
        Self { pool: BoundedPool::new(), by_wait: BTreeMap::new(), arrivals: 0, last_requested: 0 }
    }

    pub fn contains(&self, digest: &ShareDigest) -> bool {
        self.pool.contains(digest)
    }

    pub fn len(&self) -> usize {
        self.pool.len()
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
        let expired = |digest: &ShareDigest| self.pool.get(digest).is_some_and(|pending| pending.since < since);
        let keys = self.needed().filter(|(_, _, digest)| expired(digest));
        let keys = keys.map(|(need, arrival, _)| (Wait::For(need), arrival)).collect();
        self.remove(keys)
    }

    /// Lets no share have arrived after `now`: where the clock is set back, waiting starts again instead of lasting until
    /// the clock has caught up.
    pub fn clamp_arrivals(&mut self, now: UnixTime) {
        for pending in self.pool.shares_mut() {
            pending.since = pending.since.min(now);
        }
    }

    /// Returns the needs to request again, each with the sender of the first share that waits for it.
    ///
    /// The needs of our own miners' shares come first, all of them, then the next [`NEEDS_AT_ONCE_MAX`] of peers' in turn.
    pub fn needs(&mut self) -> Vec<(Need, Source)> {
        let mut needs: Vec<(Source, Arrival, Need)> = Vec::new();
        for (need, arrival, digest) in self.needed() {
            if needs.last().is_none_or(|(_, _, last)| *last != need) {
                let source = self.pool.get(digest).expect("an indexed share is in the pool").source;
                needs.push((source, arrival, need));
            }
        }
        let is_local = |(source, _, _): &(Source, Arrival, Need)| *source == Source::Local;
        needs.sort_unstable_by_key(|need| (!is_local(need), need.1));
        needs.retain(|need| is_local(need) || need.1 > self.last_requested);
        let max = needs.iter().filter(|need| is_local(need)).count() + NEEDS_AT_ONCE_MAX;
        let is_cut = needs.len() > max;
        needs.truncate(max);
        // After the last one it is the turn of the first again.
        self.last_requested = needs.last().filter(|_| is_cut).map_or(0, |(_, arrival, _)| *arrival);
        needs.into_iter().map(|(source, _, need)| (need, source)).collect()
    }

    /// The shares that wait for something unknown, by need and then by arrival.
    fn needed(&self) -> impl Iterator<Item = (Need, Arrival, &ShareDigest)> {
        self.by_wait.iter().map_while(|((wait, arrival), digest)| match wait {
            Wait::For(need) => Some((*need, *arrival, digest)),
            // These follow all of the others.
            Wait::Until(_) => None,
        })
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
