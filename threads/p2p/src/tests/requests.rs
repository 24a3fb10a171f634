//! Requests, responses and missing responses.

use std::time::Duration;

use p2pool_core::node::{Event, NetworkCommand};
use p2pool_core::peer::{InboundId, PeerHandle, RequestFailed, RequestId};
use p2pool_core::share::ShareId;
use p2pool_core::wire::limits::TRANSACTION_LEN_MAX;
use p2pool_core::wire::{Frame as _, List, Request, Response};

use super::scripted_peer::{connect, requesting, Reply, ScriptedPeer};
use super::support::{params, Start, TestNode};
use crate::driver::OUTBOUND_PER_PEER_MAX;
use crate::names::Names;

fn expect_request(node: &TestNode) -> (PeerHandle, InboundId, Request) {
    node.expect("a request", |message| match message {
        Event::Request { peer, id, request } => Some((peer, id, request)),
        _ => None,
    })
}

fn expect_outcome(node: &TestNode) -> (RequestId, Result<Response, RequestFailed>) {
    node.expect("the outcome of a request", |message| match message {
        Event::Response { id, response, .. } => Some((id, response)),
        _ => None,
    })
}

fn request(node: &TestNode, peer: PeerHandle, number: u64) {
    node.send(NetworkCommand::Request { peer, id: RequestId(number), request: Request::Status });
}

#[test]
fn requests_get_their_responses_up_to_the_longest() {
    let one = TestNode::start(&[]);
    let two = TestNode::start(&[&one.address]);
    let peer = two.expect_connected();
    request(&two, peer, 7);
    let (_, to, received) = expect_request(&one);
    assert_eq!(received, Request::Status);
    let longest = Response::BlockTransactions(
        List::try_from(vec![vec![7; TRANSACTION_LEN_MAX].try_into().unwrap(), vec![8; 99_000].try_into().unwrap()])
            .unwrap(),
    );
    assert!(longest.encode().len() > 998_000);
    one.send(NetworkCommand::Respond { to, response: longest.clone() });
    assert_eq!(expect_outcome(&two), (RequestId(7), Ok(longest)));
}

#[test]
fn envelopes_have_a_protocol_of_their_own() {
    let one = TestNode::start(&[]);
    let two = TestNode::start(&[&one.address]);
    let peer = two.expect_connected();
    let envelopes = Request::Envelopes { above: 2, after: ShareId([7; 32]) };
    // Both libraries' numbers of the requests are the same.
    request(&two, peer, 1);
    two.send(NetworkCommand::Request { peer, id: RequestId(2), request: envelopes.clone() });
    for _ in 0..2 {
        let (_, to, received) = expect_request(&one);
        let response = match received {
            Request::Status => Response::Unknown,
            other => {
                assert_eq!(other, envelopes);
                Response::Envelopes(List::default())
            }
        };
        one.send(NetworkCommand::Respond { to, response });
    }
    let mut outcomes = [expect_outcome(&two), expect_outcome(&two)];
    outcomes.sort_by_key(|(id, _)| *id);
    let [first, second] = outcomes;
    assert_eq!(first, (RequestId(1), Ok(Response::Unknown)));
    assert_eq!(second, (RequestId(2), Ok(Response::Envelopes(List::default()))));
}

#[test]
fn a_request_on_the_protocol_of_others_is_misbehaviour() {
    let protocols = Names::new(&params().chain_id());
    for (protocol, request) in [
        (protocols.envelopes, Request::Status),
        (protocols.sync, Request::Envelopes { above: 2, after: ShareId::ZERO }),
    ] {
        let node = TestNode::start(&[]);
        let mut remote = ScriptedPeer::new(requesting().with_protocol(protocol));
        connect(&mut remote, &node);
        for _ in 0..2 {
            remote.send_request(&node.address, request.encode());
        }
        remote.await_disconnect();
        assert!(!node.inbox.try_iter().any(|message| matches!(message, Event::Request { .. })));
    }
}

