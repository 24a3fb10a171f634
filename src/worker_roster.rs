//! Remembers the workers of this node, to notice those that do not come back.
//!
//! Names are chosen by miners, so their number is bounded and only workers with accepted work are remembered: those with the
//! most, so that invented names do not displace real ones.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::status::{MinerStatus, MinersStatus};
use crate::units::UnixTime;

/// Most workers that are remembered: a farm that fills all sessions by default.
pub const WORKERS_MAX: usize = 1_000;
/// A worker is gone after this absence. Firmware reconnects within seconds, and returns from its backup pool within minutes.
pub const GONE_AFTER_S: u32 = 300;
/// A worker that has been gone for longer was probably retired: it is listed, but no longer a problem.
pub const RETIRED_AFTER_S: u32 = 24 * 3_600;
/// A worker that has been gone for longer is forgotten.
pub const FORGOTTEN_AFTER_S: u32 = 30 * 24 * 3_600;
/// A worker that mined for less time and leaves is no problem: it was a trial, or a stranger's.
const ESTABLISHED_AFTER_S: u32 = 600;
/// Longest interval between two snapshots that counts as time of mining.
const SNAPSHOT_INTERVAL_S_MAX: u32 = 60;

/// What is remembered of a worker.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkerRecord {
    pub user_agent: Arc<str>,
    /// When it was connected last.
    pub last_seen: UnixTime,
    /// Time of its last accepted submit.
    pub last_share: Option<UnixTime>,
    /// Its last hash rate above zero.
    pub hashes_per_s: f64,
    /// Sum of the difficulties of its accepted submits.
    pub work: f64,
    /// For how many seconds it was connected.
    pub connected_s: u32,
}

/// A worker that is not connected.
#[derive(Clone, Debug, PartialEq)]
pub struct GoneWorker {
    pub name: Arc<str>,
    pub record: WorkerRecord,
    /// Seconds since it was connected.
    pub gone_s: u32,
    /// Whether the operator should look after it.
    pub is_problem: bool,
}

/// All remembered workers.
#[derive(Debug)]
pub struct WorkerRoster {
    workers: BTreeMap<Arc<str>, Entry>,
    /// Since when miners are let in; no worker is gone before that.
    accepting_since: UnixTime,
}

#[derive(Debug)]
struct Entry {
    record: WorkerRecord,
    is_connected: bool,
    /// The credited work of its sessions in the last snapshot.
    credited: f64,
}

/// The sessions of one worker.
#[derive(Default)]
struct Sessions<'a> {
    strongest: Option<&'a MinerStatus>,
    last_share: Option<UnixTime>,
    hashes_per_s: f64,
    credited: f64,
}

impl WorkerRoster {
    /// Starts with the workers of an earlier run.
    pub fn new(records: impl IntoIterator<Item = (Arc<str>, WorkerRecord)>, now: UnixTime) -> Self {
        let entry = |(name, record)| (name, Entry { record, is_connected: false, credited: 0.0 });
        let mut roster = Self { workers: records.into_iter().map(entry).collect(), accepting_since: now };
        while roster.workers.len() > WORKERS_MAX {
            roster.evict_least();
        }
        roster
    }

    /// Takes a snapshot of the miners. Returns whether a worker came, left or was forgotten.
    pub fn update(&mut self, miners: &MinersStatus, now: UnixTime) -> bool {
        // By a clock that was ahead and is set back, no worker would be gone until it is as late again.
        self.accepting_since = self.accepting_since.min(now);
        if miners.no_work.is_some_and(|no_work| no_work.refuses) {
            self.accepting_since = now;
        }
        let mut connected: HashMap<&Arc<str>, Sessions<'_>> = HashMap::new();
        for miner in miners.miners.iter().filter(|miner| !miner.worker.is_empty()) {
            connected.entry(&miner.worker).or_default().add(miner);
        }
        let mut has_changed = false;
        for (name, entry) in &mut self.workers {
            let sessions = connected.remove(name);
            has_changed |= entry.is_connected != sessions.is_some();
            match sessions {
                Some(sessions) => entry.update(&sessions, now),
                None => {
                    (entry.is_connected, entry.credited) = (false, 0.0);
                    entry.record.last_seen = entry.record.last_seen.min(now);
                }
            }
        }
        let before = self.workers.len();
        self.workers.retain(|_, entry| entry.is_connected || now.since(entry.record.last_seen) <= FORGOTTEN_AFTER_S);
        has_changed |= self.workers.len() != before;
        // The strongest first: they need not displace each other.
        let mut new: Vec<_> = connected.into_iter().filter(|(_, sessions)| sessions.credited > 0.0).collect();
        new.sort_by(|(left_name, left), (right_name, right)| {
            right.credited.total_cmp(&left.credited).then_with(|| left_name.cmp(right_name))
        });
        for (name, sessions) in new {
            if !self.make_room_for(sessions.credited) {
                break;
            }
            self.workers.insert(Arc::clone(name), Entry::new(&sessions, now));
            has_changed = true;
        }
        has_changed
    }

