//! Submits: every result, and the shares and blocks they produce.

use std::sync::Arc;
use std::time::Duration;

use super::support::*;
use crate::params::Network;
use crate::stratum::fixtures::*;
use crate::stratum::Difficulty;
use crate::token_bucket::Rate;
use crate::units::{Bits, Target};
use crate::work::{HashedHeader, Job, NoWork, Submit, WorkUpdate};

/// One hash in 256 is a share, none is a block.
const SHARES: JobSpec =
    JobSpec { id: 1, tip: 1, block_bits: HARDEST, share_bits: Bits(0x2000_ffff), version: 0x2000_0000, payees: 1 };
/// One hash in 256 is a block, none is a share.
const BLOCKS: JobSpec = JobSpec { block_bits: Bits(0x2000_ffff), share_bits: HARDEST, ..SHARES };
/// Neither shares nor blocks are found; only the session's difficulty matters.
const WORK: JobSpec = JobSpec { block_bits: HARDEST, share_bits: HARDEST, ..SHARES };
/// The floor, which one hash in 43,000 meets.
const EASY: f64 = 0.000_01;

fn is_share(job: &Job) -> impl Fn(&HashedHeader) -> bool + '_ {
    |hashed| hashed.meets(&job.share_target)
}

fn is_block(job: &Job) -> impl Fn(&HashedHeader) -> bool + '_ {
    |hashed| hashed.meets(&job.block_target)
}

fn meets(difficulty: f64) -> impl Fn(&HashedHeader) -> bool {
    let target = Difficulty::new(difficulty).unwrap().target();
    move |hashed| hashed.meets(&target)
}

/// A submit for the session whose hash is wanted.
fn solved(server: &mut TestServer, name: &'static str, job: &Job, wanted: impl Fn(&HashedHeader) -> bool) -> Submit {
    let extranonce1 = server.extranonce1(name);
    solve(job, blank_submit(job, extranonce1, 0x0123_4567_89ab_cdef), wanted)
}

/// The submit with the next nonce whose hash is wanted.
fn another(job: &Job, previous: &Submit, wanted: impl Fn(&HashedHeader) -> bool) -> Submit {
    solve(job, Submit { nonce: previous.nonce + 1, ..*previous }, wanted)
}

#[test]
fn a_share_is_accepted_and_goes_to_the_chain_thread() {
    let mut server = TestServer::new();
    let job = server.job(SHARES);
    server.worker("a");
    let found = solved(&mut server, "a", &job, is_share(&job));
    assert_eq!(server.send_submit("a", &job, &found), Ok(()));
    let [share] = &server.sink.shares[..] else { panic!("one share") };
    let hashed = job.hash_header(&found);
    assert_eq!((share.header, share.hash, share.extranonce), (hashed.header, hashed.hash, found.extranonce));
    assert_eq!(share.job.id, job.id);
    assert!(server.sink.blocks.is_empty());
    let status = server.status("a");
    assert_eq!((status.accepted, status.last_share), (1, Some(server.now.time)));
    assert_eq!(status.best_difficulty, Difficulty::of_hash(&hashed.hash).get());
    assert_eq!(server.metrics.shares_accepted.get(), 1);
}

#[test]
fn a_submit_below_the_share_difficulty_is_only_credited() {
    let mut server = TestServer::new();
    let job = server.job(WORK);
    server.worker_at("a", EASY);
    let found = solved(&mut server, "a", &job, meets(EASY));
    assert_eq!(server.send_submit("a", &job, &found), Ok(()));
    assert!(server.sink.shares.is_empty() && server.sink.blocks.is_empty());
}

#[test]
fn error_20_malformed() {
    let mut server = TestServer::new();
    let job = server.job(SHARES);
    server.worker("a");
    let found = solved(&mut server, "a", &job, is_share(&job));
    let good = submit_params(&job, &found);
    for bad in ["", "5", "\"w\"", &good.replace("0123456789abcdef", "0123"), &good.replace("0123456789", "012345678g")]
    {
        assert_eq!(server.submit("a", bad), Err(20), "{bad}");
    }
    assert_eq!(server.status("a").rejected.malformed, 5);
    assert_eq!(server.metrics.shares_rejected.malformed.get(), 5);
    assert_eq!(server.submit("a", &good), Ok(()));
}

