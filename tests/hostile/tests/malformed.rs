//! Every message written wrongly in every way, on every road that it can come.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use bitcoin::hashes::Hash as _;
use bitcoin::BlockHash;
use p2pool_core::wire::limits::{BLOCK_MESSAGE_LEN_MAX, REQUEST_LEN_MAX, RESPONSE_LEN_MAX, SHARE_MESSAGE_LEN_MAX};
use p2pool_core::wire::{BlockAnnouncement, Frame, GossipShare, List, Request, Response};
use p2pool_test_hostile::malformed::ways;
use p2pool_test_hostile::names::{Names, GOSSIP};
use p2pool_test_hostile::scripted_peer::{Kind, Reply};

use crate::test_network::{invented_ids, status_of_nobody, Attacker, Bench, VICTIM};

/// All ways to spoil a message, too much of it among them.
fn spoilt(right: &impl Frame, len_max: usize) -> Vec<(&'static str, Vec<u8>)> {
    let right = right.encode();
    let mut ways = ways(&right);
    ways.push(("longer than any message", [&right[..], &vec![0; len_max + 1 - right.len()]].concat()));
    ways
}

/// Sends each, two from one peer: the first costs half a ban, the second the rest.
fn offend(
    bench: &mut Bench,
    what: &str,
    spoilt: &[(&str, Vec<u8>)],
    mut send: impl FnMut(&Bench, &mut Attacker, Vec<u8>),
) {
    let start = std::time::Instant::now();
    for pair in spoilt.chunks(2) {
        let mut attacker = bench.attacker();
        for (number, (way, bytes)) in pair.iter().enumerate() {
            send(bench, &mut attacker, bytes.clone());
            let id = attacker.id.clone();
            let verdict = ["(ban score 50)", "banned for 24 h"][number];
            let log = bench.await_log(&mut attacker, &[&id, verdict]);
            let is_for_that = ["malformed message", "oversized message", "invalid Bitcoin block"];
            assert!(is_for_that.iter().any(|offence| log.contains(offence)), "{what}, {way}: {log}");
        }
        if pair.len() == 2 {
            attacker.stranger.await_shown_out();
        }
    }
    bench.go_on();
    eprintln!("{what}: {} ways, {} ms", spoilt.len(), start.elapsed().as_millis());
}

/// The newest block of bitcoind as if it were found just now.
fn announcement(bench: &Bench) -> BlockAnnouncement {
    let block = bench.bitcoind.block(&bench.bitcoind.tip());
    BlockAnnouncement::of(&block, p2pool_core::units::BlockHeight(bench.bitcoind.height())).unwrap()
}

#[test]
fn malformed_gossip_is_refused_and_scored() {
    let mut bench = Bench::start(2);
    bench.bitcoind.mine(1);
    bench.learn();
    let share = Arc::clone(bench.forge.share(&bench.forge.tip()).unwrap());
    let spoilt_shares = spoilt(&GossipShare { share }, SHARE_MESSAGE_LEN_MAX);
    offend(&mut bench, "shares", &spoilt_shares, |_, attacker, bytes| attacker.stranger.gossip_share(bytes));
    let spoilt_blocks = spoilt(&announcement(&bench), BLOCK_MESSAGE_LEN_MAX);
    offend(&mut bench, "found blocks", &spoilt_blocks, |_, attacker, bytes| attacker.stranger.gossip_block(bytes));
}

#[test]
fn bytes_that_are_no_gossip_are_refused_and_scored() {
    let mut bench = Bench::start(2);
    let mut attacker = bench.attacker_of(Kind::of(&bench.chain).mute().on(GOSSIP));
    let victim = bench.addresses[VICTIM].clone();
    attacker.stranger.connect(&victim).unwrap();
    // The first streams may break; one that breaks again and again has no excuse.
    for garbage in [vec![0xff; 5_000], vec![0x0a; 100], vec![0xff; 3], vec![0xff; 5_000]] {
        let sent = attacker.stranger.send(&victim, garbage);
        attacker.stranger.answer(sent);
    }
    bench.await_ban(&mut attacker, "sent a malformed message");
    bench.go_on();
}

