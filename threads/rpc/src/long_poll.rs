//! What a long poll costs bitcoind, and what this node does about it.
//!
//! bitcoind gives each request one of its RPC threads (`-rpcthreads`, 16 by default) until it responds. A long poll keeps
//! its thread until the next block, or until a change of the mempool after a minute; bitcoind has no way to cancel one and
//! does not notice that the connection is closed. So on a quiet chain each end of this program, in order or not, would
//! leave one thread less for every program, until the next block. And a long poll that takes the last free thread keeps
//! `submitblock` waiting.
//!
//! Therefore:
//! - [`bounded_id`] makes each long poll end after a minute. What remains is one thread for at most a minute after each end
//!   of this program.
//! - While a long poll waits, the submit thread tests every few seconds whether bitcoind responds to another request. If
//!   not, [`LongPollMode`] has templates polled at an interval instead. What remains, on a bitcoind with a single free
//!   thread: a block found during the first long poll waits for its end, at most a minute.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Wait before the first try of a long poll after one that left bitcoind no thread: other programs may have used them all.
/// Each try that fails again delays requests by up to a minute, so the waits double up to [`RETRY_WAIT_MAX`].
const RETRY_WAIT_FIRST: Duration = Duration::from_secs(600);
/// Longest wait before another try.
const RETRY_WAIT_MAX: Duration = Duration::from_secs(86_400);
/// Number of hexadecimal digits of the tip's hash, with which an id begins.
const HASH_DIGITS: usize = 64;
/// Count of mempool changes in a bounded id: the greatest that bitcoind's type holds.
const NO_SUCH_COUNT: u32 = u32::MAX;

/// Returns an id with which a long poll responds after a minute even if nothing changes, and at once on a new tip.
///
/// bitcoind's id is the tip's hash and a count of mempool changes, which a long poll compares with the current count after
/// a minute and every ten seconds from then on (its `rpc/mining.cpp`). The returned id has a count that never occurs. On
/// mainnet, where the mempool always changes, this makes no difference. An id of another form is returned as it is.
pub(crate) fn bounded_id(id: &str) -> String {
    match id.split_at_checked(HASH_DIGITS) {
        Some((hash, count)) if hash.bytes().all(|byte| byte.is_ascii_hexdigit()) && is_count(count) => {
            format!("{hash}{NO_SUCH_COUNT}")
        }
        _ => id.to_owned(),
    }
}

fn is_count(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// What the poll thread and the submit thread tell each other about the long poll.
#[derive(Debug, Default)]
pub struct LongPollWatch {
    /// Number of starts and ends of long polls: odd while one waits.
    turns: AtomicU64,
    /// Whether bitcoind did not respond to another request while a long poll waited.
    is_starving: AtomicBool,
    /// Whether it did, since the poll thread last asked.
    was_harmless: AtomicBool,
}

/// A moment of a [`LongPollWatch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Turn(u64);

impl Turn {
    /// Whether a long poll waits.
    pub(crate) const fn is_waiting(self) -> bool {
        self.0 % 2 == 1
    }
}

impl LongPollWatch {
    /// Runs a long poll.
    pub(crate) fn during<T>(&self, long_poll: impl FnOnce() -> T) -> T {
        self.turns.fetch_add(1, Ordering::SeqCst);
        let result = long_poll();
        self.turns.fetch_add(1, Ordering::SeqCst);
        result
    }

    pub(crate) fn turn(&self) -> Turn {
        Turn(self.turns.load(Ordering::SeqCst))
    }

    /// Notes that bitcoind has not responded to a request while a long poll waited.
    pub(crate) fn note_starving(&self) {
        self.is_starving.store(true, Ordering::SeqCst);
    }

    /// Notes that bitcoind has responded to a request while a long poll waited.
    pub(crate) fn note_harmless(&self) {
        self.was_harmless.store(true, Ordering::SeqCst);
    }

    /// Returns whether long polls starve other requests, and forgets it.
    pub(crate) fn take_starving(&self) -> bool {
        self.is_starving.swap(false, Ordering::SeqCst)
    }

    /// Returns whether bitcoind was seen to have a thread beside the long poll's, and forgets it.
    pub(crate) fn take_harmless(&self) -> bool {
        self.was_harmless.swap(false, Ordering::SeqCst)
    }
}

/// Decides how templates are requested.
#[derive(Debug, Default)]
pub(crate) struct LongPollMode {
    /// When a long poll is tried again; `None` while there is no reason against it.
    retry_at: Option<Instant>,
    /// The last wait before a try; `None` if the last long poll did no harm.
    last_wait: Option<Duration>,
}

impl LongPollMode {
    /// Returns whether the next request may be a long poll.
    pub(crate) fn is_allowed(&self, now: Instant) -> bool {
        self.retry_at.is_none_or(|retry_at| now >= retry_at)
    }

    /// Notes that a long poll left bitcoind no thread. Returns whether that is new.
    pub(crate) fn note_starving(&mut self, now: Instant) -> bool {
        let wait = self.last_wait.map_or(RETRY_WAIT_FIRST, |last| last.saturating_mul(2).min(RETRY_WAIT_MAX));
        self.retry_at = Some(now + wait);
        self.last_wait.replace(wait).is_none()
    }

    /// Notes that a long poll did no harm, or that bitcoind was restarted, perhaps with more threads. Returns whether that
    /// is news.
    pub(crate) fn reset(&mut self) -> bool {
        self.retry_at = None;
        self.last_wait.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_count_of_an_id_in_bitcoinds_form_is_replaced() {
        let hash = "00000000000000000001f8".repeat(3)[..HASH_DIGITS].to_owned();
        assert_eq!(bounded_id(&format!("{hash}123")), format!("{hash}4294967295"));
        for other in ["", "12", &hash, &format!("{hash}x"), &format!("{}123", hash.replace('f', "ä"))] {
            assert_eq!(bounded_id(other), other);
        }
    }

    #[test]
    fn waits_double_up_to_a_day_until_a_long_poll_does_no_harm() {
        let (mut mode, now) = (LongPollMode::default(), Instant::now());
        let minutes = |minutes: u64| now + Duration::from_secs(60 * minutes);
        assert!(mode.is_allowed(now));
        assert!(mode.note_starving(now), "it is reported once");
        assert!(!mode.is_allowed(minutes(9)) && mode.is_allowed(minutes(10)));
        assert!(!mode.note_starving(now));
        assert!(!mode.is_allowed(minutes(19)) && mode.is_allowed(minutes(20)));
        for _ in 0..10 {
            mode.note_starving(now);
        }
        assert!(!mode.is_allowed(minutes(24 * 60 - 1)) && mode.is_allowed(minutes(24 * 60)));
        assert!(mode.reset() && mode.is_allowed(now));
        assert!(!mode.reset(), "it is reported once");
        assert!(mode.note_starving(now) && mode.is_allowed(minutes(10)));
    }

    #[test]
    fn the_watch_knows_whether_the_same_long_poll_waits() {
        let watch = LongPollWatch::default();
        assert!(!watch.turn().is_waiting());
        let first = watch.during(|| watch.turn());
        assert!(first.is_waiting() && !watch.turn().is_waiting());
        assert_ne!(watch.during(|| watch.turn()), first);
        watch.note_starving();
        assert!(watch.take_starving() && !watch.take_starving());
        assert!(!watch.take_harmless());
    }
}
