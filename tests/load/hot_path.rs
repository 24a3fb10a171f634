//! The hot path, from a miner's submit to the hash, does not allocate and gives the same result as a naive implementation.

// Test code, helpers included.
#![allow(clippy::unwrap_used)]

mod allocations;

use std::hint::black_box;
use std::sync::Arc;

use allocations::{allocations_of, bytes_held_by};
use bitcoin::block::{Header, Version};
use bitcoin::consensus::serialize;
use bitcoin::hashes::Hash as _;
use bitcoin::{BlockHash, CompactTarget, TxMerkleNode};
use p2pool_core::bytes::tagged_hash;
use p2pool_core::params::{ChainParams, Network};
use p2pool_core::share::coinbase::{fold_merkle_branch, Payout};
use p2pool_core::share::{CoinbaseTag, PayoutScript, ShareId};
use p2pool_core::units::{Bits, BlockHeight, Sats, ShareHeight, Target, UnixTime, Work};
use p2pool_core::work::{make_job, Finder, Job, JobId, NextShare, Submit, Template, TemplateTx};

/// Pseudo-random bytes, the same in every run.
struct Random(u64);

impl Random {
    fn bytes(&mut self) -> [u8; 32] {
        self.0 += 1;
        tagged_hash(b"test/random", &self.0.to_le_bytes())
    }

    fn number(&mut self) -> u32 {
        let [a, b, c, d, ..] = self.bytes();
        u32::from_le_bytes([a, b, c, d])
    }

    fn below(&mut self, end: u32) -> u32 {
        self.number() % end
    }

    fn submit(&mut self) -> Submit {
        let bytes = self.bytes();
        let mut extranonce = [0; 12];
        extranonce.copy_from_slice(&bytes[..12]);
        Submit {
            extranonce,
            time: self.number(),
            nonce: self.number(),
            version: i32::from_le_bytes(self.number().to_le_bytes()),
        }
    }

    fn transaction(&mut self) -> TemplateTx {
        TemplateTx {
            data: vec![0; 100],
            txid: self.bytes(),
            wtxid: self.bytes(),
            fee: Sats(0),
            weight: 400,
            sigops_cost: 0,
        }
    }

    fn script(&mut self) -> PayoutScript {
        let hash = self.bytes();
        match self.below(3) {
            0 => PayoutScript::new(&[&[0x51, 0x20][..], &hash].concat()).unwrap(),
            1 => PayoutScript::new(&[&[0x00, 0x14][..], &hash[..20]].concat()).unwrap(),
            _ => PayoutScript::new(&[&[0x76, 0xa9, 0x14][..], &hash[..20], &[0x88, 0xac]].concat()).unwrap(),
        }
    }

    fn job(&mut self, transactions: u32, payees: u32) -> Job {
        let transactions: Vec<_> = (0..transactions).map(|_| self.transaction()).collect();
        let template = Template {
            version: 0x2000_0000,
            prev_block: BlockHash::from_byte_array(self.bytes()),
            height: BlockHeight(1 + self.below(1 << (self.0 % 24))),
            bits: Bits(0x1703_31db),
            min_time: UnixTime(1),
            cur_time: UnixTime(2),
            response_s: 0,
            coinbase_value: Sats(u64::from(payees) * 1_000),
            transactions: transactions.into(),
            weight_limit: 4_000_000,
            sigops_limit: 80_000,
        };
        let payouts: Vec<_> = (0..payees).map(|_| Payout { script: self.script(), amount: Sats(1_000) }).collect();
        let chain = ChainParams::standard(Network::Mainnet);
        let coinbase_tag = CoinbaseTag::new(&b"a tag of 20 letters."[..self.below(21) as usize]).unwrap();
        let finder = Finder { coinbase_tag, ..Finder::new(self.script()) };
        let facts = NextShare {
            parent: ShareId(self.bytes()),
            share_height: ShareHeight(self.number()),
            parent_work: Work(u128::from(self.number())),
            outputs_class: chain.payout_outputs.iter().position(|max| payees <= *max).unwrap() as u8,
            ..NextShare::genesis(Bits(0x1d00_ffff), finder)
        };
        make_job(JobId(self.0), &chain, &Arc::new(template), &facts, UnixTime(3), |_| payouts.clone()).unwrap()
    }
}

/// Header and hash, computed from the complete coinbase and with the `bitcoin` crate.
fn hash_naively(job: &Job, submit: &Submit) -> ([u8; 80], [u8; 32]) {
    let root = fold_merkle_branch(job.coinbase.txid(&submit.extranonce), &job.merkle_branch);
    let header = Header {
        version: Version::from_consensus(submit.version),
        prev_blockhash: job.template.prev_block,
        merkle_root: TxMerkleNode::from_byte_array(root),
        time: submit.time,
        bits: CompactTarget::from_consensus(job.template.bits.0),
        nonce: submit.nonce,
    };
    (serialize(&header).try_into().unwrap(), header.block_hash().to_byte_array())
}

#[test]
fn hashing_submits_does_not_allocate_in_any_class_of_outputs() {
    let mut random = Random(0);
    for (payees, rounds) in [(48, 100), (146, 10), (366, 5), (1_000, 2)] {
        let job = random.job(3_000, payees);
        assert_eq!((job.merkle_branch.len(), job.payouts.len()), (12, payees as usize));
        let submits: Vec<Submit> = (0..1_000).map(|_| random.submit()).collect();
        let mut met = 0u32;
        let allocations = allocations_of(|| {
            for _ in 0..rounds {
                for submit in &submits {
                    let hashed = job.hash_header(black_box(submit));
                    met += u32::from(hashed.meets(&Target::MAX));
                    black_box((hashed.id(), hashed.meets(&job.share_target), hashed.meets(&job.block_target)));
                }
            }
        });
        assert_eq!((met, allocations), (1_000 * rounds, 0));
    }
}

/// Stratum keeps up to 72 jobs. Each has its coinbase, twice as many bytes in its `mining.notify` line, and its payouts.
#[test]
fn the_memory_of_a_job_is_bounded_in_every_class_of_outputs() {
    let mut random = Random(0);
    for (payees, bytes_max) in [(48, 10_000), (146, 27_000), (366, 67_000), (1_000, 180_000)] {
        let (bytes, _job) = bytes_held_by(|| random.job(0, payees));
        println!("{payees} payouts: {bytes} bytes");
        assert!(bytes <= bytes_max, "{payees} payouts: {bytes} bytes");
    }
}

#[test]
fn the_allocator_counts() {
    assert_eq!(allocations_of(|| drop(black_box(Box::new(1u64)))), 1);
    assert!(allocations_of(|| drop(black_box([1u8; 100].repeat(2)))) >= 1);
    assert_eq!(allocations_of(|| ()), 0);
}

#[test]
fn hot_path_and_naive_implementation_agree() {
    let mut random = Random(1 << 32);
    for round in 0..300 {
        let (transactions, payees) = match round {
            0 => (0, 0),
            1 => (5_000, 48),
            2..=9 => (random.below(40), random.below(1_001)),
            _ => (random.below(40), random.below(49)),
        };
        let job = random.job(transactions, payees);
        for _ in 0..5 {
            let submit = random.submit();
            let hashed = job.hash_header(&submit);
            assert_eq!((hashed.header, hashed.hash), hash_naively(&job, &submit), "round {round}");
        }
    }
}
