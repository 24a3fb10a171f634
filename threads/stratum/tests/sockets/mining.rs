//! Miners at work.

use std::time::{Duration, Instant};

use p2pool_channels::{ToChain, ToSubmit};
use p2pool_core::node::Event;
use p2pool_core::share::header_hash;
use p2pool_core::units::Bits;
use p2pool_core::work::{NoWork, WorkUpdate};
use p2pool_stratum::StratumError;
use serde_json::json;

use crate::fixtures::{JobSpec, EASIEST, HARDEST};
use crate::support::*;

/// Every other hash is a share.
const SHARES: JobSpec =
    JobSpec { id: 1, tip: 1, block_bits: HARDEST, share_bits: EASIEST, version: 0x2000_0000, payees: 48 };
/// One hash in 256 is a block, none is a share.
const BLOCKS: JobSpec = JobSpec { block_bits: Bits(0x2000_ffff), share_bits: HARDEST, ..SHARES };

#[test]
fn a_share_reaches_the_chain_and_its_miner_is_told() {
    let node = Node::start(Setup::default());
    let job = node.job(SHARES);
    let mut client = node.worker();
    let submit = client.solution(&job, 5);
    client.write(submit.as_bytes());
    assert_eq!(client.answer(), json!({"id": 5, "result": true, "error": null}));
    let Ok(ToChain::Event(Event::ShareFound(share))) = node.chain.recv_timeout(PATIENCE) else { panic!("no share") };
    assert_eq!(share.job.id, job.id);
    assert_eq!(share.extranonce[..4], client.extranonce1);
    assert_eq!(header_hash(&share.header), share.hash);
    client.write(submit.as_bytes());
    assert_eq!(client.answer()["error"][0], 22);
    assert_eq!((node.counters.shares_accepted.get(), node.counters.shares_rejected.duplicate.get()), (1, 1));
    assert!(node.submit.is_empty());
}

#[test]
fn what_miners_wait_for_is_measured() {
    let node = Node::start(Setup::default());
    let job = node.job(SHARES);
    let mut client = node.worker();
    let submit = client.solution(&job, 5);
    // Two in one packet, the second known already.
    client.write(submit.repeat(2).as_bytes());
    assert_eq!((client.answer()["result"].as_bool(), &client.answer()["error"][0]), (Some(true), &22.into()));
    let counters = &node.counters;
    wait_until("both submits are measured", || counters.submit_latency.get_sample_count() == 2);
    wait_until("the job is measured", || counters.job_fanout.get_sample_count() == 1);
    assert!(counters.submit_latency.get_sample_sum() < 60.0);
    // Both submits and what introduced the miner; two answers, a difficulty and a job.
    assert!(counters.stratum_bytes_in.get() > 2 * submit.len() as u64);
    assert!(counters.stratum_bytes_out.get() > 1_000);
    // What is no submit is not counted as one.
    client.call("mining.ping", &json!([]));
    assert_eq!(counters.submit_latency.get_sample_count(), 2);
}

#[test]
fn a_block_goes_to_submit_though_its_share_is_refused() {
    let node = Node::start(Setup::default());
    let job = node.job(BLOCKS);
    let mut client = node.worker();
    let submit = client.solution(&job, 5);
    node.job(JobSpec { id: 2, tip: 2, ..BLOCKS });
    client.next("mining.notify");
    client.write(submit.as_bytes());
    assert_eq!(client.answer()["error"][0], 21);
    let Ok(ToSubmit::Own(block)) = node.submit.recv_timeout(PATIENCE) else { panic!("no block") };
    assert!(job.block_target.is_met_by(&block.hash));
    assert_eq!((block.job.id, &*block.worker), (job.id, "tester.1"));
}

#[test]
fn blocks_wait_while_the_submit_thread_is_busy_and_none_is_lost() {
    let node = Node::start(Setup { submit_capacity: 1, ..Setup::default() });
    let job = node.job(BLOCKS);
    let mut client = node.worker();
    for seed in 0..8 {
        let submit = client.solution(&job, seed);
        client.write(submit.as_bytes());
        assert_eq!(client.answer()["error"][0], 23, "the miner is answered all the same");
    }
    let mut extranonces = Vec::new();
    for _ in 0..8 {
        let Ok(ToSubmit::Own(block)) = node.submit.recv_timeout(PATIENCE) else { panic!("a block was lost") };
        extranonces.push(block.extranonce[11]);
    }
    assert_eq!(extranonces, [0, 1, 2, 3, 4, 5, 6, 7], "in the order they were found");
}

#[test]
fn blocks_that_wait_are_handed_over_at_the_end() {
    let node = Node::start(Setup { submit_capacity: 1, ..Setup::default() });
    let job = node.job(BLOCKS);
    let mut client = node.worker();
    for seed in 0..3 {
        let submit = client.solution(&job, seed);
        client.write(submit.as_bytes());
        client.answer();
    }
    let submit = node.submit.clone();
    let taker = std::thread::spawn(move || (0..3).filter(|_| submit.recv_timeout(PATIENCE).is_ok()).count());
    node.stop().unwrap();
    assert_eq!(taker.join().unwrap(), 3);
}

