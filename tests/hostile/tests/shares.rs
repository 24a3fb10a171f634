//! Gossiped shares that break a rule (rules, sections 5 and 8).

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

use crate::test_network::{now, respond_without_shares, Attacker, TestNetwork, PAYOUT_WINDOW};

/// The expected outcome for a share.
enum Outcome {
    /// It breaks this rule, which proves misbehaviour: two of them ban.
    Fault(u8),
    /// It breaks this rule, which may be bad luck and costs nothing.
    BadLuck(&'static str),
    /// It gets this verdict: it waits, or is on a side chain.
    Verdict(&'static str),
}

/// An attack: its name (its row in section 8), its share on the tip, and the expected outcome.
struct Case(&'static str, fn(&mut TestNetwork, ShareId) -> Share, Outcome);

/// Returns the work of a share with these bits.
fn work(bits: Bits) -> u128 {
    bits.target().unwrap().work().unwrap().0
}

/// Changes the bits of a share, and its chain work accordingly.
fn set_bits(share: &mut Share, bits: Bits) {
    let before = work(share.info.share_bits);
    share.info.chain_work = Work(share.info.chain_work.0 - before + work(bits));
    share.info.share_bits = bits;
}

/// A share whose info is changed after its proof of work was found.
fn rewrapped(network: &mut TestNetwork, tip: ShareId, edit: fn(&mut Share)) -> Share {
    let mut share = network.forge.build(&tip);
    edit(&mut share);
    share
}

fn of_another_chain(network: &mut TestNetwork, tip: ShareId) -> Share {
    let garage = ChainParams { chain_name: "garage".into(), ..params(1, PAYOUT_WINDOW, 10) };
    let mut other = Forge::new(garage, network.forge.anchor.clone(), network.forge.now);
    let ours = network.forge.build(&tip);
    other.build_edited(&ShareId::ZERO, |share| *share = ours)
}

/// The header of bitcoind's first block, with info that passes rules 1 to 7.
fn real_header(network: &mut TestNetwork, tip: ShareId) -> Share {
    if network.bitcoind.height() == 0 {
        let tip_time = network.forge.get(&tip).unwrap().time();
        wait_until("the clock to pass the tip's time", TIMEOUT, || now() > tip_time);
        network.bitcoind.mine(1);
    }
    let header = network.anchor_at(1).header;
    network.forge.anchor = network.anchor_at(0);
    let mut share = network.forge.build(&tip);
    share.header = header;
    share
}

/// The header of Bitcoin's genesis block.
fn genesis_header(network: &mut TestNetwork, tip: ShareId) -> Share {
    let mut share = network.forge.build(&tip);
    share.header = bitcoin::constants::genesis_block(bitcoin::Network::Bitcoin).header;
    share
}

fn without_work(network: &mut TestNetwork, tip: ShareId) -> Share {
    let mut share = network.forge.build(&tip);
    let target = share.info.share_bits.target().unwrap();
    while target.is_met_by(&share.id().0) {
        share.header.nonce += 1;
    }
    share
}

/// A valid share on the tip's parent.
fn sibling(network: &mut TestNetwork, tip: ShareId) -> Share {
    let parent = network.forge.get(&tip).unwrap().info.parent;
    network.forge.build(&parent)
}

/// Gossips a valid share, a sibling of the tip or the new tip, through a well-behaved peer.
fn gossip_valid(network: &mut TestNetwork, share: &Share) {
    let mut peer = network.attacker();
    gossip_valid_through(network, &mut peer, share);
    network.assert_not_scored(&peer);
}

fn gossip_valid_through(network: &mut TestNetwork, peer: &mut Attacker, share: &Share) {
    peer.gossip(share);
    let line = format!("share {} from", share.id());
    network.await_log(peer, &[&line, "Accepted"]);
    network.forge.add(&share.clone().into());
}

fn sibling_as_uncle(network: &mut TestNetwork, tip: ShareId) -> Share {
    let uncle = sibling(network, tip);
    gossip_valid(network, &uncle);
    let parent = uncle.info.parent;
    network.forge.build_edited(&parent, |share| share.info.uncles = vec![uncle.id()])
}

fn uncle_twice(network: &mut TestNetwork, tip: ShareId) -> Share {
    let uncle = sibling(network, tip);
    gossip_valid(network, &uncle);
    let nephew = network.forge.build_edited(&tip, |share| share.info.uncles = vec![uncle.id()]);
    gossip_valid(network, &nephew);
    network.wait_tip(nephew.id());
    network.forge.build_edited(&nephew.id(), |share| share.info.uncles = vec![uncle.id()])
}

fn ancestor_as_uncle(network: &mut TestNetwork, tip: ShareId) -> Share {
    let parent = network.forge.get(&tip).unwrap().info.parent;
    network.forge.build_edited(&tip, |share| share.info.uncles = vec![parent])
}

/// A share with the easiest target, claimed at once. The chain must not be at the easiest target already.
fn eased_early(network: &mut TestNetwork, tip: ShareId) -> Share {
    /// Quick shares after which the next one must be harder: all windows are shorter.
    const QUICK_MAX: usize = 30;
    let easiest = Bits(0x1f00_ffff);
    let mut tip = tip;
    let mut peer = network.attacker();
    // Each share gets the earliest valid time, however long it takes to find.
    network.forge.now = UnixTime(0);
    for _ in 0..QUICK_MAX {
        let next = network.forge.build(&tip);
        if next.info.share_bits != easiest {
            break;
        }
        gossip_valid_through(network, &mut peer, &next);
        tip = next.id();
    }
    network.wait_tip(tip);
    network.update_forge();
    assert_ne!(
        network.forge.build(&tip).info.share_bits,
        easiest,
        "{QUICK_MAX} quick shares did not raise the difficulty"
    );
    network.forge.build_edited(&tip, |share| set_bits(share, easiest))
}

const CASES: &[Case] = {
    use Outcome::{BadLuck, Fault, Verdict};
    &[
        // First, because the quick shares of the next case make the chain's times run ahead of the clock.
        Case("real Bitcoin headers replayed as shares", real_header, Fault(8)),
        Case("easing claimed early", eased_early, Fault(4)),
        Case(
            "take another's header, put in my address",
            |network, tip| rewrapped(network, tip, |share| share.info.payout_script = script(1)),
            Fault(8),
        ),
        Case("a share of another chain", of_another_chain, Fault(8)),
        Case("real Bitcoin headers replayed as shares: the first block", genesis_header, Fault(1)),
        Case(
            "a coinbase that pays only me",
            |network, tip| {
                let me = network.forge.payee;
                let only_me = |payouts: &mut Vec<p2pool_core::share::coinbase::Payout>| {
                    let amount = Sats(payouts.iter().map(|payout| payout.amount.0).sum());
                    *payouts = vec![p2pool_core::share::coinbase::Payout { script: me, amount }];
                };
                network.forge.build_paying(&tip, |_| (), only_me)
            },
            Fault(8),
        ),
        Case(
            "a coinbase that pays more than 21 million BTC",
            |network, tip| {
                network.forge.build_edited(&tip, |share| share.info.coinbase_value = Sats(2_100_000_000_000_001))
            },
            Fault(8),
        ),
        Case(
            "a coinbase that pays too little",
            |network, tip| network.forge.build_edited(&tip, |share| share.info.coinbase_value.0 -= 1),
            Fault(8),
        ),
        Case(
            "another merkle branch than the proof of work covers",
            |network, tip| rewrapped(network, tip, |share| share.merkle_branch.push([1; 32])),
            Fault(8),
        ),
        Case("a header without work", without_work, Fault(2)),
        Case(
            "a target easier than the chain's easiest",
            |network, tip| network.forge.build_edited(&tip, |share| share.info.share_bits = Bits(0x2000_ffff)),
            Fault(2),
        ),
        Case(
            "bits that are not canonical",
            |network, tip| network.forge.build_edited(&tip, |share| share.info.share_bits = Bits(0x2000_00ff)),
            Fault(1),
        ),
        Case(
            "a header of version 3",
            |network, tip| {
                let old = bitcoin::block::Version::from_consensus(3);
                network.forge.build_edited(&tip, |share| share.header.version = old)
            },
            Fault(1),
        ),
        Case(
            "invented chain work",
            |network, tip| network.forge.build_edited(&tip, |share| share.info.chain_work.0 += 1 << 100),
            Fault(4),
        ),
        Case(
            "an invented share height",
            |network, tip| network.forge.build_edited(&tip, |share| share.info.share_height = ShareHeight(1_000_000)),
            Fault(4),
        ),
        Case(
            "invented share bits",
            |network, tip| network.forge.build_edited(&tip, |share| set_bits(share, Bits(0x1e7f_ff00))),
            Fault(4),
        ),
        Case("sibling named as uncle", sibling_as_uncle, Fault(7)),
        Case("an uncle named twice", uncle_twice, Fault(7)),
        Case("an ancestor named as uncle", ancestor_as_uncle, Fault(7)),
        Case(
            "false bits to fake a found block",
            |network, tip| {
                let easy = CompactTarget::from_consensus(0x207f_ffff);
                network.forge.build_edited(&tip, |share| share.header.bits = easy)
            },
            BadLuck("Anchor"),
        ),
        Case(
            "a false block height",
            |network, tip| network.forge.build_edited(&tip, |share| share.info.block_height.0 += 1),
            BadLuck("Anchor"),
        ),
        Case(
            "timestamps backwards",
            |network, tip| {
                let parent = network.forge.get(&tip).unwrap().header.time;
                network.forge.build_edited(&tip, |share| share.header.time = parent - 601)
            },
            BadLuck("Time"),
        ),
        Case(
            "timestamps ahead",
            |network, tip| network.forge.build_edited(&tip, |share| share.header.time += 3_600),
            Verdict("Deferred"),
        ),
        Case(
            "floods of zero-parent shares: a second genesis",
            |network, _| network.forge.build(&ShareId::ZERO),
            Verdict("Unverified"),
        ),
    ]
};

fn run(network: &mut TestNetwork, case: &Case) {
    let Case(name, make, outcome) = case;
    let start = std::time::Instant::now();
    network.update_forge();
    let tip = network.forge.tip();
    let mut attacker = network.attacker();
    let mut invalid = vec![make(network, tip)];
    attacker.gossip(&invalid[0]);
    let line = format!("share {} from", invalid[0].id());
    match outcome {
        Outcome::Fault(rule) => {
            let misbehaviour = format!("sent a share that breaks rule {rule}");
            network.await_score(&mut attacker, &misbehaviour, 50);
            network.update_forge();
            let tip = network.forge.tip();
            invalid.push(make(network, tip));
            attacker.gossip(&invalid[1]);
            network.await_ban(&mut attacker, &misbehaviour);
        }
        Outcome::BadLuck(rule) => drop(network.await_log(&mut attacker, &[&line, "Rejected", rule])),
        Outcome::Verdict(verdict) => drop(network.await_log(&mut attacker, &[&line, verdict])),
    }
    network.mine_share();
    network.assert_unknown(&invalid);
    if !matches!(outcome, Outcome::Fault(_)) {
        network.assert_not_scored(&attacker);
    }
    eprintln!("{name}: {} ms", start.elapsed().as_millis());
}

/// A header on bitcoind's first block with the work of a Bitcoin block, but without transactions.
fn fork_of_bitcoin(network: &TestNetwork) -> Header {
    let genesis = network.anchor_at(0).header;
    let bits = Bits(genesis.bits.to_consensus());
    // Shares must be later than this header's median time past, which is its own time.
    let header = Header { prev_blockhash: genesis.block_hash(), time: now().0 - 600, ..genesis };
    let version = bitcoin::block::Version::from_consensus(0x2000_0000);
    grind_header(Header { version, nonce: 0, ..header }, bits.target().unwrap())
}

#[test]
fn mutated_copies_sent_ahead_do_not_keep_out_a_share() {
    let mut network = TestNetwork::start(3);
    network.update_forge();
    let tip = network.forge.tip();
    let share = network.forge.build(&tip);
    let copy = |edit: fn(&mut Share)| {
        let mut copy = share.clone();
        edit(&mut copy);
        copy
    };
    let refused = copy(|share| share.info.payout_script = script(1));
    let orphan = copy(|share| share.info.parent = ShareId([0xdd; 32]));
    let second_genesis = copy(|share| share.info.parent = ShareId::ZERO);
    let mut attacker = network.attacker();
    let line = format!("share {} from", share.id());
    for (copy, verdict) in [(&refused, "Rejected"), (&orphan, "Deferred")] {
        attacker.gossip(copy);
        network.await_log(&mut attacker, &[&line, verdict]);
    }
    network.await_score(&mut attacker, "sent a share that breaks rule 8", 50);
    // Its height and work are not those of a genesis share.
    let mut other = network.attacker();
    other.gossip(&second_genesis);
    network.await_score(&mut other, "sent a share that breaks rule 4", 50);
    let mut honest = network.attacker();
    honest.gossip(&share);
    network.await_log(&mut honest, &[&line, "Accepted"]);
    network.wait_tip(share.id());
    // Further copies of an accepted share are duplicates.
    for number in 0..5 {
        let mut again = share.clone();
        again.extranonce[11] = number;
        honest.gossip(&again);
    }
    network.await_log(&mut honest, &[&line, "Known"]);
    for node in 0..network.nodes.len() {
        assert_eq!(*network.shares_of(node, &[share.id()])[0], share);
    }
    network.assert_not_scored(&honest);
    network.mine_share();
}

#[test]
fn a_peer_that_withholds_the_header_of_a_new_anchor_does_not_delay_others() {
    let mut network = TestNetwork::start(2);
    network.update_forge();
    let tip = network.forge.tip();
    let header = fork_of_bitcoin(&network);
    network.forge.anchor.header = header;
    network.forge.anchor.height.0 = 1;
    network.forge.now = now();
    let [first, second] = [(); 2].map(|()| network.forge.build(&tip));
    let is_for_header = |request: &Request| *request == Request::Headers { last: header.block_hash() };

    let mut attacker = network.attacker();
    let chain = network.chain;
    let mut otherwise = respond_without_shares(chain);
    attacker.peer.set_responder(move |request| match Request::decode(request) {
        Ok(Request::Headers { .. }) => Reply::Nothing,
        _ => otherwise(request),
    });
    attacker.gossip(&first);
    attacker.peer.await_request("a request for the header", is_for_header);

    let mut honest = network.attacker();
    let mut otherwise = respond_without_shares(chain);
    honest.peer.set_responder(move |request| match Request::decode(request) {
        Ok(Request::Headers { .. }) => Reply::bytes(Response::Headers(List::first_of([header])).encode()),
        _ => otherwise(request),
    });
    honest.gossip(&second);
    // The first peer gets ten seconds to respond.
    honest.peer.await_request("a request for the header", is_for_header);
    let line = format!("share {} from", second.id());
    network.await_log(&mut honest, &[&line, "Accepted"]);
    network.assert_not_scored(&honest);
    network.mine_share();
}

#[test]
fn shares_that_break_a_rule_are_refused_and_scored_unless_it_may_be_bad_luck() {
    let mut network = TestNetwork::start(3);
    for case in CASES {
        run(&mut network, case);
    }
    assert!(network.metric("p2pool_peer_bans_total") >= 15.0);
}
