//! Limits on rates, connections and requests.

use std::io::ErrorKind;
use std::net::TcpStream;
use std::time::Duration;

use p2pool_core::node::{Event, NetworkCommand};
use p2pool_core::share::ShareId;
use p2pool_core::units::ShareHeight;
use p2pool_core::wire::{Frame as _, GossipShare, List, Request, Response};

use super::scripted_peer::{connect, gossiping, names, requesting, PeerConfig, ScriptedPeer};
use super::support::{params, share, until, Start, TestNode, TIMEOUT};
use crate::behaviour::{CONNECTIONS_MAX, INBOUND_MAX, INBOUND_SLOTS, PENDING_MAX};
use crate::names::Names;
use crate::peers::InboundSlots;

/// Requests sent together: half of a peer's request slots, because earlier responses may still occupy some.
const CONCURRENT: usize = 4;

#[test]
fn requests_above_the_rate_limit_are_responded_with_busy() {
    let node = TestNode::start(&[]);
    let mut remote = ScriptedPeer::new(requesting());
    connect(&mut remote, &node);
    let (mut unknown, mut busy) = (0, 0);
    let begun = std::time::Instant::now();
    while busy == 0 {
        // On a busy machine, requests one by one might stay within ten a second.
        assert!(begun.elapsed() < TIMEOUT, "{unknown} requests got a response, none was refused");
        let send = |_| remote.send_request(&node.address, Request::Status.encode());
        let requests: Vec<_> = (0..CONCURRENT).map(send).collect();
        for request in requests {
            let response = remote.response_while(request, || {
                for message in node.inbox.try_iter() {
                    if let Event::Request { id: to, .. } = message {
                        node.send(NetworkCommand::Respond { to, response: Response::Unknown });
                    }
                }
            });
            match response {
                Some(bytes) if bytes == Response::Unknown.encode() => unknown += 1,
                Some(bytes) if bytes == Response::Busy.encode() => busy += 1,
                other => panic!("{other:?}"),
            }
        }
    }
    // A burst of a hundred and ten a second, see `rate_limits`.
    let allowed = 101 + begun.elapsed().as_millis() / 100;
    assert!((100..=allowed).contains(&unknown), "{unknown} responses, {allowed} allowed");
}

#[test]
fn a_full_inbox_of_the_chain_thread_delays_peers_but_loses_no_connect() {
    let node = Start { inbox_len: 1, ..Start::with(&[]) }.go();
    let mut first = ScriptedPeer::new(PeerConfig { gossip: gossiping().gossip, ..requesting() });
    connect(&mut first, &node);
    let mut second = ScriptedPeer::new(requesting());
    connect(&mut second, &node);
    until("both peers", || (node.status.load().peers.len() == 2).then_some(()));
    // The inbox holds the connect of the first peer, that of the second waits, and there is no room for anything else.
    let request = second.send_request(&node.address, Request::Status.encode());
    assert_eq!(second.response(request), Some(Response::Busy.encode()));
    first.join_mesh();
    first.gossip(&names().shares, GossipShare { share: share(1) }.encode());
    let request = first.send_request(&node.address, Request::Status.encode());
    assert_eq!(first.response(request), Some(Response::Busy.encode()));
    let (one, two) = (node.expect_connected(), node.expect_connected());
    assert!(one < two);
    // With room again, requests arrive.
    let request = second.send_request(&node.address, Request::Status.encode());
    let to = second.run_until("the request", || {
        node.inbox.try_iter().find_map(|message| match message {
            Event::Request { id: to, peer, .. } => Some((to, peer)),
            _ => None,
        })
    });
    assert_eq!(to.1, two);
    node.send(NetworkCommand::Respond { to: to.0, response: Response::Unknown });
    assert_eq!(second.response(request), Some(Response::Unknown.encode()));
}

