//! Mining: shares, blocks and jobs.

use std::time::{Duration, Instant};

use crossbeam_channel::TryRecvError;
use p2pool_channels::{ToChain, ToSubmit};
use p2pool_core::node::Event;
use p2pool_core::share::header_hash;
use p2pool_core::units::Bits;
use p2pool_core::work::{NoWork, WorkUpdate};
use p2pool_stratum::StratumError;
use serde_json::json;

use crate::fixtures::{JobSpec, EASIEST, HARDEST};
use crate::support::*;

/// Half of all hashes are shares.
const SHARES: JobSpec =
    JobSpec { id: 1, tip: 1, block_bits: HARDEST, share_bits: EASIEST, version: 0x2000_0000, payees: 48 };
/// One hash in 256 is a block, none is a share.
const BLOCKS: JobSpec = JobSpec { block_bits: Bits(0x2000_ffff), share_bits: HARDEST, ..SHARES };

#[test]
fn a_share_is_accepted_and_reaches_the_chain_thread() {
    let server = TestServer::start(Setup::default());
    let job = server.job(SHARES);
    let mut miner = server.worker();
    let submit = miner.solution(&job, 5);
    miner.write(submit.as_bytes());
    assert_eq!(miner.response(), json!({"id": 5, "result": true, "error": null}));
    let Ok(ToChain::Event(Event::ShareFound(share))) = server.chain.recv_timeout(TIMEOUT) else { panic!("no share") };
    assert_eq!(share.job.id, job.id);
    assert_eq!(share.extranonce[..4], miner.extranonce1);
    assert_eq!(header_hash(&share.header), share.hash);
    miner.write(submit.as_bytes());
    assert_eq!(miner.response()["error"][0], 22);
    assert_eq!((server.metrics.shares_accepted.get(), server.metrics.shares_rejected.duplicate.get()), (1, 1));
    assert!(server.submit.is_empty());
}

#[test]
fn latencies_and_bytes_are_measured() {
    let server = TestServer::start(Setup::default());
    let job = server.job(SHARES);
    let mut miner = server.worker();
    let submit = miner.solution(&job, 5);
    // Two submits in one packet, of which the second is a duplicate.
    miner.write(submit.repeat(2).as_bytes());
    assert_eq!((miner.response()["result"].as_bool(), &miner.response()["error"][0]), (Some(true), &22.into()));
    let metrics = &server.metrics;
    wait_until("both submits are measured", || metrics.submit_latency.get_sample_count() == 2);
    wait_until("the job is measured", || metrics.job_fanout.get_sample_count() == 1);
    assert!(metrics.submit_latency.get_sample_sum() < 60.0);
    // In: both submits, subscribe and authorize. Out: the responses, a difficulty and a job.
    assert!(metrics.stratum_bytes_in.get() > 2 * submit.len() as u64);
    assert!(metrics.stratum_bytes_out.get() > 1_000);
    // Other requests are not counted as submits.
    miner.call("mining.ping", &json!([]));
    assert_eq!(metrics.submit_latency.get_sample_count(), 2);
}

#[test]
fn a_block_is_submitted_although_its_submit_is_rejected() {
    let server = TestServer::start(Setup::default());
    let job = server.job(BLOCKS);
    let mut miner = server.worker();
    let submit = miner.solution(&job, 5);
    server.job(JobSpec { id: 2, tip: 2, ..BLOCKS });
    miner.next("mining.notify");
    miner.write(submit.as_bytes());
    assert_eq!(miner.response()["error"][0], 21);
    let Ok(ToSubmit::Own(block)) = server.submit.recv_timeout(TIMEOUT) else { panic!("no block") };
    assert!(job.block_target.is_met_by(&block.hash));
    assert_eq!((block.job.id, &*block.worker), (job.id, "tester.1"));
}

