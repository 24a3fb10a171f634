//! Measures what miners wait for: the hash of a submit, and the job on a share that has been found; both with the outputs of
//! every class.

// Test code, helpers included.
#![allow(clippy::unwrap_used)]

mod full_chain;
mod large_window;

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bitcoin::hashes::{sha256, Hash as _};
use full_chain::{anchor, chain_with, payee, share, share_time, BITS, SHARES_PER_BLOCK};
use p2pool_core::bytes::tagged_hash;
use p2pool_core::params::{ChainParams, Network};
use p2pool_core::share::{EXTRANONCE_LEN, HEADER_VERSION_MIN};
use p2pool_core::sharechain::{next_share, Sharechain, Source};
use p2pool_core::units::{BlockHeight, Sats, UnixTime};
use p2pool_core::work::{make_job, Finder, Job, JobId, NextBlock, NextShare, Submit, Template, TemplateTx};

/// Shares before the first one measured: a full payout window.
const SHARES: u32 = 8_640;
/// Transactions of the template and their weight, as in a full block of mainnet: more than 48 outputs leave some of them out.
const TRANSACTIONS: u32 = 3_000;
const TRANSACTION_WEIGHT: u64 = 1_330;
/// Number of jobs measured.
const JOBS: u32 = 200;
/// Number of measurements of submits.
const ROUNDS: u32 = 21;
/// Number of blocks of SHA-256 in each measurement of submits, at least: some tens of milliseconds.
const BLOCKS_PER_ROUND: usize = 1_000_000;
/// Number of payees of the largest window.
const PAYEES: u32 = 5_000;
/// Length in bytes of a block of SHA-256.
const BLOCK_LEN: usize = 64;
/// Least number of bytes that SHA-256 appends to a message.
const PADDING_LEN_MIN: usize = 9;

fn main() {
    let job = measure_jobs();
    measure_submits(&job);
    measure_classes();
}

/// Measures from the arrival of a share to the job on it.
fn measure_jobs() -> Job {
    let mut chain = chain_with((SHARES + JOBS) / SHARES_PER_BLOCK + 1);
    for number in 0..SHARES {
        let share = share(&mut chain, number);
        chain.receive(Arc::new(share), Source::Local, share_time(number));
    }
    let (mut linked, mut made, mut last) = (Vec::new(), Vec::new(), None);
    for number in SHARES..SHARES + JOBS {
        let (template, share) = (template(number), Arc::new(share(&mut chain, number)));
        let start = Instant::now();
        chain.receive(Arc::clone(&share), Source::Local, share_time(number));
        linked.push(start.elapsed());
        let job = job_on_tip(&mut chain, &template, share_time(number));
        made.push(start.elapsed());
        assert_eq!(job.info.parent, share.id());
        last = Some(job);
    }
    let job = last.unwrap();
    let window = chain.tree_mut().window(job.info.parent, BITS).unwrap();
    let (shares, payees) = (window.len(), window.credits().count());
    println!("window of {shares} shares and {payees} payees, {} payouts per coinbase", job.payouts.len());
    println!("share to its place in the chain: {:?}", median(linked));
    println!("share to the job on it: {:?}", median(made));
    job
}

fn template(number: u32) -> Arc<Template> {
    let anchor = anchor(number / SHARES_PER_BLOCK);
    let transactions: Vec<TemplateTx> = (0..TRANSACTIONS).map(transaction).collect();
    Arc::new(Template {
        version: HEADER_VERSION_MIN,
        prev_block: anchor.header.block_hash(),
        height: BlockHeight(anchor.height.0 + 1),
        bits: BITS,
        min_time: UnixTime(0),
        cur_time: share_time(number),
        response_s: 0,
        coinbase_value: Sats(5_000_001_000),
        transactions: transactions.into(),
        weight_limit: 4_000_000,
        sigops_limit: 80_000,
    })
}

fn transaction(number: u32) -> TemplateTx {
    let id = tagged_hash(b"test/tx", &number.to_le_bytes());
    TemplateTx { data: Vec::new(), txid: id, wtxid: id, fee: Sats(0), weight: TRANSACTION_WEIGHT, sigops_cost: 0 }
}

