//! Every verdict on a submit, and what leaves the node before it.

use std::sync::Arc;

use super::support::*;
use crate::params::Network;
use crate::stratum::fixtures::*;
use crate::stratum::Difficulty;
use crate::units::{Bits, Target};
use crate::work::NoWork;
use crate::work::{HashedHeader, Job, Submit};

/// One hash in 256 is a share, none is a block.
const SHARES: JobSpec =
    JobSpec { id: 1, tip: 1, block_bits: HARDEST, share_bits: Bits(0x2000_ffff), version: 0x2000_0000, payees: 1 };
/// One hash in 256 is a block, none is a share.
const BLOCKS: JobSpec = JobSpec { block_bits: Bits(0x2000_ffff), share_bits: HARDEST, ..SHARES };
/// Only the session's difficulty counts: neither shares nor blocks are found.
const WORK: JobSpec = JobSpec { block_bits: HARDEST, share_bits: HARDEST, ..SHARES };
/// The floor: one hash in 43,000.
const EASY: f64 = 0.000_01;

fn is_share(job: &Job) -> impl Fn(&HashedHeader) -> bool + '_ {
    |judged| judged.meets(&job.share_target)
}

fn is_block(job: &Job) -> impl Fn(&HashedHeader) -> bool + '_ {
    |judged| judged.meets(&job.block_target)
}

fn meets(difficulty: f64) -> impl Fn(&HashedHeader) -> bool {
    let target = Difficulty::new(difficulty).unwrap().target();
    move |judged| judged.meets(&target)
}

/// A solved answer for the session.
fn solved(bench: &mut Bench, name: &'static str, job: &Job, wanted: impl Fn(&HashedHeader) -> bool) -> Submit {
    let extranonce1 = bench.extranonce1(name);
    solve(job, answer(job, extranonce1, 0x0123_4567_89ab_cdef), wanted)
}

/// The next nonce that is wanted.
fn another(job: &Job, previous: &Submit, wanted: impl Fn(&HashedHeader) -> bool) -> Submit {
    solve(job, Submit { nonce: previous.nonce + 1, ..*previous }, wanted)
}

#[test]
fn a_share_goes_to_the_chain_and_is_accepted() {
    let mut bench = Bench::new();
    let job = bench.job(SHARES);
    bench.worker("a");
    let found = solved(&mut bench, "a", &job, is_share(&job));
    assert_eq!(bench.submit_answer("a", &job, &found), Ok(()));
    let [share] = &bench.outbox.shares[..] else { panic!("one share") };
    let judged = job.hash_header(&found);
    assert_eq!((share.header, share.hash, share.extranonce), (judged.header, judged.hash, found.extranonce));
    assert_eq!(share.job.id, job.id);
    assert!(bench.outbox.blocks.is_empty());
    let status = bench.status("a");
    assert_eq!((status.accepted, status.last_share), (1, Some(bench.now.time)));
    assert_eq!(status.best_difficulty, Difficulty::of_hash(&judged.hash).get());
    assert_eq!(bench.counters.shares_accepted.get(), 1);
}

#[test]
fn work_below_the_share_target_stays_here() {
    let mut bench = Bench::new();
    let job = bench.job(WORK);
    bench.worker_at("a", EASY);
    let found = solved(&mut bench, "a", &job, meets(EASY));
    assert_eq!(bench.submit_answer("a", &job, &found), Ok(()));
    assert!(bench.outbox.shares.is_empty() && bench.outbox.blocks.is_empty());
}

#[test]
fn error_20_malformed() {
    let mut bench = Bench::new();
    let job = bench.job(SHARES);
    bench.worker("a");
    let found = solved(&mut bench, "a", &job, is_share(&job));
    let good = submit_params(&job, &found);
    for bad in ["", "5", "\"w\"", &good.replace("0123456789abcdef", "0123"), &good.replace("0123456789", "012345678g")]
    {
        assert_eq!(bench.submit("a", bad), Err(20), "{bad}");
    }
    assert_eq!(bench.status("a").rejected.malformed, 5);
    assert_eq!(bench.counters.shares_rejected.malformed.get(), 5);
    assert_eq!(bench.submit("a", &good), Ok(()));
}

