//! Shares that break a rule, gossiped (rules, sections 5 and 8).

use bitcoin::block::Header;
use bitcoin::CompactTarget;
use p2pool_core::params::ChainParams;
use p2pool_core::share::{Share, ShareId};
use p2pool_core::units::{Bits, Sats, ShareHeight, UnixTime, Work};
use p2pool_core::wire::{Frame as _, List, Request, Response};
use p2pool_test_bitcoind::wait_until;
use p2pool_test_functional::network::TIMEOUT;
use p2pool_test_hostile::forge::{grind_header, params, script, Forge};
use p2pool_test_hostile::scripted_peer::Reply;

use crate::test_network::{as_nobody, now, Attacker, Bench, PAYOUT_WINDOW};

/// What must come of a share.
enum Outcome {
    /// It breaks this rule, which proves its sender wrong: two of them ban.
    Fault(u8),
    /// It breaks this rule, which may be bad luck.
    BadLuck(&'static str),
    /// It is known already, or waits for something, or is of a branch that nobody follows.
    Put(&'static str),
}

/// An attack: the row of section 8 it belongs to, how its share is made on the tip, and what must come of it.
struct Case(&'static str, fn(&mut Bench, ShareId) -> Share, Outcome);

/// Work of one share with these bits.
fn work(bits: Bits) -> u128 {
    bits.target().unwrap().work().unwrap().0
}

/// Changes what a share must meet, and its chain work accordingly.
fn set_bits(share: &mut Share, bits: Bits) {
    let before = work(share.info.share_bits);
    share.info.chain_work = Work(share.info.chain_work.0 - before + work(bits));
    share.info.share_bits = bits;
}

/// A true share whose facts are changed behind its proof of work's back.
fn rewrapped(bench: &mut Bench, tip: ShareId, edit: fn(&mut Share)) -> Share {
    let mut share = bench.forge.on(&tip);
    edit(&mut share);
    share
}

fn of_another_chain(bench: &mut Bench, tip: ShareId) -> Share {
    let garage = ChainParams { chain_name: "garage".into(), ..params(1, PAYOUT_WINDOW, 10) };
    let mut other = Forge::new(garage, bench.forge.anchor.clone(), bench.forge.now);
    let ours = bench.forge.on(&tip);
    other.edited(&ShareId::ZERO, |share| *share = ours)
}

/// The first block that bitcoind mined, with facts around its header that pass rules 1 to 7.
fn real_header(bench: &mut Bench, tip: ShareId) -> Share {
    if bench.bitcoind.height() == 0 {
        let tip_time = bench.forge.share(&tip).unwrap().time();
        wait_until("the clock to pass the tip's time", TIMEOUT, || now() > tip_time);
        bench.bitcoind.mine(1);
    }
    let header = bench.anchor_at(1).header;
    bench.forge.anchor = bench.anchor_at(0);
    let mut share = bench.forge.on(&tip);
    share.header = header;
    share
}

/// Bitcoin's own first block.
fn genesis_header(bench: &mut Bench, tip: ShareId) -> Share {
    let mut share = bench.forge.on(&tip);
    share.header = bitcoin::constants::genesis_block(bitcoin::Network::Bitcoin).header;
    share
}

fn without_work(bench: &mut Bench, tip: ShareId) -> Share {
    let mut share = bench.forge.on(&tip);
    let target = share.info.share_bits.target().unwrap();
    while target.is_met_by(&share.id().0) {
        share.header.nonce += 1;
    }
    share
}

/// On the tip's parent.
fn sibling(bench: &mut Bench, tip: ShareId) -> Share {
    let parent = bench.forge.share(&tip).unwrap().info.parent;
    bench.forge.on(&parent)
}

/// Makes a share that all nodes take, through a peer without fault. It is a sibling, or the new tip.
fn plant(bench: &mut Bench, share: &Share) {
    let mut friend = bench.attacker();
    plant_through(bench, &mut friend, share);
    bench.assert_not_scored(&friend);
}

fn plant_through(bench: &mut Bench, friend: &mut Attacker, share: &Share) {
    friend.gossip(share);
    let line = format!("share {} from", share.id());
    bench.await_log(friend, &[&line, "Accepted"]);
    bench.forge.learn(&share.clone().into());
}

fn sibling_as_uncle(bench: &mut Bench, tip: ShareId) -> Share {
    let brother = sibling(bench, tip);
    plant(bench, &brother);
    let parent = brother.info.parent;
    bench.forge.edited(&parent, |share| share.info.uncles = vec![brother.id()])
}

fn uncle_twice(bench: &mut Bench, tip: ShareId) -> Share {
    let uncle = sibling(bench, tip);
    plant(bench, &uncle);
    let nephew = bench.forge.edited(&tip, |share| share.info.uncles = vec![uncle.id()]);
    plant(bench, &nephew);
    bench.wait_tip(nephew.id());
    bench.forge.edited(&nephew.id(), |share| share.info.uncles = vec![uncle.id()])
}

fn ancestor_as_uncle(bench: &mut Bench, tip: ShareId) -> Share {
    let parent = bench.forge.share(&tip).unwrap().info.parent;
    bench.forge.edited(&tip, |share| share.info.uncles = vec![parent])
}

/// The base target eased at once; where the chain is at its easiest there is nothing to ease.
fn eased_early(bench: &mut Bench, tip: ShareId) -> Share {
    /// Shares that follow each other too fast, after which others must be harder: all windows are shorter.
    const QUICK_MAX: usize = 30;
    let easiest = Bits(0x1f00_ffff);
    let mut tip = tip;
    let mut friend = bench.attacker();
    // Each as early as the rules have it, however long it takes to find.
    bench.forge.now = UnixTime(0);
    for _ in 0..QUICK_MAX {
        let next = bench.forge.on(&tip);
        if next.info.share_bits != easiest {
            break;
        }
        plant_through(bench, &mut friend, &next);
        tip = next.id();
    }
    bench.wait_tip(tip);
    bench.learn();
    assert_ne!(bench.forge.on(&tip).info.share_bits, easiest, "{QUICK_MAX} quick shares made none harder");
    bench.forge.edited(&tip, |share| set_bits(share, easiest))
}

const CASES: &[Case] = {
    use Outcome::{BadLuck, Fault, Put};
    &[
        // First, while the chain's times have not run ahead of the clock, which its quick shares make them do.
        Case("real Bitcoin headers replayed as shares", real_header, Fault(8)),
        Case("easing claimed early", eased_early, Fault(4)),
        Case(
            "take another's header, put in my address",
            |bench, tip| rewrapped(bench, tip, |share| share.info.payout_script = script(1)),
            Fault(8),
        ),
        Case("a share of another chain", of_another_chain, Fault(8)),
        Case("real Bitcoin headers replayed as shares: the first block", genesis_header, Fault(1)),
        Case(
            "a coinbase that pays only me",
            |bench, tip| {
                let me = bench.forge.payee;
                let only_me = |payouts: &mut Vec<p2pool_core::share::coinbase::Payout>| {
                    let amount = Sats(payouts.iter().map(|payout| payout.amount.0).sum());
                    *payouts = vec![p2pool_core::share::coinbase::Payout { script: me, amount }];
                };
                bench.forge.paying(&tip, |_| (), only_me)
            },
            Fault(8),
        ),
        Case(
            "a coinbase that pays too much: more than all money",
            |bench, tip| bench.forge.edited(&tip, |share| share.info.coinbase_value = Sats(2_100_000_000_000_001)),
            Fault(8),
        ),
        Case(
            "a coinbase that pays too little",
            |bench, tip| bench.forge.edited(&tip, |share| share.info.coinbase_value.0 -= 1),
            Fault(8),
        ),
        Case(
            "another merkle branch than the proof of work covers",
            |bench, tip| rewrapped(bench, tip, |share| share.merkle_branch.push([1; 32])),
            Fault(8),
        ),
        Case("a header without work", without_work, Fault(2)),
        Case(
            "a target easier than the chain's easiest",
            |bench, tip| bench.forge.edited(&tip, |share| share.info.share_bits = Bits(0x2000_ffff)),
            Fault(2),
        ),
        Case(
            "bits that are not canonical",
            |bench, tip| bench.forge.edited(&tip, |share| share.info.share_bits = Bits(0x2000_00ff)),
            Fault(1),
        ),
        Case(
            "a header of version 3",
            |bench, tip| {
                let old = bitcoin::block::Version::from_consensus(3);
                bench.forge.edited(&tip, |share| share.header.version = old)
            },
            Fault(1),
        ),
        Case(
            "chain work that is made up",
            |bench, tip| bench.forge.edited(&tip, |share| share.info.chain_work.0 += 1 << 100),
            Fault(4),
        ),
        Case(
            "a share height that is made up",
            |bench, tip| bench.forge.edited(&tip, |share| share.info.share_height = ShareHeight(1_000_000)),
            Fault(4),
        ),
        Case(
            "share bits that are made up",
            |bench, tip| bench.forge.edited(&tip, |share| set_bits(share, Bits(0x1e7f_ff00))),
            Fault(4),
        ),
        Case("sibling named as uncle", sibling_as_uncle, Fault(7)),
        Case("an uncle named twice", uncle_twice, Fault(7)),
        Case("an ancestor named as uncle", ancestor_as_uncle, Fault(7)),
        Case(
            "false bits to fake a found block",
            |bench, tip| {
                let easy = CompactTarget::from_consensus(0x207f_ffff);
                bench.forge.edited(&tip, |share| share.header.bits = easy)
            },
            BadLuck("Anchor"),
        ),
        Case(
            "a false block height",
            |bench, tip| bench.forge.edited(&tip, |share| share.info.block_height.0 += 1),
            BadLuck("Anchor"),
        ),
        Case(
            "timestamps backwards",
            |bench, tip| {
                let parent = bench.forge.share(&tip).unwrap().header.time;
                bench.forge.edited(&tip, |share| share.header.time = parent - 601)
            },
            BadLuck("Time"),
        ),
        Case(
            "timestamps ahead",
            |bench, tip| bench.forge.edited(&tip, |share| share.header.time += 3_600),
            Put("Deferred"),
        ),
        Case(
            "floods of zero-parent shares: a second genesis",
            |bench, _| bench.forge.on(&ShareId::ZERO),
            Put("Unverified"),
        ),
    ]
};

fn run(bench: &mut Bench, case: &Case) {
    let Case(name, make, outcome) = case;
    let start = std::time::Instant::now();
    bench.learn();
    let tip = bench.forge.tip();
    let mut attacker = bench.attacker();
    let mut bad = vec![make(bench, tip)];
    attacker.gossip(&bad[0]);
    let of_share = format!("share {} from", bad[0].id());
    match outcome {
        Outcome::Fault(rule) => {
            let offence = format!("sent a share that breaks rule {rule}");
            bench.await_points(&mut attacker, &offence, 50);
            bench.learn();
            let tip = bench.forge.tip();
            bad.push(make(bench, tip));
            attacker.gossip(&bad[1]);
            bench.await_ban(&mut attacker, &offence);
        }
        Outcome::BadLuck(rule) => drop(bench.await_log(&mut attacker, &[&of_share, "Rejected", rule])),
        Outcome::Put(verdict) => drop(bench.await_log(&mut attacker, &[&of_share, verdict])),
    }
    bench.go_on();
    bench.assert_unknown(&bad);
    if !matches!(outcome, Outcome::Fault(_)) {
        bench.assert_not_scored(&attacker);
    }
    eprintln!("{name}: {} ms", start.elapsed().as_millis());
}

/// A header that builds on bitcoind's first block and has the full work of a Bitcoin block, and nothing else of one.
fn fork_of_bitcoin(bench: &Bench) -> Header {
    let genesis = bench.anchor_at(0).header;
    let bits = Bits(genesis.bits.to_consensus());
    // It is its chain's median time past, and shares must be later than that.
    let header = Header { prev_blockhash: genesis.block_hash(), time: now().0 - 600, ..genesis };
    let version = bitcoin::block::Version::from_consensus(0x2000_0000);
    grind_header(Header { version, nonce: 0, ..header }, bits.target().unwrap())
}

#[test]
fn copies_of_a_share_sent_ahead_do_not_keep_it_out() {
    let mut bench = Bench::start(3);
    bench.learn();
    let tip = bench.forge.tip();
    let share = bench.forge.on(&tip);
    let copy = |edit: fn(&mut Share)| {
        let mut copy = share.clone();
        edit(&mut copy);
        copy
    };
    let refused = copy(|share| share.info.payout_script = script(1));
    let held = copy(|share| share.info.parent = ShareId([0xdd; 32]));
    let second_genesis = copy(|share| share.info.parent = ShareId::ZERO);
    let mut attacker = bench.attacker();
    let line = format!("share {} from", share.id());
    for (copy, verdict) in [(&refused, "Rejected"), (&held, "Deferred"), (&second_genesis, "Unverified")] {
        attacker.gossip(copy);
        bench.await_log(&mut attacker, &[&line, verdict]);
    }
    bench.await_points(&mut attacker, "sent a share that breaks rule 8", 50);
    let mut friend = bench.attacker();
    friend.gossip(&share);
    bench.await_log(&mut friend, &[&line, "Accepted"]);
    bench.wait_tip(share.id());
    // And once it is there, nothing else comes of its proof of work.
    for number in 0..5 {
        let mut again = share.clone();
        again.extranonce[11] = number;
        friend.gossip(&again);
    }
    bench.await_log(&mut friend, &[&line, "Known"]);
    for node in 0..bench.nodes.len() {
        assert_eq!(*bench.shares_of(node, &[share.id()])[0], share);
    }
    bench.assert_not_scored(&friend);
    bench.go_on();
}

#[test]
fn who_speaks_first_of_a_bitcoin_block_and_keeps_it_to_itself_keeps_out_nobody() {
    let mut bench = Bench::start(2);
    bench.learn();
    let tip = bench.forge.tip();
    let header = fork_of_bitcoin(&bench);
    bench.forge.anchor.header = header;
    bench.forge.anchor.height.0 = 1;
    bench.forge.now = now();
    let [first, second] = [(); 2].map(|()| bench.forge.on(&tip));
    let wants_header = |question: &Request| *question == Request::Headers { of: header.block_hash() };

    let mut attacker = bench.attacker();
    let chain = bench.chain;
    let mut nobody = as_nobody(chain);
    attacker.stranger.reply(move |question| match Request::decode(question) {
        Ok(Request::Headers { .. }) => Reply::Nothing,
        _ => nobody(question),
    });
    attacker.gossip(&first);
    attacker.stranger.await_question("a question for the header", wants_header);

    let mut friend = bench.attacker();
    let mut nobody = as_nobody(chain);
    friend.stranger.reply(move |question| match Request::decode(question) {
        Ok(Request::Headers { .. }) => Reply::bytes(Response::Headers(List::first_of([header])).encode()),
        _ => nobody(question),
    });
    friend.gossip(&second);
    // Whoever is asked first has ten seconds.
    friend.stranger.await_question("a question for the header", wants_header);
    let line = format!("share {} from", second.id());
    bench.await_log(&mut friend, &[&line, "Accepted"]);
    bench.assert_not_scored(&friend);
    bench.go_on();
}

#[test]
fn shares_that_break_a_rule_are_refused_and_scored_unless_it_may_be_bad_luck() {
    let mut bench = Bench::start(3);
    for case in CASES {
        run(&mut bench, case);
    }
    assert!(bench.metric("p2pool_peer_bans_total") >= 15.0);
}
