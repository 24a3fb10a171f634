//! Miners are refused and disconnected while there is no work.

use std::io::Write as _;
use std::time::Instant;

use p2pool_core::work::{NoWork, NoWorkTimeout, WorkUpdate};
use serde_json::json;

use crate::fixtures::{JobSpec, HARDEST};
use crate::support::*;

const JOB: JobSpec =
    JobSpec { id: 1, tip: 1, block_bits: HARDEST, share_bits: HARDEST, version: 0x2000_0000, payees: 1 };
/// A timeout that no test waits for, and one that some do.
const LONG: NoWorkTimeout = NoWorkTimeout::from_s(1_000);
const SHORT_S: u32 = 2;

fn start(no_work_timeout: NoWorkTimeout) -> TestServer {
    TestServer::start(Setup { no_work_timeout, web_capacity: Some(8), ..Setup::default() })
}

/// Whether a miner that connects is refused: closed without a byte, since any response to a subscribe would make its firmware
/// leave its backup pool.
fn is_refused(server: &TestServer) -> bool {
    let mut miner = server.connect();
    // The connection may be closed already.
    drop(miner.socket.write_all(b"{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[\"bitaxe\"]}\n"));
    miner.line().is_none()
}

#[test]
fn miners_are_refused_before_the_first_work_and_browsers_are_served() {
    let server = start(LONG);
    for _ in 0..3 {
        assert!(is_refused(&server));
    }
    let mut browser = server.connect();
    browser.write(b"GET / HTTP/1.1\r\n\r\n");
    server.web.recv_timeout(TIMEOUT).unwrap();
    wait_until("the status", || {
        let no_work = server.miners.load().no_work;
        no_work.is_some_and(|no_work| no_work.why == NoWork::NoTemplateYet && no_work.refuses && no_work.since.0 > 0)
    });
    server.job(JOB);
    wait_until("the first work", || !is_refused(&server));
    server.worker();
    wait_until("the status", || server.miners.load().no_work.is_none());
}

#[test]
fn new_connections_are_refused_at_once_and_sessions_closed_after_the_timeout() {
    let server = start(NoWorkTimeout::from_s(SHORT_S));
    server.job(JOB);
    wait_until("the first work", || !is_refused(&server));
    let mut miner = server.worker();
    let start = Instant::now();
    server.work.put(WorkUpdate::NoWork(NoWork::Syncing));
    let notices = miner.next("client.show_message");
    assert!(notices[0].as_str().unwrap().starts_with("No work: the node is syncing"), "{notices}");
    assert!(is_refused(&server));
    assert_eq!(miner.call("mining.ping", &json!([]))["result"], "pong", "it has a grace");
    assert!(miner.is_closed());
    let after = start.elapsed().as_millis();
    assert!(after >= u128::from(SHORT_S) * 1_000, "{after} ms");
    wait_until("the status", || server.miners.load().no_work.is_some_and(|no_work| no_work.closes));
    assert!(is_refused(&server));
    server.job(JobSpec { id: 2, ..JOB });
    wait_until("work", || !is_refused(&server));
    server.worker();
}

#[test]
fn a_moment_without_work_closes_no_session() {
    let server = start(LONG);
    server.job(JOB);
    wait_until("the first work", || !is_refused(&server));
    let mut miner = server.worker();
    for id in 2..5 {
        server.work.put(WorkUpdate::NoWork(NoWork::NoPeers));
        miner.next("client.show_message");
        server.job(JobSpec { id, ..JOB });
        assert_eq!(miner.next("mining.notify")[0], id.to_string());
    }
}

#[test]
fn a_template_that_grew_too_old_closes_sessions_at_once() {
    let server = start(NoWorkTimeout::from_s(90));
    server.job(JOB);
    wait_until("the first work", || !is_refused(&server));
    let mut miner = server.worker();
    server.work.put(WorkUpdate::NoWork(NoWork::NoTemplate));
    miner.next("client.show_message");
    assert!(miner.is_closed(), "its age is the timeout");
}

#[test]
fn without_a_timeout_miners_stay_and_are_told_why_there_is_no_work() {
    let server = start(NoWorkTimeout::NEVER);
    let mut miner = server.connect();
    miner.subscribe_and_authorize();
    let notices = miner.next("client.show_message");
    assert_eq!(notices[0], "No work: bitcoind has sent no block template yet. Mining will resume automatically.");
    server.work.put(WorkUpdate::NoWork(NoWork::NoTemplate));
    miner.next("client.show_message");
    server.job(JOB);
    miner.next("mining.notify");
}