#[test]
fn error_20_time_out_of_range() {
    let mut server = TestServer::new();
    let job = server.job(SHARES);
    server.worker("a");
    let start = blank_submit(&job, server.extranonce1("a"), 1);
    let submit_at = |server: &mut TestServer, time: u32| {
        let mut at = start;
        at.time = time;
        let found = solve(&job, at, is_share(&job));
        server.send_submit("a", &job, &found)
    };
    assert_eq!(submit_at(&mut server, MIN_TIME.0 - 1), Err(20));
    assert_eq!(submit_at(&mut server, MIN_TIME.0), Ok(()));
    // At the job's time, the limit is 7,000 s after the job.
    assert_eq!(submit_at(&mut server, JOB_TIME.0 + 7_000), Ok(()));
    assert_eq!(submit_at(&mut server, JOB_TIME.0 + 7_001), Err(20));
    // With the clock 300 s behind, the limit is two hours after the clock.
    server.now.time = server.now.time.minus(300);
    assert_eq!(submit_at(&mut server, JOB_TIME.0 + 6_900), Ok(()));
    assert_eq!(submit_at(&mut server, JOB_TIME.0 + 6_901), Err(20));
    // A job whose target is only valid for ten seconds.
    let job = JobSpec { id: 2, ..SHARES }.make();
    let job = Arc::new(Job::clone(&job).until(JOB_TIME.plus(10)).unwrap());
    server.announce(&job);
    let submit_at = |server: &mut TestServer, time: u32| {
        let mut at = start;
        at.time = time;
        let found = solve(&job, at, is_share(&job));
        server.send_submit("a", &job, &found)
    };
    assert_eq!(submit_at(&mut server, JOB_TIME.0 + 10), Ok(()));
    assert_eq!(submit_at(&mut server, JOB_TIME.0 + 11), Err(20));
}

