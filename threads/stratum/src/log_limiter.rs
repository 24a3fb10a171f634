//! Log lines that strangers cannot multiply: of each kind a few a minute, then a count of what was left out.

use std::fmt;

use log::Level;

/// The span within which lines of a kind are counted.
const SPAN_MS: u64 = 60_000;

/// A kind of line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogKind {
    /// A miner is ready.
    Joined,
    /// A coinbase is too large for a miner.
    CoinbaseTooLarge,
    /// A connection was closed by this side.
    Closed,
    /// A connection was refused: too many.
    Refused,
    /// The system gave no connection.
    Accept,
    /// A share was refused because the chain is busy.
    ChainBusy,
    /// A block waits because the submit thread is busy.
    SubmitBusy,
}

impl LogKind {
    const COUNT: usize = Self::SubmitBusy as usize + 1;

    fn level(self) -> Level {
        match self {
            Self::Joined => Level::Info,
            _ => Level::Warn,
        }
    }

    /// Lines of the kind in a span.
    fn lines_max(self) -> u32 {
        match self {
            // A farm that comes up is seen whole if small.
            Self::Joined => 20,
            // Each names another miner.
            Self::CoinbaseTooLarge => 10,
            _ => 1,
        }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Span {
    since_ms: u64,
    lines: u32,
    left_out: u64,
}

/// Counts lines by kind.
#[derive(Debug, Default)]
pub struct LogLimiter {
    spans: [Span; LogKind::COUNT],
}

impl LogLimiter {
    /// Logs the line unless there were enough of its kind.
    pub fn log(&mut self, kind: LogKind, now_ms: u64, line: fmt::Arguments<'_>) {
        if let Some(left_out) = self.admit(kind, now_ms) {
            match left_out {
                0 => log::log!(kind.level(), "{line}"),
                _ => log::log!(kind.level(), "{line} (and {left_out} more of this kind before)"),
            }
        }
    }

    /// How many were left out before this line, if it may be written.
    fn admit(&mut self, kind: LogKind, now_ms: u64) -> Option<u64> {
        let span = self.spans.get_mut(kind as usize)?;
        if span.lines > 0 && now_ms.saturating_sub(span.since_ms) >= SPAN_MS {
            span.lines = 0;
        }
        if span.lines >= kind.lines_max() {
            span.left_out += 1;
            return None;
        }
        if span.lines == 0 {
            span.since_ms = now_ms;
        }
        span.lines += 1;
        Some(std::mem::take(&mut span.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_share_a_minute() {
        let mut warnings = LogLimiter::default();
        let mut admitted = |kind, now_ms| warnings.admit(kind, now_ms);
        assert_eq!(admitted(LogKind::ChainBusy, 0), Some(0));
        assert_eq!(admitted(LogKind::ChainBusy, 1), None);
        assert_eq!(admitted(LogKind::ChainBusy, 59_999), None);
        assert_eq!(admitted(LogKind::Refused, 2), Some(0), "kinds do not disturb each other");
        assert_eq!(admitted(LogKind::ChainBusy, 60_000), Some(2), "and none is passed over in silence");
        assert_eq!(admitted(LogKind::ChainBusy, 60_001), None);
        assert_eq!((0..30).filter(|_| admitted(LogKind::Joined, 5).is_some()).count(), 20);
    }
}
