//! Keeps the template fresh when the long poll brings none, and raises the alarm when nothing does.
//!
//! On a quiet chain a long poll never answers, and one whose connection hangs does not either. A plain question
//! each half minute keeps the template's age real in the first case and bounds the damage in the second.
//!
//! Two threads then put templates into one slot. To keep an older one from hiding a newer one, the refresh looks at
//! the count of templates: if it grew while bitcoind was asked, the answer is dropped; if it grew between that look
//! and the put, bitcoind is asked anew. What remains is a long poll's answer that bitcoind made before the refresh's but
//! that is put after it; its stale tip makes the next long poll return at once.

use std::time::{Duration, Instant};

use log::{debug, error, info, warn};
use p2pool_core::status::BitcoindError;

use crate::news::TemplateSink;
use crate::node::Node;

/// Without a template for so long, one is asked for: the age at which stratum refreshes its jobs anyway.
const REFRESH_AGE: Duration = Duration::from_secs(30);
/// After a failed refresh.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);
/// Without a template for so long, the operator is told.
const ALARM_AGE: Duration = Duration::from_secs(120);
/// Without a template for so long, miners work in vain: about as long as a block takes.
const WITHDRAW_AGE: Duration = Duration::from_secs(600);
/// Questions in a row when the long poll keeps coming between: once is rare.
const ATTEMPTS_MAX: usize = 3;

/// The age of the newest template, and what was done about it.
#[derive(Debug)]
struct Watch {
    count: u64,
    fresh_at: Instant,
    retry_at: Instant,
    is_alarmed: bool,
    is_withdrawn: bool,
}

/// What a [`Watch`] has to say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Due {
    recovered: bool,
    alarm: bool,
    withdraw: bool,
}

impl Watch {
    fn new(count: u64, now: Instant) -> Self {
        Self { count, fresh_at: now, retry_at: now, is_alarmed: false, is_withdrawn: false }
    }

    fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.fresh_at)
    }

    /// Whether to ask for a template at `now`, when `count` have come; if so the next time is a while later.
    fn takes_refresh(&mut self, count: u64, now: Instant) -> bool {
        let is_due = count == self.count && self.age(now) >= REFRESH_AGE && now >= self.retry_at;
        if is_due {
            self.retry_at = now + RETRY_INTERVAL;
        }
        is_due
    }

    /// What to say at `now`, when `count` templates have come; everything once.
    fn look(&mut self, count: u64, now: Instant) -> Due {
        if count != self.count {
            let recovered = self.is_alarmed;
            *self = Self::new(count, now);
            return Due { recovered, ..Due::default() };
        }
        let (is_alarming, is_worthless) = (self.age(now) >= ALARM_AGE, self.age(now) >= WITHDRAW_AGE);
        let alarm = is_alarming && !self.is_alarmed;
        let withdraw = is_worthless && !self.is_withdrawn;
        self.is_alarmed = is_alarming;
        self.is_withdrawn = is_worthless;
        Due { recovered: false, alarm, withdraw }
    }
}

/// Refreshes the template from within the anchor thread.
pub(crate) struct Refresh {
    sink: TemplateSink,
    watch: Watch,
    last_error: Option<BitcoindError>,
}

impl Refresh {
    pub(crate) fn new(sink: TemplateSink, now: Instant) -> Self {
        Self { watch: Watch::new(sink.count(), now), sink, last_error: None }
    }

    /// Does what is due; call it about every second. May ask bitcoind, and take as long as that: so the time is looked
    /// at again after it.
    pub(crate) fn tick(&mut self, node: &mut Node, now: impl Fn() -> Instant) {
        if self.watch.takes_refresh(self.sink.count(), now()) {
            if let Err(error) = self.refresh(node) {
                debug!("no fresh template: bitcoind {error}");
                self.last_error = Some(error);
            }
        }
        let at = now();
        let age = self.watch.age(at);
        let due = self.watch.look(self.sink.count(), at);
        if due.recovered {
            info!("block templates come again");
            self.last_error = None;
        }
        if due.alarm {
            let why = self.last_error.as_ref().map_or("no error seen".to_owned(), |error| format!("bitcoind {error}"));
            error!("no block template for {} s ({why}); miners hash old work", age.as_secs());
        }
        if due.withdraw {
            warn!("no block template for {} s: the miners' work is withdrawn", age.as_secs());
            let before = self.sink.count();
            self.sink.withdraw();
            if self.sink.count() != before {
                // The long poll's template, come at this very moment, may be hidden now.
                drop(self.refresh(node));
            }
        }
    }

    /// Asks for a template and puts it, unless the long poll brought one meanwhile.
    fn refresh(&self, node: &mut Node) -> Result<(), BitcoindError> {
        for _ in 0..ATTEMPTS_MAX {
            let before = self.sink.count();
            let answer = node.template(None)?;
            if self.sink.count() != before {
                break;
            }
            self.sink.put(answer.template);
            if self.sink.count() == before.wrapping_add(1) {
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