#[test]
fn inbound_peers_never_use_up_all_connections() {
    const { assert!(INBOUND_SLOTS.permanent < INBOUND_MAX as usize) };
    const { assert!(INBOUND_MAX < CONNECTIONS_MAX && INBOUND_MAX.is_multiple_of(PENDING_MAX / 2)) };
    // Temporary slots do not expire in this test, and are never all taken.
    let (temporary, temporary_for) = (INBOUND_MAX as usize, Duration::from_secs(3_600));
    let slots = InboundSlots { temporary, temporary_for, ..INBOUND_SLOTS };
    let node = Start { slots, ..Start::with(&[]) }.go();
    let mut peers = Vec::new();
    while peers.len() < INBOUND_MAX as usize {
        // Half of the connections that may be pending at once.
        for _ in 0..PENDING_MAX / 2 {
            let mut peer = ScriptedPeer::new(requesting());
            peer.connect(&node.address).unwrap();
            // The peer sends its last message of the handshake; the loop below waits until those of all have arrived.
            peer.collect_gossip(Duration::from_millis(5));
            peers.push(peer);
        }
        for peer in &mut peers {
            let id = peer.id.to_string();
            peer.run_until("the node to list the peer", || node.has_peer(&id).then_some(()));
        }
    }
    assert!(!ScriptedPeer::new(requesting()).is_accepted_by(&node.address));
    assert_eq!(node.status.load().peers.len(), INBOUND_MAX as usize);
    // A free slot is given to the next peer.
    drop(peers.pop());
    let mut next = ScriptedPeer::new(requesting());
    until("a free slot", || (node.status.load().peers.len() < INBOUND_MAX as usize).then_some(()));
    connect(&mut next, &node);
}

#[test]
fn the_operator_limits_inbound_peers() {
    let mut start = Start::with(&[]);
    start.config.max_inbound = 1;
    let node = start.go();
    let mut only = ScriptedPeer::new(requesting());
    connect(&mut only, &node);
    assert!(!ScriptedPeer::new(requesting()).is_accepted_by(&node.address));
    only.run_briefly();
    assert!(only.is_connected());
}

#[test]
fn a_node_that_is_turned_away_hears_that_the_peer_is_full_and_gets_the_next_free_slot() {
    // Refused at once, and evicted after a short time.
    let refused = |start: &mut Start| start.config.max_inbound = 1;
    let evicted = |start: &mut Start| {
        start.slots = InboundSlots { permanent: 1, temporary: 8, temporary_for: Duration::from_secs(1) }
    };
    for limit in [&refused as &dyn Fn(&mut Start), &evicted] {
        let mut start = Start::with(&[]);
        limit(&mut start);
        let node = start.go();
        let mut first = TestNode::start(&[&node.address]);
        first.await_peer(&node.id());
        let second = TestNode::start(&[&node.address]);
        until("the second node to hear of it", || (second.status.load().full == 1).then_some(()));
        second.await_no_peer(&node.id());
        assert!(node.has_peer(&first.id()) && first.status.load().full == 0);
        let (refused, evicted) = (node.metrics().connections_refused.full.get(), node.metrics().peer_evictions.get());
        assert!(refused + evicted > 0, "it is counted");
        first.stop();
        second.await_peer(&node.id());
        assert_eq!(node.metrics().peer_misbehaviours.get() + second.metrics().peer_misbehaviours.get(), 0);
    }
}

#[test]
fn a_peer_that_often_says_that_it_is_full_is_not_penalised() {
    let node = TestNode::start(&[]);
    let full = Names::new(&params().chain_id()).full;
    let mut remote = ScriptedPeer::new(requesting().with_protocol(full));
    connect(&mut remote, &node);
    for _ in 0..60 {
        // The stream is negotiated, and dropped.
        let said = remote.send_request(&node.address, Vec::new());
        assert_eq!(remote.response(said).unwrap_or_default(), Vec::<u8>::new());
    }
    assert_eq!(node.metrics().peer_misbehaviours.get(), 0);
}

#[test]
fn temporary_slots_expire_and_the_next_peer_in_order_gets_a_free_permanent_slot() {
    let slots = InboundSlots { permanent: 2, temporary: 8, temporary_for: Duration::from_secs(1) };
    let node = Start { slots, ..Start::with(&[]) }.go();
    let mut permanent: Vec<ScriptedPeer> = (0..2).map(|_| ScriptedPeer::new(requesting())).collect();
    permanent.iter_mut().for_each(|remote| connect(remote, &node));
    let mut temporary = ScriptedPeer::new(requesting());
    connect(&mut temporary, &node);
    temporary.await_disconnect();
    assert!(permanent.iter_mut().all(|remote| {
        remote.run_briefly();
        remote.is_connected()
    }));
    assert_eq!(node.metrics().peer_bans.get(), 0);

    // The first peer leaves while the next one has a temporary slot.
    let mut next = ScriptedPeer::new(requesting());
    connect(&mut next, &node);
    let mut leaving = permanent.remove(0);
    leaving.disconnect();
    let mut another = ScriptedPeer::new(requesting());
    connect(&mut another, &node);
    another.await_disconnect();
    next.run_briefly();
    assert!(next.is_connected(), "it connected before the evicted one");
}

