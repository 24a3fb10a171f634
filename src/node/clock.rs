//! Judges this machine's clock before miners get work.
//!
//! A share that is more than [`AHEAD_MAX_S`] ahead of other clocks is deferred there, and a node that is as much behind defers
//! the shares of all others: its miners work for nothing, and if the clock is two hours ahead, Bitcoin refuses their blocks.
//! So there is no work while the clock is off. Who may say so:
//!
//! - *bitcoind* alone: it is the operator's, and it is what takes the blocks. Only `curtime` shows its clock, and only if it is
//!   not `mintime`, which is all it says while the median time past runs ahead (testnet4).
//! - *Peers* never alone. bitcoind mostly runs on the same machine and agrees with a clock that is wrong, so peers are heard;
//!   but anybody can be a peer, and many. That peers could stop a node is worse than that a clock stays wrong that peers, log,
//!   page and metrics show to be. So they only warn, unless Bitcoin's blocks testify as well.
//! - *Bitcoin's newest blocks* beside the peers, on the networks whose blocks come steadily with honest times. Strangers cannot
//!   forge them: a gap of two hours comes once in three years, and two of three blocks are not ten minutes ahead. (One may be, if
//!   a miner of the pool found it whose clock is.) On mainnet a gap of four hours suffices alone (once in 400,000 years): either the
//!   clock is wrong, or bitcoind lacks the blocks that it should build on. So does a median time past that is later than the clock:
//!   it is an hour old, and only most of the hash rate could set it ahead. A bitcoind with the same clock says nothing then.

use crate::params::Network;
use crate::sharechain::{bitcoin_difficulty, Anchor, AHEAD_MAX_S};
use crate::status::{ClockFault, ClockStatus, ClockWitness};
use crate::units::{Now, SteadyTime, UnixTime};
use crate::work::Template;

/// A clock that is off by more seconds than this is wrong: beyond it, shares wait where the clock is behind.
pub const CLOCK_OFF_MAX_S: u32 = AHEAD_MAX_S;
/// Beside the peers, a newest block that is more seconds old testifies that the clock is ahead.
const BLOCK_AGE_MAX_S: u32 = 7_200;
/// Beside the peers, two of the newest blocks that are more seconds in the future testify that the clock is behind. Miners'
/// times are a few minutes off.
const BLOCK_AHEAD_MAX_S: u32 = 600;
/// Clocks are read to the second, one after the other.
const READING_S: u32 = 2;
/// Number of newest blocks that are heard.
const BLOCKS_HEARD: usize = 3;
/// On mainnet, a newest block that is more seconds old testifies alone.
const BLOCK_AGE_ALONE_MAX_S: u32 = 14_400;

/// Seconds that this machine's clock is ahead of bitcoind's: between these, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Offset {
    min_s: i64,
    /// `None` while the template's time may be later than bitcoind's clock.
    max_s: Option<i64>,
}

impl Offset {
    const fn plus(self, seconds: i64) -> Self {
        let max_s = match self.max_s {
            Some(max_s) => Some(max_s + seconds),
            None => None,
        };
        Self { min_s: self.min_s + seconds, max_s }
    }

    /// What both say; `None` if they contradict each other.
    fn and(self, other: Self) -> Option<Self> {
        let min_s = self.min_s.max(other.min_s);
        let max_s = self.max_s.into_iter().chain(other.max_s).min();
        max_s.is_none_or(|max_s| min_s <= max_s).then_some(Self { min_s, max_s })
    }

    /// The least offset that is possible; `None` if nothing is known.
    fn least_s(self) -> Option<i64> {
        match self {
            Self { min_s, .. } if min_s > 0 => Some(min_s),
            Self { max_s, .. } => max_s.map(|max_s| max_s.min(0)),
        }
    }
}

/// Compares the clocks.
#[derive(Debug, Default)]
pub struct ClockJudge {
    /// By the last templates, and when that was computed.
    offset: Option<(Offset, Now)>,
    /// The time of the last template, and when it arrived.
    last: Option<(UnixTime, SteadyTime)>,
    /// Seconds that this machine's clock is ahead of the peers', if enough of them report.
    pub ahead_of_peers_s: Option<i64>,
    /// The last verdict.
    pub status: ClockStatus,
}

