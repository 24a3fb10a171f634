//! Responses that are well formed and wrong, and missing responses.

use std::sync::Arc;
use std::time::Duration;

use bitcoin::hashes::Hash as _;
use p2pool_core::params::ChainId;
use p2pool_core::share::{Share, ShareId};
use p2pool_core::units::{Bits, ShareHeight, Work};
use p2pool_core::wire::limits::INVENTORY_MAX;
use p2pool_core::wire::{Frame as _, List, PeerStatus, Request, Response};
use p2pool_test_hostile::forge::grind_header;
use p2pool_test_hostile::raw::RawMessage;
use p2pool_test_hostile::scripted_peer::{PeerConfig, Reply};

use crate::test_network::{invented_ids, respond_without_shares, status_without_shares, Attacker, TestNetwork, VICTIM};

/// Shares for wrong responses.
#[derive(Clone)]
struct Stock {
    chain: ChainId,
    /// Two valid shares, one on the other, that no node has; then one that pays only its finder.
    new: Vec<Arc<Share>>,
    /// A share that all nodes have.
    old: Vec<Arc<Share>>,
}

type Respond = fn(&Stock, &Request) -> Option<Response>;

/// An attack: its name, its responses (`None`: as a node without shares), the share it gossips first, the misbehaviour and
/// ban score that it is to be logged with. Score 0 stands for an immediate ban.
struct Case(&'static str, Respond, Option<fn(&mut TestNetwork) -> Share>, Option<(&'static str, u32)>);

const INVALID_HEADER: Option<(&str, u32)> = Some(("sent an invalid Bitcoin header", 50));
const UNREQUESTED: Option<(&str, u32)> = Some(("sent an unrequested response", 50));

/// A status that claims more work than any chain has.
fn inflated_status(stock: &Stock, tip: ShareId) -> Response {
    Response::Status(PeerStatus {
        tip,
        share_height: ShareHeight(1_000_000),
        chain_work: Work(1 << 100),
        ..status_without_shares(&stock.chain)
    })
}

/// An inventory of ids that follow the tip, or the last id of an inventory before.
fn inventory(stock: &Stock, request: &Request, ids: impl IntoIterator<Item = ShareId>, more: bool) -> Option<Response> {
    let Request::Inventory { locator } = request else { return None };
    let tip = stock.old[0].id();
    let after = if locator.contains(&tip) { tip } else { *locator.first()? };
    Some(Response::Inventory { after, start_height: ShareHeight(1), ids: List::first_of(ids), more })
}

/// Claims to have the two new shares, lists them, and sends the `given` ones when they are requested.
fn new_shares(stock: &Stock, request: &Request, given: &[&Arc<Share>]) -> Option<Response> {
    let ids = || stock.new.iter().take(2).map(|share| share.id());
    match request {
        Request::Status => Some(inflated_status(stock, stock.new[1].id())),
        Request::Inventory { .. } => inventory(stock, request, ids(), false),
        Request::Shares { .. } => Some(Response::Shares(List::first_of(given.iter().map(|share| Arc::clone(share))))),
        _ => None,
    }
}

/// An invented hash, a different one for each share.
fn invented_for(share: &Share) -> [u8; 32] {
    let mut invented = [0xdd; 32];
    invented[..12].copy_from_slice(&share.extranonce);
    invented
}

/// A share on an unknown parent.
fn orphan(network: &mut TestNetwork) -> Share {
    let tip = network.forge.tip();
    network.forge.build_edited(&tip, |share| share.info.parent = ShareId(invented_for(share)))
}

/// A share on an unknown Bitcoin block.
fn unanchored(network: &mut TestNetwork) -> Share {
    let tip = network.forge.tip();
    network.forge.build_edited(&tip, |share| {
        share.header.prev_blockhash = bitcoin::BlockHash::from_byte_array(invented_for(share));
    })
}

/// A header on the genesis block without work.
fn header_without_work(stock: &Stock) -> bitcoin::block::Header {
    bitcoin::block::Header { nonce: 0, merkle_root: bitcoin::TxMerkleNode::all_zeros(), ..stock.old[0].header }
}

/// A header on the genesis block with the work that it states, which is too little.
fn easy_header(stock: &Stock) -> bitcoin::block::Header {
    let bits = Bits(0x207f_ffff);
    let compact = bitcoin::CompactTarget::from_consensus(bits.0);
    grind_header(bitcoin::block::Header { bits: compact, ..header_without_work(stock) }, bits.target().unwrap())
}

/// A share on such a header.
fn on_easy_header(network: &mut TestNetwork) -> Share {
    let tip = network.forge.tip();
    let stock = stock(network);
    network.forge.build_edited(&tip, |share| share.header.prev_blockhash = easy_header(&stock).block_hash())
}