#[test]
fn a_share_the_chain_has_no_room_for_is_refused() {
    let node = Node::start(Setup { chain_capacity: 1, ..Setup::default() });
    let job = node.job(SHARES);
    let mut client = node.worker();
    let submits = [1, 2].map(|seed| client.solution(&job, seed));
    client.write(submits[0].as_bytes());
    assert_eq!(client.answer()["result"], true);
    client.write(submits[1].as_bytes());
    assert_eq!(client.answer()["error"][0], 20);
    assert_eq!(node.counters.shares_rejected.busy.get(), 1);
    node.chain.recv_timeout(PATIENCE).unwrap();
    client.write(submits[1].as_bytes());
    assert_eq!(client.answer()["result"], true);
}

#[test]
fn the_thread_ends_if_the_chain_does() {
    let mut node = Node::start(Setup::default());
    let job = node.job(SHARES);
    let mut client = node.worker();
    let (_, closed) = crossbeam_channel::bounded(1);
    drop(std::mem::replace(&mut node.chain, closed));
    let submit = client.solution(&job, 1);
    client.write(submit.as_bytes());
    assert!(matches!(node.join(), Err(StratumError::ChainGone)));
}

#[test]
fn stopping_closes_every_connection() {
    let node = Node::start(Setup::default());
    node.job(JobSpec { payees: 1, ..SHARES });
    let mut client = node.worker();
    let mut silent = node.connect();
    node.wait_for_sessions(2);
    let address = node.address;
    node.stop().unwrap();
    assert!(client.is_closed() && silent.is_closed());
    assert!(std::net::TcpStream::connect(address).is_err());
}

#[test]
fn a_new_bitcoin_tip_is_fanned_out_at_once_and_others_are_spaced() {
    let node = Node::start(Setup::default());
    node.job(SHARES);
    let mut client = node.worker();
    let start = Instant::now();
    for id in 2..=40 {
        node.job(JobSpec { id, ..SHARES });
    }
    let mut count = 0;
    while client.next("mining.notify")[0] != "28" {
        count += 1;
    }
    assert!(count <= 1 + start.elapsed().as_millis() / 250, "{count} jobs in between");
    node.job(JobSpec { id: 41, tip: 2, ..SHARES });
    let notify = client.next("mining.notify");
    assert_eq!((&notify[0], &notify[8]), (&json!("29"), &json!(true)));
    node.jobs.put(WorkUpdate::NoWork(NoWork::Syncing));
    client.next("client.show_message");
}

#[test]
fn a_session_is_resumed() {
    let node = Node::start(Setup::default());
    let job = node.job(SHARES);
    let mut first = node.worker();
    let submit = first.solution(&job, 1);
    first.write(submit.as_bytes());
    first.answer();
    let extranonce1 = first.extranonce1;
    drop(first);
    node.wait_for_sessions(0);
    let mut second = node.connect();
    let session = format!("{:08x}", u32::from_be_bytes(extranonce1));
    assert_eq!(second.call("mining.subscribe", &json!(["tester", session]))["result"][1], session);
    second.call("mining.authorize", &json!(["tester"]));
    second.write(submit.as_bytes());
    assert_eq!(second.answer()["error"][0], 22, "it is the same search space");
}

#[test]
fn the_miners_are_shown_to_onlookers() {
    let node = Node::start(Setup::default());
    let job = node.job(SHARES);
    let mut client = node.worker();
    let submit = client.solution(&job, 1);
    for _ in 0..2 {
        client.write(submit.as_bytes());
        client.answer();
    }
    wait_until("the snapshot", || node.miners.load().miners.first().is_some_and(|miner| miner.rejected.duplicate == 1));
    let status = node.miners.load();
    let [miner] = &status.miners[..] else { panic!("one miner") };
    assert_eq!((&*miner.worker, &*miner.user_agent, miner.accepted), ("tester.1", "tester", 1));
    assert!(miner.last_share.is_some() && miner.best_difficulty > 0.0 && miner.difficulty > 0.0);
    assert!(miner.coinbase_too_large, "48 payees are too many for unknown firmware");
    drop(client);
    wait_until("its end", || node.miners.load().miners.is_empty());
}

#[test]
fn a_thousand_idle_sessions_do_not_slow_a_working_one() {
    const IDLE: usize = 999;
    let node = Node::start(Setup::default());
    let job = node.job(SHARES);
    let idle: Vec<Client> = (0..IDLE)
        .map(|_| {
            let mut client = node.connect();
            client.introduce();
            client
        })
        .collect();
    let mut working = node.worker();
    node.wait_for_sessions(1_000);
    let mut latencies = Vec::new();
    for seed in 0..50 {
        let submit = working.solution(&job, seed);
        let start = Instant::now();
        working.write(submit.as_bytes());
        assert_eq!(working.answer()["result"], true);
        latencies.push(start.elapsed());
        // Below the rate that is allowed for ever.
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(node.chain.len(), 50);
    latencies.sort();
    // What another program on the machine does to a few of them is not seen.
    assert!(latencies[44] < Duration::from_secs(1), "answers took {latencies:?}");
    // All of them hear of a new tip.
    let start = Instant::now();
    node.job(JobSpec { id: 2, tip: 2, ..SHARES });
    for mut client in idle {
        while client.next("mining.notify")[0] != "2" {}
    }
    // It takes some hundredths of a second; this thread reads all of it as well, on a machine with more to do.
    assert!(start.elapsed() < Duration::from_secs(10), "fan-out took {:?}", start.elapsed());
    let notify = working.next("mining.notify");
    assert_eq!(notify[0], "2");
}
