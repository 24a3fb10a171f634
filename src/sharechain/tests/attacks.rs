//! The attacks of the rules' section 8 that concern the sharechain and have no test in the other files.

use bitcoin::consensus::deserialize;

use super::support::{assert_breaks, grind, script, TestNode};
use crate::params::{ChainParams, Network};
use crate::share::{Share, ShareId};
use crate::sharechain::{Rule, Verdict};
use crate::units::{Bits, Sats, Work};

#[test]
fn a_header_stolen_with_another_address_is_rejected() {
    let mut node = TestNode::with_chain(10);
    let mut stolen = node.next();
    stolen.info.payout_script = script(66);
    assert_breaks(&node.give(&stolen), Rule::Payouts);
}

#[test]
fn real_bitcoin_headers_replayed_as_shares_are_rejected() {
    // Bitcoin's genesis block, and block 1, as genesis shares of a chain with mainnet's easiest target.
    for hex in [
        "0100000000000000000000000000000000000000000000000000000000000000000000003ba3edfd7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4a29ab5f49ffff001d1dac2b7c",
        "010000006fe28c0ab6f1b372c1a6a246ae63f74f931e8365e15a089c68d6190000000000982051fd1e4ba744bbbe680e1fee14677ba1a3c3540bf7b1cdb606e857233e0e61bc6649ffff001d01e36299",
    ] {
        let mut node = TestNode::new();
        let bytes = <Vec<u8> as bitcoin::hex::FromHex>::from_hex(hex).unwrap();
        let mut share = node.next();
        share.header = deserialize(&bytes).unwrap();
        // Their version is too low.
        assert_breaks(&node.give(&share), Rule::Form);
    }
    // A later header passes rules 1 to 7 if its facts are copied, but it commits to no share.
    let mut node = TestNode::with_chain(10);
    let mut replayed = node.next();
    replayed.header.merkle_root = node.next().header.merkle_root;
    replayed.extranonce = [0xee; 12];
    assert_breaks(&node.give(&grind(replayed)), Rule::Payouts);
}

#[test]
fn a_share_of_one_chain_is_rejected_by_another() {
    let garage = ChainParams { chain_name: "garage".into(), ..super::support::params() };
    let mut theirs = TestNode::with(garage);
    let genesis = theirs.next();
    assert_breaks(&TestNode::new().give(&genesis), Rule::Payouts);
    assert_eq!(theirs.give(&genesis), Verdict::Accepted);
}

#[test]
fn one_proof_of_work_makes_one_share() {
    let mut node = TestNode::with_chain(10);
    let share = node.next();
    assert_eq!(node.give(&share), Verdict::Accepted);
    let mut again = share.clone();
    again.info.uncles.push(ShareId([1; 32]));
    assert_eq!(node.give(&again), Verdict::Known);
    again = share;
    again.info.parent = ShareId::ZERO;
    assert_eq!(node.give(&again), Verdict::Known);
}

#[test]
fn false_bits_to_fake_a_found_block_are_rejected() {
    let mut node = TestNode::with_chain(10);
    let tip = node.tip();
    let share = node.edited(&tip, |share| share.header.bits = bitcoin::CompactTarget::from_consensus(0x2100_ffff));
    assert_breaks(&node.give(&share), Rule::Anchor);
}

#[test]
fn an_invented_previous_block_is_never_accepted() {
    let mut node = TestNode::with_chain(10);
    let tip = node.tip();
    let invented: bitcoin::BlockHash = bitcoin::hashes::Hash::from_byte_array([0xab; 32]);
    let share = node.edited(&tip, |share| share.header.prev_blockhash = invented);
    assert_eq!(node.give(&share), Verdict::Deferred);
    assert_eq!(node.chain.tree().len(), 10);
    let given_up = node.chain.tick(node.now.plus(601));
    assert_eq!(super::support::verdict_on(&given_up, &share), Verdict::Dropped);
}

#[test]
fn uncle_work_does_not_inflate_a_branch() {
    let mut node = TestNode::with_chain(9);
    let parent = node.tip();
    for miner in 1..=4 {
        node.miner = script(miner);
        let share = node.on(&parent);
        assert_eq!(node.give(&share), Verdict::Accepted);
    }
    let nephew = node.next();
    assert_eq!(nephew.info.uncles.len(), 3);
    assert_eq!(nephew.info.chain_work, Work(2 * 11));
    let tip = node.tip();
    let inflated = node.edited(&tip, |share| share.info.chain_work = Work(2 * 14));
    assert_breaks(&node.give(&inflated), Rule::Lineage);
    assert_eq!(node.give(&nephew), Verdict::Accepted);
}

