//! Answers that are well formed and wrong, and answers that do not come.

use std::sync::Arc;
use std::time::Duration;

use bitcoin::hashes::Hash as _;
use p2pool_core::params::ChainId;
use p2pool_core::share::{Share, ShareId};
use p2pool_core::units::{ShareHeight, Work};
use p2pool_core::wire::limits::INVENTORY_MAX;
use p2pool_core::wire::{Frame as _, List, PeerStatus, Request, Response};
use p2pool_test_hostile::raw::Bytes;
use p2pool_test_hostile::scripted_peer::{Kind, Reply};

use crate::test_network::{as_nobody, invented_ids, status_of_nobody, Attacker, Bench, VICTIM};

/// What a peer that answers wrongly has at hand.
#[derive(Clone)]
struct Stock {
    chain: ChainId,
    /// Two true shares, one on the other, that nobody else has; then one that pays only its finder.
    new: Vec<Arc<Share>>,
    /// Shares that everybody has.
    old: Vec<Arc<Share>>,
}

type Answering = fn(&Stock, &Request) -> Option<Response>;

/// An attack: what it answers (none: as somebody who has nothing), what it gossips first, what it is found guilty of.
struct Case(&'static str, Answering, Option<fn(&mut Bench) -> Share>, Option<(&'static str, u32)>);

const UNASKED: Option<(&str, u32)> = Some(("sent an unrequested response", 50));

/// The status of somebody who claims more work than there is.
fn boast(stock: &Stock, tip: ShareId) -> Response {
    Response::Status(PeerStatus {
        tip,
        share_height: ShareHeight(1_000_000),
        chain_work: Work(1 << 100),
        ..status_of_nobody(&stock.chain)
    })
}

/// A list that follows the tip, or the end of a list given before.
fn list(stock: &Stock, request: &Request, ids: impl IntoIterator<Item = ShareId>, more: bool) -> Option<Response> {
    let Request::Inventory { locator } = request else { return None };
    let tip = stock.old[0].id();
    let after = if locator.contains(&tip) { tip } else { *locator.first()? };
    Some(Response::Inventory { after, start_height: ShareHeight(1), ids: List::first_of(ids), more })
}

/// Boasts of the two new shares, lists them, and gives these when asked for them.
fn new_shares(stock: &Stock, request: &Request, given: &[&Arc<Share>]) -> Option<Response> {
    let ids = || stock.new.iter().take(2).map(|share| share.id());
    match request {
        Request::Status => Some(boast(stock, stock.new[1].id())),
        Request::Inventory { .. } => list(stock, request, ids(), false),
        Request::Shares { .. } => Some(Response::Shares(List::first_of(given.iter().map(|share| Arc::clone(share))))),
        _ => None,
    }
}

/// A hash of nothing, another one for each share.
fn invented_for(share: &Share) -> [u8; 32] {
    let mut invented = [0xdd; 32];
    invented[..12].copy_from_slice(&share.extranonce);
    invented
}

/// A share built on a share that nobody has.
fn orphan(bench: &mut Bench) -> Share {
    let tip = bench.forge.tip();
    bench.forge.edited(&tip, |share| share.info.parent = ShareId(invented_for(share)))
}

/// A share built on a Bitcoin block that nobody has.
fn unanchored(bench: &mut Bench) -> Share {
    let tip = bench.forge.tip();
    bench.forge.edited(&tip, |share| {
        share.header.prev_blockhash = bitcoin::BlockHash::from_byte_array(invented_for(share));
    })
}

/// A header that builds on the genesis block and has no work.
fn header_without_work(stock: &Stock) -> bitcoin::block::Header {
    bitcoin::block::Header { nonce: 0, merkle_root: bitcoin::TxMerkleNode::all_zeros(), ..stock.old[0].header }
}

/// A share built on that.
fn on_header_without_work(bench: &mut Bench) -> Share {
    let tip = bench.forge.tip();
    let stock = stock(bench);
    bench.forge.edited(&tip, |share| share.header.prev_blockhash = header_without_work(&stock).block_hash())
}

