//! What tests of several crates share.

use std::path::PathBuf;
use std::sync::Arc;

use bitcoin::blockdata::constants::genesis_block;

use crate::config::{Config, RpcAuth, WebBind};
use crate::params::{ChainParams, Network};
use crate::share::{CoinbaseTag, PayoutScript, EXTRANONCE_LEN};
use crate::sharechain::bitcoin_difficulty::PeriodStart;
use crate::sharechain::{Anchor, RecentTimes};
use crate::status::{MinerStatus, Rejections};
use crate::stratum::NamedAddress;
use crate::units::{Bits, BlockHeight, UnixTime};
use crate::work::{FoundShare, Job, NoWorkTimeout, Submit, Template};

/// A chain with short windows, whose shares are easy to find.
pub fn params() -> ChainParams {
    ChainParams { share_period_s: 1, payout_window: 12, retarget_window: 6, ..ChainParams::standard(Network::Regtest) }
}

/// The template of the first block on regtest, as bitcoind made it.
pub fn template() -> Arc<Template> {
    let text = include_str!("../tests/vectors/templates/regtest-height-1.json");
    Arc::new(Template::from_json(text, Network::Regtest).expect("a recorded template"))
}

/// The block that it builds on.
pub fn anchor() -> Anchor {
    let header = genesis_block(bitcoin::Network::Regtest).header;
    let (time, bits) = (UnixTime(header.time), Bits(0x207f_ffff));
    let period_start = PeriodStart { time, bits };
    Anchor::new(Network::Regtest, header, BlockHeight(0), RecentTimes::new([time]), period_start, bits)
}

/// A header that meets a job's share target.
pub fn solve(job: &Arc<Job>, time: UnixTime, extranonce: u8) -> FoundShare {
    let extranonce = [extranonce; EXTRANONCE_LEN];
    (0..)
        .find_map(|nonce| {
            let version = job.template.version;
            let hashed = job.hash_header(&Submit { extranonce, time: time.0, nonce, version });
            let found = FoundShare { job: Arc::clone(job), header: hashed.header, hash: hashed.hash, extranonce };
            job.share_target.is_met_by(&hashed.hash).then_some(found)
        })
        .expect("some nonce meets it")
}

impl MinerStatus {
    /// Returns a session without a name that has done nothing.
    pub fn for_tests() -> Self {
        Self {
            worker: "".into(),
            user_agent: "tester".into(),
            connected_since: UnixTime(0),
            difficulty: 1.0,
            hashes_per_s: 0.0,
            accepted: 0,
            rejected: Rejections::default(),
            last_share: None,
            best_difficulty: 0.0,
            credited: 0.0,
            silent_s: None,
            named_address: NamedAddress::None,
            coinbase_too_large: false,
        }
    }
}

impl Config {
    /// Returns settings for tests: free ports, no peers, no bitcoind.
    pub fn for_tests(params: ChainParams, chain_dir: impl Into<PathBuf>) -> Self {
        let payout_script = PayoutScript::new(&[&[0x00, 0x14][..], &[7; 20]].concat()).expect("P2WPKH");
        Self {
            payout_address: payout_script.to_address(params.network),
            payout_script,
            coinbase_tag: CoinbaseTag::default(),
            outputs_vote: None,
            rpc_host: "127.0.0.1".to_owned(),
            rpc_port: 1,
            rpc_auth: RpcAuth::CookieFiles(Vec::new()),
            stratum_bind: None,
            stratum_port: 0,
            start_difficulty: 1.0,
            max_sessions: 1_000,
            // Most tests have miners before they have work.
            no_work_timeout: NoWorkTimeout::NEVER,
            web_bind: WebBind::MinersPort,
            web_hosts: Vec::new(),
            p2p_port: 0,
            bootnodes: Vec::new(),
            mdns: false,
            upnp: false,
            p2p_bind: None,
            external_addresses: Vec::new(),
            added_peers: Vec::new(),
            proxy: None,
            dht_server: false,
            max_inbound: 80,
            max_outbound: 10,
            max_upload_per_s: 1_000_000,
            chain_dir: chain_dir.into(),
            params,
        }
    }
}
