//! What the chain thread does by the clock, and how often.

use std::time::Duration;

/// How often things are done that no message brings about.
#[derive(Clone, Copy, Debug)]
pub struct Intervals {
    /// Held shares are looked at, unanswered questions asked again and refused writes tried again this often.
    pub tick: Duration,
    /// Miners get a new job this long after the last one: its time moves on, and the target eases with it.
    pub job_refresh: Duration,
    /// Shares too old for any window are forgotten this often.
    pub prune: Duration,
}

impl Default for Intervals {
    fn default() -> Self {
        Self {
            tick: Duration::from_secs(1),
            // Miners are to have it after 30 s at latest: a second for what the thread is at, and for the way to them.
            job_refresh: Duration::from_secs(29),
            prune: Duration::from_secs(300),
        }
    }
}
