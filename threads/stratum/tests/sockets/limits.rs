//! What strangers may not do.

use std::io::Write as _;
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::bounded;
use p2pool_core::config::Config;
use p2pool_core::metrics::Metrics;
use p2pool_core::params::{ChainParams, Network};
use p2pool_core::stratum::Limits;
use p2pool_stratum::{Stratum, StratumSinks};
use serde_json::json;
use socket2::SockRef;

use crate::fixtures::JobSpec;
use crate::support::*;

/// The largest coinbase of the main chain.
const LARGE: JobSpec = JobSpec { payees: 48, ..BASE };
const BASE: JobSpec = JobSpec {
    id: 1,
    tip: 1,
    block_bits: crate::fixtures::HARDEST,
    share_bits: crate::fixtures::HARDEST,
    version: 0x2000_0000,
    payees: 1,
};

fn with_limits(change: impl FnOnce(&mut Limits)) -> Node {
    let mut setup = Setup::default();
    change(&mut setup.limits);
    Node::start(setup)
}

#[test]
fn who_says_nothing_is_closed() {
    let node = with_limits(|limits| limits.first_byte_ms = 100);
    assert!(node.connect().is_closed());
    let mut undecided = node.connect();
    undecided.write(b"  ");
    assert!(undecided.is_closed());
    node.wait_for_sessions(0);
}

#[test]
fn who_does_not_authorize_is_closed() {
    let node = with_limits(|limits| limits.authorize_ms = 200);
    let mut client = node.connect();
    client.call("mining.subscribe", &json!([]));
    assert!(client.is_closed());
}

