//! `/api/v1/status`: the whole state of the node in one document, so one request of the page shows one moment.

mod chain;

use std::collections::BTreeMap;

use p2pool_core::config::Config;
use p2pool_core::payouts::Window;
use serde::Serialize;

use chain::ChainPart;
pub use chain::SideShares;

use super::bans::Ban;
use super::chain_fit::ChainFit;
use super::miners::{Gone, Miner, NoWork, Troubled};
use super::notice::{notices, Notice};
use super::outputs::PayoutOutputs;
use super::payouts::PayoutsDocument;
use super::peers::{Peer, Reach};
use super::rules::RulesVersions;
use super::PayoutEntry;
use crate::block_log::BlockLog;
use crate::history::{History, Point};
use crate::snapshot::{difficulty_of, Snapshot};

/// Most miners in the document, connected and gone ones each; `/api/v1/miners` lists all.
const MINERS_MAX: usize = 100;
/// Most bans in the document; `/api/v1/bans` lists all.
const BANS_MAX: usize = 20;

/// The whole state of the node, as one flat object.
#[derive(Serialize)]
pub struct StatusDocument {
    time: u32,
    version: &'static str,
    state: Notice,
    problems: Vec<Notice>,
    no_work: Option<NoWork>,
    #[serde(flatten)]
    chain: ChainPart,
    rules: RulesVersions,
    network: &'static str,
    chain_name: String,
    stratum_port: u16,
    p2p_port: u16,
    share_target_time_secs: u32,
    pplns_window_size: u32,
    uptime_secs: u64,
    template_age_secs: Option<u32>,
    pool_hashrate: f64,
    local_hashrate: f64,
    /// Hash rates in the last minutes.
    history: Vec<Point>,
    /// The Bitcoin block that is being mined, and the last one found.
    block_height: Option<u32>,
    block_difficulty: Option<f64>,
    est_time_to_block: Option<f64>,
    last_block_found_time: Option<u32>,
    last_block_found_hash: Option<String>,
    blocks_found: u64,
    /// The payouts of that block, as in [`PayoutsDocument`] under other names.
    our_address: String,
    our_payout: u64,
    our_payout_without_fee: u64,
    our_weight_fraction: Option<f64>,
    coinbase_value: Option<u64>,
    coinbase_bytes: Option<usize>,
    payout_outputs: PayoutOutputs,
    payout_entries: Vec<PayoutEntry>,
    /// Fractions of the work in the payout window by address; their sum is 1 unless some are omitted.
    miner_weights: BTreeMap<String, f64>,
    miner_weights_omitted: usize,
    window_shares: Option<usize>,
    chain_fit: ChainFit,
    miner_count: usize,
    silent_count: usize,
    miners: Vec<Miner>,
    gone_count: usize,
    gone_miners: Vec<Gone>,
    shares_accepted: u64,
    shares_rejected: u64,
    our_peer_id: String,
    peer_count: usize,
    reach: Reach,
    peers: Vec<Peer>,
    ban_count: usize,
    bans: Vec<Ban>,
}

/// Sources of the status besides the snapshot.
pub struct StatusSources<'a> {
    pub config: &'a Config,
    pub history: &'a History,
    pub block_log: &'a BlockLog,
    /// The payout window, reused between requests.
    pub window: &'a mut Window,
    /// Time since the node started.
    pub uptime_secs: u64,
}

impl StatusDocument {
    pub fn new(snapshot: &Snapshot, sources: StatusSources<'_>) -> Self {
        let StatusSources { config, history, block_log, window, uptime_secs } = sources;
        let mut problems = notices(snapshot);
        let state = problems.first().cloned().unwrap_or_else(Notice::ok);
        problems.retain(|notice| *notice != Notice::ok());
        let payouts = PayoutsDocument::new(snapshot, window, config);
        let weights = payouts.weights.into_iter();
        let troubled = Troubled::count(snapshot);
        let (params, job, last) = (snapshot.tree().params(), snapshot.job(), block_log.newest());
        let (miners, peers, metrics) = (&snapshot.miners.miners, &snapshot.peers, &snapshot.metrics);
        Self {
            time: snapshot.now.0,
            version: env!("CARGO_PKG_VERSION"),
            state,
            problems,
            no_work: snapshot.miners.no_work.as_ref().map(NoWork::new),
            chain: ChainPart::new(snapshot),
            rules: RulesVersions::new(snapshot),
            network: params.network.name(),
            chain_name: params.chain_name.clone(),
            stratum_port: config.stratum_port,
            p2p_port: config.p2p_port,
            share_target_time_secs: params.share_period_s,
            pplns_window_size: params.payout_window,
            uptime_secs,
            template_age_secs: snapshot.template_age_s(),
            pool_hashrate: snapshot.pool_hashes_per_s(),
            local_hashrate: snapshot.local_hashes_per_s(),
            history: history.live(),
            block_height: job.map(|job| job.template.height.0),
            block_difficulty: job.map(|job| difficulty_of(&job.block_target)),
            est_time_to_block: snapshot.block_time_s(),
            last_block_found_time: last.map(|block| block.time),
            last_block_found_hash: last.map(|block| block.id.to_string()),
            blocks_found: metrics.blocks_found.get(),
            our_address: payouts.our_address,
            our_payout: payouts.our_amount,
            our_payout_without_fee: payouts.our_amount_without_fee,
            our_weight_fraction: payouts.our_weight_fraction,
            coinbase_value: payouts.coinbase_value,
            coinbase_bytes: payouts.coinbase_bytes,
            payout_outputs: payouts.payout_outputs,
            payout_entries: payouts.payout_entries,
            miner_weights: weights.map(|weight| (weight.address, weight.pct / 100.0)).collect(),
            miner_weights_omitted: payouts.weights_omitted,
            window_shares: payouts.window_shares,
            chain_fit: ChainFit::new(snapshot, payouts.window_shares),
            miner_count: miners.len(),
            silent_count: troubled.silent,
            miners: Miner::list(snapshot, MINERS_MAX),
            gone_count: troubled.gone,
            gone_miners: Gone::list(snapshot, MINERS_MAX),
            shares_accepted: metrics.shares_accepted.get(),
            shares_rejected: metrics.shares_rejected.total(),
            our_peer_id: peers.our_id.clone(),
            peer_count: peers.peers.len(),
            reach: Reach::new(&peers.reach),
            peers: Peer::list(peers, snapshot.now),
            ban_count: peers.bans.len(),
            bans: Ban::list(&peers.bans, BANS_MAX, snapshot.now),
        }
    }
}
