use bitcoin::block::{Header, Version};
use bitcoin::consensus::Params;
use bitcoin::hashes::Hash as _;
use bitcoin::{BlockHash, CompactTarget, TxMerkleNode};

use super::*;
use crate::sharechain::{Anchor, RecentTimes};

const NETWORKS: [Network; 5] =
    [Network::Mainnet, Network::Testnet3, Network::Testnet4, Network::Signet, Network::Regtest];

fn facts(height: u32, time: u32, bits: u32) -> BlockFacts {
    BlockFacts { height: BlockHeight(height), time: UnixTime(time), bits: Bits(bits) }
}

fn next(network: Network, parent: BlockFacts, first: (u32, u32)) -> NextBits {
    next_bits(network, parent, PeriodStart { time: UnixTime(first.0), bits: Bits(first.1) }, parent.bits)
}

/// Periods of mainnet: (height, time and bits of the last block, time of the first block, bits of the next block).
///
/// The first block's time in the last line is made up: it makes the period longer than the rule counts.
const MAINNET: [(u32, u32, u32, u32, u32); 4] = [
    (2_015, 1_233_061_996, 0x1d00ffff, 1_231_006_505, 0x1d00ffff),
    (32_255, 1_262_152_739, 0x1d00ffff, 1_261_130_161, 0x1d00d86a),
    (68_543, 1_279_297_671, 0x1c05a3f4, 1_279_008_237, 0x1c0168fd),
    (46_367, 1_269_211_443, 0x1c387f6f, 1_263_163_443, 0x1d00e1fd),
];

#[test]
fn retargets_match_mainnet_history() {
    for (height, time, bits, first_time, expected) in MAINNET {
        let child = next(Network::Mainnet, facts(height, time, bits), (first_time, 0x1b0404cb));
        assert_eq!(child, NextBits { bits: Bits(expected), late: None }, "block {}", height + 1);
    }
}

#[test]
fn within_a_period_mainnet_and_signet_keep_the_target() {
    for network in [Network::Mainnet, Network::Signet] {
        for height in [0, 1, 2_014, 2_016, 840_000] {
            let child = next(network, facts(height, 5, 0x1b0404cb), (0, 0x1d00ffff));
            assert_eq!(child, NextBits { bits: Bits(0x1b0404cb), late: None });
        }
    }
}

#[test]
fn the_target_of_regtest_never_changes() {
    for height in [0, 143, 2_015, 4_031] {
        let child = next(Network::Regtest, facts(height, 5, 0x207fffff), (0, 0x1d00ffff));
        assert_eq!(child, NextBits { bits: Bits(0x207fffff), late: None });
    }
}

#[test]
fn within_a_period_testnets_keep_the_lasting_target_or_the_easiest_when_late() {
    for network in [Network::Testnet3, Network::Testnet4] {
        let start = PeriodStart { time: UnixTime(0), bits: Bits(0x1b0404cb) };
        let child = next_bits(network, facts(5_003, 9, 0x1d00ffff), start, Bits(0x1b0404cc));
        assert_eq!(child, NextBits { bits: Bits(0x1b0404cc), late: Some(Bits(0x1d00ffff)) });
    }
}

#[test]
fn only_testnet4_scales_the_target_of_the_first_block_of_a_period() {
    let parent = facts(4_031, 1_209_600, 0x1d00ffff);
    let first = (0, 0x1b0404cb);
    assert_eq!(next(Network::Testnet4, parent, first), NextBits { bits: Bits(0x1b0404cb), late: None });
    assert_eq!(next(Network::Testnet3, parent, first), NextBits { bits: Bits(0x1d00ffff), late: None });
}

#[test]
fn retargets_agree_with_the_bitcoin_crate() {
    let mut random = Random(1);
    for _ in 0..20_000 {
        for (network, params) in [(Network::Mainnet, Params::MAINNET), (Network::Signet, Params::SIGNET)] {
            let limit = pow_rules(network).unwrap().limit;
            let target = limit.target().unwrap().0 >> (random.next() % 90) as usize;
            let base = Target(target - (target >> (1 + random.next() % 40) as usize)).to_bits();
            let span_s = random.next() % 6_000_000;
            let expected = CompactTarget::from_next_work_required(
                CompactTarget::from_consensus(base.0),
                u64::from(span_s),
                &params,
            );
            let ours = retarget(base, i64::from(span_s), limit);
            assert_eq!(ours.0, expected.to_consensus(), "{network} {base} {span_s}");
        }
    }
}

