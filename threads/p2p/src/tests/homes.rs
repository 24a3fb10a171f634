//! Nodes in homes, behind routers that let no connection in (network namespaces; needs root).

use std::io::Write as _;
use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use libp2p::Multiaddr;
use p2pool_core::node::{Event, NetworkCommand};
use p2pool_core::peer::PeerHandle;
use p2pool_core::status::{Reachability, Route};
use p2pool_core::wire::Misbehaviour;
use p2pool_test_bitcoind::internet::{Host, Internet, Nat};
use p2pool_test_bitcoind::skip;

use crate::driver::BANS_FILE;

use super::support::{share, until_in, Start, TestNode};

/// Time for all that happens after a start: a test of reachability, at which a dial times out after 10 s, a reservation, a
/// question for names each 30 s, and the hole.
pub const TIMEOUT: Duration = Duration::from_secs(120);
pub const PORT: u16 = 9_171;

/// Starts a node on a host.
pub fn start(host: &Host, bootnodes: &[&Multiaddr]) -> TestNode {
    start_with(host, bootnodes, |_| {})
}

pub fn start_with(host: &Host, bootnodes: &[&Multiaddr], change: impl FnOnce(&mut Start) + Send) -> TestNode {
    host.inside(|| {
        let mut start = Start::with(bootnodes);
        start.config.p2p_port = PORT;
        change(&mut start);
        start.go()
    })
}

/// The address of a node on the internet.
pub fn address(node: &TestNode, at: Ipv4Addr) -> Multiaddr {
    format!("/ip4/{at}/tcp/{PORT}/p2p/{}", node.id()).parse().unwrap()
}

fn reachability(node: &TestNode) -> Reachability {
    node.status.load().reach.reachability
}

fn route(node: &TestNode, peer: &TestNode) -> Option<Route> {
    let id = peer.id();
    node.status.load().peers.iter().find(|peer| *peer.id == *id).map(|peer| peer.route)
}

fn await_route(node: &TestNode, peer: &TestNode, wanted: Route) {
    until_in(TIMEOUT, &format!("a connection that is {wanted:?}"), || {
        (route(node, peer) == Some(wanted)).then_some(())
    });
}

/// Announces shares until one reaches the other node.
pub fn share_arrives(from: &TestNode, to: &TestNode, nonce: u32) {
    let mut nonces = nonce..nonce + 100_000;
    until_in(TIMEOUT, "a share", || {
        from.send(NetworkCommand::Announce(share(nonces.next()?)));
        std::thread::sleep(Duration::from_millis(200));
        to.inbox.try_iter().find_map(|event| match event {
            Event::ShareGossiped { share, .. } if nonces.start > share.header.nonce && share.header.nonce >= nonce => {
                Some(())
            }
            _ => None,
        })
    });
}

/// The handles of the connected peers, in the order in which they connected.
#[derive(Default)]
struct Handles(Vec<PeerHandle>);

impl Handles {
    /// Reads the events that have arrived.
    fn read(&mut self, node: &TestNode) {
        for event in node.inbox.try_iter() {
            match event {
                Event::PeerConnected { peer } => self.0.push(peer),
                Event::PeerDisconnected { peer } => self.0.retain(|other| *other != peer),
                _ => {}
            }
        }
    }
}

/// A public node and two in homes that know it.
fn two_homes(net: &mut Internet, nat: Nat) -> (TestNode, TestNode, TestNode) {
    let hosts = (net.public(1), net.home(2, nat), net.home(3, nat));
    let public = start(&hosts.0, &[]);
    let boot = address(&public, hosts.0.address);
    let (one, two) = (start(&hosts.1, &[&boot]), start(&hosts.2, &[&boot]));
    for home in [&one, &two] {
        until_in(TIMEOUT, "a relay", || (reachability(home) == Reachability::Relayed).then_some(()));
    }
    assert_eq!(reachability(&public), Reachability::Reachable);
    (public, one, two)
}

#[test]
fn nodes_behind_routers_meet_through_a_relay_and_make_a_hole() {
    let Some(mut net) = Internet::new_or_skip() else { return };
    let (mut public, one, two) = two_homes(&mut net, Nat::KeepsPorts);
    assert_eq!(public.status.load().reach.relayed_for, 2);
    await_route(&one, &two, Route::Punched);
    await_route(&two, &one, Route::Punched);
    // Without the public node, shares go from one home to the other.
    public.stop();
    one.await_no_peer(&public.id());
    two.await_no_peer(&public.id());
    share_arrives(&one, &two, 1_000_000);
    share_arrives(&two, &one, 2_000_000);
    until_in(TIMEOUT, "the relay to be missed", || (reachability(&one) == Reachability::OutboundOnly).then_some(()));
}