#[test]
fn error_20_time_out_of_range() {
    let mut bench = Bench::new();
    let job = bench.job(SHARES);
    bench.worker("a");
    let start = answer(&job, bench.extranonce1("a"), 1);
    let submit_at = |bench: &mut Bench, time: u32| {
        let mut at = start;
        at.time = time;
        let found = solve(&job, at, is_share(&job));
        bench.submit_answer("a", &job, &found)
    };
    assert_eq!(submit_at(&mut bench, MIN_TIME.0 - 1), Err(20));
    assert_eq!(submit_at(&mut bench, MIN_TIME.0), Ok(()));
    // The clock stands at the job's time: 7,000 s after the job come first.
    assert_eq!(submit_at(&mut bench, JOB_TIME.0 + 7_000), Ok(()));
    assert_eq!(submit_at(&mut bench, JOB_TIME.0 + 7_001), Err(20));
    // A clock 300 s behind: its two hours come first.
    bench.now.time = bench.now.time.minus(300);
    assert_eq!(submit_at(&mut bench, JOB_TIME.0 + 6_900), Ok(()));
    assert_eq!(submit_at(&mut bench, JOB_TIME.0 + 6_901), Err(20));
    // A job whose target is right for ten seconds only.
    let job = JobSpec { id: 2, ..SHARES }.make();
    let job = Arc::new(Job::clone(&job).until(JOB_TIME.plus(10)).unwrap());
    bench.announce(&job);
    let submit_at = |bench: &mut Bench, time: u32| {
        let mut at = start;
        at.time = time;
        let found = solve(&job, at, is_share(&job));
        bench.submit_answer("a", &job, &found)
    };
    assert_eq!(submit_at(&mut bench, JOB_TIME.0 + 10), Ok(()));
    assert_eq!(submit_at(&mut bench, JOB_TIME.0 + 11), Err(20));
}