#[test]
fn a_negative_span_counts_as_the_shortest_period() {
    let limit = Bits(0x1d00ffff);
    assert_eq!(retarget(Bits(0x1c05a3f4), -5, limit), retarget(Bits(0x1c05a3f4), 302_400, limit));
    assert_ne!(retarget(Bits(0x1c05a3f4), 302_410, limit), Bits(0x1c0168fd));
    assert_eq!(retarget(Bits(0x1c05a3f4), 302_400, limit), Bits(0x1c0168fd));
    assert_eq!(retarget(Bits(0x1c05a3f4), i64::MAX, limit), retarget(Bits(0x1c05a3f4), 4_838_400, limit));
}

/// Grows chains block by block, each anchor from its parent alone, and compares every target with a naive implementation.
#[test]
fn random_chains_agree_with_the_naive_rule() {
    for (seed, network) in NETWORKS.into_iter().enumerate() {
        let mut random = Random(seed as u32 + 7);
        let limit = pow_rules(network).map_or(0x207fffff, |rules| rules.limit.0);
        // Testnets start a little harder than their easiest target, so that the exception can be distinguished from others.
        let genesis_bits = if network == Network::Regtest { limit } else { limit - 0x1000 };
        let header = |prev_blockhash, time, bits| Header {
            version: Version::from_consensus(4),
            prev_blockhash,
            merkle_root: TxMerkleNode::all_zeros(),
            time,
            bits: CompactTarget::from_consensus(bits),
            nonce: 0,
        };
        let genesis = facts(0, 1_300_000_000, genesis_bits);
        let mut chain = vec![genesis];
        let mut anchor = Anchor::new(
            network,
            header(BlockHash::all_zeros(), genesis.time.0, genesis_bits),
            BlockHeight(0),
            RecentTimes::new([genesis.time]),
            PeriodStart { time: genesis.time, bits: genesis.bits },
            genesis.bits,
        );
        for _ in 0..6_100 {
            let parent = *chain.last().unwrap();
            let gap = if random.next().is_multiple_of(5) { random.next() % 4_000 } else { random.next() % 500 };
            let time = parent.time.plus(gap);
            let bits = anchor.required_bits(time);
            assert_eq!(bits, naive(network, &chain, time.0), "{network} {}", chain.len());
            chain.push(BlockFacts { height: BlockHeight(chain.len() as u32), time, bits });
            anchor = anchor.extended(network, header(anchor.header.block_hash(), time.0, bits.0));
            let mut times: Vec<UnixTime> = chain.iter().rev().take(11).map(|block| block.time).collect();
            times.sort_unstable();
            assert_eq!(anchor.median_time_past, times[times.len() / 2]);
        }
        let kinds: std::collections::HashSet<u32> = chain.iter().map(|block| block.bits.0).collect();
        assert!(network == Network::Regtest || kinds.len() > 2, "{network}: no retarget in this chain");
    }
}

/// The rule over a whole chain, without regard to cost.
fn naive(network: Network, chain: &[BlockFacts], time: u32) -> Bits {
    let Some(rules) = pow_rules(network) else { return Bits(0x207fffff) };
    let last = chain[chain.len() - 1];
    if !chain.len().is_multiple_of(2_016) {
        if !rules.late_blocks_easy {
            return last.bits;
        }
        if time > last.time.0 + 1_200 {
            return rules.limit;
        }
        let real = chain.iter().rev().find(|block| block.height.0.is_multiple_of(2_016) || block.bits != rules.limit);
        return real.unwrap().bits;
    }
    let first = chain[chain.len() - 2_016];
    let span = (last.time.0 - first.time.0).clamp(302_400, 4_838_400);
    let base = if network == Network::Testnet4 { first.bits } else { last.bits };
    let scaled = base.target().unwrap().0 * U256::from(span) / U256::from(1_209_600);
    Target(scaled.min(rules.limit.target().unwrap().0)).to_bits()
}

/// Xorshift, with the same numbers on every run.
struct Random(u32);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0
    }
}
