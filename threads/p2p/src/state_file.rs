//! Small files in the chain's folder: written whole or not at all, readable by their owner only.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use log::{info, warn};

/// Longest file in bytes that is read; this node writes none as long.
const FILE_LEN_MAX: u64 = 1 << 20;
/// After a failed write the next attempt comes this much later.
const RETRY: Duration = Duration::from_secs(30);

/// Replaces a file. After a crash at any moment either the old or the new one exists.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    // Syncing the folder makes the rename durable.
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// Reads a file; `None` if it does not exist.
pub fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(FILE_LEN_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_LEN_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("longer than {FILE_LEN_MAX} bytes")));
    }
    Ok(Some(bytes))
}

/// A file that is rewritten when its content has changed, and retried while the disk refuses it.
#[derive(Debug)]
pub struct StateFile {
    path: PathBuf,
    /// Whether the content has changed since it was written.
    pub is_dirty: bool,
    /// Time between two writes.
    interval: Duration,
    written_at: Option<Instant>,
    failed_at: Option<Instant>,
}

impl StateFile {
    /// A file whose content is up to date, and which is written once in this time.
    pub const fn new(path: PathBuf, interval: Duration) -> Self {
        Self { path, is_dirty: false, interval, written_at: None, failed_at: None }
    }

    /// Has the next change written at once.
    pub const fn expedite(&mut self) {
        self.written_at = None;
    }

    /// Writes the file if it is dirty and no interval is running; `force` ignores them.
    pub fn save(&mut self, text: impl FnOnce() -> String, now: Instant, force: bool) {
        let is_over = |at: Option<Instant>, interval| at.is_none_or(|at| now.duration_since(at) >= interval);
        let may_try = force || (is_over(self.failed_at, RETRY) && is_over(self.written_at, self.interval));
        if !self.is_dirty || !may_try {
            return;
        }
        match replace(&self.path, text().as_bytes()) {
            Ok(()) => {
                (self.is_dirty, self.written_at) = (false, Some(now));
                if self.failed_at.take().is_some() {
                    info!("{} writable again, saved", self.path.display());
                }
            }
            Err(error) => {
                if self.failed_at.replace(now).is_none() {
                    warn!(
                        "{} not writable, retrying (changes are lost if the node restarts before): {error}",
                        self.path.display()
                    );
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_is_retried_after_an_interval_and_a_clean_file_is_not_written() {
        let (dir, now) = (tempfile::tempdir().unwrap(), Instant::now());
        let (path, obstacle) = (dir.path().join("bans"), dir.path().join("bans.new"));
        let mut file = StateFile::new(path.clone(), Duration::ZERO);
        file.save(|| unreachable!("it is clean"), now, true);
        std::fs::create_dir(&obstacle).unwrap();
        file.is_dirty = true;
        file.save(|| "one".into(), now, false);
        assert!(!path.exists());
        std::fs::remove_dir(&obstacle).unwrap();
        file.save(|| unreachable!("the interval is running"), now + RETRY / 2, false);
        file.save(|| "two".into(), now + RETRY, false);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two");
        file.save(|| unreachable!("it is clean"), now + 2 * RETRY, true);
    }

    #[test]
    fn a_file_is_written_once_in_its_interval_unless_it_is_expedited() {
        let (dir, now) = (tempfile::tempdir().unwrap(), Instant::now());
        let mut file = StateFile::new(dir.path().join("bans"), RETRY);
        let mut writes = |at: Instant, is_expedited: bool| {
            let mut is_written = false;
            file.is_dirty = true;
            if is_expedited {
                file.expedite();
            }
            file.save(
                || {
                    is_written = true;
                    String::new()
                },
                at,
                false,
            );
            is_written
        };
        assert!(writes(now, false) && !writes(now + RETRY / 2, false) && writes(now + RETRY, false));
        assert!(!writes(now + RETRY, false) && writes(now + RETRY, true));
    }

    #[test]
    fn a_forced_save_does_not_wait_for_the_interval() {
        let (dir, now) = (tempfile::tempdir().unwrap(), Instant::now());
        let (path, obstacle) = (dir.path().join("bans"), dir.path().join("bans.new"));
        let mut file = StateFile::new(path.clone(), Duration::ZERO);
        std::fs::create_dir(&obstacle).unwrap();
        file.is_dirty = true;
        file.save(|| "one".into(), now, false);
        std::fs::remove_dir(&obstacle).unwrap();
        file.save(|| "one".into(), now, true);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one");
    }
}
