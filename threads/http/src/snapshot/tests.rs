use bitcoin::block::{Header, Version};
use bitcoin::hashes::Hash as _;
use bitcoin::{BlockHash, CompactTarget, TxMerkleNode};
use p2pool_core::params::{ChainParams, Network};
use p2pool_core::share::{CoinbaseTag, PayoutScript, Share, ShareInfo};
use p2pool_core::units::{BlockHeight, Sats, ShareHeight, Work};

use super::*;

/// Expected hashes for regtest's easiest target.
const HASHES_PER_SHARE: f64 = 2.0;
const START: u32 = 1_700_000_000;

/// Makes a chain of shares, `spacing_s` apart. Only links and times matter here.
fn chain(count: u32, spacing_s: u32) -> Tree {
    let mut tree = Tree::new(Arc::new(ChainParams::standard(Network::Regtest)));
    let mut parent = ShareId::ZERO;
    for height in 0..count {
        let share = share(parent, height, START + height * spacing_s);
        parent = share.id();
        tree.restore(Arc::new(share), true);
    }
    tree
}

fn share(parent: ShareId, height: u32, time: u32) -> Share {
    let header = Header {
        version: Version::TWO,
        prev_blockhash: BlockHash::all_zeros(),
        merkle_root: TxMerkleNode::all_zeros(),
        time,
        bits: CompactTarget::from_consensus(0x1d00_ffff),
        nonce: height,
    };
    let info = ShareInfo {
        rules_version: 2,
        parent,
        share_bits: Bits(0x207f_ffff),
        base_bits: Bits(0x207f_ffff),
        signal: 2,
        outputs_vote: 0,
        outputs_class: 0,
        uncles: Vec::new(),
        share_height: ShareHeight(height),
        chain_work: Work(u128::from(height + 1) * 2),
        block_height: BlockHeight(1),
        coinbase_value: Sats(0),
        payout_script: PayoutScript::new(&[&[0x00, 0x14][..], &[7; 20]].concat()).unwrap(),
        witness_commitment: [0; 32],
        coinbase_tag: CoinbaseTag::default(),
    };
    Share { header, info, extranonce: [0; 12], merkle_branch: Vec::new() }
}

#[track_caller]
fn assert_rate(tree: &Tree, now: u32, expected: f64) {
    let rate = hashes_per_s(tree, UnixTime(now));
    assert!((rate - expected).abs() < 1e-9, "{rate}, expected {expected}");
}

#[test]
fn the_rate_is_work_divided_by_time() {
    // At the time of the last share: of a window of 72 shares, 71 have a known duration.
    let last = START + 199 * 30;
    assert_rate(&chain(200, 30), last, HASHES_PER_SHARE / 30.0);
    // It falls while no shares arrive.
    assert_rate(&chain(200, 30), last + 900, 71.0 * HASHES_PER_SHARE / 3_030.0);
}

#[test]
fn a_short_chain_is_measured_from_its_first_share() {
    assert_rate(&chain(0, 0), START, 0.0);
    assert_rate(&chain(1, 0), START + 10, 0.0);
    assert_rate(&chain(3, 10), START + 20, HASHES_PER_SHARE / 10.0);
    // No division by zero for equal or future timestamps.
    assert_rate(&chain(3, 0), START, 2.0 * HASHES_PER_SHARE);
    assert_rate(&chain(3, 10), START - 100, 2.0 * HASHES_PER_SHARE);
}

#[test]
fn shares_older_than_an_hour_do_not_count() {
    // One share in ten minutes: only six are of the last hour.
    let last = START + 50 * 600;
    assert_rate(&chain(51, 600), last + 1, 6.0 * HASHES_PER_SHARE / 3_600.0);
    assert_rate(&chain(51, 600), last + 7_200, 0.0);
}

#[test]
fn ids_are_parsed_as_they_are_displayed() {
    let id = chain(1, 0).tip().unwrap().id;
    assert_eq!(parse_id(&id.to_string()), Some(id));
    assert_eq!(parse_id(&id.to_string().to_uppercase()), Some(id));
    let shown = id.to_string();
    for text in ["", "00", &shown[1..], &format!("{shown}0"), &shown.replacen('0', "+", 1), &"\u{e4}".repeat(32)] {
        assert_eq!(parse_id(text), None, "{text}");
    }
}
