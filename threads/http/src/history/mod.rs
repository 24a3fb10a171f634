//! Hash rates and share counts over time: the last minutes in memory, the last hour to month on disk.

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

/// Between two samples.
pub const SAMPLE_INTERVAL: Duration = Duration::from_secs(10);
/// Samples in memory: ten minutes, the width of the page's graph.
const LIVE_POINTS: usize = 60;
/// What a kill can take from the stored history. Each save rewrites a page of the disk for each ring: seldom enough for
/// an SD card.
const SAVE_INTERVAL: Duration = Duration::from_secs(60);
/// Folder inside the chain's folder.
pub const DIR: &str = "history";

/// What is kept: as many points as a graph has room for.
const RINGS: [RingKind; 4] = [
    RingKind { name: "1h", step_s: 60, slots: 60 },
    RingKind { name: "1d", step_s: 600, slots: 144 },
    RingKind { name: "7d", step_s: 3_600, slots: 168 },
    RingKind { name: "30d", step_s: 14_400, slots: 180 },
];

/// A point of a graph.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Point {
    /// When it begins.
    pub t: u32,
    /// Mean hash rate of the pool.
    pub ph: f64,
    /// Mean hash rate of this node's miners.
    pub lh: f64,
    /// Shares held at its end.
    pub shares: u64,
    /// Miners at its end.
    pub miners: u32,
    /// Peers at its end.
    pub peers: u32,
}

/// The document of one window.
#[derive(Serialize)]
pub struct HistoryDocument {
    window: &'static str,
    step_secs: u32,
    /// Oldest first; times without a point are times the node did not run.
    points: Vec<Point>,
}

/// All of it.
pub struct History {
    live: VecDeque<Point>,
    rings: Vec<Ring>,
    save_due: Instant,
}

impl History {
    /// Reads what an earlier run stored.
    ///
    /// # Errors
    /// The folder cannot be made. A file that cannot be used is made anew or done without.
    pub fn open(chain_dir: &Path) -> Result<Self, HttpError> {
        let dir = chain_dir.join(DIR);
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&dir);
        made.map_err(|cause| HttpError::File { path: dir.clone(), cause })?;
        let rings = RINGS.iter().map(|kind| Ring::open(*kind, &dir)).collect();
        Ok(Self { live: VecDeque::new(), rings, save_due: Instant::now() + SAVE_INTERVAL })
    }

    /// Takes a sample, and writes to disk now and then.
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

    /// Writes to disk what is not there yet.
    pub fn save(&mut self) {
        self.save_due = Instant::now() + SAVE_INTERVAL;
        for ring in &mut self.rings {
            ring.save();
        }
    }

    /// The last minutes, oldest first.
    pub fn live(&self) -> Vec<Point> {
        self.live.iter().cloned().collect()
    }

    /// One of the stored windows; `None` if there is none of that name.
    pub fn window(&self, name: &str, now: UnixTime) -> Option<HistoryDocument> {
        let ring = self.rings.iter().find(|ring| ring.kind().name == name)?;
        let RingKind { name, step_s, .. } = ring.kind();
        Some(HistoryDocument { window: name, step_secs: step_s, points: ring.points(now) })
    }
}

#[cfg(test)]
mod tests;