impl ClockJudge {
    /// Takes the time of a template that has just arrived.
    ///
    /// bitcoind's clock was read while the request was under way. A long poll's may have been read a minute before, so
    /// what earlier templates showed more exactly counts as long as it fits.
    pub fn template(&mut self, template: &Template, now: Now) {
        let since_s = i64::from(now.time.0) - i64::from(template.cur_time.0);
        let is_stale = self.last.is_some_and(|(last, at)| is_stale(template, last, now.steady.since(at)));
        self.last = Some((template.cur_time, now.steady));
        // BIP-0094 moves the time of a period's first block, and older bitcoinds do not say so by `mintime`.
        let may_be_later = template.cur_time <= template.min_time || bitcoin_difficulty::starts_period(template.height);
        let is_clock = !is_stale && !may_be_later;
        let new = Offset { min_s: since_s - i64::from(template.response_s), max_s: is_clock.then_some(since_s) };
        let before = self.offset_at(now).filter(|_| !is_stale);
        let offset = before.and_then(|before| before.and(new)).unwrap_or(new);
        self.offset = Some((offset, now));
    }

    /// The offset from bitcoind's clock. When ours is set, it changes at once.
    fn offset_at(&self, now: Now) -> Option<Offset> {
        let (offset, at) = self.offset?;
        let passed_s = i64::from(now.steady.since(at.steady));
        // The two clocks are read to the second, so less than that proves nothing.
        let set_s = i64::from(now.time.0) - i64::from(at.time.0) - passed_s;
        Some(if set_s.abs() <= 1 { offset } else { offset.plus(set_s) })
    }

    /// Judges the clock. Returns the fault if it is another one than before; `None` in it means that none is left. `newest` is
    /// bitcoind's newest block if bitcoind has caught up.
    pub fn judge(&mut self, now: Now, network: Network, newest: Option<&Anchor>) -> Option<Option<ClockFault>> {
        let ahead_of_bitcoind_s = self.offset_at(now).and_then(Offset::least_s);
        let ahead_of_peers_s = self.ahead_of_peers_s;
        let fault = is_off(ahead_of_bitcoind_s)
            .map(|ahead_s| ClockFault { ahead_s, witness: ClockWitness::Bitcoind })
            .or_else(|| by_blocks(ahead_of_peers_s, now.time, network, newest?));
        let status = ClockStatus { ahead_of_bitcoind_s, ahead_of_peers_s, fault };
        let before = std::mem::replace(&mut self.status, status).fault;
        // The seconds may change with each template.
        (before.map(|fault| fault.witness) != fault.map(|fault| fault.witness)).then_some(fault)
    }

    /// Whether the clock was compared with bitcoind's and nothing shows that it is wrong.
    pub const fn is_right(&self) -> bool {
        self.offset.is_some() && self.status.fault.is_none()
    }
}

/// Whether a template has an old time, given the one `passed_s` before.
///
/// As long as bitcoind has no reason for a new template it gives the old one, whose time only ever advances. So after its clock was
/// set back, the time stands still until the next block, and says only that its clock is not later.
fn is_stale(template: &Template, last: UnixTime, passed_s: u32) -> bool {
    let latest = template.cur_time.plus(template.response_s).plus(READING_S);
    passed_s >= READING_S && (template.cur_time <= last || latest < last.plus(passed_s))
}

/// The offset, if it is more than a right clock's.
fn is_off(ahead_s: Option<i64>) -> Option<i64> {
    ahead_s.filter(|ahead_s| ahead_s.unsigned_abs() > u64::from(CLOCK_OFF_MAX_S))
}

/// What Bitcoin's newest blocks testify, beside the peers or alone.
fn by_blocks(ahead_of_peers_s: Option<i64>, now: UnixTime, network: Network, newest: &Anchor) -> Option<ClockFault> {
    let before = newest.times.as_slice().iter().skip(1).copied();
    let mut times: Vec<UnixTime> =
        std::iter::once(UnixTime(newest.header.time)).chain(before).take(BLOCKS_HEARD).collect();
    times.sort_unstable();
    let latest = *times.last()?;
    let second = times.iter().rev().nth(1).copied().unwrap_or(latest);
    let age_s = now.since(latest);
    let is_confirmed = |ahead_s: &i64| match *ahead_s > 0 {
        true => age_s > BLOCK_AGE_MAX_S,
        false => second.since(now) > BLOCK_AHEAD_MAX_S,
    };
    let has_steady_blocks = matches!(network, Network::Mainnet | Network::Signet);
    if let Some(ahead_s) = is_off(ahead_of_peers_s).filter(|ahead_s| has_steady_blocks && is_confirmed(ahead_s)) {
        return Some(ClockFault { ahead_s, witness: ClockWitness::Peers });
    }
    let behind_s = newest.median_time_past.since(now);
    let ahead_s = if behind_s > CLOCK_OFF_MAX_S { -i64::from(behind_s) } else { age_s.into() };
    let is_wrong = network == Network::Mainnet && (ahead_s < 0 || age_s > BLOCK_AGE_ALONE_MAX_S);
    is_wrong.then_some(ClockFault { ahead_s, witness: ClockWitness::Blocks })
}

#[cfg(test)]
mod tests;
