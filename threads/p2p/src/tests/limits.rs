//! How much, how often, how many.

use std::io::ErrorKind;
use std::net::TcpStream;
use std::time::Duration;

use p2pool_core::node::{Event, NetworkCommand};
use p2pool_core::share::ShareId;
use p2pool_core::units::ShareHeight;
use p2pool_core::wire::{Frame as _, GossipShare, List, Request, Response};

use super::scripted_peer::{asking, gossiping, meet, names, Kind, Stranger};
use super::support::{share, until, Start, TestNode, PATIENCE};
use crate::behaviour::{CONNECTIONS_MAX, INBOUND_MAX, INBOUND_SLOTS, PENDING_MAX};
use crate::peers::InboundSlots;

/// Questions asked together: half of what a node has open of one peer, for the answers to those before may just be leaving.
const AT_ONCE: usize = 4;

#[test]
fn asking_too_often_is_answered_busy() {
    let node = TestNode::start(&[]);
    let mut stranger = Stranger::new(asking());
    meet(&mut stranger, &node);
    let (mut unknown, mut busy) = (0, 0);
    let begun = std::time::Instant::now();
    while busy == 0 {
        // One after the other they might be no more than ten a second, on a busy machine.
        assert!(begun.elapsed() < PATIENCE, "{unknown} questions are answered and none refused");
        let ask = |_| stranger.send(&node.address, Request::Status.encode());
        let questions: Vec<_> = (0..AT_ONCE).map(ask).collect();
        for question in questions {
            let answer = stranger.answer_meanwhile(question, || {
                for message in node.inbox.try_iter() {
                    if let Event::Request { id: to, .. } = message {
                        node.send(NetworkCommand::Respond { to, response: Response::Unknown });
                    }
                }
            });
            match answer {
                Some(bytes) if bytes == Response::Unknown.encode() => unknown += 1,
                Some(bytes) if bytes == Response::Busy.encode() => busy += 1,
                other => panic!("{other:?}"),
            }
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
            Event::Request { id: to, peer, .. } => Some((to, peer)),
            _ => None,
        })
    });
    assert_eq!(to.1, two);
    node.send(NetworkCommand::Respond { to: to.0, response: Response::Unknown });
    assert_eq!(second.answer(question), Some(Response::Unknown.encode()));
}

#[test]
fn strangers_never_take_all_places() {
    const { assert!(INBOUND_SLOTS.permanent < INBOUND_MAX as usize) };
    const { assert!(INBOUND_MAX < CONNECTIONS_MAX && INBOUND_MAX.is_multiple_of(PENDING_MAX / 2)) };
    // Visits never end here.
    let slots = InboundSlots { temporary_for: Duration::from_secs(3_600), ..INBOUND_SLOTS };
    let node = Start { slots, ..Start::with(&[]) }.go();
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
fn newcomers_visit_a_full_node_and_leave_and_the_next_in_line_gets_a_free_place() {
    let slots = InboundSlots { permanent: 2, temporary_for: Duration::from_secs(1) };
    let node = Start { slots, ..Start::with(&[]) }.go();
    let mut lasting: Vec<Stranger> = (0..2).map(|_| Stranger::new(asking())).collect();
    lasting.iter_mut().for_each(|stranger| meet(stranger, &node));
    let mut visitor = Stranger::new(asking());
    meet(&mut visitor, &node);
    visitor.await_shown_out();
    assert!(lasting.iter_mut().all(|stranger| {
        stranger.breathe();
        stranger.is_connected()
    }));
    assert_eq!(node.metrics().peer_bans.get(), 0);

    // The first leaves while the next visitor is there.
    let mut next = Stranger::new(asking());
    meet(&mut next, &node);
    let mut leaving = lasting.remove(0);
    leaving.leave();
    let mut another = Stranger::new(asking());
    meet(&mut another, &node);
    another.await_shown_out();
    next.breathe();
    assert!(next.is_connected(), "it came before the one whose visit has ended");
}

/// An answer too long for who does not read it.
fn long_inventory() -> Response {
    let ids = (0..8_192_u32).map(|number| {
        let mut id = [7; 32];
        id[..4].copy_from_slice(&number.to_be_bytes());
        ShareId(id)
    });
    Response::Inventory { after: ShareId::ZERO, start_height: ShareHeight(0), ids: List::first_of(ids), more: true }
}

/// Answers all inventories asked for with a long one and all else with none; how many of the former.
fn answer_all(node: &TestNode) -> usize {
    let asked = node.inbox.try_iter().filter_map(|message| match message {
        Event::Request { id: to, request: question, .. } => Some((to, matches!(question, Request::Inventory { .. }))),
        _ => None,
    });
    let answered = asked.map(|(to, is_long)| {
        let response = if is_long { long_inventory() } else { Response::Unknown };
        node.send(NetworkCommand::Respond { to, response });
        is_long
    });
    answered.filter(|is_long| *is_long).count()
}

/// Asks for long answers and reads none of them.
fn ask_and_do_not_read(stranger: &mut Stranger, node: &TestNode, questions: usize) {
    for _ in 0..questions {
        stranger.send(&node.address, Request::Inventory { locator: List::default() }.encode());
    }
    // The questions go out; nobody answers them meanwhile.
    stranger.hear_for(Duration::from_millis(200));
}

#[test]
fn those_who_do_not_read_keep_nobody_from_asking_where_we_are() {
    let node = TestNode::start(&[]);
    let mut silent: Vec<Stranger> = (0..8).map(|_| Stranger::new(asking())).collect();
    for stranger in &mut silent {
        meet(stranger, &node);
        ask_and_do_not_read(stranger, &node, 8);
    }
    let mut answered = 0;
    until("all places are taken", || {
        answered += answer_all(&node);
        (answered == 64).then_some(())
    });
    let mut friend = Stranger::new(asking());
    meet(&mut friend, &node);
    let question = friend.send(&node.address, Request::Inventory { locator: List::default() }.encode());
    assert_eq!(friend.answer(question), Some(Response::Busy.encode()));
    let question = friend.send(&node.address, Request::Status.encode());
    let answer = friend.answer_meanwhile(question, || {
        answer_all(&node);
    });
    assert_eq!(answer, Some(Response::Unknown.encode()));
}

#[test]
fn answers_left_unread_are_an_offence_and_our_own_lateness_is_none() {
    let node = Start { request_timeout: Duration::from_secs(1), ..Start::with(&[]) }.go();
    let mut asker = Stranger::new(asking());
    meet(&mut asker, &node);
    // Nobody answers this one.
    let question = asker.send(&node.address, Request::Inventory { locator: List::default() }.encode());
    assert_eq!(asker.answer(question).unwrap_or_default(), Vec::<u8>::new());
    assert_eq!(node.metrics().peer_misbehaviours.get(), 0);
    node.inbox.try_iter().count();
    ask_and_do_not_read(&mut asker, &node, 4);
    let mut answered = 0;
    until("it is blamed", || {
        answered += answer_all(&node);
        (node.metrics().peer_misbehaviours.get() > 0).then_some(())
    });
    assert_eq!((answered, node.metrics().peer_misbehaviours.get()), (4, 1), "once for all");
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