#[test]
fn the_draw_does_not_move_with_value_or_finder() {
    // Many small payees, few outputs: who wins tickets depends on the parent alone.
    let mut node =
        TestNode::with(ChainParams { payout_outputs: [8; 4], payout_window: 60, ..super::support::params() });
    for miner in 1..=50 {
        node.miner = script(miner);
        node.extend(1);
    }
    let (tip, bits) = (node.tip(), super::support::BITS);
    let mut winners = |value: u64, finder: u8| {
        let payouts = node.chain.tree_mut().window(tip, bits).unwrap().payouts(Sats(value), script(finder), 0);
        let mut scripts: Vec<_> =
            payouts.iter().map(|payout| payout.script).filter(|script| *script != self::script(finder)).collect();
        scripts.sort();
        scripts
    };
    let first = winners(5_000_000_000, 200);
    assert_eq!(first.len(), 7);
    for value in [5_000_000_001, 5_000_123_456, 5_100_000_000] {
        assert_eq!(winners(value, 200), first);
        assert_eq!(winners(value, 201), first);
    }
}

#[test]
fn a_parser_bomb_is_refused_by_its_first_wrong_byte() {
    let bytes = TestNode::with_chain(1).next().encode();
    for length in [0xfcu8, 0xfd, 0xfe, 0xff] {
        let mut bomb = bytes.clone();
        bomb[80 + 44] = length;
        assert!(Share::decode(&bomb).is_err());
    }
    assert!(Share::decode(&[&bytes[..], &[0; 4_000]].concat()).is_err());
}

#[test]
fn share_bits_cannot_be_chosen() {
    let mut node = TestNode::with_chain(10);
    let tip = node.tip();
    let share = node.edited(&tip, |share| {
        share.info.share_bits = Bits(0x2000_ffff);
        share.info.chain_work.0 += share.info.share_bits.target().unwrap().work().unwrap().0 - 2;
    });
    assert_breaks(&node.give(&share), Rule::Lineage);
}

/// Twenty shares with ever more work, of which the last was as much as 16 times harder than the one six before, once replaced
/// two hundred shares: one lucky share was enough.
#[test]
fn a_private_ramp_removes_no_honest_shares() {
    let params = ChainParams { payout_window: 400, ..ChainParams::standard(Network::Regtest) };
    let mut honest = TestNode::with(params);
    let grow = |node: &mut TestNode, shares: u32, period_s: u32| {
        for _ in 0..shares {
            node.now = node.now.plus(period_s);
            let share = node.next();
            assert_eq!(node.give(&share), Verdict::Accepted);
        }
    };
    grow(&mut honest, 22, 1);
    grow(&mut honest, 150, 30);
    let mut private = TestNode::following(&honest, &honest.main_shares());
    private.miner = script(66);
    let fork = honest.chain.tree().tip().unwrap();
    let (fork_time, fork_work, own_work) = (fork.time(), fork.share.info.chain_work.0, fork.work.0);
    grow(&mut honest, 200, 30);
    let (tip, tip_work) = (honest.tip(), honest.chain.tree().tip().unwrap().share.info.chain_work.0);
    // The first share is dated ahead, so that it is eased below a quarter; all are in the past when they are published.
    private.now = fork_time.plus(3_000);
    let mut hardest = 0;
    for _ in 0..20 {
        let share = private.next();
        assert_eq!(private.give(&share), Verdict::Accepted);
        hardest = hardest.max(private.chain.tree().tip().unwrap().work.0);
        private.now = private.now.plus(1);
        honest.give(&share);
        assert_eq!(honest.tip(), tip);
    }
    assert!(hardest <= 5 * own_work, "{hardest} hashes, an honest share has {own_work}");
    let private_work = private.chain.tree().tip().unwrap().share.info.chain_work.0 - fork_work;
    assert!(2 * private_work < tip_work - fork_work, "{private_work} of {}", tip_work - fork_work);
    // On and on, it takes the work of the two hundred, in shares that each are at most four times as hard.
    let mut shares = 20;
    while private.chain.tree().tip().unwrap().share.info.chain_work.0 <= tip_work {
        grow(&mut private, 1, 1);
        shares += 1;
        hardest = hardest.max(private.chain.tree().tip().unwrap().work.0);
        assert!(shares < 72 || hardest <= 16 * own_work, "{hardest}");
    }
    assert!(shares >= 200 / 5, "{shares} shares");
}