/// A response that is too long to be sent to a peer that does not read.
fn long_inventory() -> Response {
    let ids = (0..8_192_u32).map(|number| {
        let mut id = [7; 32];
        id[..4].copy_from_slice(&number.to_be_bytes());
        ShareId(id)
    });
    Response::Inventory { after: ShareId::ZERO, start_height: ShareHeight(0), ids: List::first_of(ids), more: true }
}

/// Responds to all requests, to those for inventories with a long one. Returns the number of the latter.
fn respond_to_all(node: &TestNode) -> usize {
    let requests = node.inbox.try_iter().filter_map(|message| match message {
        Event::Request { id, request, .. } => Some((id, matches!(request, Request::Inventory { .. }))),
        _ => None,
    });
    let responses = requests.map(|(to, is_long)| {
        let response = if is_long { long_inventory() } else { Response::Unknown };
        node.send(NetworkCommand::Respond { to, response });
        is_long
    });
    responses.filter(|is_long| *is_long).count()
}

/// Requests long responses and does not read them.
fn request_without_reading(remote: &mut ScriptedPeer, node: &TestNode, requests: usize) {
    for _ in 0..requests {
        remote.send_request(&node.address, Request::Inventory { locator: List::default() }.encode());
    }
    // The requests are sent; the node's chain thread does not respond meanwhile.
    remote.collect_gossip(Duration::from_millis(200));
}

#[test]
fn peers_that_do_not_read_cannot_block_status_requests() {
    let node = TestNode::start(&[]);
    let mut silent: Vec<ScriptedPeer> = (0..8).map(|_| ScriptedPeer::new(requesting())).collect();
    for remote in &mut silent {
        connect(remote, &node);
        request_without_reading(remote, &node, 8);
    }
    let mut responded = 0;
    until("all request slots to be taken", || {
        responded += respond_to_all(&node);
        (responded == 64).then_some(())
    });
    let mut other = ScriptedPeer::new(requesting());
    connect(&mut other, &node);
    let request = other.send_request(&node.address, Request::Inventory { locator: List::default() }.encode());
    assert_eq!(other.response(request), Some(Response::Busy.encode()));
    let request = other.send_request(&node.address, Request::Status.encode());
    let response = other.response_while(request, || {
        respond_to_all(&node);
    });
    assert_eq!(response, Some(Response::Unknown.encode()));
}

#[test]
fn unread_responses_are_penalised_once_and_late_ones_of_the_node_are_not() {
    let node = Start { request_timeout: Duration::from_secs(1), ..Start::with(&[]) }.go();
    let mut remote = ScriptedPeer::new(requesting());
    connect(&mut remote, &node);
    // The chain thread does not respond to this one.
    let request = remote.send_request(&node.address, Request::Inventory { locator: List::default() }.encode());
    assert_eq!(remote.response(request).unwrap_or_default(), Vec::<u8>::new());
    assert_eq!(node.metrics().peer_misbehaviours.get(), 0);
    node.inbox.try_iter().count();
    request_without_reading(&mut remote, &node, 4);
    let mut responded = 0;
    until("the penalty", || {
        responded += respond_to_all(&node);
        (node.metrics().peer_misbehaviours.get() > 0).then_some(())
    });
    assert_eq!((responded, node.metrics().peer_misbehaviours.get()), (4, 1), "one penalty for all of them");
}

#[test]
fn unfinished_handshakes_are_bounded() {
    let node = TestNode::start(&[]);
    let address = node.address.to_string();
    let port: u16 = address.split('/').nth(4).unwrap().parse().unwrap();
    let more = 8;
    let silent: Vec<TcpStream> = (0..PENDING_MAX as usize + more)
        .map(|_| {
            let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
            stream.set_nonblocking(true).unwrap();
            stream
        })
        .collect();
    let is_open = |stream: &&TcpStream| {
        let nothing_yet = stream.peek(&mut [0]);
        nothing_yet.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    };
    let open = || silent.iter().filter(is_open).count();
    until("connections above the limit to be closed", || (open() <= PENDING_MAX as usize).then_some(()));
    assert_eq!(open(), PENDING_MAX as usize);
    // The others are closed after a timeout.
    until("all silent connections to be closed", || (open() == 0).then_some(()));
    connect(&mut ScriptedPeer::new(requesting()), &node);
}