    /// All remembered workers.
    pub fn records(&self) -> impl Iterator<Item = (&Arc<str>, &WorkerRecord)> {
        self.workers.iter().map(|(name, entry)| (name, &entry.record))
    }

    /// The workers that are gone: those that are problems first, then those with the most work.
    pub fn gone(&self, now: UnixTime) -> Vec<GoneWorker> {
        let mut gone: Vec<GoneWorker> =
            self.workers.iter().filter_map(|(name, entry)| self.gone_worker(name, entry, now)).collect();
        gone.sort_by(|left, right| {
            let by_work = right.record.work.total_cmp(&left.record.work);
            Reverse(left.is_problem).cmp(&Reverse(right.is_problem)).then(by_work)
        });
        gone
    }

    fn gone_worker(&self, name: &Arc<str>, entry: &Entry, now: UnixTime) -> Option<GoneWorker> {
        let record = &entry.record;
        let absent_since = record.last_seen.max(self.accepting_since);
        if entry.is_connected || now.since(absent_since) < GONE_AFTER_S {
            return None;
        }
        let gone_s = now.since(record.last_seen);
        let is_problem = gone_s < RETIRED_AFTER_S && record.connected_s >= ESTABLISHED_AFTER_S;
        Some(GoneWorker { name: Arc::clone(name), record: record.clone(), gone_s, is_problem })
    }

    /// Makes room for a worker with this work; false if all others have done as much.
    fn make_room_for(&mut self, work: f64) -> bool {
        if self.workers.len() < WORKERS_MAX {
            return true;
        }
        let least = self.workers.values().map(|entry| entry.record.work).min_by(f64::total_cmp);
        let has_less = least.is_some_and(|least| least < work);
        if has_less {
            self.evict_least();
        }
        has_less
    }

    fn evict_least(&mut self) {
        let least = self.workers.iter().min_by(|(_, left), (_, right)| left.record.work.total_cmp(&right.record.work));
        if let Some(name) = least.map(|(name, _)| Arc::clone(name)) {
            self.workers.remove(&name);
        }
    }
}

impl<'a> Sessions<'a> {
    fn add(&mut self, miner: &'a MinerStatus) {
        if self.strongest.is_none_or(|strongest| strongest.credited < miner.credited) {
            self.strongest = Some(miner);
        }
        self.last_share = self.last_share.max(miner.last_share);
        self.hashes_per_s += miner.hashes_per_s;
        self.credited += miner.credited;
    }

    fn user_agent(&self) -> Arc<str> {
        self.strongest.map_or_else(|| "".into(), |miner| Arc::clone(&miner.user_agent))
    }
}

impl Entry {
    fn new(sessions: &Sessions<'_>, now: UnixTime) -> Self {
        let record = WorkerRecord {
            user_agent: sessions.user_agent(),
            last_seen: now,
            last_share: sessions.last_share,
            hashes_per_s: sessions.hashes_per_s,
            work: sessions.credited,
            connected_s: 0,
        };
        Self { record, is_connected: true, credited: sessions.credited }
    }

    fn update(&mut self, sessions: &Sessions<'_>, now: UnixTime) {
        let record = &mut self.record;
        if self.is_connected {
            let passed_s = now.since(record.last_seen).min(SNAPSHOT_INTERVAL_S_MAX);
            record.connected_s = record.connected_s.saturating_add(passed_s);
        }
        // A session that ended takes its part away; a new one starts at zero.
        record.work += (sessions.credited - self.credited).max(0.0);
        record.user_agent = sessions.user_agent();
        record.last_seen = now;
        record.last_share = record.last_share.max(sessions.last_share);
        if sessions.hashes_per_s > 0.0 {
            record.hashes_per_s = sessions.hashes_per_s;
        }
        (self.is_connected, self.credited) = (true, sessions.credited);
    }
}

#[cfg(test)]
mod tests;