#[test]
fn who_falls_silent_is_closed_and_who_speaks_is_not() {
    /// A busy machine may keep the one who speaks from it for much of this.
    const SILENCE: Duration = Duration::from_secs(2);
    let node = with_limits(|limits| {
        limits.idle_ms_min = SILENCE.as_millis() as u64;
        limits.idle_shares = 0.001;
    });
    node.job(BASE);
    let mut silent = node.worker();
    let mut speaking = node.worker();
    let end = std::time::Instant::now() + SILENCE * 3 / 2;
    while std::time::Instant::now() < end || node.counters.sessions.get() > 1 {
        assert!(end.elapsed() < PATIENCE, "the silent one stays");
        assert_eq!(speaking.call("mining.ping", &json!([]))["result"], "pong");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(silent.is_closed());
    assert_eq!(node.counters.sessions.get(), 1);
}

#[test]
fn a_line_that_is_too_long_ends_the_connection() {
    let node = Node::start(Setup::default());
    let mut client = node.connect();
    client.write(b"{");
    // The other side may close while this is still being written.
    let _ = client.socket.write_all(&vec![b' '; 20_000]);
    assert!(client.is_closed());
}

#[test]
fn garbage_ends_the_connection_in_the_end() {
    let node = Node::start(Setup::default());
    let mut client = node.connect();
    client.write(b"{\n");
    assert_eq!(client.answer()["error"][0], 20);
    client.write(&b"\xff\x00\n".repeat(20));
    while let Some(line) = client.line() {
        assert_eq!(line["error"][0], 20);
    }
    node.wait_for_sessions(0);
}

#[test]
fn half_a_line_disturbs_nobody_and_can_be_finished_later() {
    let node = Node::start(Setup::default());
    node.job(BASE);
    let mut halting = node.connect();
    halting.write(br#"{"id":1,"method":"mining."#);
    let mut other = node.worker();
    assert_eq!(other.call("mining.ping", &json!([]))["result"], "pong");
    halting.write(b"ping\"}\n");
    assert_eq!(halting.answer()["result"], "pong");
}

#[test]
fn a_client_that_does_not_read_is_dropped_and_delays_nobody() {
    let node = Node::start(Setup::default());
    node.job(LARGE);
    let socket = TcpStream::connect(node.address).unwrap();
    SockRef::from(&socket).set_recv_buffer_size(4_096).unwrap();
    let mut deaf = Client::new(socket);
    deaf.introduce();
    let mut good = node.worker();
    node.wait_for_sessions(2);
    // From here on the one does not read. Jobs on new tips, so that each is sent at once.
    let mut sent = 0;
    while node.counters.sessions.get() == 2 {
        sent += 1;
        assert!(sent < 1_000, "a client that has not read {sent} jobs is still there");
        node.job(JobSpec { id: 1 + sent, tip: (sent % 250) as u8, ..LARGE });
        while good.next("mining.notify")[0] != format!("{:x}", 1 + sent) {}
    }
    assert_eq!(good.call("mining.ping", &json!([]))["result"], "pong");
    node.wait_for_sessions(1);
}

#[test]
fn sessions_are_limited() {
    let node = Node::start(Setup { sessions_max: 3, ..Setup::default() });
    node.job(BASE);
    let first = node.worker();
    let _others = [node.worker(), node.worker()];
    let mut fourth = node.connect();
    fourth.write(b"{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[]}\n");
    assert!(fourth.is_closed());
    node.wait_for_sessions(3);
    drop(first);
    node.wait_for_sessions(2);
    node.worker();
}

#[test]
fn an_address_has_64_sessions_and_a_few_browsers() {
    let mut setup = Setup { web_capacity: Some(8), ..Setup::default() };
    setup.limits.private_addresses_exempt = false;
    let node = Node::start(setup);
    node.job(BASE);
    let (crowded, other) = (Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, 2));
    let mut miners: Vec<Client> = (0..64).map(|_| node.connect_from(crowded)).collect();
    miners.iter_mut().for_each(Client::introduce);
    let mut surplus = node.connect_from(crowded);
    surplus.write(b"{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[]}\n");
    assert!(surplus.is_closed(), "the 65th");
    node.wait_for_sessions(64);
    node.connect_from(other).introduce();
    node.wait_for_sessions(64);
    // Eight more may say what they are, the next is not heard.
    let silent: Vec<Client> = (0..8).map(|_| node.connect_from(crowded)).collect();
    node.wait_for_sessions(72);
    assert!(node.connect_from(crowded).is_closed());
    drop(silent);
    node.wait_for_sessions(64);
    node.connect_from(crowded).write(b"GET / HTTP/1.1\r\n\r\n");
    node.web.recv_timeout(PATIENCE).unwrap();
    drop(miners.pop());
    node.wait_for_sessions(63);
    node.connect_from(crowded).introduce();
}

#[test]
fn a_farms_own_network_may_have_more() {
    let node = Node::start(Setup::default());
    node.job(BASE);
    let mut miners: Vec<Client> = (0..80).map(|_| node.connect()).collect();
    miners.iter_mut().for_each(Client::introduce);
    node.wait_for_sessions(80);
}

#[test]
fn a_full_pool_keeps_no_browser_out() {
    let node = Node::start(Setup { sessions_max: 1, web_capacity: Some(8), ..Setup::default() });
    node.job(BASE);
    let _miner = node.worker();
    node.connect().write(b"GET / HTTP/1.1\r\n\r\n");
    node.web.recv_timeout(PATIENCE).unwrap();
    // Those who say nothing are bounded as well.
    let _silent: Vec<Client> = (0..32).map(|_| node.connect()).collect();
    node.wait_for_sessions(33);
    assert!(node.connect().is_closed());
}

#[test]
fn too_many_submits_are_answered() {
    let node = with_limits(|limits| limits.submits.interval = Duration::from_secs(1_000));
    let job = node.job(JobSpec { share_bits: crate::fixtures::EASIEST, ..BASE });
    let mut client = node.worker();
    let submits: String = (0..30).map(|seed| client.solution(&job, seed)).collect();
    client.write(submits.as_bytes());
    let answers: Vec<bool> = (0..30).map(|_| client.answer()["result"] == true).collect();
    assert_eq!(answers, [vec![true; 20], vec![false; 10]].concat());
    assert_eq!(client.call("mining.ping", &json!([]))["result"], "pong", "the session lives");
}

#[test]
fn a_port_that_is_taken_and_a_bad_difficulty_are_named() {
    let node = Node::start(Setup::default());
    let open = |stratum_port, start_difficulty| {
        let sinks = StratumSinks { chain: bounded(1).0, submit: bounded(1).0 };
        let config = Config::for_tests(ChainParams::standard(Network::Regtest), "/nowhere");
        let config = Config { stratum_port, start_difficulty, max_sessions: 1, ..config };
        Stratum::open(&config, sinks, Arc::new(Metrics::default())).err().map(|error| error.to_string())
    };
    let taken = open(node.address.port(), 1.0).unwrap();
    assert!(taken.contains(&node.address.port().to_string()) && taken.contains("-stratum-port"), "{taken}");
    assert!(open(0, f64::NAN).unwrap().contains("NaN is not a positive number"));
    assert_eq!(open(0, 1.0), None);
}
