//! A file that is written again until it is written.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use log::{info, warn};

use crate::file;

/// A disk that refused is tried again after this time.
const RETRY: Duration = Duration::from_secs(30);

/// A file of ours, and whether what should be in it is.
#[derive(Debug)]
pub struct Saved {
    path: PathBuf,
    is_stale: bool,
    refused_at: Option<Instant>,
}

impl Saved {
    /// As it was found.
    pub const fn new(path: PathBuf) -> Self {
        Self { path, is_stale: false, refused_at: None }
    }

    /// What should be in it has changed.
    pub fn outdated(&mut self) {
        self.is_stale = true;
    }

    /// Writes it if that is due, or `at_last`.
    pub fn save(&mut self, text: impl FnOnce() -> String, now: Instant, at_last: bool) {
        let may_try = at_last || self.refused_at.is_none_or(|at| now.duration_since(at) >= RETRY);
        if !self.is_stale || !may_try {
            return;
        }
        match file::replace(&self.path, text().as_bytes()) {
            Ok(()) => {
                self.is_stale = false;
                if self.refused_at.take().is_some() {
                    info!("{}: written at last", self.path.display());
                }
            }
            Err(error) => {
                if self.refused_at.replace(now).is_none() {
                    warn!(
                        "{}: {error}; it is tried again, but a start before that will not know what should be in it",
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
    fn what_the_disk_refused_is_written_later_and_what_is_written_no_more() {
        let (dir, now) = (tempfile::tempdir().unwrap(), Instant::now());
        let (path, in_the_way) = (dir.path().join("bans"), dir.path().join("bans.new"));
        let mut saved = Saved::new(path.clone());
        saved.save(|| unreachable!("nothing has changed"), now, true);
        std::fs::create_dir(&in_the_way).unwrap();
        saved.outdated();
        saved.save(|| "one".into(), now, false);
        assert!(!path.exists());
        std::fs::remove_dir(&in_the_way).unwrap();
        saved.save(|| unreachable!("not so soon"), now + RETRY / 2, false);
        saved.save(|| "two".into(), now + RETRY, false);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two");
        saved.save(|| unreachable!("it is there"), now + 2 * RETRY, true);
    }

    #[test]
    fn the_last_try_waits_for_nothing() {
        let (dir, now) = (tempfile::tempdir().unwrap(), Instant::now());
        let (path, in_the_way) = (dir.path().join("bans"), dir.path().join("bans.new"));
        let mut saved = Saved::new(path.clone());
        std::fs::create_dir(&in_the_way).unwrap();
        saved.outdated();
        saved.save(|| "one".into(), now, false);
        std::fs::remove_dir(&in_the_way).unwrap();
        saved.save(|| "one".into(), now, true);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one");
    }
}
