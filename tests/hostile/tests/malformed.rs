//! Malformed variants of every message, by every way in which it can arrive.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use bitcoin::hashes::Hash as _;
use bitcoin::BlockHash;
use p2pool_core::wire::limits::{BLOCK_MESSAGE_LEN_MAX, REQUEST_LEN_MAX, RESPONSE_LEN_MAX, SHARE_MESSAGE_LEN_MAX};
use p2pool_core::wire::{BlockAnnouncement, Frame, GossipShare, List, Request, Response};
use p2pool_test_hostile::malformed;
use p2pool_test_hostile::names::{Names, GOSSIP};
use p2pool_test_hostile::scripted_peer::{PeerConfig, Reply};

use crate::test_network::{invented_ids, status_without_shares, Attacker, TestNetwork, VICTIM};

/// Returns malformed variants of a message with their names, an oversized one among them.
fn variants(message: &impl Frame, len_max: usize) -> Vec<(&'static str, Vec<u8>)> {
    let valid = message.encode();
    let mut variants = malformed::variants(&valid);
    variants.push(("oversized", [&valid[..], &vec![0; len_max + 1 - valid.len()]].concat()));
    variants
}

/// Sends all variants, two from each peer. The first gives half the ban score, the second bans.
fn send_all(
    network: &mut TestNetwork,
    what: &str,
    variants: &[(&str, Vec<u8>)],
    mut send: impl FnMut(&TestNetwork, &mut Attacker, Vec<u8>),
) {
    let start = std::time::Instant::now();
    for pair in variants.chunks(2) {
        let mut attacker = network.attacker();
        for (number, (variant, bytes)) in pair.iter().enumerate() {
            send(network, &mut attacker, bytes.clone());
            let id = attacker.id.clone();
            let outcome = ["(ban score 50)", "banned for 24 h"][number];
            let log = network.await_log(&mut attacker, &[&id, outcome]);
            let expected = ["malformed message", "oversized message", "invalid Bitcoin block"];
            assert!(expected.iter().any(|misbehaviour| log.contains(misbehaviour)), "{what}, {variant}: {log}");
        }
        if pair.len() == 2 {
            attacker.peer.await_disconnect();
        }
    }
    network.mine_share();
    eprintln!("{what}: {} variants, {} ms", variants.len(), start.elapsed().as_millis());
}

/// Returns an announcement of bitcoind's best block.
fn announcement(network: &TestNetwork) -> BlockAnnouncement {
    let block = network.bitcoind.block(&network.bitcoind.tip());
    BlockAnnouncement::from_block(&block, p2pool_core::units::BlockHeight(network.bitcoind.height())).unwrap()
}

#[test]
fn malformed_gossip_is_refused_and_scored() {
    let mut network = TestNetwork::start(2);
    network.bitcoind.mine(1);
    network.update_forge();
    let share = Arc::clone(network.forge.get(&network.forge.tip()).unwrap());
    let shares = variants(&GossipShare { share }, SHARE_MESSAGE_LEN_MAX);
    send_all(&mut network, "shares", &shares, |_, attacker, bytes| attacker.peer.gossip_share(bytes));
    let blocks = variants(&announcement(&network), BLOCK_MESSAGE_LEN_MAX);
    send_all(&mut network, "found blocks", &blocks, |_, attacker, bytes| attacker.peer.gossip_block(bytes));
}

#[test]
fn bytes_that_are_no_gossip_are_refused_and_scored() {
    let mut network = TestNetwork::start(2);
    let mut attacker = network.attacker_with(PeerConfig::of(&network.chain).without_gossip().with_protocol(GOSSIP));
    let victim = network.addresses[VICTIM].clone();
    attacker.peer.connect(&victim).unwrap();
    // A first broken stream is tolerated, repeated ones are not.
    for garbage in [vec![0xff; 5_000], vec![0x0a; 100], vec![0xff; 3], vec![0xff; 5_000]] {
        let sent = attacker.peer.send_request(&victim, garbage);
        attacker.peer.response(sent);
    }
    network.await_ban(&mut attacker, "sent a malformed message");
    network.mine_share();
}

/// The library's own protocols (DHT, identify, ping) close the stream on malformed messages, without a penalty.
#[test]
fn garbage_on_the_protocols_of_libp2p_does_no_harm() {
    let mut network = TestNetwork::start(2);
    let protocols = ["/ipfs/id/1.0.0", "/ipfs/id/push/1.0.0", "/ipfs/ping/1.0.0"].map(libp2p::StreamProtocol::new);
    let victim = network.addresses[VICTIM].clone();
    for protocol in protocols.into_iter().chain([Names::of(&network.chain).dht]) {
        let mut attacker =
            network.attacker_with(PeerConfig::of(&network.chain).without_gossip().with_protocol(protocol));
        attacker.peer.connect(&victim).unwrap();
        for garbage in [vec![0xff; 100_000], vec![0; 1_000], vec![0x80; 40], vec![]] {
            let sent = attacker.peer.send_request(&victim, garbage);
            attacker.peer.response(sent);
        }
        network.mine_share();
    }
}

#[test]
fn malformed_requests_are_refused_and_scored() {
    let mut network = TestNetwork::start(2);
    let (block, ids) = (BlockHash::from_byte_array([7; 32]), invented_ids(3));
    let requests = [
        ("status request", Request::Status),
        ("inventory request", Request::Inventory { locator: List::first_of(ids.clone()) }),
        ("shares request", Request::Shares { ids: List::first_of(ids) }),
        ("headers request", Request::Headers { last: block }),
        ("transactions request", Request::BlockTransactions { block, indexes: List::first_of([1, 2, 300]) }),
    ];
    for (what, request) in requests {
        send_all(&mut network, what, &variants(&request, REQUEST_LEN_MAX), |network, attacker, bytes| {
            let sent = attacker.peer.send_request(&network.addresses[VICTIM], bytes);
            let response = attacker.peer.response(sent).unwrap_or_default();
            assert!(response.is_empty(), "response to a malformed {what}: {response:02x?}");
        });
    }
}

#[test]
fn malformed_responses_are_refused_and_scored() {
    let mut network = TestNetwork::start(2);
    network.update_forge();
    let ids = invented_ids(3);
    let share = Arc::clone(network.forge.get(&network.forge.tip()).unwrap());
    let transactions: [&[u8]; 2] = [&[1; 100], &[2; 200]];
    let responses = [
        ("status", Response::Status(status_without_shares(&network.chain))),
        (
            "inventory",
            Response::Inventory {
                after: ids[0],
                start_height: p2pool_core::units::ShareHeight(7),
                ids: List::first_of(ids),
                more: true,
            },
        ),
        ("shares", Response::Shares(List::first_of([share]))),
        ("headers", Response::Headers(List::first_of([network.forge.anchor.header]))),
        ("transactions", Response::block_transactions(transactions)),
        ("unknown", Response::Unknown),
        ("busy", Response::Busy),
    ];
    for (what, response) in responses {
        let mut variants = variants(&response, RESPONSE_LEN_MAX);
        // An empty response is a refusal, which is allowed.
        variants.retain(|(_, bytes)| !bytes.is_empty());
        let next = Rc::new(RefCell::new(Vec::new()));
        send_all(&mut network, what, &variants, |network, attacker, bytes| {
            *next.borrow_mut() = bytes;
            let next = Rc::clone(&next);
            attacker.peer.disconnect();
            attacker.peer.requests.clear();
            attacker.peer.set_responder(move |_| Reply::bytes(next.borrow().clone()));
            attacker.connect(&network.addresses[VICTIM]);
        });
    }
}