/// The DHT, identify and ping are the library's: what is no message breaks the stream there, and is held against nobody.
#[test]
fn garbage_on_the_librarys_own_protocols_harms_nobody() {
    let mut bench = Bench::start(2);
    let protocols = ["/ipfs/id/1.0.0", "/ipfs/id/push/1.0.0", "/ipfs/ping/1.0.0"].map(libp2p::StreamProtocol::new);
    let victim = bench.addresses[VICTIM].clone();
    for protocol in protocols.into_iter().chain([Names::of(&bench.chain).dht]) {
        let mut attacker = bench.attacker_of(Kind::of(&bench.chain).mute().on(protocol));
        attacker.stranger.connect(&victim).unwrap();
        for garbage in [vec![0xff; 100_000], vec![0; 1_000], vec![0x80; 40], vec![]] {
            let sent = attacker.stranger.send(&victim, garbage);
            attacker.stranger.answer(sent);
        }
        bench.go_on();
    }
}

#[test]
fn malformed_questions_are_refused_and_scored() {
    let mut bench = Bench::start(2);
    let (block, ids) = (BlockHash::from_byte_array([7; 32]), invented_ids(3));
    let requests = [
        ("the question for a status", Request::Status),
        ("the question for an inventory", Request::Inventory { locator: List::first_of(ids.clone()) }),
        ("the question for shares", Request::Shares { ids: List::first_of(ids) }),
        ("the question for headers", Request::Headers { of: block }),
        ("the question for transactions", Request::BlockTransactions { block, places: List::first_of([1, 2, 300]) }),
    ];
    for (what, request) in requests {
        offend(&mut bench, what, &spoilt(&request, REQUEST_LEN_MAX), |bench, attacker, bytes| {
            let sent = attacker.stranger.send(&bench.addresses[VICTIM], bytes);
            let answer = attacker.stranger.answer(sent).unwrap_or_default();
            assert!(answer.is_empty(), "{what} is answered: {answer:02x?}");
        });
    }
}

#[test]
fn malformed_answers_are_refused_and_scored() {
    let mut bench = Bench::start(2);
    bench.learn();
    let ids = invented_ids(3);
    let share = Arc::clone(bench.forge.share(&bench.forge.tip()).unwrap());
    let transactions: [&[u8]; 2] = [&[1; 100], &[2; 200]];
    let responses = [
        ("a status", Response::Status(status_of_nobody(&bench.chain))),
        (
            "an inventory",
            Response::Inventory {
                after: ids[0],
                start_height: p2pool_core::units::ShareHeight(7),
                ids: List::first_of(ids),
                more: true,
            },
        ),
        ("shares", Response::Shares(List::first_of([share]))),
        ("headers", Response::Headers(List::first_of([bench.forge.anchor.header]))),
        ("transactions", Response::block_transactions(transactions)),
        ("word that nothing is there", Response::Unknown),
        ("word of being busy", Response::Busy),
    ];
    for (what, response) in responses {
        let mut spoilt = spoilt(&response, RESPONSE_LEN_MAX);
        // To say nothing at all is no offence.
        spoilt.retain(|(_, bytes)| !bytes.is_empty());
        let next = Rc::new(RefCell::new(Vec::new()));
        offend(&mut bench, what, &spoilt, |bench, attacker, bytes| {
            *next.borrow_mut() = bytes;
            let next = Rc::clone(&next);
            attacker.stranger.leave();
            attacker.stranger.asked.clear();
            attacker.stranger.reply(move |_| Reply::bytes(next.borrow().clone()));
            attacker.enter(&bench.addresses[VICTIM]);
        });
    }
}
