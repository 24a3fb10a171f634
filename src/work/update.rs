//! The newest work for miners.

use std::sync::Arc;

use super::Job;

/// The newest work for miners.
///
/// An update may be replaced before it is read: whether older work is stale follows from the job's `prev_block`.
#[derive(Clone, Debug)]
pub enum WorkUpdate {
    Job(Arc<Job>),
    /// There is nothing to mine.
    NoWork(NoWork),
}

/// Why there is no job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoWork {
    /// bitcoind has sent no block template since this node started.
    NoTemplateYet,
    /// bitcoind has sent no block template for [`NoWorkTimeout::template_age_max_s`].
    NoTemplate,
    /// bitcoind is on another network.
    WrongNetwork,
    /// bitcoind's template is below the block height that the sharechain requires.
    BitcoindBehind,
    /// No job can be made from bitcoind's template.
    JobFailed,
    /// No peer has been found yet, and the wait before mining solo is not over.
    NoPeers,
    /// The sharechain is behind that of connected peers.
    Syncing,
    /// This machine's clock is wrong.
    ClockOff,
    /// The pool follows rules that this software does not know.
    Outdated,
    /// The chain thread has sent neither a job nor a reason for too long.
    Stalled,
}

impl NoWork {
    /// Its name in the API and in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoTemplateYet => "no_template_yet",
            Self::NoTemplate => "no_template",
            Self::WrongNetwork => "wrong_network",
            Self::BitcoindBehind => "bitcoind_behind",
            Self::JobFailed => "job_failed",
            Self::NoPeers => "no_peers",
            Self::Syncing => "syncing",
            Self::ClockOff => "clock_off",
            Self::Outdated => "outdated",
            Self::Stalled => "stalled",
        }
    }

    /// The reason, for miners and log lines.
    pub const fn text(self) -> &'static str {
        match self {
            Self::NoTemplateYet => "bitcoind has sent no block template yet",
            Self::NoTemplate => "bitcoind has sent no block template for too long",
            Self::WrongNetwork => "bitcoind is on another network",
            Self::BitcoindBehind => "bitcoind is behind the pool",
            Self::JobFailed => "bitcoind's block template cannot be used",
            Self::NoPeers => "the node is looking for peers, for a minute at most",
            Self::Syncing => "the node is syncing with its peers",
            Self::ClockOff => "the clock of the node's machine is wrong and its operator must set it",
            Self::Outdated => "the pool's rules have changed and the node's operator must update p2pool",
            Self::Stalled => "the node has made no new job for too long",
        }
    }

    /// Whether it lasts until the operator updates the software, so that miners need not wait.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Outdated)
    }
}

/// How long miners may be without valid work before they are disconnected, so that they use their backup pools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoWorkTimeout(Option<u32>);

impl NoWorkTimeout {
    /// Miners are not disconnected.
    pub const NEVER: Self = Self(None);

    /// The timeout in seconds; 0 is [`Self::NEVER`].
    pub const fn from_s(seconds: u32) -> Self {
        Self(if seconds == 0 { None } else { Some(seconds) })
    }

    /// The timeout in seconds, if there is one.
    pub const fn seconds(self) -> Option<u32> {
        self.0
    }

    /// Age in seconds at which a block template that bitcoind has not confirmed again is no longer valid work.
    pub const fn template_age_max_s(self) -> u32 {
        match self.0 {
            Some(seconds) if seconds < TEMPLATE_AGE_MAX_S => seconds,
            _ => TEMPLATE_AGE_MAX_S,
        }
    }
}

/// The mean interval between two Bitcoin blocks: an older template is most likely stale.
const TEMPLATE_AGE_MAX_S: u32 = 600;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_valid_for_ten_minutes_at_most() {
        let age_max_s = |timeout| NoWorkTimeout::from_s(timeout).template_age_max_s();
        assert_eq!((age_max_s(90), age_max_s(600), age_max_s(3_600), age_max_s(0)), (90, 600, 600, 600));
        assert_eq!(NoWorkTimeout::from_s(0), NoWorkTimeout::NEVER);
    }
}
