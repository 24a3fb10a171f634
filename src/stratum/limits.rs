//! Every bound on what a stranger at the miners' port may do.

use std::time::Duration;

use crate::token_bucket::Rate;

/// Bounds and timeouts; tests shorten them, the program uses [`Limits::default`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Sessions at once from one public address; an IPv6 network of 64 bits counts as one.
    pub sessions_per_address_max: usize,
    /// Whether loopback and private addresses, a farm's own network, are not counted.
    pub private_addresses_exempt: bool,
    /// From connecting to the first byte.
    pub first_byte_ms: u64,
    /// From connecting to a successful authorize.
    pub authorize_ms: u64,
    /// Silence that is always allowed.
    pub idle_ms_min: u64,
    /// Silence is also allowed for as long as this many shares take on average.
    pub idle_shares: f64,
    /// Submits that are judged as shares.
    pub submits: Rate,
    /// A client that does not catch up with what waits for it in this time is dropped.
    pub write_stall_ms: u64,
    /// How often timers are looked at.
    pub tick_ms: u64,
    /// How often the status snapshot is made anew.
    pub status_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // A farm behind one public address is some dozens of machines; more of them use a proxy.
            sessions_per_address_max: 64,
            // Who can connect from there is the operator, or let in by it.
            private_addresses_exempt: true,
            // Miners speak first and at once; ten seconds is a bad radio link.
            first_byte_ms: 10_000,
            // Firmware asks configure, subscribe, authorize in a row; some waits for a screen to draw.
            authorize_ms: 30_000,
            // Vardiff aims at a line every 10 s, so five minutes of silence are 30 missing shares.
            idle_ms_min: 300_000,
            // The chance that a working miner finds none in the time of 20 is e^-20.
            idle_shares: 20.0,
            // A thousand times the aimed rate: only a miner far too strong for its difficulty gets there,
            // for the moments until its next job.
            submits: Rate { burst: 20, interval: Duration::from_millis(10) },
            // Longer than a Wi-Fi roam; keepalive finds dead peers, this finds stuck ones. Jobs come as often.
            write_stall_ms: 30_000,
            // Every timeout above is late by at most this.
            tick_ms: 1_000,
            // A dashboard is looked at by people.
            status_ms: 3_000,
        }
    }
}

/// Bytes of a line at most. The longest honest one (authorize with long names) is a few hundred.
pub const LINE_LEN_MAX: usize = 8 * 1024;
/// Lines that are no request at all, after which a session is not with a miner.
pub const GARBAGE_LINES_MAX: u32 = 10;
/// Bytes kept of a worker's name or a user agent.
pub const LABEL_LEN_MAX: usize = 128;
/// No session may be silent for longer, though 20 of its shares may take longer, unless it was as slow before: a day.
///
/// Without it a session that found nothing at a difficulty that suits nobody would stay for years, and after only a few
/// shares for ever, since each silent hour makes them look an hour slower. What a miner loses that is closed too early is
/// a moment: it comes again, and hashes have no memory.
pub const IDLE_MS_MAX: u64 = 24 * 3_600 * 1_000;
/// Hash rate assumed of a miner that vardiff cannot help and that has found nothing yet: one CPU's.
pub const ASSUMED_HASHES_PER_S: f64 = 1e6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_programs_bounds_are_these() {
        let limits = Limits::default();
        assert_eq!((limits.sessions_per_address_max, limits.private_addresses_exempt), (64, true));
        assert_eq!(limits.first_byte_ms, 10_000);
        assert_eq!(limits.authorize_ms, 30_000);
        assert_eq!((limits.idle_ms_min, limits.idle_shares), (5 * 60_000, 20.0));
        assert_eq!(limits.submits, Rate { burst: 20, interval: Duration::from_secs(1) / 100 });
        assert_eq!(LINE_LEN_MAX, 8_192);
        assert!(limits.tick_ms <= 1_000, "so late a timeout may be");
        assert!(limits.write_stall_ms <= 30_000, "no longer does one that does not read stay");
    }
}
