//! Strangers with many identities in few networks (network namespaces; needs root).

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use libp2p::Multiaddr;
use p2pool_core::status::Direction;
use p2pool_test_bitcoind::internet::{Host, Internet};

use super::homes::{address, start, start_with, PORT, TIMEOUT};
use super::scripted_peer::{requesting, ScriptedPeer};
use super::support::{read, until_in, Start, TestNode};
use crate::behaviour::INBOUND_SLOTS;
use crate::connection_gater::CONNECTIONS_PER_NETGROUP_MAX;
use crate::driver::PEERS_FILE;

/// Ends what other threads do, even if the test fails.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Connects idle peers from a host, which stay connected as long as the node lets them.
fn idle_strangers(host: &Host, node: &Multiaddr, connected: &AtomicUsize, done: &AtomicBool) {
    host.inside(|| {
        let mut peers: Vec<ScriptedPeer> =
            (0..CONNECTIONS_PER_NETGROUP_MAX).map(|_| ScriptedPeer::new(requesting())).collect();
        for peer in &mut peers {
            peer.connect(node).unwrap();
            // It sends its last message of the handshake.
            peer.run_briefly();
            connected.fetch_add(1, Ordering::Relaxed);
        }
        while !done.load(Ordering::Relaxed) {
            peers.iter_mut().for_each(ScriptedPeer::run_briefly);
        }
    });
}

#[test]
fn idle_strangers_of_nine_netgroups_keep_no_newcomer_out_of_a_real_node() {
    let Some(mut net) = Internet::new_or_skip() else { return };
    let public = net.public(1);
    let strangers: Vec<Host> = (10..19).map(|number| net.public(number)).collect();
    let homes: Vec<Host> = (30..33).map(|number| net.public(number)).collect();
    let node = start(&public, &[]);
    let boot = address(&node, public.address);
    let (connected, done, boot) = (&AtomicUsize::new(0), &AtomicBool::new(false), &boot);
    std::thread::scope(|scope| {
        let _done = Done(done);
        for host in &strangers {
            scope.spawn(move || idle_strangers(host, boot, connected, done));
        }
        let all = INBOUND_SLOTS.permanent;
        until_in(TIMEOUT, "the strangers", || (connected.load(Ordering::Relaxed) == all).then_some(()));
        until_in(TIMEOUT, "all of them listed", || (node.status.load().peers.len() == all).then_some(()));
        let newcomers: Vec<TestNode> = homes.iter().map(|host| start(host, &[boot])).collect();
        for newcomer in &newcomers {
            until_in(TIMEOUT, "a newcomer", || node.has_peer(&newcomer.id()).then_some(()));
        }
        // Longer than a temporary slot lasts.
        std::thread::sleep(INBOUND_SLOTS.temporary_for + Duration::from_secs(3));
        for newcomer in &newcomers {
            newcomer.await_peer(&node.id());
            assert_eq!(newcomer.status.load().full, 0, "it was never turned away");
        }
        assert_eq!(node.metrics().peer_evictions.get(), newcomers.len() as u64, "a stranger for each");
    });
}

/// Attacker's networks, each in a /16 of its own, and identities of each.
const NETWORKS: u8 = 6;
const IDENTITIES: usize = 20;
/// Identities of each network that stay, so that they can be dialled.
const STAYING: usize = 2;

/// Throws away identities, each of which connects once and says where it can be reached. Returns those that stay.
fn throw_away(host: &Host, node: &TestNode, boot: &Multiaddr) -> Vec<TestNode> {
    let begin = |number: usize| {
        let identity = start_with(host, &[boot], |start| start.config.p2p_port = PORT + number as u16);
        until_in(TIMEOUT, "an identity", || node.has_peer(&identity.id()).then_some(()));
        identity
    };
    for number in STAYING..IDENTITIES {
        drop(begin(number));
    }
    (0..STAYING).map(begin).collect()
}

#[test]
fn throw_away_identities_of_few_networks_do_not_isolate_a_node_that_restarts() {
    let Some(mut net) = Internet::new_or_skip() else { return };
    let (home, honest) = (net.public(1), (10..16).map(|number| net.public(number)).collect::<Vec<_>>());
    let attackers: Vec<Host> = (100..100 + NETWORKS).map(|number| net.public(number)).collect();
    let server = |start: &mut Start| start.config.dht_server = true;
    let first = start_with(&honest[0], &[], server);
    let boot = address(&first, honest[0].address);
    let others = honest[1..].iter().map(|host| start_with(host, &[&boot], server));
    let others: Vec<TestNode> = others.collect();
    let honest: HashSet<String> = others.iter().chain([&first]).map(TestNode::id).collect();
    let node = start(&home, &[&boot]);
    let outbound = |node: &TestNode| -> Vec<String> {
        let status = node.status.load();
        let dialled = status.peers.iter().filter(|peer| peer.direction == Direction::Outbound);
        dialled.map(|peer| peer.id.to_string()).collect()
    };
    until_in(2 * TIMEOUT, "the honest nodes", || (outbound(&node).len() >= 4).then_some(()));
    let at = address(&node, home.address);
    let staying: Vec<TestNode> = std::thread::scope(|scope| {
        let (node, at) = (&node, &at);
        let threads: Vec<_> = attackers.iter().map(|host| scope.spawn(move || throw_away(host, node, at))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let restarted = node.stop_for_restart(&[]);
    let known = read(restarted.dir.path(), PEERS_FILE);
    let false_ones = attackers.iter().filter(|host| known.contains(&format!("/ip4/{}/", host.address))).count();
    assert!(false_ones > 0, "the node knows no identity of the attacker: {known}");
    let node = home.inside(|| {
        let mut start = restarted;
        start.config.p2p_port = PORT;
        start.go()
    });
    let is_honest = |id: &&String| honest.contains(*id);
    until_in(2 * TIMEOUT, "the honest nodes again", || {
        (outbound(&node).iter().filter(is_honest).count() >= 4).then_some(())
    });
    // All that it would dial is dialled by then.
    std::thread::sleep(Duration::from_secs(10));
    let to_honest = outbound(&node).iter().filter(is_honest).count();
    let to_attackers = outbound(&node).len() - to_honest;
    assert!(to_honest >= 4, "{to_honest} outbound connections to honest nodes");
    println!("{} outbound connections, {to_attackers} of them to the attacker's", outbound(&node).len());
    assert!(to_attackers <= usize::from(NETWORKS), "one to each network at most");
    drop(staying);
}
