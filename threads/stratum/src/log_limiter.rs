//! Rate-limited log lines, so that remote sides cannot flood the log: a few of each kind per minute, with the number of
//! suppressed ones.

use std::collections::HashSet;
use std::fmt;
use std::net::IpAddr;

use log::Level;
use p2pool_core::netgroup::subscriber;
use p2pool_core::units::SteadyTime;

/// The span in which the lines of a kind are counted.
const SPAN_S: u32 = 60;
/// Number of addresses remembered for lines that each address causes once; then all are forgotten.
const ADDRESSES_MAX: usize = 256;

/// The kinds of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LogKind {
    /// A miner subscribed and authorized.
    Connected,
    /// The coinbase is too large for a miner.
    CoinbaseTooLarge,
    /// A miner's user name has an address that is not paid.
    UnpaidAddress,
    /// A miner rolls version bits that it did not negotiate.
    VersionBits,
    /// A connection speaks another protocol.
    Foreign,
    /// The server closed a miner's connection.
    Closed,
    /// A miner was refused because of a limit.
    Refused,
    /// A miner was refused because there is no work.
    RefusedNoWork,
    /// Miners are refused or disconnected because there is no work, or accepted again.
    Work,
    /// There is work for miners again, or for the first time.
    WorkAvailable,
    /// The system could not accept or register a connection.
    Accept,
    /// A share was rejected because the chain thread is busy.
    ChainBusy,
    /// A block waits because the submit thread is busy.
    SubmitBusy,
}

impl LogKind {
    const COUNT: usize = Self::SubmitBusy as usize + 1;

    fn level(self) -> Level {
        match self {
            Self::Connected | Self::Foreign | Self::WorkAvailable => Level::Info,
            _ => Level::Warn,
        }
    }

    /// Largest number of lines per span.
    fn lines_max(self) -> u32 {
        match self {
            // Shows a small farm completely when it starts.
            Self::Connected => 20,
            // Each line is about another miner or address.
            Self::CoinbaseTooLarge | Self::UnpaidAddress | Self::VersionBits | Self::Foreign => 10,
            // Each says what happens to all miners now.
            Self::Work | Self::WorkAvailable => 6,
            _ => 1,
        }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Span {
    start: SteadyTime,
    lines: u32,
    suppressed: u64,
}

/// Counts log lines by kind.
#[derive(Debug, Default)]
pub struct LogLimiter {
    spans: [Span; LogKind::COUNT],
    /// The addresses that had their line.
    addresses: HashSet<(LogKind, IpAddr)>,
}

impl LogLimiter {
    /// Logs a line unless the limit of its kind is reached.
    pub fn log(&mut self, kind: LogKind, now: SteadyTime, line: fmt::Arguments<'_>) {
        match self.admit(kind, now) {
            None => {}
            Some(0) => log::log!(kind.level(), "{line}"),
            Some(suppressed) => log::log!(kind.level(), "{line} ({suppressed} similar lines suppressed)"),
        }
    }

    /// Logs a line that an address causes once; the limit of its kind applies too.
    pub fn log_once(&mut self, kind: LogKind, address: IpAddr, now: SteadyTime, line: fmt::Arguments<'_>) {
        if self.is_first(kind, address) {
            self.log(kind, now, line);
        }
    }

    /// Whether an address is not remembered yet; remembers it.
    fn is_first(&mut self, kind: LogKind, address: IpAddr) -> bool {
        if self.addresses.len() >= ADDRESSES_MAX {
            self.addresses.clear();
        }
        self.addresses.insert((kind, subscriber(address)))
    }

    /// Counts a line. Returns the number of lines suppressed before it, or `None` if it must be suppressed too.
    fn admit(&mut self, kind: LogKind, now: SteadyTime) -> Option<u64> {
        let span = self.spans.get_mut(kind as usize)?;
        if span.lines > 0 && now.since(span.start) >= SPAN_S {
            span.lines = 0;
        }
        if span.lines >= kind.lines_max() {
            span.suppressed += 1;
            return None;
        }
        if span.lines == 0 {
            span.start = now;
        }
        span.lines += 1;
        Some(std::mem::take(&mut span.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_limit_per_minute() {
        let mut limiter = LogLimiter::default();
        let mut admitted = |kind, now_ms| limiter.admit(kind, SteadyTime::from_ms(now_ms));
        assert_eq!(admitted(LogKind::ChainBusy, 0), Some(0));
        assert_eq!(admitted(LogKind::ChainBusy, 1), None);
        assert_eq!(admitted(LogKind::ChainBusy, 59_999), None);
        assert_eq!(admitted(LogKind::Refused, 2), Some(0), "kinds are independent");
        assert_eq!(admitted(LogKind::ChainBusy, 60_000), Some(2), "suppressed lines are counted");
        assert_eq!(admitted(LogKind::ChainBusy, 60_001), None);
        assert_eq!((0..30).filter(|_| admitted(LogKind::Connected, 5).is_some()).count(), 20);
    }

    #[test]
    fn an_address_has_a_line_once() {
        let mut limiter = LogLimiter::default();
        let address = |number: u32| IpAddr::from(number.to_be_bytes());
        assert!(limiter.is_first(LogKind::Foreign, address(1)));
        assert!(!limiter.is_first(LogKind::Foreign, address(1)));
        assert!(limiter.is_first(LogKind::Foreign, address(2)));
        for number in 0..10 * ADDRESSES_MAX as u32 {
            limiter.is_first(LogKind::Foreign, address(number));
            assert!(limiter.addresses.len() <= ADDRESSES_MAX);
        }
    }
}