#[test]
fn blocks_wait_for_a_busy_submit_thread_and_none_is_lost() {
    let server = TestServer::start(Setup { submit_capacity: 1, ..Setup::default() });
    let job = server.job(BLOCKS);
    let mut miner = server.worker();
    for seed in 0..8 {
        let submit = miner.solution(&job, seed);
        miner.write(submit.as_bytes());
        assert_eq!(miner.response()["error"][0], 23, "the miner gets its response anyway");
    }
    let mut extranonces = Vec::new();
    for _ in 0..8 {
        let Ok(ToSubmit::Own(block)) = server.submit.recv_timeout(TIMEOUT) else { panic!("a block was lost") };
        extranonces.push(block.extranonce[11]);
    }
    assert_eq!(extranonces, [0, 1, 2, 3, 4, 5, 6, 7], "in the order they were found");
}

#[test]
fn waiting_blocks_are_submitted_at_the_end() {
    let server = TestServer::start(Setup { submit_capacity: 1, ..Setup::default() });
    let job = server.job(BLOCKS);
    let mut miner = server.worker();
    for seed in 0..3 {
        let submit = miner.solution(&job, seed);
        miner.write(submit.as_bytes());
        miner.response();
    }
    let submit = server.submit.clone();
    let receiver = std::thread::spawn(move || (0..3).filter(|_| submit.recv_timeout(TIMEOUT).is_ok()).count());
    server.stop().unwrap();
    assert_eq!(receiver.join().unwrap(), 3);
}

#[test]
fn a_share_is_rejected_while_the_chain_thread_is_busy() {
    let server = TestServer::start(Setup { chain_capacity: 1, ..Setup::default() });
    let job = server.job(SHARES);
    let mut miner = server.worker();
    let submits = [1, 2].map(|seed| miner.solution(&job, seed));
    miner.write(submits[0].as_bytes());
    assert_eq!(miner.response()["result"], true);
    miner.write(submits[1].as_bytes());
    assert_eq!(miner.response()["error"][0], 20);
    assert_eq!(server.metrics.shares_rejected.busy.get(), 1);
    server.chain.recv_timeout(TIMEOUT).unwrap();
    miner.write(submits[1].as_bytes());
    assert_eq!(miner.response()["result"], true);
}

#[test]
fn the_thread_ends_if_the_chain_thread_does() {
    let mut server = TestServer::start(Setup::default());
    let job = server.job(SHARES);
    let mut miner = server.worker();
    let (_, closed) = crossbeam_channel::bounded(1);
    drop(std::mem::replace(&mut server.chain, closed));
    let submit = miner.solution(&job, 1);
    miner.write(submit.as_bytes());
    assert!(matches!(server.join(), Err(StratumError::ChainEnded)));
}

#[test]
fn stopping_closes_every_connection() {
    let server = TestServer::start(Setup::default());
    server.job(JobSpec { payees: 1, ..SHARES });
    let mut miner = server.worker();
    let mut silent = server.connect();
    server.wait_for_sessions(2);
    let address = server.address;
    server.stop().unwrap();
    assert!(miner.is_closed() && silent.is_closed());
    assert!(std::net::TcpStream::connect(address).is_err());
}

#[test]
fn jobs_on_a_new_tip_are_sent_at_once_and_others_at_an_interval() {
    let server = TestServer::start(Setup::default());
    server.job(SHARES);
    let mut miner = server.worker();
    let start = Instant::now();
    for id in 2..=40 {
        server.job(JobSpec { id, ..SHARES });
    }
    let mut count = 0;
    while miner.next("mining.notify")[0] != "28" {
        count += 1;
    }
    assert!(count <= 1 + start.elapsed().as_millis() / 250, "{count} jobs in between");
    server.job(JobSpec { id: 41, tip: 2, ..SHARES });
    let notify = miner.next("mining.notify");
    assert_eq!((&notify[0], &notify[8]), (&json!("29"), &json!(true)));
    server.work.put(WorkUpdate::NoWork(NoWork::Syncing));
    miner.next("client.show_message");
}

#[test]
fn a_resumed_session_has_the_same_search_space() {
    let server = TestServer::start(Setup::default());
    let job = server.job(SHARES);
    let mut first = server.worker();
    let submit = first.solution(&job, 1);
    first.write(submit.as_bytes());
    first.response();
    let extranonce1 = first.extranonce1;
    drop(first);
    server.wait_for_sessions(0);
    let mut second = server.connect();
    let session = format!("{:08x}", u32::from_be_bytes(extranonce1));
    assert_eq!(second.call("mining.subscribe", &json!(["tester", session]))["result"][1], session);
    second.call("mining.authorize", &json!(["tester"]));
    second.write(submit.as_bytes());
    assert_eq!(second.response()["error"][0], 22, "the same search space");
}