#[test]
fn version_bits_are_only_accepted_within_the_mask() {
    let mut server = TestServer::new();
    // A version in which a rollable bit is set, which the miner may clear.
    let job = server.job(JobSpec { version: 0x2000_4000, ..SHARES });
    server.worker("a");
    let start = blank_submit(&job, server.extranonce1("a"), 1);
    let submit = |server: &mut TestServer, version: i32, bits: Option<&str>| {
        let mut rolled = start;
        rolled.version = version;
        let found = solve(&job, rolled, is_share(&job));
        let params = submit_params(&job, &found);
        server.submit("a", &bits.map_or(params.clone(), |bits| format!("{params},\"{bits}\"")))
    };
    assert_eq!(submit(&mut server, 0x2000_4000, None), Ok(()), "neither negotiated nor rolled");
    server.sink.events.clear();
    for _ in 0..3 {
        assert_eq!(submit(&mut server, 0x2000_6000, Some("00006000")), Err(20), "rolled without negotiation");
    }
    assert_eq!(server.sink.events.len(), 1, "reported once");
    assert!(server.sink.events[0].contains("bits: 24576, mask: 0 }"), "{}", server.sink.events[0]);
    server.call("a", "mining.configure", r#"[["version-rolling"],{"version-rolling.mask":"00ffffff"}]"#).unwrap();
    assert_eq!(submit(&mut server, 0x2000_6000, Some("00006000")), Ok(()));
    assert_eq!(submit(&mut server, 0x2000_0000, Some("00000000")), Ok(()), "all bits of the mask cleared");
    assert_eq!(submit(&mut server, 0x20ff_e000, Some("00ffe000")), Ok(()));
    assert_eq!(submit(&mut server, 0x2100_0000, Some("01000000")), Err(20), "outside the common mask");
    assert_eq!(submit(&mut server, 0x2000_1000, Some("00001000")), Err(20), "outside bits 13 to 28");
    assert_eq!(server.sink.shares.len(), 4);
    let versions: Vec<_> = server.sink.shares.iter().map(|share| share.header[..4].to_vec()).collect();
    assert_eq!(versions[1], [0x00, 0x60, 0x00, 0x20]);
}

/// Mines with a version of the job as it was received, and submits the rolled bits or `rolled XOR job`, as firmware does.
fn submit_rolled(
    server: &mut TestServer,
    job: &Job,
    extranonce2: u64,
    version: u32,
    bits: Option<u32>,
) -> Result<(), u64> {
    let start = blank_submit(job, server.extranonce1("a"), extranonce2);
    let found = solve(job, Submit { version: version as i32, ..start }, is_share(job));
    let params = submit_params(job, &found);
    server.submit("a", &bits.map_or(params.clone(), |bits| format!("{params},\"{bits:08x}\"")))
}

/// The block version of the last job in these lines.
fn notified_version(lines: &[serde_json::Value]) -> u32 {
    let notify = lines.iter().rev().find(|line| line["method"] == "mining.notify").unwrap();
    u32::from_str_radix(notify["params"][5].as_str().unwrap(), 16).unwrap()
}

#[test]
fn both_conventions_of_version_rolling_work_whatever_bits_the_template_sets() {
    const MASK: u32 = 0x1fff_e000;
    // The second is regtest's above height 144.
    for version in [0x3fff_e000u32, 0x3000_0000, 0x2000_0000, 0x3fff_e004] {
        let mut server = TestServer::new();
        let spec = JobSpec { version: version as i32, ..SHARES };
        server.connect("a");
        server.call("a", "mining.configure", r#"[["version-rolling"]]"#).unwrap();
        server.call("a", "mining.subscribe", "[]").unwrap();
        server.call("a", "mining.authorize", r#"["w"]"#).unwrap();
        let job = spec.make();
        let notified = notified_version(&server.announce(&job)["a"]);
        assert_eq!(notified, version & !MASK);
        for rolled in [0, 0x2000, 0x1000_0000, 0x1fff_e000] {
            let header = (notified & !MASK) | rolled;
            assert_eq!(
                submit_rolled(&mut server, &job, 1, header, Some(header & MASK)),
                Ok(()),
                "{version:x} {rolled:x}"
            );
            // The same header, in the other convention.
            assert_eq!(submit_rolled(&mut server, &job, 1, header, Some(header ^ notified)), Err(22));
        }
        assert_eq!(submit_rolled(&mut server, &job, 2, notified, None), Ok(()), "a submit without rolled bits");
        let header = &server.sink.shares.last().unwrap().header;
        assert_eq!(header[..4], (version & !MASK).to_le_bytes());
    }
}

#[test]
fn a_mask_negotiated_later_applies_from_the_next_job_on() {
    let mut server = TestServer::new();
    let spec = JobSpec { version: 0x3000_0000, ..SHARES };
    let first = server.job(spec);
    assert_eq!(notified_version(&server.worker("a")), 0x3000_0000, "a miner that does not roll signals");
    for extranonce2 in 0..2 {
        server.call("a", "mining.configure", r#"[["version-rolling"]]"#).unwrap();
        assert_eq!(submit_rolled(&mut server, &first, extranonce2, 0x3000_0000, None), Ok(()));
    }
    assert_eq!(submit_rolled(&mut server, &first, 2, 0x2000_4000, Some(0x4000)), Ok(()));
    let second = JobSpec { id: 2, payees: 2, ..spec }.make();
    assert_eq!(notified_version(&server.announce(&second)["a"]), 0x2000_0000);
    assert_eq!(submit_rolled(&mut server, &second, 1, 0x2000_0000, None), Ok(()));
    assert_eq!(submit_rolled(&mut server, &first, 3, 0x3000_0000, None), Ok(()), "an earlier job keeps its version");
    // The mask is withdrawn.
    server.call("a", "mining.configure", r#"[["version-rolling"],{"version-rolling.mask":"00000000"}]"#).unwrap();
    let third = JobSpec { id: 3, payees: 3, ..spec }.make();
    assert_eq!(notified_version(&server.announce(&third)["a"]), 0x3000_0000);
    assert_eq!(submit_rolled(&mut server, &third, 1, 0x3000_0000, None), Ok(()));
}

#[test]
fn a_job_that_reaches_a_session_late_has_the_mask_negotiated_meanwhile() {
    let mut server = TestServer::new();
    let spec = JobSpec { version: 0x3000_0000, ..SHARES };
    server.job(spec);
    server.worker("a");
    let second = JobSpec { id: 2, ..spec }.make();
    let fanout = server.shared.update(WorkUpdate::Job(Arc::clone(&second)));
    server.call("a", "mining.configure", r#"[["version-rolling"]]"#).unwrap();
    server.worker("b");
    let sent = server.deliver(fanout);
    assert_eq!(notified_version(&sent["a"]), 0x2000_0000);
    assert_eq!(submit_rolled(&mut server, &second, 1, 0x2000_0000, None), Ok(()));
    assert!(sent["b"].is_empty(), "it began with this job");
}

#[test]
fn error_21_unknown_and_stale_jobs() {
    let mut server = TestServer::new();
    let job = server.job(SHARES);
    server.worker("a");
    let found = solved(&mut server, "a", &job, is_share(&job));
    let params = submit_params(&job, &found);
    for unknown in ["2", "ffffffffffffffff", "", "not a job"] {
        assert_eq!(server.submit("a", &params.replace("\"1\"", &format!("\"{unknown}\""))), Err(21), "{unknown}");
    }
    server.job(JobSpec { id: 2, tip: 2, ..SHARES });
    assert_eq!(server.submit("a", &params), Err(21));
    assert!(server.sink.shares.is_empty());
    assert_eq!(server.status("a").rejected.stale, 5);
    // The tip changes back, and the work counts.
    server.job(JobSpec { id: 3, tip: 1, ..SHARES });
    assert_eq!(server.submit("a", &params), Ok(()));
}

#[test]
fn a_share_for_an_older_job_on_the_same_tip_is_accepted() {
    let mut server = TestServer::new();
    let job = server.job(SHARES);
    server.worker("a");
    let found = solved(&mut server, "a", &job, is_share(&job));
    server.job(JobSpec { id: 2, ..SHARES });
    server.job(JobSpec { id: 3, ..SHARES });
    assert_eq!(server.send_submit("a", &job, &found), Ok(()));
    assert_eq!(server.sink.shares[0].job.id, job.id);
}

#[test]
fn error_21_while_work_is_withdrawn() {
    let mut server = TestServer::new();
    let job = server.job(SHARES);
    server.worker("a");
    server.withdraw(NoWork::NoTemplate);
    let found = solved(&mut server, "a", &job, is_share(&job));
    assert_eq!(server.send_submit("a", &job, &found), Err(21));
}

#[test]
fn error_22_duplicates() {
    let mut server = TestServer::new();
    let job = server.job(SHARES);
    server.worker("a");
    let found = solved(&mut server, "a", &job, is_share(&job));
    let params = submit_params(&job, &found);
    assert_eq!(server.submit("a", &params), Ok(()));
    assert_eq!(server.submit("a", &params), Err(22));
    let uppercase = params.to_uppercase().replace("\"WORKER\"", "\"another name\"");
    assert_ne!(uppercase, params);
    assert_eq!(server.submit("a", &uppercase), Err(22), "the header matters, not how it is written");
    assert_eq!(server.sink.shares.len(), 1);
    // A resumed session has the same headers.
    let session = u32::from_be_bytes(server.extranonce1("a"));
    server.disconnect("a");
    server.connect("b");
    server.call("b", "mining.subscribe", &format!(r#"["","{session:08x}"]"#)).unwrap();
    server.call("b", "mining.authorize", r#"["w"]"#).unwrap();
    assert_eq!(server.submit("b", &params), Err(22));
    // The same nonces in another session are other headers.
    server.worker("c");
    let other = solved(&mut server, "c", &job, is_share(&job));
    assert_eq!(server.send_submit("c", &job, &other), Ok(()));
}

#[test]
fn error_23_low_difficulty() {
    let mut server = TestServer::new();
    let job = server.job(WORK);
    server.worker_at("a", EASY);
    let easier = meets(EASY * 0.5);
    let enough = meets(EASY);
    let found = solved(&mut server, "a", &job, |hashed| easier(hashed) && !enough(hashed));
    for _ in 0..2 {
        assert_eq!(server.send_submit("a", &job, &found), Err(23), "it is not remembered as a duplicate");
    }
}

#[test]
fn error_24_before_authorize_and_25_before_subscribe() {
    let mut server = TestServer::new();
    let job = server.job(SHARES);
    server.connect("a");
    let found = solve(&job, blank_submit(&job, [0; 4], 1), is_share(&job));
    let malformed = submit_params(&job, &found).replace("\"00", "\"0");
    let unknown = submit_params(&job, &found).replace("\"1\"", "\"2\"");
    let bad = [malformed.as_str(), &unknown, "", "5"];
    assert_eq!(server.send_submit("a", &job, &found), Err(25));
    assert_eq!(bad.map(|params| server.submit("a", params)), [Err(25); 4], "whatever the parameters are");
    let found = solved(&mut server, "a", &job, is_share(&job));
    assert_eq!(server.send_submit("a", &job, &found), Err(24));
    assert_eq!(bad.map(|params| server.submit("a", params)), [Err(24); 4]);
    assert!(server.sink.shares.is_empty());
    server.call("a", "mining.authorize", r#"["w"]"#).unwrap();
    assert_eq!(server.send_submit("a", &job, &found), Ok(()));
    assert_eq!(server.status("a").rejected.unauthorised, 10);
    assert_eq!(bad.map(|params| server.submit("a", params)), [Err(20), Err(21), Err(20), Err(20)]);
}

#[test]
fn error_20_too_many_submits() {
    let mut server = TestServer::new();
    // Shares are so easy that the limit is twenty times this.
    server.shared.limits.submits = Rate { burst: 1, interval: Duration::from_millis(200) };
    let job = server.job(SHARES);
    server.worker("a");
    server.worker("b");
    let mut found = solved(&mut server, "a", &job, is_share(&job));
    let mut results = Vec::new();
    for _ in 0..30 {
        results.push(server.send_submit("a", &job, &found));
        found = another(&job, &found, is_share(&job));
    }
    assert_eq!(results, [vec![Ok(()); 20], vec![Err(20); 10]].concat());
    assert_eq!(server.status("a").rejected.busy, 10);
    assert_eq!(server.sink.shares.len(), 20);
    // Other sessions are not affected, and the session may submit again later.
    let other = solved(&mut server, "b", &job, is_share(&job));
    assert_eq!(server.send_submit("b", &job, &other), Ok(()));
    server.pass(0.05);
    let results: Vec<_> = (0..6)
        .map(|_| {
            found = another(&job, &found, is_share(&job));
            server.send_submit("a", &job, &found)
        })
        .collect();
    assert_eq!(results, [vec![Ok(()); 5], vec![Err(20); 1]].concat());
}

#[test]
fn a_cpu_may_submit_all_it_finds_on_a_new_sharechain() {
    let mut server = TestServer::new();
    let job = server.job(JobSpec { share_bits: EASIEST, ..SHARES });
    server.worker("a");
    let mut found = solved(&mut server, "a", &job, is_share(&job));
    // 10 MH/s at the lowest difficulty that vardiff assigns, 0.00001.
    for _ in 0..1_000 {
        server.pass(0.005);
        server.now.time = JOB_TIME;
        assert_eq!(server.send_submit("a", &job, &found), Ok(()));
        found = another(&job, &found, is_share(&job));
    }
}

#[test]
fn each_submit_counts_for_its_own_worker() {
    let mut server = TestServer::new();
    let job = server.job(JobSpec { block_bits: SHARES.share_bits, ..SHARES });
    server.connect("a");
    server.call("a", "mining.subscribe", r#"["proxy"]"#).unwrap();
    for name in ["one", "two", "é\\n", "one"] {
        server.call("a", "mining.authorize", &format!(r#"["{name}"]"#)).unwrap();
    }
    let authorised = |name: &str| format!(r#"Authorised {{ worker: "{name}", user_agent: "proxy" }}"#);
    assert_eq!(server.sink.events, ["one", "two", "é"].map(authorised));
    let mut found = solved(&mut server, "a", &job, is_share(&job));
    for (name, count) in [("one", 1), ("two", 3), ("\\u00e9\\n", 2), ("another name", 1)] {
        for _ in 0..count {
            let params = submit_params(&job, &found).replace("worker", name);
            assert_eq!(server.submit("a", &params), Ok(()));
            assert_eq!(server.submit("a", &params), Err(22));
            found = another(&job, &found, is_share(&job));
        }
    }
    let counts = [("one", 2, 2), ("two", 3, 3), ("é", 2, 2)].map(|(name, a, b)| (name.to_owned(), a, b));
    assert_eq!(server.worker_counts("a"), counts, "an unknown name counts for the first worker");
    let finders: Vec<&str> = server.sink.blocks.iter().map(|block| &*block.worker).collect();
    assert_eq!(finders, ["one", "two", "two", "two", "é", "é", "one"]);
}

#[test]
fn the_number_of_workers_of_a_session_is_bounded() {
    let mut server = TestServer::new();
    server.worker("a");
    for number in 1..64 {
        server.call("a", "mining.authorize", &format!(r#"["{number}"]"#)).unwrap();
    }
    assert_eq!(server.call("a", "mining.authorize", r#"["64"]"#).unwrap_err().0, 20);
    assert!(server.call("a", "mining.authorize", r#"["63"]"#).is_ok());
    assert_eq!(server.worker_counts("a").len(), 64);
}

#[test]
fn error_20_while_the_chain_thread_is_busy() {
    let mut server = TestServer::new();
    let job = server.job(SHARES);
    server.worker("a");
    let found = solved(&mut server, "a", &job, is_share(&job));
    server.sink.is_busy = true;
    assert_eq!(server.send_submit("a", &job, &found), Err(20));
    assert_eq!(server.status("a").accepted, 0);
    server.sink.is_busy = false;
    assert_eq!(server.send_submit("a", &job, &found), Ok(()));
}

/// Submits a block in a way that is rejected with `code`; the block must go to bitcoind anyway.
fn block_despite(code: u64, prepare: impl FnOnce(&mut TestServer, &Job, &Submit) -> String) {
    let mut server = TestServer::new();
    let job = server.job(BLOCKS);
    server.worker("a");
    let found = solved(&mut server, "a", &job, is_block(&job));
    let params = prepare(&mut server, &job, &found);
    assert_eq!(server.submit("a", &params), Err(code));
    let [block] = &server.sink.blocks[..] else { panic!("no block submitted despite error {code}") };
    assert!(job.block_target.is_met_by(&block.hash));
    assert_eq!(block.hash, crate::share::header_hash(&block.header));
    assert_eq!((block.job.id, &block.extranonce[..4]), (job.id, &found.extranonce[..4]));
    assert_eq!(server.metrics.blocks_found.get(), 1);
    // Only once.
    assert!(server.submit("a", &params).is_err());
    assert_eq!(server.sink.blocks.len(), 1);
}

#[test]
fn a_block_is_submitted_even_if_the_submit_is_rejected() {
    block_despite(23, |_, job, found| submit_params(job, found));
    block_despite(21, |server, job, found| {
        server.job(JobSpec { id: 2, tip: 2, ..BLOCKS });
        submit_params(job, found)
    });
    block_despite(21, |server, job, found| {
        server.withdraw(NoWork::Syncing);
        submit_params(job, found)
    });
    block_despite(20, |server, job, found| {
        // Exceed the rate limit.
        while server.send_submit("a", job, &Submit { time: found.time + 1, ..*found }) != Err(20) {}
        submit_params(job, found)
    });
    block_despite(20, |_, job, found| {
        let early = solve(job, Submit { time: MIN_TIME.0 - 1, ..*found }, is_block(job));
        submit_params(job, &early)
    });
    block_despite(20, |_, job, found| {
        let rolled = solve(job, Submit { version: job.template.version | 0x4000, ..*found }, is_block(job));
        format!("{},\"00004000\"", submit_params(job, &rolled))
    });
}

#[test]
fn a_block_of_an_unauthorised_session_is_submitted() {
    let mut server = TestServer::new();
    let job = server.job(BLOCKS);
    server.connect("a");
    let found = solved(&mut server, "a", &job, is_block(&job));
    assert_eq!(server.send_submit("a", &job, &found), Err(24));
    assert_eq!(&*server.sink.blocks[0].worker, "unauthorised");
}

#[test]
fn a_block_that_is_a_share_is_submitted_as_both() {
    let mut server = TestServer::new();
    let job = server.job(JobSpec { share_bits: BLOCKS.block_bits, ..BLOCKS });
    server.worker("a");
    let found = solved(&mut server, "a", &job, is_block(&job));
    assert_eq!(server.send_submit("a", &job, &found), Ok(()));
    assert_eq!((server.sink.blocks.len(), server.sink.shares.len()), (1, 1));
    assert_eq!(&*server.sink.blocks[0].worker, "a");
    assert_eq!(server.send_submit("a", &job, &found), Err(22));
    assert_eq!((server.sink.blocks.len(), server.sink.shares.len()), (1, 1));
}

#[test]
fn retargets_reject_no_honest_work() {
    let mut server = TestServer::new();
    let first = server.job(WORK);
    server.worker_at("a", EASY);
    let easy = meets(EASY);
    let just = solved(&mut server, "a", &first, |hashed| easy(hashed) && !meets(EASY * 8.0)(hashed));
    // A higher difficulty is announced with the next job and applies from it on.
    server.call("a", "mining.suggest_difficulty", "[0.00008]").unwrap();
    assert_eq!(server.send_submit("a", &first, &just), Ok(()));
    let second = server.job(JobSpec { id: 2, payees: 2, ..WORK });
    let just = another(&first, &just, |hashed| easy(hashed) && !meets(EASY * 8.0)(hashed));
    assert_eq!(server.send_submit("a", &first, &just), Ok(()), "the old job has the old difficulty");
    let easy_one = solved(&mut server, "a", &second, |hashed| easy(hashed) && !meets(EASY * 8.0)(hashed));
    assert_eq!(server.send_submit("a", &second, &easy_one), Err(23), "the new job has the new one");
    let hard_one = solved(&mut server, "a", &second, meets(EASY * 8.0));
    assert_eq!(server.send_submit("a", &second, &hard_one), Ok(()));
    // Firmware may apply a lower one to earlier jobs too.
    server.call("a", "mining.suggest_difficulty", &format!("[{EASY}]")).unwrap();
    server.job(JobSpec { id: 3, payees: 3, ..WORK });
    assert_eq!(server.send_submit("a", &second, &easy_one), Ok(()));
}

#[test]
fn a_share_for_a_job_from_before_a_reconnect_is_accepted() {
    let mut server = TestServer::with(Network::Mainnet, 1.0);
    let easy = server.job(SHARES);
    server.worker("a");
    let found = solved(&mut server, "a", &easy, is_share(&easy));
    let session = u32::from_be_bytes(server.extranonce1("a"));
    server.disconnect("a");
    server.job(JobSpec { id: 2, ..WORK });
    server.connect("b");
    server.call("b", "mining.subscribe", &format!(r#"["","{session:08x}"]"#)).unwrap();
    server.call("b", "mining.authorize", r#"["w"]"#).unwrap();
    assert_eq!(server.send_submit("b", &easy, &found), Ok(()));
    assert_eq!(server.sink.shares.len(), 1);
}

#[test]
fn the_easiest_share_target_works() {
    let mut server = TestServer::new();
    let job = server.job(JobSpec { share_bits: EASIEST, block_bits: EASIEST, ..SHARES });
    server.worker("a");
    let half = job.share_target;
    assert!(half < Target::MAX);
    let found = solved(&mut server, "a", &job, is_share(&job));
    assert_eq!(server.send_submit("a", &job, &found), Ok(()));
    let missed = solved(&mut server, "a", &job, |hashed| !hashed.meets(&half));
    assert_eq!(server.send_submit("a", &job, &missed), Err(23));
}
