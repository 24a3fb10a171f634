//! One line every ten minutes that says how things are.

use std::time::Duration;

use p2pool_core::metrics::Metrics;
use p2pool_core::status::ChainStatus;
use p2pool_core::sync::SyncState;
use p2pool_core::units::ShareHeight;

/// How often the line is printed: often enough to see a trend, rare enough to read a week of it.
pub const STATUS_INTERVAL: Duration = Duration::from_secs(600);

/// What the line says of the sharechain.
#[derive(Clone, Copy, Debug, Default)]
pub struct ChainFigures {
    /// The tip's height, if there is a tip.
    pub tip_height: Option<ShareHeight>,
    /// Shares held.
    pub shares: usize,
    /// Whether shares wait in memory because the disk refuses them.
    pub unsaved: bool,
    /// Whether this node mines alone for want of others.
    pub alone: bool,
}

impl From<&ChainStatus> for ChainFigures {
    fn from(status: &ChainStatus) -> Self {
        let tip_height = status.tree.tip().map(|tip| tip.share.info.share_height);
        let alone = matches!(status.sync, SyncState::Solo { .. });
        Self { tip_height, shares: status.tree.len(), unsaved: status.unsaved, alone }
    }
}

/// Remembers the counts of the last line.
#[derive(Debug, Default)]
pub struct StatusLine {
    accepted: u64,
    rejected: u64,
}

impl StatusLine {
    /// The line now; `now_s` is Unix time in seconds.
    pub fn next(&mut self, counters: &Metrics, chain: ChainFigures, now_s: u64) -> String {
        let accepted = counters.shares_accepted.get();
        let rejected = counters.shares_rejected.total();
        let mut line = format!(
            "{} miners; answers since the last such line: {} accepted, {} rejected; sharechain ",
            counters.sessions.get(),
            accepted.saturating_sub(self.accepted),
            rejected.saturating_sub(self.rejected),
        );
        (self.accepted, self.rejected) = (accepted, rejected);
        line += &match chain.tip_height {
            Some(height) => format!("height {height}, {} shares held; ", chain.shares),
            None => "empty; ".to_owned(),
        };
        if chain.unsaved {
            line += "SHARES WAIT IN MEMORY, FOR THE DISK REFUSES THEM; ";
        }
        if chain.alone {
            line += "MINING ALONE, FOR NO OTHER NODE IS REACHABLE; ";
        }
        line += &match counters.template_time() {
            None => "no template yet; ".to_owned(),
            Some(time) => format!("template {} s old; ", now_s.saturating_sub(time.0.into())),
        };
        line += &format!(
            "blocks: {} found, {} accepted, {} rejected",
            counters.blocks_found.get(),
            counters.own_blocks.accepted.get(),
            counters.own_blocks.rejected.get()
        );
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_what_is_new() {
        let (counters, mut status) = (Metrics::default(), StatusLine::default());
        assert_eq!(
            status.next(&counters, ChainFigures::default(), 1_000),
            "0 miners; answers since the last such line: 0 accepted, 0 rejected; sharechain empty; no template yet; \
             blocks: 0 found, 0 accepted, 0 rejected"
        );
        let seven = ChainFigures { tip_height: Some(ShareHeight(7)), shares: 9, ..ChainFigures::default() };
        counters.sessions.set(2);
        counters.shares_accepted.inc_by(10);
        counters.shares_rejected.stale.inc_by(1);
        counters.shares_rejected.low_difficulty.inc_by(2);
        counters.template_time_s.set(990);
        counters.blocks_found.inc_by(2);
        counters.own_blocks.accepted.inc();
        counters.own_blocks.rejected.inc();
        assert_eq!(
            status.next(&counters, seven, 1_000),
            "2 miners; answers since the last such line: 10 accepted, 3 rejected; sharechain height 7, 9 shares held; \
             template 10 s old; blocks: 2 found, 1 accepted, 1 rejected"
        );
        counters.shares_accepted.inc_by(1);
        let failing = ChainFigures { unsaved: true, alone: true, ..seven };
        let line = status.next(&counters, failing, 1_000);
        assert!(line.contains("1 accepted, 0 rejected; ") && line.contains("SHARES WAIT IN MEMORY"), "{line}");
        assert!(line.contains("MINING ALONE"), "{line}");
    }
}