#[test]
fn version_bits_are_taken_within_the_mask_only() {
    let mut bench = Bench::new();
    // A version with a rollable bit set, which the miner may also clear.
    let job = bench.job(JobSpec { version: 0x2000_4000, ..SHARES });
    bench.worker("a");
    let start = answer(&job, bench.extranonce1("a"), 1);
    let submit = |bench: &mut Bench, version: i32, bits: Option<&str>| {
        let mut rolled = start;
        rolled.version = version;
        let found = solve(&job, rolled, is_share(&job));
        let params = submit_params(&job, &found);
        bench.submit("a", &bits.map_or(params.clone(), |bits| format!("{params},\"{bits}\"")))
    };
    assert_eq!(submit(&mut bench, 0x2000_4000, None), Ok(()), "not negotiated, not rolled");
    assert_eq!(submit(&mut bench, 0x2000_6000, Some("00006000")), Err(20), "rolled without asking");
    bench.call("a", "mining.configure", r#"[["version-rolling"],{"version-rolling.mask":"00ffffff"}]"#).unwrap();
    assert_eq!(submit(&mut bench, 0x2000_6000, Some("00006000")), Ok(()));
    assert_eq!(submit(&mut bench, 0x2000_0000, Some("00000000")), Ok(()), "all bits of the mask cleared");
    assert_eq!(submit(&mut bench, 0x20ff_e000, Some("00ffe000")), Ok(()));
    assert_eq!(submit(&mut bench, 0x2100_0000, Some("01000000")), Err(20), "outside the common mask");
    assert_eq!(submit(&mut bench, 0x2000_1000, Some("00001000")), Err(20), "outside bits 13 to 28");
    assert_eq!(bench.outbox.shares.len(), 4);
    let versions: Vec<_> = bench.outbox.shares.iter().map(|share| share.header[..4].to_vec()).collect();
    assert_eq!(versions[1], [0x00, 0x60, 0x00, 0x20]);
}

#[test]
fn error_21_unknown_and_stale_jobs() {
    let mut bench = Bench::new();
    let job = bench.job(SHARES);
    bench.worker("a");
    let found = solved(&mut bench, "a", &job, is_share(&job));
    let params = submit_params(&job, &found);
    for unknown in ["2", "ffffffffffffffff", "", "not a job"] {
        assert_eq!(bench.submit("a", &params.replace("\"1\"", &format!("\"{unknown}\""))), Err(21), "{unknown}");
    }
    bench.job(JobSpec { id: 2, tip: 2, ..SHARES });
    assert_eq!(bench.submit("a", &params), Err(21));
    assert!(bench.outbox.shares.is_empty());
    assert_eq!(bench.status("a").rejected.stale, 5);
    // The tip comes back: the work was not in vain.
    bench.job(JobSpec { id: 3, tip: 1, ..SHARES });
    assert_eq!(bench.submit("a", &params), Ok(()));
}

#[test]
fn a_share_of_an_older_job_on_the_same_block_still_counts() {
    let mut bench = Bench::new();
    let job = bench.job(SHARES);
    bench.worker("a");
    let found = solved(&mut bench, "a", &job, is_share(&job));
    bench.job(JobSpec { id: 2, ..SHARES });
    bench.job(JobSpec { id: 3, ..SHARES });
    assert_eq!(bench.submit_answer("a", &job, &found), Ok(()));
    assert_eq!(bench.outbox.shares[0].job.id, job.id);
}

#[test]
fn error_21_while_work_is_withdrawn() {
    let mut bench = Bench::new();
    let job = bench.job(SHARES);
    bench.worker("a");
    bench.withdraw(NoWork::NoTemplate);
    let found = solved(&mut bench, "a", &job, is_share(&job));
    assert_eq!(bench.submit_answer("a", &job, &found), Err(21));
}

#[test]
fn error_22_duplicates() {
    let mut bench = Bench::new();
    let job = bench.job(SHARES);
    bench.worker("a");
    let found = solved(&mut bench, "a", &job, is_share(&job));
    let params = submit_params(&job, &found);
    assert_eq!(bench.submit("a", &params), Ok(()));
    assert_eq!(bench.submit("a", &params), Err(22));
    let shouted = params.to_uppercase().replace("\"WORKER\"", "\"somebody else\"");
    assert_ne!(shouted, params);
    assert_eq!(bench.submit("a", &shouted), Err(22), "the header counts, not how it is written");
    assert_eq!(bench.outbox.shares.len(), 1);
    // A resumed session has the same headers.
    let session = u32::from_be_bytes(bench.extranonce1("a"));
    bench.disconnect("a");
    bench.connect("b");
    bench.call("b", "mining.subscribe", &format!(r#"["","{session:08x}"]"#)).unwrap();
    bench.call("b", "mining.authorize", r#"["w"]"#).unwrap();
    assert_eq!(bench.submit("b", &params), Err(22));
    // Another session's same nonces are other headers.
    bench.worker("c");
    let other = solved(&mut bench, "c", &job, is_share(&job));
    assert_eq!(bench.submit_answer("c", &job, &other), Ok(()));
}

#[test]
fn error_23_low_difficulty() {
    let mut bench = Bench::new();
    let job = bench.job(WORK);
    bench.worker_at("a", EASY);
    let easier = meets(EASY * 0.5);
    let enough = meets(EASY);
    let found = solved(&mut bench, "a", &job, |judged| easier(judged) && !enough(judged));
    for _ in 0..2 {
        assert_eq!(bench.submit_answer("a", &job, &found), Err(23), "and it is not remembered");
    }
}

#[test]
fn error_24_before_authorize_and_25_before_subscribe() {
    let mut bench = Bench::new();
    let job = bench.job(SHARES);
    bench.connect("a");
    let found = solve(&job, answer(&job, [0; 4], 1), is_share(&job));
    assert_eq!(bench.submit_answer("a", &job, &found), Err(25));
    let found = solved(&mut bench, "a", &job, is_share(&job));
    assert_eq!(bench.submit_answer("a", &job, &found), Err(24));
    assert!(bench.outbox.shares.is_empty());
    bench.call("a", "mining.authorize", r#"["w"]"#).unwrap();
    assert_eq!(bench.submit_answer("a", &job, &found), Ok(()));
    assert_eq!(bench.status("a").rejected.unauthorised, 2);
}

#[test]
fn too_many_submits_are_answered_with_error_20() {
    let mut bench = Bench::new();
    let job = bench.job(SHARES);
    bench.worker("a");
    bench.worker("b");
    let mut found = solved(&mut bench, "a", &job, is_share(&job));
    let mut results = Vec::new();
    for _ in 0..30 {
        results.push(bench.submit_answer("a", &job, &found));
        found = another(&job, &found, is_share(&job));
    }
    assert_eq!(results, [vec![Ok(()); 20], vec![Err(20); 10]].concat());
    assert_eq!(bench.status("a").rejected.busy, 10);
    assert_eq!(bench.outbox.shares.len(), 20);
    // Others are not concerned, and a moment later it may go on.
    let other = solved(&mut bench, "b", &job, is_share(&job));
    assert_eq!(bench.submit_answer("b", &job, &other), Ok(()));
    bench.pass(0.05);
    let results: Vec<_> = (0..6)
        .map(|_| {
            found = another(&job, &found, is_share(&job));
            bench.submit_answer("a", &job, &found)
        })
        .collect();
    assert_eq!(results, [vec![Ok(()); 5], vec![Err(20); 1]].concat());
}

#[test]
fn a_share_the_chain_cannot_take_is_refused_and_may_come_again() {
    let mut bench = Bench::new();
    let job = bench.job(SHARES);
    bench.worker("a");
    let found = solved(&mut bench, "a", &job, is_share(&job));
    bench.outbox.is_busy = true;
    assert_eq!(bench.submit_answer("a", &job, &found), Err(20));
    assert_eq!(bench.status("a").accepted, 0);
    bench.outbox.is_busy = false;
    assert_eq!(bench.submit_answer("a", &job, &found), Ok(()));
}

/// Sends a block in a way that gets an error; the block must have gone to bitcoind all the same.
fn block_despite(code: u64, prepare: impl FnOnce(&mut Bench, &Job, &Submit) -> String) {
    let mut bench = Bench::new();
    let job = bench.job(BLOCKS);
    bench.worker("a");
    let found = solved(&mut bench, "a", &job, is_block(&job));
    let params = prepare(&mut bench, &job, &found);
    assert_eq!(bench.submit("a", &params), Err(code));
    let [block] = &bench.outbox.blocks[..] else { panic!("no block handed over despite error {code}") };
    assert!(job.block_target.is_met_by(&block.hash));
    assert_eq!(block.hash, crate::share::header_hash(&block.header));
    assert_eq!((block.job.id, &block.extranonce[..4]), (job.id, &found.extranonce[..4]));
    assert_eq!(bench.counters.blocks_found.get(), 1);
    // Once is enough.
    assert!(bench.submit("a", &params).is_err());
    assert_eq!(bench.outbox.blocks.len(), 1);
}

#[test]
fn a_block_is_handed_over_whatever_else_is_wrong_with_it() {
    block_despite(23, |_, job, found| submit_params(job, found));
    block_despite(21, |bench, job, found| {
        bench.job(JobSpec { id: 2, tip: 2, ..BLOCKS });
        submit_params(job, found)
    });
    block_despite(21, |bench, job, found| {
        bench.withdraw(NoWork::Syncing);
        submit_params(job, found)
    });
    block_despite(20, |bench, job, found| {
        // More submits than allowed.
        while bench.submit_answer("a", job, &Submit { time: found.time + 1, ..*found }) != Err(20) {}
        submit_params(job, found)
    });
    block_despite(20, |_, job, found| {
        let early = solve(job, Submit { time: MIN_TIME.0 - 1, ..*found }, is_block(job));
        submit_params(job, &early)
    });
    block_despite(20, |_, job, found| {
        let rolled = solve(job, Submit { version: job.version | 0x4000, ..*found }, is_block(job));
        format!("{},\"00004000\"", submit_params(job, &rolled))
    });
}

#[test]
fn a_block_of_an_unauthorised_session_is_handed_over() {
    let mut bench = Bench::new();
    let job = bench.job(BLOCKS);
    bench.connect("a");
    let found = solved(&mut bench, "a", &job, is_block(&job));
    assert_eq!(bench.submit_answer("a", &job, &found), Err(24));
    assert_eq!(&*bench.outbox.blocks[0].worker, "unauthorised");
}

#[test]
fn a_block_that_is_a_share_goes_both_ways() {
    let mut bench = Bench::new();
    let job = bench.job(JobSpec { share_bits: BLOCKS.block_bits, ..BLOCKS });
    bench.worker("a");
    let found = solved(&mut bench, "a", &job, is_block(&job));
    assert_eq!(bench.submit_answer("a", &job, &found), Ok(()));
    assert_eq!((bench.outbox.blocks.len(), bench.outbox.shares.len()), (1, 1));
    assert_eq!(&*bench.outbox.blocks[0].worker, "a");
    assert_eq!(bench.submit_answer("a", &job, &found), Err(22));
    assert_eq!((bench.outbox.blocks.len(), bench.outbox.shares.len()), (1, 1));
}

#[test]
fn no_retarget_rejects_honest_work() {
    let mut bench = Bench::new();
    let first = bench.job(WORK);
    bench.worker_at("a", EASY);
    let easy = meets(EASY);
    let just = solved(&mut bench, "a", &first, |judged| easy(judged) && !meets(EASY * 8.0)(judged));
    // Harder: announced now, in force from the next job on.
    bench.call("a", "mining.suggest_difficulty", "[0.00008]").unwrap();
    assert_eq!(bench.submit_answer("a", &first, &just), Ok(()));
    let second = bench.job(JobSpec { id: 2, payees: 2, ..WORK });
    let just = another(&first, &just, |judged| easy(judged) && !meets(EASY * 8.0)(judged));
    assert_eq!(bench.submit_answer("a", &first, &just), Ok(()), "the old job has the old difficulty");
    let easy_one = solved(&mut bench, "a", &second, |judged| easy(judged) && !meets(EASY * 8.0)(judged));
    assert_eq!(bench.submit_answer("a", &second, &easy_one), Err(23), "the new job has the new one");
    let hard_one = solved(&mut bench, "a", &second, meets(EASY * 8.0));
    assert_eq!(bench.submit_answer("a", &second, &hard_one), Ok(()));
    // Easier again: firmware that applies it at once, to the job it is at, loses nothing.
    bench.call("a", "mining.suggest_difficulty", &format!("[{EASY}]")).unwrap();
    assert_eq!(bench.submit_answer("a", &second, &easy_one), Ok(()));
}

#[test]
fn a_share_of_a_job_from_before_a_reconnect_counts() {
    let mut bench = Bench::with(Network::Mainnet, 1.0);
    let easy = bench.job(SHARES);
    bench.worker("a");
    let found = solved(&mut bench, "a", &easy, is_share(&easy));
    let session = u32::from_be_bytes(bench.extranonce1("a"));
    bench.disconnect("a");
    bench.job(JobSpec { id: 2, ..WORK });
    bench.connect("b");
    bench.call("b", "mining.subscribe", &format!(r#"["","{session:08x}"]"#)).unwrap();
    bench.call("b", "mining.authorize", r#"["w"]"#).unwrap();
    assert_eq!(bench.submit_answer("b", &easy, &found), Ok(()));
    assert_eq!(bench.outbox.shares.len(), 1);
}

#[test]
fn everything_is_a_share_where_every_hash_is_one() {
    let mut bench = Bench::new();
    let job = bench.job(JobSpec { share_bits: EASIEST, block_bits: EASIEST, ..SHARES });
    bench.worker("a");
    let half = job.share_target;
    assert!(half < Target::MAX);
    let found = solved(&mut bench, "a", &job, is_share(&job));
    assert_eq!(bench.submit_answer("a", &job, &found), Ok(()));
    let missed = solved(&mut bench, "a", &job, |judged| !judged.meets(&half));
    assert_eq!(bench.submit_answer("a", &job, &missed), Err(23));
}
