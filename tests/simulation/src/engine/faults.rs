//! What goes wrong, and the end of it.

use super::{Action, Simulation, WITHDRAWN_MS};
use crate::miner::Miner;
use crate::scenario::FaultKind;

impl Simulation {
    /// Mining ends, and everything that was broken works again.
    pub(super) fn become_quiet(&mut self) {
        self.is_quiet = true;
        self.end_partition();
        self.miners.iter_mut().for_each(Miner::lose_work);
        for bitcoind in 0..self.bitcoinds.len() {
            if !self.bitcoinds[bitcoind].is_up() || self.bitcoinds[bitcoind].lag > 0 {
                self.bitcoinds[bitcoind].come_back(&self.bitcoin, self.now_ms);
                self.best_chain_changed(bitcoind);
            }
        }
        for host in 0..self.hosts.len() {
            self.hosts[host].store.is_full = false;
            if self.hosts[host].crash_after.take().is_none() && self.hosts[host].node.is_none() {
                self.start(host);
            }
        }
    }

    pub(super) fn fault(&mut self, number: usize) {
        let now_ms = self.now_ms;
        let kind = self.scenario.faults[number].kind.clone();
        if self.is_traced {
            self.trace(0, &format!("fault: {kind:?}"));
        }
        match kind {
            FaultKind::Crash { host, after_steps, down_ms } => {
                self.hosts[host].crash_after = Some((after_steps, down_ms))
            }
            FaultKind::Restart { host, down_ms } => {
                self.stop(host, true);
                self.schedule(now_ms + down_ms, Action::Start { host });
            }
            FaultKind::DiskFull { host, for_ms } => {
                self.hosts[host].store.is_full = true;
                self.schedule(now_ms + for_ms, Action::DiskFree { host });
            }
            FaultKind::SetClock { host, by_ms } => {
                self.hosts[host].clock_set_ms += by_ms;
                self.hosts[host].clock_changed_ms = now_ms;
            }
            FaultKind::Partition { groups, for_ms } => {
                self.begin_partition(groups, for_ms);
            }
            FaultKind::MinersFail { host, for_ms } => {
                self.set_miners_down(host, true);
                self.schedule(now_ms + for_ms, Action::MinersUp { host });
            }
            FaultKind::BitcoindDown { bitcoind, for_ms, is_syncing } => {
                self.bitcoinds[bitcoind].is_syncing = is_syncing;
                self.bitcoinds[bitcoind].down_since_ms = Some(now_ms);
                self.best_chain_changed(bitcoind);
                self.schedule(now_ms + WITHDRAWN_MS, Action::TemplatesOver { bitcoind });
                self.schedule(now_ms + for_ms, Action::BitcoindUp { bitcoind });
            }
            FaultKind::BitcoindLags { bitcoind, blocks, for_ms } => {
                self.bitcoinds[bitcoind].lag = blocks;
                self.schedule(now_ms + for_ms, Action::BitcoindUp { bitcoind });
            }
            FaultKind::Reorganise { depth } => self.reorganise(depth),
            FaultKind::ForkAtShares { count } => self.forks_left = count,
            FaultKind::BitcoinPace { interval } => self.pace = interval,
            FaultKind::Vote { host, class } => self.hosts[host].settings.outputs_vote = class,
            FaultKind::Disconnect { host } => {
                let connections: Vec<usize> = self.hosts[host].peers.connections.values().copied().collect();
                if let Some(connection) = self.random.pick(&connections) {
                    self.disconnect(connection);
                }
            }
            FaultKind::Join { host } => self.start(host),
        }
    }
}
