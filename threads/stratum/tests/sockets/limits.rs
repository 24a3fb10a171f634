//! Limits and timeouts.

use std::io::Write as _;
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::bounded;
use p2pool_core::config::Config;
use p2pool_core::metrics::Metrics;
use p2pool_core::params::{ChainParams, Network};
use p2pool_core::stratum::Limits;
use p2pool_core::token_bucket::Rate;
use p2pool_stratum::{Stratum, StratumSinks};
use serde_json::json;
use socket2::SockRef;

use crate::fixtures::JobSpec;
use crate::support::*;

/// The largest coinbase of the least class of outputs.
const LARGE: JobSpec = JobSpec { payees: 48, ..BASE };
const BASE: JobSpec = JobSpec {
    id: 1,
    tip: 1,
    block_bits: crate::fixtures::HARDEST,
    share_bits: crate::fixtures::HARDEST,
    version: 0x2000_0000,
    payees: 1,
};

fn with_limits(change: impl FnOnce(&mut Limits)) -> TestServer {
    let mut setup = Setup::default();
    change(&mut setup.limits);
    TestServer::start(setup)
}

#[test]
fn a_connection_that_sends_nothing_is_closed() {
    let server = with_limits(|limits| limits.first_byte_ms = 100);
    assert!(server.connect().is_closed());
    let mut undecided = server.connect();
    undecided.write(b"  ");
    assert!(undecided.is_closed());
    server.wait_for_sessions(0);
}

#[test]
fn a_session_without_authorize_is_closed() {
    let server = with_limits(|limits| limits.authorize_ms = 200);
    let mut miner = server.connect();
    miner.call("mining.subscribe", &json!([]));
    assert!(miner.is_closed());
}