#[test]
fn requests_to_unknown_peers_and_too_many_requests_fail() {
    let one = TestNode::start(&[]);
    let two = TestNode::start(&[&one.address]);
    request(&two, PeerHandle(99), 1);
    assert_eq!(expect_outcome(&two), (RequestId(1), Err(RequestFailed::Disconnected)));
    let peer = {
        two.await_peer(&one.id());
        PeerHandle(0)
    };
    for number in 0..=OUTBOUND_PER_PEER_MAX as u64 {
        request(&two, peer, number);
    }
    let last = OUTBOUND_PER_PEER_MAX as u64;
    assert_eq!(expect_outcome(&two), (RequestId(last), Err(RequestFailed::TooMany)));
    // Each response makes room for another request.
    let (_, to, _) = expect_request(&one);
    one.send(NetworkCommand::Respond { to, response: Response::Unknown });
    let (number, outcome) = expect_outcome(&two);
    assert_eq!(outcome, Ok(Response::Unknown));
    request(&two, peer, 100);
    drop(one);
    let mut failed: Vec<u64> = (0..OUTBOUND_PER_PEER_MAX)
        .map(|_| match expect_outcome(&two) {
            (RequestId(number), Err(RequestFailed::Disconnected)) => number,
            other => panic!("{other:?}"),
        })
        .collect();
    failed.sort_unstable();
    let mut expected: Vec<u64> = (0..last).filter(|n| *n != number.0).chain([100]).collect();
    expected.sort_unstable();
    assert_eq!(failed, expected);
    assert_eq!(two.expect_disconnected(), peer);
}

/// Has a node send a request to a scripted peer with this reply. Returns both and the outcome.
fn request_with_reply(
    reply: Option<Vec<u8>>,
    timeout: Duration,
) -> (TestNode, ScriptedPeer, Result<Response, RequestFailed>) {
    let node = Start { request_timeout: timeout, ..Start::with(&[]) }.go();
    let mut remote = ScriptedPeer::new(requesting());
    remote.set_responder(move |_| reply.clone().map_or(Reply::Nothing, Reply::bytes));
    connect(&mut remote, &node);
    let peer = node.expect_connected();
    request(&node, peer, 1);
    let response = remote.run_until("the outcome of the request", || {
        node.inbox.try_iter().find_map(|message| match message {
            Event::Response { response, .. } => Some(response),
            _ => None,
        })
    });
    (node, remote, response)
}

const SOON: Duration = Duration::from_secs(30);

#[test]
fn failed_requests_say_why() {
    let (_node, _stranger, response) = request_with_reply(Some(Response::Unknown.encode()), SOON);
    assert_eq!(response, Ok(Response::Unknown));
    let (_node, _stranger, response) = request_with_reply(Some(vec![]), SOON);
    assert_eq!(response, Err(RequestFailed::Refused));
    let (_node, _stranger, response) = request_with_reply(Some(vec![0xff; 10]), SOON);
    assert_eq!(response, Err(RequestFailed::Malformed));
    let (_node, _stranger, response) = request_with_reply(Some(vec![0; 3 << 20]), SOON);
    assert_eq!(response, Err(RequestFailed::Malformed));
    let (_node, _stranger, response) = request_with_reply(None, Duration::from_millis(300));
    assert_eq!(response, Err(RequestFailed::TimedOut));
}

#[test]
fn malformed_responses_ban() {
    let (node, mut remote, _) = request_with_reply(Some(vec![0; 3 << 20]), SOON);
    let peer = PeerHandle(0);
    request(&node, peer, 2);
    remote.await_disconnect();
    assert_eq!(node.expect_disconnected(), peer);
}

#[test]
fn late_and_unexpected_responses_are_dropped() {
    // Short, because the first request takes as long; not too short, because the last one must get its response in time.
    let node = Start { request_timeout: Duration::from_secs(3), ..Start::with(&[]) }.go();
    let mut remote = ScriptedPeer::new(requesting());
    connect(&mut remote, &node);
    let sent = remote.send_request(&node.address, Request::Status.encode());
    assert_eq!(remote.response(sent).unwrap_or_default(), Vec::<u8>::new(), "no response");
    let (_, to, _) = expect_request(&node);
    node.send(NetworkCommand::Respond { to, response: Response::Busy });
    node.send(NetworkCommand::Respond { to: InboundId(99), response: Response::Busy });
    let sent = remote.send_request(&node.address, Request::Status.encode());
    let to = remote.run_until("the next request", || {
        node.inbox.try_iter().find_map(|message| match message {
            Event::Request { id, .. } => Some(id),
            _ => None,
        })
    });
    node.send(NetworkCommand::Respond { to, response: Response::Unknown });
    assert_eq!(remote.response(sent), Some(Response::Unknown.encode()));
}