const CASES: &[Case] = &[
    Case("a status of another chain", of_another_chain, None, Some(("banned for 24 h: is on another chain", 0))),
    Case("a list for a status", |_, _| Some(Response::Headers(List::default())), None, UNASKED),
    Case(
        "a list that follows a share of nobody's",
        |stock, request| match request {
            Request::Status => Some(boast(stock, stock.new[1].id())),
            Request::Inventory { .. } => Some(Response::Inventory {
                after: invented_ids(1)[0],
                start_height: ShareHeight(1),
                ids: List::first_of(invented_ids(7)),
                more: true,
            }),
            _ => None,
        },
        None,
        UNASKED,
    ),
    Case(
        "a list with no parent on it",
        |stock, request| match request {
            Request::Status => Some(boast(stock, stock.new[1].id())),
            _ => list(stock, request, [ShareId::ZERO], false),
        },
        None,
        UNASKED,
    ),
    Case(
        "a list without end of shares that are invented",
        |stock, request| match request {
            Request::Status => Some(boast(stock, stock.new[1].id())),
            _ => list(stock, request, invented_ids(INVENTORY_MAX as u32), true),
        },
        None,
        Some(("advertised shares it does not have", 10)),
    ),
    Case(
        "shares in another order",
        |stock, request| new_shares(stock, request, &[&stock.new[1], &stock.new[0]]),
        None,
        UNASKED,
    ),
    Case(
        "more shares than were asked for",
        |stock, request| new_shares(stock, request, &[&stock.new[0], &stock.new[1], &stock.old[0]]),
        None,
        UNASKED,
    ),
    Case(
        "shares that were not asked for",
        |stock, request| new_shares(stock, request, &[&stock.old[0]]),
        None,
        UNASKED,
    ),
    Case(
        "fewer shares than were promised",
        |stock, request| new_shares(stock, request, &[]),
        None,
        Some(("advertised shares it does not have", 10)),
    ),
    Case(
        "a list of false shares",
        |stock, request| match request {
            Request::Status => Some(boast(stock, stock.new[2].id())),
            Request::Shares { .. } => Some(Response::Shares(List::first_of([Arc::clone(&stock.new[2])]))),
            _ => list(stock, request, [stock.new[2].id()], false),
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
        UNASKED,
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
        UNASKED,
    ),
    Case(
        "something else for a header",
        |_, request| match request {
            Request::Headers { .. } => Some(Response::Shares(List::default())),
            _ => None,
        },
        Some(unanchored),
        UNASKED,
    ),
    Case(
        "a header without work for an invented prev_block",
        |stock, request| match request {
            Request::Headers { .. } => Some(Response::Headers(List::first_of([header_without_work(stock)]))),
            _ => None,
        },
        Some(on_header_without_work),
        None,
    ),
];

fn of_another_chain(_: &Stock, _: &Request) -> Option<Response> {
    Some(Response::Status(status_of_nobody(&ChainId([9; 32]))))
}

fn stock(bench: &mut Bench) -> Stock {
    let tip = bench.forge.tip();
    let first = Arc::new(bench.forge.on(&tip));
    bench.forge.learn(&first);
    let second = Arc::new(bench.forge.on(&first.id()));
    bench.forge.forget(&first.id());
    let me = bench.forge.payee;
    let greedy = bench.forge.paying(&tip, |_| (), |payouts| payouts.iter_mut().for_each(|payout| payout.script = me));
    Stock {
        chain: bench.chain,
        new: vec![first, second, Arc::new(greedy)],
        old: vec![Arc::clone(bench.forge.share(&tip).unwrap())],
    }
}

/// Answers as the case has it.
fn answering(stock: Stock, answers: Answering) -> impl FnMut(&[u8]) -> Reply {
    let mut nobody = as_nobody(stock.chain);
    move |question| {
        let answer = Request::decode(question).ok().and_then(|request| answers(&stock, &request));
        answer.map_or_else(|| nobody(question), |answer| Reply::bytes(answer.encode()))
    }
}

fn run(bench: &mut Bench, case: &Case) {
    let Case(name, answers, gossiped, guilty) = case;
    let start = std::time::Instant::now();
    bench.learn();
    let stock = stock(bench);
    let new: Vec<Share> = stock.new.iter().map(|share| (**share).clone()).collect();
    let mut attacker = bench.attacker_of(Kind::of(&bench.chain));
    attacker.stranger.reply(answering(stock, *answers));
    attacker.enter(&bench.addresses[VICTIM]);
    let gossiped = gossiped.map(|make| {
        let share = make(bench);
        attacker.stranger.subscribe();
        attacker.gossip(&share);
        let line = format!("share {} from", share.id());
        bench.await_log(&mut attacker, &[&line, "Deferred"]);
        share
    });
    match guilty {
        Some((offence, 0)) => {
            let id = attacker.id.clone();
            bench.await_log(&mut attacker, &["WARN", &id, offence]);
        }
        Some((offence, points)) => bench.await_points(&mut attacker, offence, *points),
        None => {
            let is_asked = |question: &Request| matches!(question, Request::Headers { .. });
            attacker.stranger.await_question("a question for headers", is_asked);
            attacker.stranger.hear_for(Duration::from_millis(300));
        }
    }
    bench.go_on();
    bench.assert_unknown(&new);
    bench.assert_unknown(&gossiped.into_iter().collect::<Vec<_>>());
    if guilty.is_none() {
        bench.assert_not_scored(&attacker);
    }
    eprintln!("{name}: {} ms", start.elapsed().as_millis());
}

#[test]
fn wrong_answers_are_refused_and_scored() {
    let mut bench = Bench::start(2);
    for case in CASES {
        run(&mut bench, case);
    }
}

/// Answers drop by drop, questions drop by drop, and silence: each takes its half a minute and nothing else.
#[test]
fn who_keeps_others_waiting_is_scored_and_holds_up_nobody() {
    const DROP: Duration = Duration::from_secs(1);
    let mut bench = Bench::start(2);
    let drops = |bytes: Vec<u8>| Bytes { bytes, pace: Some(DROP) };
    let silent = |bench: &Bench| bench.attacker_of(Kind::of(&bench.chain).mute());
    let mut attackers: Vec<Attacker> = (0..3).map(|_| silent(&bench)).collect();
    let status = Response::Status(status_of_nobody(&bench.chain)).encode();
    attackers[1].stranger.reply(move |_| Reply::Say(drops(status.clone())));
    attackers[2].stranger.reply(as_nobody(bench.chain));
    let victim = bench.addresses[VICTIM].clone();
    for attacker in &mut attackers {
        attacker.enter(&victim);
    }
    let question = Request::Inventory { locator: List::first_of(invented_ids(3)) }.encode();
    let questions: Vec<_> = (0..60).map(|_| attackers[2].stranger.send(&victim, drops(question.clone()))).collect();
    let start = std::time::Instant::now();
    while start.elapsed() < Duration::from_secs(33) {
        attackers.iter_mut().for_each(|attacker| attacker.stranger.breathe());
        let took = bench.go_on();
        assert!(took < Duration::from_secs(20), "a share took {took:?}");
        attackers.iter_mut().for_each(|attacker| drop(attacker.stranger.hear_for(Duration::from_millis(500))));
    }
    for attacker in &mut attackers[..2] {
        bench.await_points(attacker, "did not respond in time", 10);
        assert_eq!(bench.offences(attacker).len(), 1, "one offence counts once: {:?}", bench.offences(attacker));
    }
    for question in questions {
        assert_eq!(attackers[2].stranger.answer(question).unwrap_or_default(), Vec::<u8>::new());
    }
    bench.go_on();
}
