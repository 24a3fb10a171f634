//! How much, how often, how many.

use std::io::ErrorKind;
use std::net::TcpStream;
use std::time::Duration;

use p2pool_core::message::{ToChain, ToP2p};
use p2pool_core::wire::{Frame as _, GossipShare, Request, Response};

use super::kit::{share, until, Start, TestNode};
use super::stranger::{asking, gossiping, meet, names, Kind, Stranger};
use crate::behaviour::{CONNECTIONS_MAX, INBOUND_MAX, PENDING_MAX};

#[test]
fn asking_too_often_is_answered_busy() {
    let node = TestNode::start(&[]);
    let mut stranger = Stranger::new(asking());
    meet(&mut stranger, &node);
    let (mut unknown, mut busy) = (0, 0);
    let begun = std::time::Instant::now();
    while busy == 0 {
        let question = stranger.send(&node.address, Request::Status.encode());
        let answer = stranger.answer_meanwhile(question, || {
            for message in node.inbox.try_iter() {
                if let ToChain::Asked { to, .. } = message {
                    node.send(ToP2p::Answer { to, response: Response::Unknown });
                }
            }
        });
        match answer {
            Some(bytes) if bytes == Response::Unknown.encode() => unknown += 1,
            Some(bytes) if bytes == Response::Busy.encode() => busy += 1,
            other => panic!("{other:?}"),
        }
    }
    // A hundred at once and ten a second, see `peers`.
    let allowed = 101 + begun.elapsed().as_millis() / 100;
    assert!((100..=allowed).contains(&unknown), "{unknown} answered, {allowed} allowed");
}

#[test]
fn a_full_chain_thread_makes_peers_wait_and_loses_no_coming() {
    let node = Start { inbox_len: 1, ..Start::with(&[]) }.go();
    let mut first = Stranger::new(Kind { gossip: gossiping().gossip, ..asking() });
    meet(&mut first, &node);
    let mut second = Stranger::new(asking());
    meet(&mut second, &node);
    until("both are there", || (node.status.load().peers.len() == 2).then_some(()));
    // The inbox holds the first one's coming, the second's waits, and there is room for nothing else.
    let question = second.send(&node.address, Request::Status.encode());
    assert_eq!(second.answer(question), Some(Response::Busy.encode()));
    first.join();
    first.gossip(&names().shares, GossipShare { share: share(1) }.encode());
    let question = first.send(&node.address, Request::Status.encode());
    assert_eq!(first.answer(question), Some(Response::Busy.encode()));
    let (one, two) = (node.expect_up(), node.expect_up());
    assert!(one < two);
    // With room again all is as usual.
    let question = second.send(&node.address, Request::Status.encode());
    let to = second.live_until("the question", || {
        node.inbox.try_iter().find_map(|message| match message {
            ToChain::Asked { to, peer, .. } => Some((to, peer)),
            _ => None,
        })
    });
    assert_eq!(to.1, two);
    node.send(ToP2p::Answer { to: to.0, response: Response::Unknown });
    assert_eq!(second.answer(question), Some(Response::Unknown.encode()));
}

#[test]
fn strangers_never_take_all_places() {
    const { assert!(INBOUND_MAX < CONNECTIONS_MAX && INBOUND_MAX.is_multiple_of(PENDING_MAX / 2)) };
    let node = TestNode::start(&[]);
    let mut guests = Vec::new();
    while guests.len() < INBOUND_MAX as usize {
        // As many as may shake hands at once, or half of that.
        for _ in 0..PENDING_MAX / 2 {
            let mut guest = Stranger::new(asking());
            guest.connect(&node.address).unwrap();
            // Its last word of the handshake goes out meanwhile; whether it arrived is awaited below, for all at once.
            guest.hear_for(Duration::from_millis(5));
            guests.push(guest);
        }
        for guest in &mut guests {
            let id = guest.id.to_string();
            guest.live_until("a guest is in", || node.knows(&id).then_some(()));
        }
    }
    assert!(!Stranger::new(asking()).is_welcome_at(&node.address));
    assert_eq!(node.status.load().peers.len(), INBOUND_MAX as usize);
    // A place that comes free is given to the next.
    drop(guests.pop());
    let mut next = Stranger::new(asking());
    until("a place is free", || (node.status.load().peers.len() < INBOUND_MAX as usize).then_some(()));
    meet(&mut next, &node);
}

#[test]
fn handshakes_that_never_end_are_bounded() {
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
    until("those too many are turned away", || (open() <= PENDING_MAX as usize).then_some(()));
    assert_eq!(open(), PENDING_MAX as usize);
    // And those who keep silent do not keep their places.
    until("the silent are turned away", || (open() == 0).then_some(()));
    meet(&mut Stranger::new(asking()), &node);
}