#[test]
fn an_idle_session_is_closed_and_an_active_one_is_not() {
    /// Long enough for the active session to send something even on a busy machine.
    const SILENCE: Duration = Duration::from_secs(2);
    let server = with_limits(|limits| {
        limits.idle_ms_min = SILENCE.as_millis() as u64;
        limits.idle_shares = 0.001;
    });
    server.job(BASE);
    let mut silent = server.worker();
    let mut active = server.worker();
    let end = std::time::Instant::now() + SILENCE * 3 / 2;
    while std::time::Instant::now() < end || server.metrics.sessions.get() > 1 {
        assert!(end.elapsed() < TIMEOUT, "the silent session is still open");
        assert_eq!(active.call("mining.ping", &json!([]))["result"], "pong");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(silent.is_closed());
    assert_eq!(server.metrics.sessions.get(), 1);
}

#[test]
fn a_line_that_is_too_long_ends_the_connection() {
    let server = TestServer::start(Setup::default());
    let mut miner = server.connect();
    miner.write(b"{");
    // The server may close the connection during the write.
    let _ = miner.socket.write_all(&vec![b' '; 20_000]);
    assert!(miner.is_closed());
}

#[test]
fn invalid_lines_finally_end_the_connection() {
    let server = TestServer::start(Setup::default());
    let mut miner = server.connect();
    miner.write(b"{\n");
    assert_eq!(miner.response()["error"][0], 20);
    miner.write(&b"\xff\x00\n".repeat(20));
    while let Some(line) = miner.line() {
        assert_eq!(line["error"][0], 20);
    }
    server.wait_for_sessions(0);
}

#[test]
fn an_incomplete_line_delays_no_other_session_and_can_be_completed_later() {
    let server = TestServer::start(Setup::default());
    server.job(BASE);
    let mut slow = server.connect();
    slow.write(br#"{"id":1,"method":"mining."#);
    let mut other = server.worker();
    assert_eq!(other.call("mining.ping", &json!([]))["result"], "pong");
    slow.write(b"ping\"}\n");
    assert_eq!(slow.response()["result"], "pong");
}

#[test]
fn a_miner_that_does_not_read_is_disconnected_and_delays_no_other() {
    let server = TestServer::start(Setup::default());
    server.job(LARGE);
    let socket = TcpStream::connect(server.address).unwrap();
    SockRef::from(&socket).set_recv_buffer_size(4_096).unwrap();
    let mut stuck = TestConnection::new(socket);
    stuck.subscribe_and_authorize();
    let mut good = server.worker();
    server.wait_for_sessions(2);
    // The first miner does not read from here on. Each job has a new tip, so that it is sent at once.
    let mut sent = 0;
    while server.metrics.sessions.get() == 2 {
        sent += 1;
        assert!(sent < 1_000, "a miner that has not read {sent} jobs is still connected");
        server.job(JobSpec { id: 1 + sent, tip: (sent % 250) as u8, ..LARGE });
        while good.next("mining.notify")[0] != format!("{:x}", 1 + sent) {}
    }
    assert_eq!(good.call("mining.ping", &json!([]))["result"], "pong");
    server.wait_for_sessions(1);
}

#[test]
fn a_slow_miner_gets_jobs_with_the_most_outputs_whole() {
    let server = TestServer::start(Setup::default());
    let largest = JobSpec { payees: 1_000, ..BASE };
    server.job(largest);
    let socket = TcpStream::connect(server.address).unwrap();
    SockRef::from(&socket).set_recv_buffer_size(4_096).unwrap();
    let mut slow = TestConnection::new(socket);
    slow.subscribe_and_authorize();
    // The first job is larger than the buffers of both sides, and the miner has not read it.
    let job = server.job(JobSpec { id: 2, tip: 2, ..largest });
    assert!(job.notify_len_max() > 86_000);
    wait_until("the second job", || server.metrics.job_fanout.get_sample_count() == 2);
    for id in ["1", "2"] {
        let params = slow.next("mining.notify");
        assert_eq!((&params[0], params[3].as_str().unwrap().len()), (&json!(id), 2 * job.coinbase.suffix.len()));
    }
    assert_eq!(slow.call("mining.ping", &json!([]))["result"], "pong");
}

#[test]
fn all_miners_that_wait_are_accepted_at_once() {
    const COUNT: usize = 300;
    let mut setup = Setup::default();
    // Only the first tick comes during the test.
    setup.limits.tick_ms = 3_600_000;
    let mut miners = Vec::new();
    // The system reports all of them with one event.
    let server = TestServer::start_after(setup, |address| {
        miners.extend((0..COUNT).map(|_| TcpStream::connect(address).unwrap()));
    });
    server.wait_for_sessions(COUNT as i64);
    // More come later.
    miners.extend((0..COUNT).map(|_| TcpStream::connect(server.address).unwrap()));
    server.wait_for_sessions(2 * COUNT as i64);
}

#[test]
fn the_number_of_sessions_is_limited() {
    let server = TestServer::start(Setup { sessions_max: 3, ..Setup::default() });
    server.job(BASE);
    let first = server.worker();
    let _others = [server.worker(), server.worker()];
    let mut fourth = server.connect();
    fourth.write(b"{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[]}\n");
    assert!(fourth.is_closed());
    server.wait_for_sessions(3);
    assert_eq!(server.metrics.sessions_refused.get(), 1);
    wait_until("the operator to see it", || {
        let miners = server.miners.load();
        miners.limit_reached.as_ref().is_some_and(|(_, limit)| limit == "the limit of 3 connections is reached")
    });
    drop(first);
    server.wait_for_sessions(2);
    server.worker();
}

#[test]
fn an_address_may_have_64_sessions_and_some_browsers() {
    let mut setup = Setup { web_capacity: Some(8), ..Setup::default() };
    setup.limits.private_addresses_exempt = false;
    let server = TestServer::start(setup);
    server.job(BASE);
    let (crowded, other) = (Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, 2));
    let mut miners: Vec<TestConnection> = (0..64).map(|_| server.connect_from(crowded)).collect();
    miners.iter_mut().for_each(TestConnection::subscribe_and_authorize);
    let mut surplus = server.connect_from(crowded);
    surplus.write(b"{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[]}\n");
    assert!(surplus.is_closed(), "the 65th");
    server.wait_for_sessions(64);
    server.connect_from(other).subscribe_and_authorize();
    server.wait_for_sessions(64);
    // Eight more connections are accepted until they are identified; the next one is not.
    let silent: Vec<TestConnection> = (0..8).map(|_| server.connect_from(crowded)).collect();
    server.wait_for_sessions(72);
    assert!(server.connect_from(crowded).is_closed());
    drop(silent);
    server.wait_for_sessions(64);
    server.connect_from(crowded).write(b"GET / HTTP/1.1\r\n\r\n");
    server.web.recv_timeout(TIMEOUT).unwrap();
    drop(miners.pop());
    server.wait_for_sessions(63);
    server.connect_from(crowded).subscribe_and_authorize();
}

#[test]
fn own_networks_may_have_more_sessions() {
    let server = TestServer::start(Setup::default());
    server.job(BASE);
    let mut miners: Vec<TestConnection> = (0..80).map(|_| server.connect()).collect();
    miners.iter_mut().for_each(TestConnection::subscribe_and_authorize);
    server.wait_for_sessions(80);
}

#[test]
fn browsers_can_connect_while_all_sessions_are_in_use() {
    let server = TestServer::start(Setup { sessions_max: 1, web_capacity: Some(8), ..Setup::default() });
    server.job(BASE);
    let _miner = server.worker();
    server.connect().write(b"GET / HTTP/1.1\r\n\r\n");
    server.web.recv_timeout(TIMEOUT).unwrap();
    // Connections that send nothing are limited too.
    let _silent: Vec<TestConnection> = (0..32).map(|_| server.connect()).collect();
    server.wait_for_sessions(33);
    assert!(server.connect().is_closed());
}

#[test]
fn too_many_submits_are_rejected() {
    // Shares are so easy that the burst is twenty times this.
    let server = with_limits(|limits| limits.submits = Rate { burst: 1, interval: Duration::from_secs(20_000) });
    let job = server.job(JobSpec { share_bits: crate::fixtures::EASIEST, ..BASE });
    let mut miner = server.worker();
    let submits: String = (0..30).map(|seed| miner.solution(&job, seed)).collect();
    miner.write(submits.as_bytes());
    let accepted: Vec<bool> = (0..30).map(|_| miner.response()["result"] == true).collect();
    assert_eq!(accepted, [vec![true; 20], vec![false; 10]].concat());
    assert_eq!(miner.call("mining.ping", &json!([]))["result"], "pong", "the session stays open");
}

#[test]
fn a_port_in_use_and_an_invalid_difficulty_are_errors() {
    let server = TestServer::start(Setup::default());
    let open = |stratum_port, start_difficulty| {
        let sinks = StratumSinks { chain: bounded(1).0, submit: bounded(1).0 };
        let config = Config::for_tests(ChainParams::standard(Network::Regtest), "/nowhere");
        let config = Config { stratum_port, start_difficulty, max_sessions: 1, ..config };
        Stratum::open(&config, sinks, Arc::new(Metrics::default()), Limits::default())
            .err()
            .map(|error| error.to_string())
    };
    let taken = open(server.address.port(), 1.0).unwrap();
    assert!(taken.contains(&server.address.port().to_string()) && taken.contains("-stratum-port"), "{taken}");
    assert!(open(0, f64::NAN).unwrap().contains("NaN is not a positive number"));
    assert_eq!(open(0, 1.0), None);
}
