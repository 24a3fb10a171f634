//! One log line for each change of bitcoind's state, none for each retry.

use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use log::{info, warn};
use p2pool_core::status::{BitcoindProblem, BitcoindStatus};
use p2pool_core::units::UnixTime;
use p2pool_core::work::Template;

use crate::error::CallError;

/// What was last said of bitcoind.
#[derive(Debug)]
pub(crate) struct Health {
    url: String,
    state: State,
    published: Arc<ArcSwap<BitcoindStatus>>,
}

#[derive(Debug)]
enum State {
    Unknown,
    Up,
    Down(CallError),
}

impl Health {
    /// Nothing is known of it yet.
    pub(crate) fn new(url: &str) -> Self {
        Self { url: url.to_owned(), state: State::Unknown, published: Arc::default() }
    }

    /// The same for onlookers.
    pub(crate) fn published(&self) -> Arc<ArcSwap<BitcoindStatus>> {
        Arc::clone(&self.published)
    }

    /// It gave a template. Returns whether that is news.
    pub(crate) fn note_up(&mut self, template: &Template) -> bool {
        let last = std::mem::replace(&mut self.state, State::Up);
        if !matches!(last, State::Up) {
            self.publish(None);
        }
        let Self { url, .. } = self;
        match last {
            State::Up => return false,
            State::Unknown => info!("bitcoind at {url} gives work for block {}", template.height),
            State::Down(_) => info!("bitcoind at {url} is back and gives work for block {}", template.height),
        }
        true
    }

    /// It did not; how far it is if it has yet to download the chain. Returns whether that is news.
    pub(crate) fn note_down(&mut self, error: CallError, downloaded_percent: Option<u8>) -> bool {
        self.publish(Some(error.problem(downloaded_percent)));
        if matches!(&self.state, State::Down(last) if last.is_alike(&error)) {
            return false;
        }
        warn!("bitcoind at {} {error}; trying again", self.url);
        self.state = State::Down(error);
        true
    }

    /// Tells onlookers; what is wrong may change while since when something is wrong stays.
    fn publish(&self, problem: Option<BitcoindProblem>) {
        let before = self.published.load();
        if before.problem == problem && problem.is_some() {
            return;
        }
        let is_still_down = before.problem.is_some() && problem.is_some();
        let since = if is_still_down { before.since } else { UnixTime::from(SystemTime::now()) };
        self.published.store(Arc::new(BitcoindStatus { problem, since }));
    }
}

#[cfg(test)]
mod tests {
    use p2pool_core::status::BitcoindProblemKind;

    use super::*;

    #[test]
    fn onlookers_see_the_latest_problem_and_since_when_there_is_one() {
        let mut health = Health::new("nowhere");
        let published = health.published();
        assert_eq!(*published.load_full(), BitcoindStatus::default());
        let downloading = || CallError::InitialDownload("in initial sync".to_owned());
        assert!(health.note_down(CallError::Unreachable("refused".to_owned()), None));
        let since = published.load().since;
        assert!(since.0 > 0);
        assert!(health.note_down(downloading(), Some(43)));
        assert!(!health.note_down(downloading(), Some(44)), "no log line for a per cent");
        let status = published.load_full();
        let kind = status.problem.as_ref().map(|problem| problem.kind);
        assert_eq!(kind, Some(BitcoindProblemKind::Syncing { percent: Some(44) }));
        assert_eq!(status.since, since);
    }
}
