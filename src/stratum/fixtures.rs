//! Jobs and submits for tests; also included in the tests of other crates.

#![allow(dead_code)]

use std::sync::Arc;

use bitcoin::hashes::Hash as _;
use bitcoin::hex::DisplayHex as _;
use bitcoin::BlockHash;
use p2pool_core::params::{ChainParams, Network};
use p2pool_core::share::coinbase::Payout;
use p2pool_core::share::{PayoutScript, ShareId, EXTRANONCE_LEN};
use p2pool_core::units::{Bits, BlockHeight, Sats, ShareHeight, UnixTime, Work};
use p2pool_core::work::{make_job, Finder, HashedHeader, Job, JobId, NextShare, Submit, Template};

/// Half of all hashes meet it.
pub const EASIEST: Bits = Bits(0x207f_ffff);
/// No test finds a hash that meets it.
pub const HARDEST: Bits = Bits(0x1d00_ffff);
/// The time at which jobs are made.
pub const JOB_TIME: UnixTime = UnixTime(1_700_000_200);
/// The earliest header time of jobs.
pub const MIN_TIME: UnixTime = UnixTime(1_700_000_050);

/// The properties of a test's job.
#[derive(Clone, Copy, Debug)]
pub struct JobSpec {
    pub id: u64,
    /// Identifies the Bitcoin block that the job builds on.
    pub tip: u8,
    pub block_bits: Bits,
    pub share_bits: Bits,
    pub version: i32,
    /// Number of payees; the class of payout outputs is the least that has room for them.
    pub payees: u32,
}

impl Default for JobSpec {
    fn default() -> Self {
        Self { id: 1, tip: 1, block_bits: HARDEST, share_bits: HARDEST, version: 0x2000_0000, payees: 1 }
    }
}

impl JobSpec {
    pub fn make(self) -> Arc<Job> {
        let template = Arc::new(Template {
            version: self.version,
            prev_block: BlockHash::from_byte_array([self.tip; 32]),
            height: BlockHeight(500 + u32::from(self.tip)),
            bits: self.block_bits,
            min_time: MIN_TIME,
            cur_time: JOB_TIME,
            response_s: 0,
            coinbase_value: Sats(5_000_000_000),
            transactions: Vec::new().into(),
            weight_limit: 4_000_000,
            sigops_limit: 80_000,
        });
        let p2tr = |n: u32| PayoutScript::new(&[&[0x51, 0x20][..], &n.to_le_bytes().repeat(8)].concat()).unwrap();
        let chain = ChainParams::standard(Network::Regtest);
        let outputs_class = chain.payout_outputs.iter().position(|max| self.payees <= *max).unwrap() as u8;
        let facts = NextShare {
            parent: ShareId([5; 32]),
            share_height: ShareHeight(1_000),
            parent_work: Work(123_456),
            min_time: MIN_TIME,
            outputs_class,
            ..NextShare::genesis(self.share_bits, Finder::new(p2tr(9)))
        };
        let payees = u64::from(self.payees);
        let payouts = |value: Sats| {
            let amount = |n: u32| Sats(value.0 / payees + if n == 0 { value.0 % payees } else { 0 });
            (0..self.payees).map(|n| Payout { script: p2tr(n), amount: amount(n) }).collect()
        };
        Arc::new(make_job(JobId(self.id), &chain, &template, &facts, JOB_TIME, payouts).unwrap())
    }
}

/// A job of which only id and Bitcoin tip matter.
pub fn job_on(id: u64, tip: u8) -> Job {
    Job::clone(&JobSpec { id, tip, ..JobSpec::default() }.make())
}

/// A submit for the job with nonce 0.
pub fn blank_submit(job: &Job, extranonce1: [u8; 4], extranonce2: u64) -> Submit {
    let mut extranonce = [0; EXTRANONCE_LEN];
    extranonce[..4].copy_from_slice(&extranonce1);
    extranonce[4..].copy_from_slice(&extranonce2.to_be_bytes());
    Submit { extranonce, time: job.time.0, nonce: 0, version: job.template.version }
}

/// The first submit, from the given nonce on, whose hash is wanted.
pub fn solve(job: &Job, mut submit: Submit, wanted: impl Fn(&HashedHeader) -> bool) -> Submit {
    while !wanted(&job.hash_header(&submit)) {
        submit.nonce += 1;
    }
    submit
}

/// The `mining.submit` parameters of a miner that does not roll versions.
pub fn submit_params(job: &Job, submit: &Submit) -> String {
    let extranonce2 = submit.extranonce[4..].as_hex();
    format!(r#""worker","{}","{extranonce2}","{:08x}","{:08x}""#, job.id, submit.time, submit.nonce)
}
