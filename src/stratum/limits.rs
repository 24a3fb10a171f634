//! The limits on connections and sessions at the miners' port.

use std::time::Duration;

use super::difficulty::{Difficulty, HASHES_PER_DIFFICULTY};
use crate::token_bucket::Rate;

/// Limits and timeouts. The program uses [`Limits::default`], tests use shorter ones.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Concurrent sessions per public address; an IPv6 /64 counts as one address.
    pub sessions_per_address_max: usize,
    /// Whether addresses on own networks (loopback, private) are exempt from that limit.
    pub private_addresses_exempt: bool,
    /// Timeout from connecting to the first byte.
    pub first_byte_ms: u64,
    /// Timeout from connecting to a successful authorize.
    pub authorize_ms: u64,
    /// Shortest idle timeout.
    pub idle_ms_min: u64,
    /// The idle timeout is at least the expected time of this many shares.
    pub idle_shares: f64,
    /// Rate limit of submits per session; see [`Self::submits_at`].
    pub submits: Rate,
    /// A connection is closed if bytes wait longer than this for its socket.
    pub write_stall_ms: u64,
    /// Interval at which timers are checked.
    pub tick_ms: u64,
    /// Interval at which the status snapshot is published.
    pub status_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // A farm behind one public address has some dozens of machines; larger ones use a proxy.
            sessions_per_address_max: 64,
            // Only the operator, or someone the operator lets in, can connect from there.
            private_addresses_exempt: true,
            // Miners send at once; ten seconds allow for a bad Wi-Fi connection.
            first_byte_ms: 10_000,
            // Firmware sends configure, subscribe and authorize in sequence; some draws to a screen in between.
            authorize_ms: 30_000,
            // Vardiff's target is a submit per 10 s, so five minutes of silence are 30 missing submits.
            idle_ms_min: 300_000,
            // The probability that a working miner finds no share in the expected time of 20 is e^-20.
            idle_shares: 20.0,
            // A thousand times vardiff's target rate. Only a miner with a much too low difficulty reaches it, until its next
            // job, and a CPU at the lowest difficulties, for which the limit is higher.
            submits: Rate { burst: 20, interval: Duration::from_millis(10) },
            // Longer than a Wi-Fi roam, and a job interval. Keepalive finds dead connections, this finds stuck ones.
            write_stall_ms: 30_000,
            // Timeouts are late by at most this.
            tick_ms: 1_000,
            // Fast enough for a dashboard.
            status_ms: 3_000,
        }
    }
}

impl Limits {
    /// The rate limit of submits at a session's difficulty: high enough for [`FAST_CPU_HASHES_PER_S`] within
    /// [`SUBMITS_FACTOR_MAX`].
    ///
    /// Vardiff cannot raise the difficulty above the share difficulty, which is low in the first seconds of a sharechain.
    pub fn submits_at(&self, difficulty: Difficulty) -> Rate {
        let expected_per_s = FAST_CPU_HASHES_PER_S / (difficulty.get() * HASHES_PER_DIFFICULTY);
        let factor = (expected_per_s * self.submits.interval.as_secs_f64()).ceil();
        self.submits.times(factor.clamp(1.0, SUBMITS_FACTOR_MAX) as u32)
    }
}

/// Hash rate of a fast CPU in hashes per second.
pub const FAST_CPU_HASHES_PER_S: f64 = 1e8;
/// Largest factor by which a low difficulty raises the rate limit of submits: 2,000 per second by default, which take the
/// Stratum thread some per cent of its time.
pub const SUBMITS_FACTOR_MAX: f64 = 20.0;
/// Largest number of workers that may authorize on one connection; larger proxies open several.
pub const WORKERS_MAX: usize = 64;
/// Largest length of a line in bytes. The longest honest one (authorize with long names) has a few hundred.
pub const LINE_LEN_MAX: usize = 8 * 1024;
/// Number of invalid lines after which a session is closed.
pub const INVALID_LINES_MAX: u32 = 10;
/// Largest length in bytes of a worker's name or a user agent; longer ones are truncated.
pub const LABEL_LEN_MAX: usize = 128;
/// Longest idle timeout, unless the session's earlier shares took longer: a day.
///
/// Without it, a session that never found a share at an unsuitable difficulty would stay for years, and one with only a few
/// shares forever, since every silent hour lowers its estimated hash rate. Closing a working miner too early costs it
/// only a moment: it reconnects, and hashing has no memory.
pub const IDLE_MS_MAX: u64 = 24 * 3_600 * 1_000;
/// Assumed hash rate of a miner that has found no share yet and whose difficulty vardiff cannot lower: that of a CPU.
pub const ASSUMED_HASHES_PER_S: f64 = 1e6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_limits() {
        let limits = Limits::default();
        assert_eq!((limits.sessions_per_address_max, limits.private_addresses_exempt), (64, true));
        assert_eq!(limits.first_byte_ms, 10_000);
        assert_eq!(limits.authorize_ms, 30_000);
        assert_eq!((limits.idle_ms_min, limits.idle_shares), (5 * 60_000, 20.0));
        assert_eq!(limits.submits, Rate { burst: 20, interval: Duration::from_secs(1) / 100 });
        let submits_at = |difficulty| limits.submits_at(Difficulty::new(difficulty).unwrap());
        assert_eq!((submits_at(1e9), submits_at(0.001)), (limits.submits, limits.submits));
        assert_eq!(submits_at(0.000_1), limits.submits.times(3));
        assert_eq!((submits_at(0.000_01), submits_at(1e-12)), (limits.submits.times(20), limits.submits.times(20)));
        assert_eq!(LINE_LEN_MAX, 8_192);
        assert!(limits.tick_ms <= 1_000, "largest delay of a timeout");
        assert!(limits.write_stall_ms <= 30_000, "longest time that a stuck connection stays");
    }
}
