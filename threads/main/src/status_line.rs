//! A log line every ten minutes with the state of the node.

use std::time::Duration;

use p2pool_core::metrics::Metrics;
use p2pool_core::share::PayoutScript;
use p2pool_core::status::{ChainStatus, MinersStatus};
use p2pool_core::sync::SyncState;
use p2pool_core::units::ShareHeight;

/// Interval between two status lines.
pub const STATUS_INTERVAL: Duration = Duration::from_secs(600);

/// What the line shows of the published states.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    /// Height of the tip; `None` if the sharechain is empty.
    pub tip_height: Option<ShareHeight>,
    /// Number of shares in the main chain that is kept.
    pub shares: usize,
    /// How many of them pay this node's address.
    pub own_shares: usize,
    /// Hashes per second of this node's miners.
    pub hashes_per_s: f64,
    /// Whether shares wait in memory because the store cannot be written.
    pub is_unsaved: bool,
    /// Whether this node mines solo because it has no peers.
    pub is_solo: bool,
}

impl Figures {
    /// Takes them from what the chain and the stratum thread have published.
    pub fn new(chain: &ChainStatus, miners: &MinersStatus, own: &PayoutScript) -> Self {
        let main = chain.tree.main_chain();
        Self {
            tip_height: chain.tree.tip().map(|tip| tip.share.info.share_height),
            shares: main.len(),
            own_shares: main.iter().filter(|share| share.share.info.payout_script == *own).count(),
            hashes_per_s: miners.hashes_per_s(),
            is_unsaved: chain.unsaved,
            is_solo: matches!(chain.sync, SyncState::Solo { .. }),
        }
    }
}

/// Makes the lines; remembers the counts of the last one.
#[derive(Debug, Default)]
pub struct StatusLine {
    accepted: u64,
    rejected: u64,
}

impl StatusLine {
    /// Returns the next line; `now_s` is Unix time in seconds.
    pub fn next(&mut self, metrics: &Metrics, figures: Figures, now_s: u64) -> String {
        let accepted = metrics.shares_accepted.get();
        let rejected = metrics.shares_rejected.total();
        let mut line = format!(
            "{} miners, {}; {} submits accepted and {} rejected in {} min; ",
            metrics.sessions.get(),
            hash_rate(figures.hashes_per_s),
            accepted.saturating_sub(self.accepted),
            rejected.saturating_sub(self.rejected),
            STATUS_INTERVAL.as_secs() / 60,
        );
        (self.accepted, self.rejected) = (accepted, rejected);
        line += &match figures.tip_height {
            Some(height) => {
                let Figures { shares, own_shares, .. } = figures;
                format!("sharechain at height {height}, {own_shares} of its last {shares} shares are ours; ")
            }
            None => "sharechain empty; ".to_owned(),
        };
        if figures.is_unsaved {
            line += "SHARE STORE NOT WRITABLE, SHARES WAIT IN MEMORY; ";
        }
        if figures.is_solo {
            line += "MINING SOLO, NO PEER REACHABLE; ";
        }
        line += &match metrics.template_time() {
            None => "no block template yet; ".to_owned(),
            Some(time) => format!("block template {} s old; ", now_s.saturating_sub(time.0.into())),
        };
        line += &format!(
            "blocks: {} found, {} accepted, {} rejected",
            metrics.blocks_found.get(),
            metrics.own_blocks.accepted.get(),
            metrics.own_blocks.rejected.get()
        );
        line
    }
}

/// Formats a hash rate with three digits.
pub fn hash_rate(hashes_per_s: f64) -> String {
    let (mut value, mut unit) = (hashes_per_s, "H/s");
    for larger in ["kH/s", "MH/s", "GH/s", "TH/s", "PH/s", "EH/s"] {
        if value < 1_000.0 {
            break;
        }
        (value, unit) = (value / 1_000.0, larger);
    }
    let decimals = match value {
        value if value >= 100.0 || unit == "H/s" => 0,
        value if value >= 10.0 => 1,
        _ => 2,
    };
    format!("{value:.decimals$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn submits_are_counted_since_the_last_line() {
        let (metrics, mut status) = (Metrics::default(), StatusLine::default());
        assert_eq!(
            status.next(&metrics, Figures::default(), 1_000),
            "0 miners, 0 H/s; 0 submits accepted and 0 rejected in 10 min; sharechain empty; no block template yet; blocks: \
             0 found, 0 accepted, 0 rejected"
        );
        let tip_height = Some(ShareHeight(7));
        let seven = Figures { tip_height, shares: 8, own_shares: 3, hashes_per_s: 1.25e12, ..Figures::default() };
        metrics.sessions.set(2);
        metrics.shares_accepted.inc_by(10);
        metrics.shares_rejected.stale.inc_by(1);
        metrics.shares_rejected.low_difficulty.inc_by(2);
        metrics.template_time_s.set(990);
        metrics.blocks_found.inc_by(2);
        metrics.own_blocks.accepted.inc();
        metrics.own_blocks.rejected.inc();
        assert_eq!(
            status.next(&metrics, seven, 1_000),
            "2 miners, 1.25 TH/s; 10 submits accepted and 3 rejected in 10 min; sharechain at height 7, 3 of its last 8 shares \
             are ours; block template 10 s old; blocks: 2 found, 1 accepted, 1 rejected"
        );
        metrics.shares_accepted.inc_by(1);
        let failing = Figures { is_unsaved: true, is_solo: true, ..seven };
        let line = status.next(&metrics, failing, 1_000);
        assert!(line.contains("1 submits accepted and 0 rejected") && line.contains("SHARES WAIT IN MEMORY"), "{line}");
        assert!(line.contains("MINING SOLO"), "{line}");
    }

    #[test]
    fn hash_rates_have_three_digits() {
        for (rate, text) in [
            (0.0, "0 H/s"),
            (999.0, "999 H/s"),
            (1_000.0, "1.00 kH/s"),
            (12_345.0, "12.3 kH/s"),
            (1.2e12, "1.20 TH/s"),
            (987.6e12, "988 TH/s"),
            (3e21, "3000 EH/s"),
        ] {
            assert_eq!(hash_rate(rate), text);
        }
    }
}