#[test]
fn nodes_behind_routers_that_allow_no_hole_stay_relayed() {
    let Some(mut net) = Internet::new_or_skip() else { return };
    let (public, one, two) = two_homes(&mut net, Nat::RandomPorts);
    await_route(&one, &two, Route::Relayed);
    await_route(&two, &one, Route::Relayed);
    let mut handles = Handles::default();
    until_in(TIMEOUT, "both peers", || {
        handles.read(&one);
        (handles.0.len() == 2).then_some(())
    });
    let relay = handles.0[0];
    share_arrives(&one, &two, 1_000_000);
    // All attempts at a hole have failed by then.
    let until = Instant::now() + Duration::from_secs(45);
    while Instant::now() < until {
        assert_ne!(route(&one, &two), Some(Route::Punched));
        std::thread::sleep(Duration::from_millis(100));
        handles.read(&one);
    }
    await_route(&one, &two, Route::Relayed);
    // What a relayed peer does is not held against its relay.
    handles.read(&one);
    for peer in handles.0.into_iter().filter(|peer| *peer != relay) {
        one.send(NetworkCommand::Penalize { peer, misbehaviour: Misbehaviour::FalseChain });
    }
    one.await_no_peer(&two.id());
    until_in(TIMEOUT, "the ban", || one.file(BANS_FILE).contains(&two.id()).then_some(()));
    assert_eq!(one.file(BANS_FILE).lines().count(), 1, "{}", one.file(BANS_FILE));
    assert!(one.has_peer(&public.id()));
}

/// A router's UPnP, by miniupnpd.
struct Upnp {
    child: Child,
    settings: tempfile::NamedTempFile,
}

impl Upnp {
    /// Starts it on the router of a home, or reports that the test is skipped.
    fn start_or_skip(home: &Host) -> Option<Self> {
        if Command::new("miniupnpd").arg("--version").output().is_err() {
            skip("miniupnpd");
            return None;
        }
        let chains = ["prerouting", "postrouting"].map(|hook| {
            format!(
                "chain {hook} {{ type nat hook {hook} priority -99; jump {hook}_miniupnpd; }}\n\
                 chain {hook}_miniupnpd {{ }}\n"
            )
        });
        home.filter(&format!("table inet filter {{ chain miniupnpd {{ }}\n{} }}\n", chains.concat()));
        let mut settings = tempfile::NamedTempFile::new().unwrap();
        settings
            .write_all(
                b"ext_ifname=eth0\nlistening_ip=lan\nenable_upnp=yes\nenable_natpmp=no\nsecure_mode=yes\n\
                  uuid=f362b75d-609f-48fe-a60e-814996bb49a9\nallow 1024-65535 0.0.0.0/0 1024-65535\n",
            )
            .unwrap();
        let child = home.inside_router(|| {
            Command::new("miniupnpd")
                .arg("-d")
                .arg("-f")
                .arg(settings.path())
                .arg("-P")
                .arg(settings.path().with_extension("pid"))
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap()
        });
        Some(Self { child, settings })
    }
}

impl Drop for Upnp {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        drop(std::fs::remove_file(self.settings.path().with_extension("pid")));
    }
}

#[test]
fn a_node_behind_a_router_with_upnp_becomes_reachable_and_serves_others() {
    let Some(mut net) = Internet::new_or_skip() else { return };
    let (public, home, third) = (net.public(1), net.home(2, Nat::KeepsPorts), net.public(3));
    let Some(_upnp) = Upnp::start_or_skip(&home) else { return };
    let first = start(&public, &[]);
    let boot = address(&first, public.address);
    let node = start_with(&home, &[&boot], |start| start.config.upnp = true);
    until_in(TIMEOUT, "the node to be reachable", || (reachability(&node) == Reachability::Reachable).then_some(()));
    let reach = node.status.load().reach.clone();
    assert!(reach.is_mapped);
    assert_eq!(reach.addresses, [format!("/ip4/{}/tcp/{PORT}", home.address)]);
    // A third node finds it in the DHT, of which it has become a server, and connects to it.
    let other = start(&third, &[&boot]);
    until_in(TIMEOUT, "the third node to connect", || other.has_peer(&node.id()).then_some(()));
    assert_eq!(route(&other, &node), Some(Route::Direct));
}
