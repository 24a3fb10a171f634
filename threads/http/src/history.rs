//! The history of hash rates and counts: the last minutes in memory, up to a month on disk.

mod ring;

use std::collections::VecDeque;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use p2pool_core::units::UnixTime;
use serde::Serialize;

use crate::HttpError;
pub use ring::Sample;
use ring::{Ring, RingKind};

/// Interval between samples.
pub const SAMPLE_INTERVAL: Duration = Duration::from_secs(10);
/// Number of samples in memory: those of ten minutes, the width of the live graph.
const LIVE_POINTS: usize = 60;
/// Interval between saves, so the most history a crash can lose. A save rewrites one disk page per ring: rarely enough
/// for an SD card.
const SAVE_INTERVAL: Duration = Duration::from_secs(60);
/// Folder of the history inside the chain's folder.
pub const DIR: &str = "history";

/// The stored time ranges, each with about as many points as a graph can show.
const RINGS: [RingKind; 4] = [
    RingKind { name: "1h", step_s: 60, slots: 60 },
    RingKind { name: "1d", step_s: 600, slots: 144 },
    RingKind { name: "7d", step_s: 3_600, slots: 168 },
    RingKind { name: "30d", step_s: 14_400, slots: 180 },
];

/// A point of the history.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Point {
    /// Start of its interval, in Unix seconds.
    pub t: u32,
    /// Mean hash rate of the pool, in hashes per second.
    pub ph: f64,
    /// Mean hash rate of this node's miners, in hashes per second.
    pub lh: f64,
    /// Stored shares at its end.
    pub shares: u64,
    /// Connected miners at its end.
    pub miners: u32,
    /// Connected peers at its end.
    pub peers: u32,
}

/// `/api/v1/history`: the history of one time range.
#[derive(Serialize)]
pub struct HistoryDocument {
    window: &'static str,
    step_secs: u32,
    /// Oldest first. Points are missing where the node did not run.
    points: Vec<Point>,
}

/// The history of hash rates and counts.
pub struct History {
    live: VecDeque<Point>,
    rings: Vec<Ring>,
    save_due: Instant,
}

impl History {
    /// Reads the stored history. A file of another format is replaced, and one that cannot be opened is not used.
    ///
    /// # Errors
    /// The folder cannot be created.
    pub fn open(chain_dir: &Path) -> Result<Self, HttpError> {
        let dir = chain_dir.join(DIR);
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&dir);
        made.map_err(|cause| HttpError::File { path: dir.clone(), cause })?;
        let rings = RINGS.iter().map(|kind| Ring::open(*kind, &dir)).collect();
        Ok(Self { live: VecDeque::new(), rings, save_due: Instant::now() + SAVE_INTERVAL })
    }

    /// Adds a sample, and saves if a save is due.
    pub fn add(&mut self, time: UnixTime, sample: Sample) {
        if self.live.len() >= LIVE_POINTS {
            self.live.pop_front();
        }
        self.live.push_back(sample.point(time));
        for ring in &mut self.rings {
            ring.add(time, sample);
        }
        if Instant::now() >= self.save_due {
            self.save();
        }
    }

    /// Writes unsaved changes to disk.
    pub fn save(&mut self) {
        self.save_due = Instant::now() + SAVE_INTERVAL;
        for ring in &mut self.rings {
            ring.save();
        }
    }

    /// Returns the samples in memory, oldest first.
    pub fn live(&self) -> Vec<Point> {
        self.live.iter().cloned().collect()
    }

    /// Returns the history of the time range with this name; `None` if there is none.
    pub fn window(&self, name: &str, now: UnixTime) -> Option<HistoryDocument> {
        let ring = self.rings.iter().find(|ring| ring.kind.name == name)?;
        let RingKind { name, step_s, .. } = ring.kind;
        Some(HistoryDocument { window: name, step_secs: step_s, points: ring.points(now) })
    }
}

#[cfg(test)]
mod tests;
