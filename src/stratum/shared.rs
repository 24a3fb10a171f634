//! The state that all sessions share.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::difficulty::Difficulty;
use super::extranonces::Extranonces;
use super::firmware_work::FirmwareWork;
use super::job_table::{CurrentJob, JobTable};
use super::limits::Limits;
use super::seen_hashes::SeenHashes;
use super::user_agents::FirmwareId;
use super::user_name::NamedAddress;
use super::work_gate::WorkGate;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::params::{ChainParams, Network};
use crate::share::PayoutScript;
use crate::work::{Job, NoWork, NoWorkTimeout, WorkUpdate};

/// Number of recent blocks whose hashes are remembered. On real networks all miners together find one in ten minutes.
const RECENT_BLOCKS_MAX: usize = 64;

/// Number of addresses in user names that are remembered; each worker of a farm may have one.
const ADDRESS_WARNINGS_MAX: usize = 64;

/// A change of work that every session must be notified of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fanout {
    /// There is a new job; `clean` makes older work stale.
    Job { clean: bool },
    /// There is no job.
    NoWork(NoWork),
}

/// The state that all sessions share.
#[derive(Debug)]
pub struct SharedState {
    pub limits: Limits,
    pub(super) start_difficulty: Difficulty,
    pub jobs: JobTable,
    pub(super) seen: SeenHashes,
    pub(super) extranonces: Extranonces,
    pub(super) metrics: Arc<Metrics>,
    /// Whether miners are let in.
    pub gate: WorkGate,
    pub(super) recent_blocks: RecentBlocks,
    /// The work of the last day by firmware.
    pub firmware_work: FirmwareWork,
    pub(super) coinbase_warnings: CoinbaseWarnings,
    pub(super) address_warnings: AddressWarnings,
    pub(super) payee: Option<Payee>,
    network: Network,
}

impl SharedState {
    /// Starts without jobs and sessions. Extranonces are counted from `first_extranonce`, which should be random. Miners are let
    /// in without work, and addresses in their user names are not judged, unless [`Self::with_config`] says otherwise.
    pub fn new(
        params: &ChainParams,
        start_difficulty: Difficulty,
        limits: Limits,
        first_extranonce: u32,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            limits,
            start_difficulty,
            jobs: JobTable::default(),
            seen: SeenHashes::new(),
            extranonces: Extranonces::new(first_extranonce),
            metrics,
            gate: WorkGate::new(NoWorkTimeout::NEVER),
            recent_blocks: RecentBlocks::default(),
            firmware_work: FirmwareWork::new(params),
            coinbase_warnings: CoinbaseWarnings::default(),
            address_warnings: AddressWarnings::default(),
            payee: None,
            network: params.network,
        }
    }

    /// Takes the operator's settings.
    pub fn with_config(self, config: &Config) -> Self {
        Self { gate: WorkGate::new(config.no_work_timeout), payee: Some(Payee::new(config)), ..self }
    }

    /// Processes new work; every session must then be stepped with the returned change.
    pub fn update(&mut self, update: WorkUpdate) -> Fanout {
        match update {
            WorkUpdate::Job(job) => {
                let clean = self.jobs.is_new_tip(&job);
                let ceiling = self.ceiling(&job);
                self.jobs.announce(CurrentJob { job, ceiling });
                self.gate.open();
                Fanout::Job { clean }
            }
            WorkUpdate::NoWork(why) => {
                self.jobs.withdraw();
                self.gate.withdraw(why);
                Fanout::NoWork(why)
            }
        }
    }

    /// The greatest difficulty with which miners submit every share and, except on regtest, every block.
    ///
    /// On regtest nearly every hash is a block, so receiving all blocks would need a submit for every hash.
    fn ceiling(&self, job: &Job) -> Difficulty {
        match self.network {
            Network::Regtest => Difficulty::at_most(&job.share_target),
            _ => Difficulty::at_most(&job.share_target.max(job.block_target)),
        }
    }
}

/// The hashes of recent blocks, so that a miner that repeats a submit does not fill the submit queue.
#[derive(Debug, Default)]
pub(super) struct RecentBlocks {
    hashes: Vec<[u8; 32]>,
    next: usize,
}

impl RecentBlocks {
    /// Remembers the hash of a block; false if it is a recent one.
    pub(super) fn insert(&mut self, hash: &[u8; 32]) -> bool {
        if self.hashes.contains(hash) {
            return false;
        }
        match self.hashes.get_mut(self.next) {
            Some(oldest) => *oldest = *hash,
            None => self.hashes.push(*hash),
        }
        self.next = (self.next + 1) % RECENT_BLOCKS_MAX;
        true
    }
}

/// The firmware whose coinbase limit was reported as exceeded, with the class of payout outputs in force then.
#[derive(Debug, Default)]
pub(super) struct CoinbaseWarnings(BTreeMap<FirmwareId, u8>);

impl CoinbaseWarnings {
    /// Whether to report a firmware: once under each class.
    pub(super) fn is_due(&mut self, firmware: FirmwareId, outputs_class: u8) -> bool {
        self.0.insert(firmware, outputs_class) != Some(outputs_class)
    }
}

/// Whom this node's miners work for.
#[derive(Debug)]
pub(super) struct Payee {
    pub(super) address: Arc<str>,
    script: PayoutScript,
    network: Network,
}

impl Payee {
    fn new(config: &Config) -> Self {
        let Config { payout_address, payout_script, params, .. } = config;
        Self { address: payout_address.as_str().into(), script: *payout_script, network: params.network }
    }

    /// The address at the start of a user name.
    pub(super) fn named_address(&self, user_name: &str) -> NamedAddress {
        NamedAddress::of(user_name, &self.script, self.network)
    }
}

/// The addresses in user names of which the operator was warned.
#[derive(Debug, Default)]
pub(super) struct AddressWarnings(BTreeSet<Box<str>>);

impl AddressWarnings {
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether to warn of an address: once, as long as there are not too many.
    pub(super) fn is_due(&mut self, address: &str) -> bool {
        if self.0.contains(address) {
            return false;
        }
        if self.0.len() >= ADDRESS_WARNINGS_MAX {
            self.0.clear();
        }
        self.0.insert(address.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recent_block_is_known_and_their_number_is_bounded() {
        let mut recent = RecentBlocks::default();
        let hash = |number: u8| [number; 32];
        for number in 0..200 {
            assert!(recent.insert(&hash(number)));
            assert!(!recent.insert(&hash(number)));
            assert!(!recent.insert(&hash(number.saturating_sub(60))));
        }
        assert_eq!(recent.hashes.len(), RECENT_BLOCKS_MAX);
    }
}