fn job_on_tip(chain: &mut Sharechain, template: &Arc<Template>, now: UnixTime) -> Job {
    let finder = Finder::new(payee(0));
    let block = NextBlock { height: template.height, bits: template.bits };
    let facts = next_share(chain.tree_mut(), block, now, &finder);
    let params = Arc::clone(chain.tree().params());
    let window = chain.tree_mut().window(facts.parent, template.bits).unwrap();
    let payouts = |value| window.payouts(value, finder.payout_script, facts.outputs_class);
    make_job(JobId(1), &params, template, &facts, now, payouts).unwrap()
}

/// Measures lists, jobs and submits of every class of payout outputs.
fn measure_classes() {
    let params = ChainParams::standard(Network::Regtest);
    let window = large_window::window(&params, PAYEES);
    let template = template(0);
    let finder = Finder::new(large_window::p2tr(0));
    for (outputs_class, outputs) in (0..).zip(params.payout_outputs) {
        let list = |value| window.payouts(value, finder.payout_script, outputs_class);
        let lists = spread((0..JOBS).map(|_| timed(|| list(template.coinbase_value)).0).collect());
        let facts = NextShare { outputs_class, ..NextShare::genesis(BITS, finder.clone()) };
        let make = || make_job(JobId(1), &params, &template, &facts, UnixTime(0), list).unwrap();
        let jobs = spread((0..JOBS).map(|_| timed(make).0).collect());
        let job = make();
        assert_eq!(u32::try_from(job.payouts.len()), Ok(outputs));
        let (coinbase, notify) = (job.coinbase.len_bytes(), job.notify_len_max());
        println!("{outputs} outputs for {PAYEES} payees: coinbase of {coinbase} bytes, notify of {notify} bytes");
        println!("  list in {lists}; job with its list in {jobs}");
        print!("  ");
        measure_submits(&job);
    }
}

fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let start = Instant::now();
    let result = black_box(work());
    (start.elapsed(), result)
}

/// Measures the hash of a submit, and its SHA-256 alone.
fn measure_submits(job: &Job) {
    let submits = u32::try_from(BLOCKS_PER_ROUND / compressions(job)).unwrap();
    let submit = |nonce| Submit { extranonce: [7; EXTRANONCE_LEN], time: job.time.0, nonce, version: 4 };
    let hashed = per_submit(submits, || {
        for nonce in 0..submits {
            black_box(job.hash_header(&submit(black_box(nonce))));
        }
    });
    let message = vec![0; BLOCK_LEN * compressions(job) - PADDING_LEN_MIN];
    let floor = per_submit(submits, || {
        for _ in 0..submits {
            black_box(sha256::Hash::hash(black_box(&message)));
        }
    });
    println!("submit: {hashed:?}, {:.2} of its SHA-256 alone ({floor:?})", hashed.as_secs_f64() / floor.as_secs_f64());
}

/// Number of blocks that SHA-256 compresses for a submit: the coinbase from the midstate on, one for each second hash, two
/// for each pair in the merkle tree, and two for the header.
fn compressions(job: &Job) -> usize {
    let before = job.coinbase.prefix.len() / BLOCK_LEN;
    let coinbase = job.coinbase.prefix.len() + EXTRANONCE_LEN + job.coinbase.suffix.len();
    let coinbase = (coinbase + PADDING_LEN_MIN).div_ceil(BLOCK_LEN) - before;
    (coinbase + 1) + job.merkle_branch.len() * (2 + 1) + (2 + 1)
}

fn per_submit(submits: u32, work: impl Fn()) -> Duration {
    median((0..ROUNDS).map(|_| timed(&work).0).collect()) / submits
}

/// The median, and the least, which other programs on the machine influence little.
fn spread(times: Vec<Duration>) -> String {
    let least = times.iter().min().copied().unwrap();
    format!("{:?}, at least {least:?}", median(times))
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
