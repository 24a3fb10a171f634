//! A ring buffer of time slots of equal length, in a file of fixed size.
//!
//! The file has a header (magic and version 16 bytes, step u32, slots u32) and a record per slot: begin u32, samples u32,
//! sum of pool rates f64, sum of local rates f64, shares u64, miners u32, peers u32, checksum u32, all little-endian. A
//! record torn by a crash has a wrong checksum and counts as empty.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use bitcoin::hashes::{sha256, Hash as _};
use p2pool_core::units::UnixTime;

use super::Point;

/// Identifies the format and its version; a file of another version is replaced.
const MAGIC: &[u8; 16] = b"p2pool history 1";
const HEADER_LEN: usize = 24;
const RECORD_LEN: usize = 44;
/// Length of a record without its checksum.
const CONTENT_LEN: usize = RECORD_LEN - 4;

/// The name and dimensions of a ring.
#[derive(Clone, Copy, Debug)]
pub struct RingKind {
    /// Name of the ring and its file.
    pub name: &'static str,
    /// Length of a slot in seconds.
    pub step_s: u32,
    pub slots: u32,
}

/// The values measured at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sample {
    /// Hashes per second of the pool.
    pub pool: f64,
    /// Hashes per second of this node's miners.
    pub local: f64,
    pub shares: u64,
    pub miners: u32,
    pub peers: u32,
}

impl Sample {
    /// Makes a point of this sample alone.
    pub fn point(self, time: UnixTime) -> Point {
        let Self { pool, local, shares, miners, peers } = self;
        Point { t: time.0, ph: pool, lh: local, shares, miners, peers }
    }
}

/// The samples of one slot: the sums of the rates, and the last of the other values.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Slot {
    begin: u32,
    samples: u32,
    sums: Sample,
}

impl Slot {
    fn add(&mut self, sample: Sample) {
        let sums = Sample { pool: self.sums.pool + sample.pool, local: self.sums.local + sample.local, ..sample };
        *self = Self { begin: self.begin, samples: self.samples.saturating_add(1), sums };
    }

    fn point(&self) -> Point {
        let samples = f64::from(self.samples.max(1));
        let mean = Sample { pool: self.sums.pool / samples, local: self.sums.local / samples, ..self.sums };
        mean.point(UnixTime(self.begin))
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(RECORD_LEN);
        bytes.extend_from_slice(&self.begin.to_le_bytes());
        bytes.extend_from_slice(&self.samples.to_le_bytes());
        bytes.extend_from_slice(&self.sums.pool.to_le_bytes());
        bytes.extend_from_slice(&self.sums.local.to_le_bytes());
        bytes.extend_from_slice(&self.sums.shares.to_le_bytes());
        bytes.extend_from_slice(&self.sums.miners.to_le_bytes());
        bytes.extend_from_slice(&self.sums.peers.to_le_bytes());
        let checksum = checksum(&bytes);
        bytes.extend_from_slice(&checksum);
        bytes
    }

    /// Decodes a record; an invalid one becomes an empty slot.
    fn decode(bytes: &[u8]) -> Self {
        let slot = || {
            let (content, sum) = bytes.split_at_checked(CONTENT_LEN)?;
            let (begin, rest) = content.split_first_chunk()?;
            let (samples, rest) = rest.split_first_chunk()?;
            let (pool, rest) = rest.split_first_chunk()?;
            let (local, rest) = rest.split_first_chunk()?;
            let (shares, rest) = rest.split_first_chunk()?;
            let (miners, rest) = rest.split_first_chunk()?;
            let (peers, _) = rest.split_first_chunk()?;
            let sums = Sample {
                pool: f64::from_le_bytes(*pool),
                local: f64::from_le_bytes(*local),
                shares: u64::from_le_bytes(*shares),
                miners: u32::from_le_bytes(*miners),
                peers: u32::from_le_bytes(*peers),
            };
            let slot = Self { begin: u32::from_le_bytes(*begin), samples: u32::from_le_bytes(*samples), sums };
            let is_valid = sum == checksum(content) && sums.pool.is_finite() && sums.local.is_finite();
            is_valid.then_some(slot)
        };
        slot().unwrap_or_default()
    }
}