/// A share on a header without work.
fn on_header_without_work(network: &mut TestNetwork) -> Share {
    let tip = network.forge.tip();
    let stock = stock(network);
    network.forge.build_edited(&tip, |share| share.header.prev_blockhash = header_without_work(&stock).block_hash())
}

const CASES: &[Case] = &[
    Case("a status of another chain", of_another_chain, None, Some(("banned for 24 h: is on another chain", 0))),
    Case("headers for a status", |_, _| Some(Response::Headers(List::default())), None, UNREQUESTED),
    Case(
        "an inventory that follows an unknown share",
        |stock, request| match request {
            Request::Status => Some(inflated_status(stock, stock.new[1].id())),
            Request::Inventory { .. } => Some(Response::Inventory {
                after: invented_ids(1)[0],
                start_height: ShareHeight(1),
                ids: List::first_of(invented_ids(7)),
                more: true,
            }),
            _ => None,
        },
        None,
        UNREQUESTED,
    ),
    Case(
        "an inventory with the zero id",
        |stock, request| match request {
            Request::Status => Some(inflated_status(stock, stock.new[1].id())),
            _ => inventory(stock, request, [ShareId::ZERO], false),
        },
        None,
        UNREQUESTED,
    ),
    Case(
        "full inventories of invented shares",
        |stock, request| match request {
            Request::Status => Some(inflated_status(stock, stock.new[1].id())),
            _ => inventory(stock, request, invented_ids(INVENTORY_MAX as u32), true),
        },
        None,
        Some(("advertised shares it does not have", 10)),
    ),
    Case(
        "shares in another order",
        |stock, request| new_shares(stock, request, &[&stock.new[1], &stock.new[0]]),
        None,
        UNREQUESTED,
    ),
    Case(
        "more shares than requested",
        |stock, request| new_shares(stock, request, &[&stock.new[0], &stock.new[1], &stock.old[0]]),
        None,
        UNREQUESTED,
    ),
    Case("unrequested shares", |stock, request| new_shares(stock, request, &[&stock.old[0]]), None, UNREQUESTED),
    Case(
        "fewer shares than advertised",
        |stock, request| new_shares(stock, request, &[]),
        None,
        Some(("advertised shares it does not have", 10)),
    ),
    Case(
        "an inventory of invalid shares",
        |stock, request| match request {
            Request::Status => Some(inflated_status(stock, stock.new[2].id())),
            Request::Shares { .. } => Some(Response::Shares(List::first_of([Arc::clone(&stock.new[2])]))),
            _ => inventory(stock, request, [stock.new[2].id()], false),
        },
        None,
        Some(("sent a share that breaks rule 8", 50)),
    ),
    Case(
        "another share for a missing parent",
        |stock, request| match request {
            Request::Shares { .. } => Some(Response::Shares(List::first_of([Arc::clone(&stock.old[0])]))),
            _ => None,
        },
        Some(orphan),
        UNREQUESTED,
    ),
    Case("an invented parent", |_, _| None, Some(orphan), Some(("advertised shares it does not have", 10))),
    Case("an invented prev_block", |_, _| None, Some(unanchored), None),
    Case(
        "another header for an invented prev_block",
        |stock, request| match request {
            Request::Headers { .. } => Some(Response::Headers(List::first_of([stock.old[0].header]))),
            _ => None,
        },
        Some(unanchored),
        UNREQUESTED,
    ),
    Case(
        "something else for a header",
        |_, request| match request {
            Request::Headers { .. } => Some(Response::Shares(List::default())),
            _ => None,
        },
        Some(unanchored),
        UNREQUESTED,
    ),
    Case(
        "a header without work for an invented prev_block",
        |stock, request| match request {
            Request::Headers { .. } => Some(Response::Headers(List::first_of([header_without_work(stock)]))),
            _ => None,
        },
        Some(on_header_without_work),
        INVALID_HEADER,
    ),
    Case(
        "a header with less work than Bitcoin requires",
        |stock, request| match request {
            Request::Headers { .. } => Some(Response::Headers(List::first_of([easy_header(stock)]))),
            _ => None,
        },
        Some(on_easy_header),
        INVALID_HEADER,
    ),
];

fn of_another_chain(_: &Stock, _: &Request) -> Option<Response> {
    Some(Response::Status(status_without_shares(&ChainId([9; 32]))))
}

