//! Requests a template when the long poll returns none, and withdraws the work when there is none at all.
//!
//! On a quiet chain a long poll does not return, and neither does one whose connection hangs. A plain request each half
//! minute keeps the age of the template meaningful in the first case and bounds the damage in the second.
//!
//! So two threads put templates into one slot. To keep an older template from replacing a newer one, the refresh compares
//! the count of templates: if it grew during the request, the response is dropped; if it grew between that comparison and
//! the put, the request is repeated. One case remains: the response of a long poll that bitcoind made before that of the
//! refresh and that is put after it. Its stale tip makes the next long poll return at once.

use std::time::{Duration, Instant};

use log::{debug, error, info, warn};
use p2pool_core::status::BitcoindError;
use p2pool_core::work::{NoWork, NoWorkTimeout};

use crate::template_sink::TemplateSink;
use crate::verified_client::VerifiedClient;

/// Age of the last template at which a new one is requested; stratum refreshes its jobs at this age too.
const REFRESH_AGE: Duration = Duration::from_secs(30);
/// Time between two refreshes.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);
/// Age of the last template at which an alarm is logged, unless the work is withdrawn earlier.
const ALARM_AGE: Duration = Duration::from_secs(120);
/// Most requests in a row if the long poll puts templates in between, which is rare.
const ATTEMPTS_MAX: usize = 3;

/// Decides what is due by the age of the newest template.
#[derive(Debug)]
struct Schedule {
    /// Age of the last template at which the work is withdrawn.
    withdraw_age: Duration,
    count: u64,
    fresh_at: Instant,
    retry_at: Instant,
    is_alarmed: bool,
    is_withdrawn: bool,
}

/// What is due now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Due {
    recovered: bool,
    alarm: bool,
    withdraw: bool,
}

impl Schedule {
    fn new(withdraw_age: Duration, count: u64, now: Instant) -> Self {
        Self { withdraw_age, count, fresh_at: now, retry_at: now, is_alarmed: false, is_withdrawn: false }
    }

    fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.fresh_at)
    }

    /// Returns whether a refresh is due at `now`, after `count` templates; if so, the next one is due later.
    fn take_refresh(&mut self, count: u64, now: Instant) -> bool {
        let is_due = count == self.count && self.age(now) >= REFRESH_AGE && now >= self.retry_at;
        if is_due {
            self.retry_at = now + RETRY_INTERVAL;
        }
        is_due
    }

    /// Returns what is due at `now`, after `count` templates; each thing once.
    fn due(&mut self, count: u64, now: Instant) -> Due {
        if count != self.count {
            let recovered = self.is_alarmed;
            *self = Self::new(self.withdraw_age, count, now);
            return Due { recovered, ..Due::default() };
        }
        let age = self.age(now);
        let (was_alarmed, was_withdrawn) = (self.is_alarmed, self.is_withdrawn);
        self.is_withdrawn = age >= self.withdraw_age;
        self.is_alarmed = age >= ALARM_AGE || self.is_withdrawn;
        let (alarm, withdraw) = (self.is_alarmed && !was_alarmed, self.is_withdrawn && !was_withdrawn);
        Due { recovered: false, alarm, withdraw }
    }
}

/// Refreshes the template from within the anchor thread.
pub(crate) struct TemplateRefresh {
    sink: TemplateSink,
    schedule: Schedule,
    last_error: Option<BitcoindError>,
}

impl TemplateRefresh {
    pub(crate) fn new(sink: TemplateSink, timeout: NoWorkTimeout, now: Instant) -> Self {
        let withdraw_age = Duration::from_secs(timeout.template_age_max_s().into());
        Self { schedule: Schedule::new(withdraw_age, sink.count(), now), sink, last_error: None }
    }

    /// Does what is due; to be called about once a second. A request to bitcoind takes time, so the clock is read again after
    /// it.
    pub(crate) fn tick(&mut self, bitcoind: &mut VerifiedClient, now: impl Fn() -> Instant) {
        if self.schedule.take_refresh(self.sink.count(), now()) {
            if let Err(error) = self.refresh(bitcoind) {
                debug!("template refresh failed: bitcoind {error}");
                self.last_error = Some(error);
            }
        }
        let now = now();
        let age = self.schedule.age(now);
        let due = self.schedule.due(self.sink.count(), now);
        if due.recovered {
            info!("block templates resumed");
            self.last_error = None;
        }
        if due.alarm {
            let why = self.last_error.as_ref().map_or("no error".to_owned(), |error| format!("bitcoind {error}"));
            let had_template = self.sink.count() > 0;
            let (new, work) = match (had_template, due.withdraw) {
                (false, _) => ("", "miners have no work"),
                (true, false) => ("new ", "miners are working on a stale job"),
                (true, true) => ("new ", "jobs withdrawn, miners have no work"),
            };
            error!("no {new}block template for {} s: {why} ({work})", age.as_secs());
        } else if due.withdraw {
            warn!("no new block template for {} s: jobs withdrawn, miners have no work", age.as_secs());
        }
        if due.withdraw {
            let before = self.sink.count();
            self.sink.withdraw(NoWork::NoTemplate);
            if self.sink.count() != before {
                // The withdrawal may have replaced a template that the long poll put at the same moment.
                drop(self.refresh(bitcoind));
            }
        }
    }

    /// Requests a template and puts it, unless the long poll has put one meanwhile.
    fn refresh(&self, bitcoind: &mut VerifiedClient) -> Result<(), BitcoindError> {
        for _ in 0..ATTEMPTS_MAX {
            let before = self.sink.count();
            let response = bitcoind.template(None)?;
            if self.sink.count() != before {
                break;
            }
            self.sink.put(response.template);
            if self.sink.count() == before.wrapping_add(1) {
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