#[test]
fn the_status_of_miners_is_published() {
    let server = TestServer::start(Setup::default());
    let job = server.job(SHARES);
    let mut miner = server.worker();
    let submit = miner.solution(&job, 1);
    for _ in 0..2 {
        miner.write(submit.as_bytes());
        miner.response();
    }
    wait_until("the snapshot", || {
        server.miners.load().miners.first().is_some_and(|miner| miner.rejected.duplicate == 1)
    });
    let snapshot = server.miners.load();
    let [status] = &snapshot.miners[..] else { panic!("one miner") };
    assert_eq!((&*status.worker, &*status.user_agent, status.accepted), ("tester.1", "tester", 1));
    assert!(status.last_share.is_some() && status.best_difficulty > 0.0 && status.difficulty > 0.0);
    assert!(status.coinbase_too_large, "48 payees are too many for unknown firmware");
    drop(miner);
    wait_until("the miner's end", || server.miners.load().miners.is_empty());
}

#[test]
fn the_class_that_the_miners_firmware_bears_is_reported_when_it_changes() {
    let server = TestServer::start(Setup::default());
    let job = server.job(SHARES);
    let worker = |user_agent: &str| {
        let mut miner = server.connect();
        miner.subscribe_and_authorize();
        miner.call("mining.subscribe", &json!([user_agent]));
        miner
    };
    let reported = |class: u8| {
        wait_until(&format!("class {class}"), || match server.chain.try_recv() {
            Ok(ToChain::Event(Event::FirmwareClass(reported))) => {
                assert_eq!(reported, class);
                true
            }
            Ok(ToChain::Event(Event::ShareFound(_))) | Err(TryRecvError::Empty) => false,
            other => panic!("{other:?}"),
        });
    };
    let mine = |miner: &mut TestConnection, seed| {
        let submit = miner.solution(&job, seed);
        miner.write(submit.as_bytes());
        assert_eq!(miner.response()["result"], true);
    };
    let (mut large, mut small) = (worker("vnish"), worker("bitaxe"));
    mine(&mut large, 1);
    reported(2);
    mine(&mut small, 2);
    reported(1);
    wait_until("the snapshot", || server.miners.load().firmware.len() == 2);
    assert_eq!(server.miners.load().firmware.iter().map(|part| part.work_percent).sum::<f64>(), 100.0);
    assert!(server.chain.is_empty(), "not again while it stays");
}

#[test]
fn a_thousand_idle_sessions_do_not_slow_down_a_working_one() {
    const IDLE: usize = 999;
    let server = TestServer::start(Setup::default());
    let job = server.job(SHARES);
    let idle: Vec<TestConnection> = (0..IDLE)
        .map(|_| {
            let mut miner = server.connect();
            miner.subscribe_and_authorize();
            miner
        })
        .collect();
    let mut working = server.worker();
    server.wait_for_sessions(1_000);
    let mut latencies = Vec::new();
    for seed in 0..50 {
        let submit = working.solution(&job, seed);
        let start = Instant::now();
        working.write(submit.as_bytes());
        assert_eq!(working.response()["result"], true);
        latencies.push(start.elapsed());
        // Below the rate limit.
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(server.chain.len(), 50);
    latencies.sort();
    // Ignore a few outliers that other programs on the machine may cause.
    assert!(latencies[44] < Duration::from_secs(1), "responses took {latencies:?}");
    // All of them are notified of a new tip.
    let start = Instant::now();
    server.job(JobSpec { id: 2, tip: 2, ..SHARES });
    for mut miner in idle {
        while miner.next("mining.notify")[0] != "2" {}
    }
    // It takes some hundredths of a second, plus the time that this thread needs to read everything.
    assert!(start.elapsed() < Duration::from_secs(10), "fan-out took {:?}", start.elapsed());
    let notify = working.next("mining.notify");
    assert_eq!(notify[0], "2");
}