fn stock(network: &mut TestNetwork) -> Stock {
    let tip = network.forge.tip();
    let first = Arc::new(network.forge.build(&tip));
    network.forge.add(&first);
    let second = Arc::new(network.forge.build(&first.id()));
    network.forge.remove(&first.id());
    let me = network.forge.payee;
    let greedy =
        network.forge.build_paying(&tip, |_| (), |payouts| payouts.iter_mut().for_each(|payout| payout.script = me));
    Stock {
        chain: network.chain,
        new: vec![first, second, Arc::new(greedy)],
        old: vec![Arc::clone(network.forge.get(&tip).unwrap())],
    }
}

/// Responds as a case says, or else like a node without shares.
fn responder(stock: Stock, respond: Respond) -> impl FnMut(&[u8]) -> Reply {
    let mut otherwise = respond_without_shares(stock.chain);
    move |bytes| {
        let response = Request::decode(bytes).ok().and_then(|request| respond(&stock, &request));
        response.map_or_else(|| otherwise(bytes), |response| Reply::bytes(response.encode()))
    }
}

fn run(network: &mut TestNetwork, case: &Case) {
    let Case(name, respond, gossiped, misbehaviour) = case;
    let start = std::time::Instant::now();
    network.update_forge();
    let stock = stock(network);
    let new: Vec<Share> = stock.new.iter().map(|share| (**share).clone()).collect();
    let mut attacker = network.attacker_with(PeerConfig::of(&network.chain));
    attacker.peer.set_responder(responder(stock, *respond));
    attacker.connect(&network.addresses[VICTIM]);
    let gossiped = gossiped.map(|make| {
        let share = make(network);
        attacker.peer.subscribe();
        attacker.gossip(&share);
        let line = format!("share {} from", share.id());
        network.await_log(&mut attacker, &[&line, "Deferred"]);
        share
    });
    match misbehaviour {
        Some((misbehaviour, 0)) => {
            let id = attacker.id.clone();
            network.await_log(&mut attacker, &["WARN", &id, misbehaviour]);
        }
        Some((misbehaviour, score)) => network.await_score(&mut attacker, misbehaviour, *score),
        None => {
            let is_for_headers = |request: &Request| matches!(request, Request::Headers { .. });
            attacker.peer.await_request("a request for headers", is_for_headers);
            attacker.peer.collect_gossip(Duration::from_millis(300));
        }
    }
    network.mine_share();
    network.assert_unknown(&new);
    network.assert_unknown(&gossiped.into_iter().collect::<Vec<_>>());
    if misbehaviour.is_none() {
        network.assert_not_scored(&attacker);
    }
    eprintln!("{name}: {} ms", start.elapsed().as_millis());
}

#[test]
fn wrong_responses_are_refused_and_scored() {
    let mut network = TestNetwork::start(2);
    for case in CASES {
        run(&mut network, case);
    }
}

/// Responses and requests of one byte a second, and no responses at all. Each may take half a minute and nothing else.
#[test]
fn slow_peers_are_scored_and_delay_no_others() {
    const BYTE_INTERVAL: Duration = Duration::from_secs(1);
    let mut network = TestNetwork::start(2);
    let slowly = |bytes: Vec<u8>| RawMessage { bytes, interval: Some(BYTE_INTERVAL) };
    let silent = |network: &TestNetwork| network.attacker_with(PeerConfig::of(&network.chain).without_gossip());
    let mut attackers: Vec<Attacker> = (0..3).map(|_| silent(&network)).collect();
    let status = Response::Status(status_without_shares(&network.chain)).encode();
    attackers[1].peer.set_responder(move |_| Reply::Send(slowly(status.clone())));
    attackers[2].peer.set_responder(respond_without_shares(network.chain));
    let victim = network.addresses[VICTIM].clone();
    for attacker in &mut attackers {
        attacker.connect(&victim);
    }
    let request = Request::Inventory { locator: List::first_of(invented_ids(3)) }.encode();
    let requests: Vec<_> = (0..60).map(|_| attackers[2].peer.send_request(&victim, slowly(request.clone()))).collect();
    let start = std::time::Instant::now();
    while start.elapsed() < Duration::from_secs(33) {
        attackers.iter_mut().for_each(|attacker| attacker.peer.run_briefly());
        let took = network.mine_share();
        assert!(took < Duration::from_secs(20), "a share took {took:?}");
        attackers.iter_mut().for_each(|attacker| drop(attacker.peer.collect_gossip(Duration::from_millis(500))));
    }
    for attacker in &mut attackers[..2] {
        network.await_score(attacker, "did not respond in time", 10);
        assert_eq!(
            network.misbehaviours(attacker).len(),
            1,
            "one timeout counts once: {:?}",
            network.misbehaviours(attacker)
        );
    }
    for request in requests {
        assert_eq!(attackers[2].peer.response(request).unwrap_or_default(), Vec::<u8>::new());
    }
    network.mine_share();
}
