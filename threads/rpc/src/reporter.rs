//! Publishes the state of bitcoind and logs its changes: one line per change, none per retry.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use log::{info, warn};
use p2pool_core::status::{BitcoindError, BitcoindStatus};
use p2pool_core::units::UnixTime;
use p2pool_core::work::Template;

use crate::error::is_same_state;

/// Remembers and publishes the last known state of bitcoind.
#[derive(Debug)]
pub(crate) struct StatusReporter {
    url: String,
    /// Whether anything has been reported yet.
    is_known: bool,
    /// The published status.
    pub(crate) published: Arc<ArcSwap<BitcoindStatus>>,
}

impl StatusReporter {
    pub(crate) fn new(url: &str) -> Self {
        Self { url: url.to_owned(), is_known: false, published: Arc::default() }
    }

    /// Reports a template from bitcoind.
    pub(crate) fn report_up(&mut self, template: &Template) {
        let is_first = !std::mem::replace(&mut self.is_known, true);
        let was_down = self.published.load().error.is_some();
        if is_first || was_down {
            let again = if was_down { " again" } else { "" };
            info!("bitcoind reachable{again} at {}, block template for height {}", self.url, template.height);
            self.publish(|status| (status.error, status.since) = (None, now()));
        }
    }

    /// Reports a failed request for a template. Returns whether the state has changed.
    pub(crate) fn report_down(&mut self, error: BitcoindError) -> bool {
        self.is_known = true;
        let last = self.published.load();
        let since = if last.error.is_some() { last.since } else { now() };
        let is_change = last.error.as_ref().is_none_or(|last| !is_same_state(last, &error));
        if is_change {
            warn!("bitcoind at {} {error}; retrying. {}", self.url, error.advice());
        }
        self.publish(|status| (status.error, status.since) = (Some(error), since));
        is_change
    }

    /// Reports that templates are polled from now on, because a long poll left bitcoind no thread for other requests.
    pub(crate) fn report_long_poll_off(&self, interval: Duration) {
        warn!(
            "long poll off: bitcoind at {} responds to no other request while one waits, templates are polled every {} s. {}",
            self.url,
            interval.as_secs(),
            BitcoindStatus::LONG_POLL_OFF_ADVICE
        );
        self.publish(|status| status.long_poll_off_since = Some(now()));
    }

    /// Reports that templates come by long poll again.
    pub(crate) fn report_long_poll_on(&self) {
        info!("long poll on again: bitcoind at {} responds to other requests meanwhile", self.url);
        self.forget_long_poll_off();
    }

    /// Publishes that templates come by long poll, as far as is known: bitcoind has been restarted.
    pub(crate) fn forget_long_poll_off(&self) {
        self.publish(|status| status.long_poll_off_since = None);
    }

    fn publish(&self, change: impl FnOnce(&mut BitcoindStatus)) {
        let mut status = BitcoindStatus::clone(&self.published.load());
        change(&mut status);
        self.published.store(Arc::new(status));
    }
}

fn now() -> UnixTime {
    UnixTime::from(SystemTime::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_error_is_published_with_the_time_of_the_first() {
        let mut reporter = StatusReporter::new("nowhere");
        let published = Arc::clone(&reporter.published);
        assert_eq!(*published.load_full(), BitcoindStatus::default());
        assert!(reporter.report_down(BitcoindError::Unreachable("refused".to_owned())));
        let since = published.load().since;
        assert!(since.0 > 0);
        assert!(reporter.report_down(BitcoindError::Syncing { percent: Some(43) }));
        assert!(!reporter.report_down(BitcoindError::Syncing { percent: Some(44) }), "no log line for progress");
        let error = Some(BitcoindError::Syncing { percent: Some(44) });
        let expected = BitcoindStatus { error, since, ..BitcoindStatus::default() };
        assert_eq!(*published.load_full(), expected);
    }
}
