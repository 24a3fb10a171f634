//! The state of everything, in one document for the page: one request shows one moment.

mod chain;

use std::collections::BTreeMap;

use p2pool_core::payouts::Window;
use serde::Serialize;

use chain::ChainPart;
pub use chain::SideShares;
use p2pool_core::config::Config;

use super::miners::Miner;
use super::payouts::{amount_for, amount_without_fee, Weights};
use super::peers::Peer;
use super::state::{states, State};
use super::PayoutEntry;
use crate::found::Found;
use crate::history::{History, Point};
use crate::view::{difficulty_of, View};

/// Miners listed here; all are in `/api/miners`.
const MINERS_MAX: usize = 100;

/// The document: its parts are one flat object.
#[derive(Serialize)]
pub struct StatusDocument {
    time: u32,
    version: &'static str,
    state: State,
    problems: Vec<State>,
    #[serde(flatten)]
    chain: ChainPart,
    #[serde(flatten)]
    settings: SettingsPart,
    #[serde(flatten)]
    rates: RatesPart,
    #[serde(flatten)]
    blocks: BlocksPart,
    #[serde(flatten)]
    payouts: PayoutsPart,
    #[serde(flatten)]
    people: PeoplePart,
}

/// What the operator and the rules set, and how long the node runs with it.
#[derive(Serialize)]
struct SettingsPart {
    network: &'static str,
    chain_name: String,
    stratum_port: u16,
    p2p_port: u16,
    share_target_time_secs: u32,
    pplns_window_size: u32,
    uptime_secs: u64,
    template_age_secs: Option<u32>,
}

/// Hash rates now and in the last minutes.
#[derive(Serialize)]
struct RatesPart {
    pool_hashrate: f64,
    local_hashrate: f64,
    history: Vec<Point>,
}

/// The Bitcoin block that is mined, and the last one found.
#[derive(Serialize)]
struct BlocksPart {
    block_height: Option<u32>,
    block_difficulty: Option<f64>,
    est_time_to_block: Option<f64>,
    last_block_found_time: Option<u32>,
    last_block_found_hash: Option<String>,
    blocks_found: u64,
}

/// What that block would pay, and for what.
#[derive(Serialize)]
struct PayoutsPart {
    our_address: String,
    /// What a block found by this node now would pay our address.
    our_payout: u64,
    /// What one found by another node would.
    our_payout_without_fee: u64,
    our_weight_fraction: Option<f64>,
    coinbase_value: Option<u64>,
    coinbase_bytes: Option<usize>,
    payout_entries: Vec<PayoutEntry>,
    /// Parts of the payout window, all together 1 unless some are left out.
    miner_weights: BTreeMap<String, f64>,
    miner_weights_omitted: usize,
    /// None while it is not known.
    window_shares: Option<usize>,
}

/// This node's miners and the other nodes.
#[derive(Serialize)]
struct PeoplePart {
    miner_count: usize,
    miners: Vec<Miner>,
    shares_accepted: u64,
    shares_rejected: u64,
    our_peer_id: String,
    peer_count: usize,
    peers: Vec<Peer>,
}

/// Everything a status is made of beside the view.
pub struct StatusSources<'a> {
    /// Settings.
    pub config: &'a Config,
    /// Samples.
    pub history: &'a History,
    /// Blocks.
    pub found: &'a Found,
    /// The window that payouts come from, kept between requests.
    pub window: &'a mut Window,
    /// How long the node runs.
    pub uptime_secs: u64,
}

impl StatusDocument {
    /// Of now.
    pub fn of(view: &View, sources: StatusSources<'_>) -> Self {
        let StatusSources { config, history, found, window, uptime_secs } = sources;
        let mut problems = states(view);
        let state = problems.first().cloned().unwrap_or_else(State::ok);
        problems.retain(|state| *state != State::ok());
        Self {
            time: view.now.0,
            version: env!("CARGO_PKG_VERSION"),
            state,
            problems,
            chain: ChainPart::of(view),
            settings: SettingsPart::of(view, config, uptime_secs),
            rates: RatesPart::of(view, history),
            blocks: BlocksPart::of(view, found),
            payouts: PayoutsPart::of(view, config, window),
            people: PeoplePart::of(view),
        }
    }
}

impl SettingsPart {
    fn of(view: &View, config: &Config, uptime_secs: u64) -> Self {
        let params = view.tree().params();
        Self {
            network: params.network.name(),
            chain_name: params.chain_name.clone(),
            stratum_port: config.stratum_port,
            p2p_port: config.p2p_port,
            share_target_time_secs: params.share_period_s,
            pplns_window_size: params.payout_window,
            uptime_secs,
            template_age_secs: view.template_age_s(),
        }
    }
}

impl RatesPart {
    fn of(view: &View, history: &History) -> Self {
        Self {
            pool_hashrate: view.pool_hashes_per_s(),
            local_hashrate: view.local_hashes_per_s(),
            history: history.live(),
        }
    }
}

impl BlocksPart {
    fn of(view: &View, found: &Found) -> Self {
        let (job, last) = (view.job(), found.newest());
        Self {
            block_height: job.map(|job| job.block_height.0),
            block_difficulty: job.map(|job| difficulty_of(&job.block_target)),
            est_time_to_block: view.block_time_s(),
            last_block_found_time: last.map(|block| block.time),
            last_block_found_hash: last.map(|block| block.id.to_string()),
            blocks_found: view.metrics.blocks_found.get(),
        }
    }
}

impl PayoutsPart {
    fn of(view: &View, config: &Config, window: &mut Window) -> Self {
        let (job, network) = (view.job(), view.tree().params().network);
        let weights = Weights::of(view, window, &config.payout_script);
        Self {
            our_address: config.payout_address.clone(),
            our_payout: amount_for(view, &config.payout_script),
            our_payout_without_fee: amount_without_fee(view, &config.payout_script),
            our_weight_fraction: weights.our_fraction,
            coinbase_value: job.map(|job| job.info.coinbase_value.0),
            coinbase_bytes: job.map(|job| job.coinbase.len_bytes()),
            payout_entries: job.map(|job| PayoutEntry::list(&job.payouts, network)).unwrap_or_default(),
            miner_weights: weights.list.into_iter().map(|weight| (weight.address, weight.pct / 100.0)).collect(),
            miner_weights_omitted: weights.omitted,
            window_shares: weights.shares,
        }
    }
}

impl PeoplePart {
    fn of(view: &View) -> Self {
        let (miners, peers, counters) = (&view.miners.miners, &view.peers, &view.metrics);
        Self {
            miner_count: miners.len(),
            miners: Miner::strongest(view, MINERS_MAX),
            shares_accepted: counters.shares_accepted.get(),
            shares_rejected: counters.shares_rejected.total(),
            our_peer_id: peers.our_id.clone(),
            peer_count: peers.peers.len(),
            peers: Peer::list(peers, view.now),
        }
    }
}
