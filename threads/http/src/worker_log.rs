//! The workers of this node's miners on disk, so that one that does not come back after a restart is noticed.
//!
//! One JSON object per line, one line per worker. The file is replaced as a whole.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use p2pool_core::status::MinersStatus;
use p2pool_core::stratum::limits::LABEL_LEN_MAX;
use p2pool_core::stratum::sanitized_label;
use p2pool_core::units::UnixTime;
use p2pool_core::worker_roster::{GoneWorker, WorkerRecord, WorkerRoster};
use serde::{Deserialize, Serialize};

/// Interval between saves while the same workers are connected: rarely enough for an SD card, and "last seen" of a crashed
/// node is off by as much.
const SAVE_INTERVAL: Duration = Duration::from_secs(600);
/// Interval between saves while workers come and go.
const CHANGE_INTERVAL: Duration = Duration::from_secs(60);
/// Largest size of the file that is read: that of the most workers with the longest names and user agents, all of it escaped.
const FILE_LEN_MAX: u64 = 4 << 20;
const FILE: &str = "workers.jsonl";
const NEW_FILE: &str = "workers.jsonl.new";

/// A line of the file.
#[derive(Serialize, Deserialize)]
struct Line {
    worker: String,
    user_agent: String,
    last_seen: u32,
    last_share: Option<u32>,
    hashrate: f64,
    work: f64,
    connected_secs: u32,
}

/// The remembered workers, in memory and on disk.
pub struct WorkerLog {
    roster: WorkerRoster,
    dir: PathBuf,
    /// The last snapshot that was taken.
    last: Arc<MinersStatus>,
    save_due: Instant,
    /// Whether a worker came or left since the last save.
    has_changed: bool,
    /// Whether the last save failed.
    is_failing: bool,
}

impl WorkerLog {
    /// Reads the workers from a folder. If the file cannot be used, they are kept in memory only.
    pub fn open(dir: &Path, now: UnixTime) -> Self {
        let lines = read(&dir.join(FILE)).unwrap_or_else(|error| {
            log::warn!("workers of earlier runs unknown: {}: {error}", dir.join(FILE).display());
            Vec::new()
        });
        Self {
            roster: WorkerRoster::new(lines.into_iter().map(Line::into_record), now),
            dir: dir.to_owned(),
            last: Arc::default(),
            save_due: Instant::now() + CHANGE_INTERVAL,
            has_changed: false,
            is_failing: false,
        }
    }

    /// Takes the published miners, and saves if a save is due.
    pub fn update(&mut self, miners: &Arc<MinersStatus>, now: UnixTime) {
        if !Arc::ptr_eq(&self.last, miners) {
            self.last = Arc::clone(miners);
            self.has_changed |= self.roster.update(miners, now);
        }
        let overdue = Instant::now().checked_duration_since(self.save_due);
        let wait = if self.has_changed { Duration::ZERO } else { SAVE_INTERVAL - CHANGE_INTERVAL };
        if overdue.is_some_and(|overdue| overdue >= wait) {
            self.save();
        }
    }

    /// The workers that are gone, as [`WorkerRoster::gone`] orders them.
    pub fn gone(&self, now: UnixTime) -> Vec<GoneWorker> {
        self.roster.gone(now)
    }

    /// Writes all workers to disk. The first of several failures is logged.
    pub fn save(&mut self) {
        self.save_due = Instant::now() + CHANGE_INTERVAL;
        let result = self.write();
        self.has_changed &= result.is_err();
        match result {
            Err(error) if !self.is_failing => {
                log::warn!("workers are not stored: {}: {error}", self.dir.join(FILE).display());
                self.is_failing = true;
            }
            Err(_) => {}
            Ok(()) => self.is_failing = false,
        }
    }

    fn write(&self) -> io::Result<()> {
        let lines = self.roster.records().map(|(name, record)| Line::new(name, record));
        // Serialisation fails only for maps whose keys are not strings, and there are none.
        let text: String = lines.filter_map(|line| serde_json::to_string(&line).ok()).map(|line| line + "\n").collect();
        let new = self.dir.join(NEW_FILE);
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, self.dir.join(FILE))
    }
}

fn read(path: &Path) -> io::Result<Vec<Line>> {
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(file, FILE_LEN_MAX), &mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).filter(Line::is_valid).collect())
}

