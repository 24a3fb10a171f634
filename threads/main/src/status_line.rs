//! A log line every ten minutes with the state of the node.

use std::time::Duration;

use p2pool_core::metrics::Metrics;
use p2pool_core::status::ChainStatus;
use p2pool_core::sync::SyncState;
use p2pool_core::units::ShareHeight;

/// Interval between two status lines.
pub const STATUS_INTERVAL: Duration = Duration::from_secs(600);

/// State of the sharechain, as the line shows it.
#[derive(Clone, Copy, Debug, Default)]
pub struct ChainFigures {
    /// Height of the tip; `None` if the sharechain is empty.
    pub tip_height: Option<ShareHeight>,
    /// Number of shares in the sharechain.
    pub shares: usize,
    /// Whether shares wait in memory because the store cannot be written.
    pub is_unsaved: bool,
    /// Whether this node mines solo because it has no peers.
    pub is_solo: bool,
}

impl From<&ChainStatus> for ChainFigures {
    fn from(status: &ChainStatus) -> Self {
        let tip_height = status.tree.tip().map(|tip| tip.share.info.share_height);
        let is_solo = matches!(status.sync, SyncState::Solo { .. });
        Self { tip_height, shares: status.tree.len(), is_unsaved: status.unsaved, is_solo }
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
    pub fn next(&mut self, metrics: &Metrics, chain: ChainFigures, now_s: u64) -> String {
        let accepted = metrics.shares_accepted.get();
        let rejected = metrics.shares_rejected.total();
        let mut line = format!(
            "{} miners; submits since the last status line: {} accepted, {} rejected; sharechain ",
            metrics.sessions.get(),
            accepted.saturating_sub(self.accepted),
            rejected.saturating_sub(self.rejected),
        );
        (self.accepted, self.rejected) = (accepted, rejected);
        line += &match chain.tip_height {
            Some(height) => format!("height {height}, {} shares; ", chain.shares),
            None => "empty; ".to_owned(),
        };
        if chain.is_unsaved {
            line += "SHARE STORE NOT WRITABLE, SHARES WAIT IN MEMORY; ";
        }
        if chain.is_solo {
            line += "MINING SOLO, NO PEER REACHABLE; ";
        }
        line += &match metrics.template_time() {
            None => "no template yet; ".to_owned(),
            Some(time) => format!("template age {} s; ", now_s.saturating_sub(time.0.into())),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn submits_are_counted_since_the_last_line() {
        let (metrics, mut status) = (Metrics::default(), StatusLine::default());
        assert_eq!(
            status.next(&metrics, ChainFigures::default(), 1_000),
            "0 miners; submits since the last status line: 0 accepted, 0 rejected; sharechain empty; no template yet; \
             blocks: 0 found, 0 accepted, 0 rejected"
        );
        let seven = ChainFigures { tip_height: Some(ShareHeight(7)), shares: 9, ..ChainFigures::default() };
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
            "2 miners; submits since the last status line: 10 accepted, 3 rejected; sharechain height 7, 9 shares; \
             template age 10 s; blocks: 2 found, 1 accepted, 1 rejected"
        );
        metrics.shares_accepted.inc_by(1);
        let failing = ChainFigures { is_unsaved: true, is_solo: true, ..seven };
        let line = status.next(&metrics, failing, 1_000);
        assert!(line.contains("1 accepted, 0 rejected; ") && line.contains("SHARES WAIT IN MEMORY"), "{line}");
        assert!(line.contains("MINING SOLO"), "{line}");
    }
}