fn checksum(content: &[u8]) -> [u8; 4] {
    let [first, second, third, fourth, ..] = sha256::Hash::hash(content).to_byte_array();
    [first, second, third, fourth]
}

/// A ring buffer and its file.
pub struct Ring {
    pub kind: RingKind,
    slots: Vec<Slot>,
    path: PathBuf,
    /// `None` after an error: the ring is then kept in memory only.
    file: Option<File>,
    dirty: BTreeSet<usize>,
}

impl Ring {
    /// Reads a ring from its file, or creates it.
    pub fn open(kind: RingKind, dir: &Path) -> Self {
        let path = dir.join(kind.name);
        let opened = open_file(kind, &path).inspect_err(|error| {
            log::warn!("cannot store history: {}: {error}", path.display());
        });
        let (slots, file) = match opened {
            Ok((slots, file)) => (slots, Some(file)),
            Err(_) => (vec![Slot::default(); kind.slots as usize], None),
        };
        Self { kind, slots, path, file, dirty: BTreeSet::new() }
    }

    /// Adds a sample to the slot of its time.
    pub fn add(&mut self, time: UnixTime, sample: Sample) {
        let begin = time.0 - time.0 % self.kind.step_s;
        let index = (begin / self.kind.step_s % self.kind.slots) as usize;
        let Some(slot) = self.slots.get_mut(index) else { return };
        if slot.begin != begin {
            *slot = Slot { begin, ..Slot::default() };
        }
        slot.add(sample);
        self.dirty.insert(index);
    }

    /// Writes changed slots to the file. After the first error nothing more is written, and it is logged only once.
    pub fn save(&mut self) {
        let dirty = std::mem::take(&mut self.dirty);
        let Some(file) = &self.file else { return };
        for index in dirty {
            let Some(slot) = self.slots.get(index) else { continue };
            let offset = (HEADER_LEN + index * RECORD_LEN) as u64;
            if let Err(error) = file.write_all_at(&slot.encode(), offset) {
                log::warn!("history is no longer stored: {}: {error}", self.path.display());
                self.file = None;
                return;
            }
        }
    }

    /// Returns the points of slots within the ring's length before `now`, oldest first.
    pub fn points(&self, now: UnixTime) -> Vec<Point> {
        let oldest = now.minus(self.kind.step_s * self.kind.slots);
        let is_shown = |slot: &&Slot| slot.samples > 0 && slot.begin > oldest.0 && slot.begin <= now.0;
        let mut shown: Vec<&Slot> = self.slots.iter().filter(is_shown).collect();
        shown.sort_unstable_by_key(|slot| slot.begin);
        shown.into_iter().map(Slot::point).collect()
    }
}

fn header(kind: RingKind) -> Vec<u8> {
    [MAGIC.as_slice(), &kind.step_s.to_le_bytes(), &kind.slots.to_le_bytes()].concat()
}

/// Reads the slots of a file, which is replaced if it is missing or of another format.
fn open_file(kind: RingKind, path: &Path) -> io::Result<(Vec<Slot>, File)> {
    let len = HEADER_LEN + kind.slots as usize * RECORD_LEN;
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    let mut bytes = vec![0; len];
    let is_valid = file.metadata()?.len() == len as u64
        && file.read_exact_at(&mut bytes, 0).is_ok()
        && bytes.starts_with(&header(kind));
    if !is_valid {
        bytes = header(kind);
        bytes.resize(len, 0);
        file.set_len(0)?;
        file.write_all_at(&bytes, 0)?;
    }
    let records = bytes.get(HEADER_LEN..).unwrap_or_default();
    Ok((records.chunks_exact(RECORD_LEN).map(Slot::decode).collect(), file))
}
