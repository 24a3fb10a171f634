//! Makes a long sharechain at once, with times as the rules allow; all shares are verified.

use std::sync::Arc;

use bitcoin::consensus::deserialize;
use bitcoin::constants::genesis_block;
use bitcoin::hashes::{sha256, sha256d, Hash as _};
use p2pool_chain::store::Store;
use p2pool_core::node::{Changes, StoredShare};
use p2pool_core::params::{ChainParams, Network};
use p2pool_core::share::{PayoutScript, Share, EXTRANONCE_LEN};
use p2pool_core::sharechain::bitcoin_difficulty::PeriodStart;
use p2pool_core::sharechain::{next_share, Anchor, Effect, RecentTimes, Sharechain, Source, Tree};
use p2pool_core::units::{Bits, BlockHeight, Sats, UnixTime};
use p2pool_core::work::{make_job, Finder, Job, JobId, NextBlock, Submit, Template, TemplateTx};
use p2pool_test_bitcoind::{Bitcoind, Chain};
use p2pool_test_functional::payees;
use p2pool_test_functional::pool::Pool;
use serde_json::json;

/// Length of a header; its last four bytes are the nonce.
const HEADER_LEN: usize = 80;
/// Challenge of a signet without signatures.
const OP_TRUE: [u8; 1] = [0x51];
/// Number of miners, who take turns; more than a coinbase pays.
const MINERS: u32 = 100;
/// Transactions per block, as in a full one of mainnet: their merkle branch is 384 bytes of a share.
const TRANSACTIONS: u32 = 3_000;
/// Fee and weight of each transaction.
const FEE: Sats = Sats(1_000);
const WEIGHT: u64 = 1_000;
/// Shares per commit.
const BATCH_SHARES: usize = 1_000;

/// Returns the standard parameters of a network.
pub fn params(chain: Chain) -> ChainParams {
    match chain {
        Chain::Regtest => ChainParams::standard(Network::Regtest),
        Chain::OpTrueSignet => {
            ChainParams { signet_challenge: OP_TRUE.to_vec(), ..ChainParams::standard(Network::Signet) }
        }
    }
}

/// Writes a chain on the genesis block into a stopped node's data directory, one share per share period, the newest found at
/// `end`. A share takes two hashes on regtest, where each is a block too, and 65,536 on a signet.
pub fn write(bitcoind: &Bitcoind, node: &Pool, params: ChainParams, shares: u32, end: UnixTime) {
    let params = Arc::new(params);
    let dir = node.data_dir().join(format!("{}-{}", params.network, params.chain_id().prefix()));
    let anchor = genesis(params.network);
    let template = template(bitcoind, params.network);
    let mut tree = Tree::new(Arc::clone(&params));
    tree.add_anchor(anchor.clone());
    let mut chain = Sharechain::new(tree);
    let mut store = Store::open(&dir, &params).unwrap_or_else(|error| panic!("no store: {error}"));
    let mut batch = Changes { put_anchors: vec![anchor], ..Changes::default() };
    for number in 0..shares {
        let now = end.minus((shares - 1 - number) * params.share_period_s);
        let share = mine(&mut chain, &template, now, number);
        let effects = chain.receive(Arc::new(share), Source::Local, now);
        let tip = effects.iter().find_map(|effect| match effect {
            Effect::NewTip(id) => Some(*id),
            _ => None,
        });
        let id = tip.unwrap_or_else(|| panic!("share {number} is rejected: {effects:?}"));
        if let Some(node) = chain.tree().get(&id) {
            batch.put_shares.push(StoredShare { id, share: Arc::clone(&node.share), verified: node.verified });
        }
        batch.tip = Some(id);
        if batch.put_shares.len() >= BATCH_SHARES || number + 1 == shares {
            store.commit(&batch).unwrap_or_else(|error| panic!("commit: {error}"));
            batch = Changes::default();
        }
    }
}

/// Returns the network's genesis block.
fn genesis(network: Network) -> Anchor {
    let header = genesis_block(network.to_bitcoin()).header;
    let (time, bits) = (UnixTime(header.time), Bits(header.bits.to_consensus()));
    Anchor::new(network, header, BlockHeight(0), RecentTimes::new([time]), PeriodStart { time, bits }, bits)
}

fn template(bitcoind: &Bitcoind, network: Network) -> Arc<Template> {
    let json = bitcoind.call("getblocktemplate", json!([{ "rules": ["segwit", "signet"] }])).to_string();
    let mut template = Template::from_json(&json, network).unwrap_or_else(|error| panic!("no template: {error}"));
    let transactions: Vec<TemplateTx> = (0..TRANSACTIONS).map(transaction).collect();
    template.coinbase_value.0 += FEE.0 * u64::from(TRANSACTIONS);
    template.transactions = transactions.into();
    Arc::new(template)
}

/// Makes a transaction that consists of its ids; shares contain nothing else of it.
fn transaction(number: u32) -> TemplateTx {
    let id = sha256::Hash::hash(&number.to_le_bytes()).to_byte_array();
    TemplateTx { data: Vec::new(), txid: id, wtxid: id, fee: FEE, weight: WEIGHT, sigops_cost: 0 }
}

fn mine(chain: &mut Sharechain, template: &Arc<Template>, now: UnixTime, number: u32) -> Share {
    let script = PayoutScript::new(payees::p2tr(number % MINERS).as_bytes());
    let script = script.unwrap_or_else(|error| panic!("no payout script: {error}"));
    let block = NextBlock { height: template.height, bits: template.bits };
    let facts = next_share(chain.tree_mut(), block, now, &Finder::new(script));
    let params = Arc::clone(chain.tree().params());
    let window = chain.tree_mut().window(facts.parent, template.bits);
    let window = window.unwrap_or_else(|missing| panic!("no payouts: {missing}"));
    let job = make_job(JobId(number.into()), &params, template, &facts, now, |value| window.payouts(value, script, 0));
    solve(&job.unwrap_or_else(|error| panic!("no job: {error}")), now)
}

fn solve(job: &Job, now: UnixTime) -> Share {
    let extranonce = [9; EXTRANONCE_LEN];
    let first = Submit { extranonce, time: now.0.max(job.time.0), nonce: 0, version: job.template.version };
    let mut header = job.hash_header(&first).header;
    for nonce in 0..=u32::MAX {
        header[HEADER_LEN - 4..].copy_from_slice(&nonce.to_le_bytes());
        if job.share_target.is_met_by(&sha256d::Hash::hash(&header).to_byte_array()) {
            let header = deserialize(&header).unwrap_or_else(|error| panic!("no header: {error}"));
            return Share { header, info: job.info.clone(), extranonce, merkle_branch: job.merkle_branch.clone() };
        }
    }
    panic!("no nonce meets {:?}", job.share_target);
}
