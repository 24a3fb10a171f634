//! Questions and answers, and their absence.

use std::time::Duration;

use p2pool_core::node::{Event, NetworkCommand};
use p2pool_core::peer::{InboundId, PeerHandle, RequestFailed, RequestId};
use p2pool_core::wire::limits::TRANSACTION_LEN_MAX;
use p2pool_core::wire::{Frame as _, List, Request, Response};

use super::scripted_peer::{asking, meet, Reply, Stranger};
use super::support::{Start, TestNode};
use crate::driver::OUTBOUND_PER_PEER_MAX;

fn expect_asked(node: &TestNode) -> (PeerHandle, InboundId, Request) {
    node.expect("a question", |message| match message {
        Event::Request { peer, id: to, request: question } => Some((peer, to, question)),
        _ => None,
    })
}

fn expect_answered(node: &TestNode) -> (RequestId, Result<Response, RequestFailed>) {
    node.expect("an answer", |message| match message {
        Event::Response { id: request, response, .. } => Some((request, response)),
        _ => None,
    })
}

fn ask(node: &TestNode, peer: PeerHandle, number: u64) {
    node.send(NetworkCommand::Request { peer, id: RequestId(number), request: Request::Status });
}

#[test]
fn a_question_comes_with_its_answer_up_to_the_longest() {
    let one = TestNode::start(&[]);
    let two = TestNode::start(&[&one.address]);
    let peer = two.expect_up();
    ask(&two, peer, 7);
    let (_, to, question) = expect_asked(&one);
    assert_eq!(question, Request::Status);
    let longest = Response::BlockTransactions(
        List::try_from(vec![vec![7; TRANSACTION_LEN_MAX].try_into().unwrap(), vec![8; 99_000].try_into().unwrap()])
            .unwrap(),
    );
    assert!(longest.encode().len() > 998_000);
    one.send(NetworkCommand::Respond { to, response: longest.clone() });
    assert_eq!(expect_answered(&two), (RequestId(7), Ok(longest)));
}

#[test]
fn whom_nobody_knows_is_gone_and_too_many_questions_are_refused() {
    let one = TestNode::start(&[]);
    let two = TestNode::start(&[&one.address]);
    ask(&two, PeerHandle(99), 1);
    assert_eq!(expect_answered(&two), (RequestId(1), Err(RequestFailed::Disconnected)));
    let peer = {
        two.await_peer(&one.id());
        PeerHandle(0)
    };
    for number in 0..=OUTBOUND_PER_PEER_MAX as u64 {
        ask(&two, peer, number);
    }
    let last = OUTBOUND_PER_PEER_MAX as u64;
    assert_eq!(expect_answered(&two), (RequestId(last), Err(RequestFailed::TooMany)));
    // Each answer makes room for another question.
    let (_, to, _) = expect_asked(&one);
    one.send(NetworkCommand::Respond { to, response: Response::Unknown });
    let (number, answer) = expect_answered(&two);
    assert_eq!(answer, Ok(Response::Unknown));
    ask(&two, peer, 100);
    drop(one);
    let mut gone: Vec<u64> = (0..OUTBOUND_PER_PEER_MAX)
        .map(|_| match expect_answered(&two) {
            (RequestId(number), Err(RequestFailed::Disconnected)) => number,
            other => panic!("{other:?}"),
        })
        .collect();
    gone.sort_unstable();
    let mut expected: Vec<u64> = (0..last).filter(|n| *n != number.0).chain([100]).collect();
    expected.sort_unstable();
    assert_eq!(gone, expected);
    assert_eq!(two.expect_down(), peer);
}

/// A node that asks a stranger who gives this reply.
fn asked_stranger(reply: Option<Vec<u8>>, timeout: Duration) -> (TestNode, Stranger, Result<Response, RequestFailed>) {
    let node = Start { request_timeout: timeout, ..Start::with(&[]) }.go();
    let mut stranger = Stranger::new(asking());
    stranger.reply(move |_| reply.clone().map_or(Reply::Nothing, Reply::bytes));
    meet(&mut stranger, &node);
    let peer = node.expect_up();
    ask(&node, peer, 1);
    let response = stranger.live_until("an answer to the node", || {
        node.inbox.try_iter().find_map(|message| match message {
            Event::Response { response, .. } => Some(response),
            _ => None,
        })
    });
    (node, stranger, response)
}

const SOON: Duration = Duration::from_secs(30);

#[test]
fn bad_answers_are_told_apart() {
    let (_node, _stranger, response) = asked_stranger(Some(Response::Unknown.encode()), SOON);
    assert_eq!(response, Ok(Response::Unknown));
    let (_node, _stranger, response) = asked_stranger(Some(vec![]), SOON);
    assert_eq!(response, Err(RequestFailed::Refused));
    let (_node, _stranger, response) = asked_stranger(Some(vec![0xff; 10]), SOON);
    assert_eq!(response, Err(RequestFailed::Malformed));
    let (_node, _stranger, response) = asked_stranger(Some(vec![0; 3 << 20]), SOON);
    assert_eq!(response, Err(RequestFailed::Malformed));
    let (_node, _stranger, response) = asked_stranger(None, Duration::from_millis(300));
    assert_eq!(response, Err(RequestFailed::TimedOut));
}

#[test]
fn bad_answers_are_blamed() {
    let (node, mut stranger, _) = asked_stranger(Some(vec![0; 3 << 20]), SOON);
    let peer = PeerHandle(0);
    ask(&node, peer, 2);
    stranger.await_shown_out();
    assert_eq!(node.expect_down(), peer);
}

#[test]
fn an_answer_in_vain_harms_nobody() {
    // Short, for the first question lasts as long; not too short, for the last one is to be answered in time.
    let node = Start { request_timeout: Duration::from_secs(3), ..Start::with(&[]) }.go();
    let mut stranger = Stranger::new(asking());
    meet(&mut stranger, &node);
    let question = stranger.send(&node.address, Request::Status.encode());
    assert_eq!(stranger.answer(question).unwrap_or_default(), Vec::<u8>::new(), "nobody answers");
    let (_, to, _) = expect_asked(&node);
    node.send(NetworkCommand::Respond { to, response: Response::Busy });
    node.send(NetworkCommand::Respond { to: InboundId(99), response: Response::Busy });
    let question = stranger.send(&node.address, Request::Status.encode());
    let to = stranger.live_until("the next question", || {
        node.inbox.try_iter().find_map(|message| match message {
            Event::Request { id: to, .. } => Some(to),
            _ => None,
        })
    });
    node.send(NetworkCommand::Respond { to, response: Response::Unknown });
    assert_eq!(stranger.answer(question), Some(Response::Unknown.encode()));
}