impl Line {
    fn new(name: &str, record: &WorkerRecord) -> Self {
        Self {
            worker: name.to_owned(),
            user_agent: record.user_agent.to_string(),
            last_seen: record.last_seen.0,
            last_share: record.last_share.map(|time| time.0),
            hashrate: record.hashes_per_s,
            work: record.work,
            connected_secs: record.connected_s,
        }
    }

    fn is_valid(&self) -> bool {
        !self.worker.trim().is_empty() && self.hashrate.is_finite() && self.work.is_finite()
    }

    /// The operator may have edited the file, so its texts are no better than those of miners.
    fn into_record(self) -> (Arc<str>, WorkerRecord) {
        let record = WorkerRecord {
            user_agent: sanitized_label(&self.user_agent, LABEL_LEN_MAX).into(),
            last_seen: UnixTime(self.last_seen),
            last_share: self.last_share.map(UnixTime),
            hashes_per_s: self.hashrate,
            work: self.work,
            connected_s: self.connected_secs,
        };
        (sanitized_label(&self.worker, LABEL_LEN_MAX).into(), record)
    }
}

#[cfg(test)]
mod tests {
    use p2pool_core::status::MinerStatus;

    use super::*;

    const NOW: UnixTime = UnixTime(1_700_000_000);

    fn miners(names: &[&str]) -> Arc<MinersStatus> {
        let miner = |name: &&str| MinerStatus { worker: (*name).into(), credited: 5.0, ..MinerStatus::for_tests() };
        Arc::new(MinersStatus { miners: names.iter().map(miner).collect(), ..MinersStatus::default() })
    }

    fn names(log: &WorkerLog) -> Vec<String> {
        log.roster.records().map(|(name, _)| name.to_string()).collect()
    }

    #[test]
    fn workers_survive_a_restart_and_damaged_lines_are_skipped() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = WorkerLog::open(dir.path(), NOW);
        log.update(&miners(&["one", "two\u{202e}\"\\"]), NOW);
        log.save();
        let before: Vec<_> = log.roster.records().map(|(name, record)| (name.clone(), record.clone())).collect();
        assert_eq!(before.len(), 2);
        let path = dir.path().join(FILE);
        let mut text = fs::read_to_string(&path).unwrap();
        text.insert_str(0, "{\"worker\":\"torn\",\"user_ag\nnonsense\n{}\n");
        text += r#"{"worker":" ","user_agent":"","last_seen":1,"last_share":null,"hashrate":0,"work":1,"connected_secs":1}"#;
        fs::write(&path, text).unwrap();
        let log = WorkerLog::open(dir.path(), NOW);
        let mut after: Vec<_> = log.roster.records().map(|(name, record)| (name.clone(), record.clone())).collect();
        assert_eq!(after.len(), 2);
        assert_eq!(&*after[1].0, "two?\"\\", "texts are sanitised again");
        after[1].0 = before[1].0.clone();
        assert_eq!(after, before);
    }

    #[test]
    fn the_same_snapshot_is_taken_once() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = WorkerLog::open(dir.path(), NOW);
        let one = miners(&["one"]);
        log.update(&one, NOW);
        log.update(&one, NOW.plus(1_000));
        let (_, record) = log.roster.records().next().unwrap();
        assert_eq!(record.last_seen, NOW, "a stratum thread that hangs does not keep workers alive");
    }

    #[test]
    fn a_failed_save_is_repeated() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = WorkerLog::open(&dir.path().join("missing"), NOW);
        log.update(&miners(&["one"]), NOW);
        log.save();
        assert!(log.is_failing && log.has_changed);
        log.dir = dir.path().to_owned();
        log.save();
        assert!(!log.is_failing && !log.has_changed);
        assert_eq!(names(&WorkerLog::open(dir.path(), NOW)), ["one"]);
    }

    #[test]
    fn a_file_of_any_size_is_read_in_part() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = WorkerLog::open(dir.path(), NOW);
        log.update(&miners(&["one"]), NOW);
        log.save();
        let path = dir.path().join(FILE);
        let file = OpenOptions::new().append(true).open(&path).unwrap();
        file.set_len(FILE_LEN_MAX * 4).unwrap();
        assert_eq!(names(&WorkerLog::open(dir.path(), NOW)), ["one"]);
    }
}
