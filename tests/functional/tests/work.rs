//! Jobs from the templates of a real bitcoind give blocks that it accepts.

use std::sync::Arc;

use bitcoin::hex::DisplayHex as _;
use bitcoin::{Block, BlockHash};
use p2pool_core::params::{ChainParams, Network};
use p2pool_core::share::coinbase::Payout;
use p2pool_core::share::{CoinbaseTag, PayoutScript};
use p2pool_core::units::{Bits, Sats};
use p2pool_core::work::{make_job, Finder, HashedHeader, Job, JobId, NextShare, Submit, Template};
use p2pool_test_bitcoind::{Bitcoind, Chain, MempoolFiller, Options};
use serde_json::{json, Value};

/// More than fits into one block.
const MEMPOOL_WEIGHT: u64 = 4_300_000;
/// Less than the weight of a coinbase with 48 outputs above the weight that bitcoind reserves, so that some transactions are
/// removed.
const TX_WEIGHT: u64 = 4_000;
/// The lowest value that bitcoind accepts.
const RESERVED_WEIGHT: &str = "-blockreservedweight=2000";

fn template(node: &Bitcoind) -> Arc<Template> {
    let text = node.call("getblocktemplate", json!([{"rules": ["segwit"]}])).to_string();
    Arc::new(Template::from_json(&text, Network::Regtest).unwrap())
}

fn p2tr(n: u8) -> PayoutScript {
    PayoutScript::new(&[&[0x51, 0x20][..], &[n; 32]].concat()).unwrap()
}

fn p2pkh(n: u8) -> PayoutScript {
    PayoutScript::new(&[&[0x76, 0xa9, 0x14][..], &[n; 20], &[0x88, 0xac]].concat()).unwrap()
}

/// Makes a job that pays one satoshi to each script, and the rest to the first.
fn job(template: &Arc<Template>, scripts: &[PayoutScript]) -> Job {
    let coinbase_tag = CoinbaseTag::new(b"functional test").unwrap();
    let facts = NextShare::genesis(Bits(0x207f_ffff), Finder { coinbase_tag, ..Finder::new(scripts[0]) });
    let payouts = |value: Sats| {
        let mut payouts: Vec<_> = scripts.iter().map(|script| Payout { script: *script, amount: Sats(1) }).collect();
        payouts[0].amount.0 = value.0 - (scripts.len() as u64 - 1);
        payouts
    };
    let chain = ChainParams::standard(Network::Regtest);
    make_job(JobId(1), &chain, template, &facts, template.cur_time, payouts).unwrap()
}

/// Solves a job for Bitcoin's target: two nonces on average.
fn solve(job: &Job) -> (Submit, HashedHeader) {
    (0..)
        .map(|nonce| Submit { extranonce: *b"functional__", time: job.time.0, nonce, version: job.template.version })
        .map(|submit| (submit, job.hash_header(&submit)))
        .find(|(_, hashed)| hashed.meets(&job.block_target))
        .unwrap()
}

/// Solves a job and submits the block to bitcoind; returns the block as bitcoind has it.
fn mine(node: &Bitcoind, job: &Job) -> Block {
    let (submit, hashed) = solve(job);
    let bytes = job.block(&hashed.header, &submit.extranonce).unwrap();
    assert_eq!(node.call("submitblock", json!([bytes.to_lower_hex_string()])), Value::Null);
    let hash: BlockHash = hashed.id().to_string().parse().unwrap();
    assert_eq!(node.tip(), hash);
    node.block(&hash)
}

#[test]
fn the_first_blocks_of_a_chain_are_accepted() {
    let node = Bitcoind::start(Chain::Regtest);
    for height in 1..=20 {
        let block = mine(&node, &job(&template(&node), &[p2tr(1)]));
        assert_eq!((node.height(), block.txdata.len()), (height, 1));
    }
}

#[test]
fn full_blocks_are_accepted_with_large_coinbases() {
    let arguments = vec![RESERVED_WEIGHT.to_owned()];
    let node = Bitcoind::start_with(Options { chain: Chain::Regtest, listen: false, arguments });
    // Twice the mempool; transactions are a little lighter than requested.
    let coins = 5 * MEMPOOL_WEIGHT / TX_WEIGHT / 2;
    let mut filler = MempoolFiller::new(&node, coins as usize);
    let many_p2tr: Vec<_> = (0..48).map(p2tr).collect();
    let many_p2pkh: Vec<_> = (0..48).map(p2pkh).collect();
    for scripts in [&many_p2tr, &many_p2pkh] {
        filler.fill(&node, MEMPOOL_WEIGHT, TX_WEIGHT);
        let template = template(&node);
        let job = job(&template, scripts);
        let kept = job.template.transactions.len();
        assert!(kept < template.transactions.len(), "the coinbase needs less weight than bitcoind reserves");

        let block = mine(&node, &job);
        assert_eq!(block.txdata.len(), kept + 1);
        let weight = block.weight().to_wu();
        assert!((4_000_000 - 2 * TX_WEIGHT..=4_000_000).contains(&weight), "the block weighs {weight}");
        let dropped: u64 = template.transactions[kept..].iter().map(|tx| tx.fee.0).sum();
        assert!(dropped > 0);
        let paid: u64 = block.txdata[0].output.iter().map(|output| output.value.to_sat()).sum();
        assert_eq!((paid, block.txdata[0].output.len()), (template.coinbase_value.0 - dropped, 49));
    }
}
