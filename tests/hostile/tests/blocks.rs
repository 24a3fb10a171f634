//! False announcements of found Bitcoin blocks.

use std::time::Duration;

use bitcoin::consensus::serialize;
use bitcoin::{Amount, Block, CompactTarget, OutPoint, ScriptBuf, Transaction};
use p2pool_core::units::BlockHeight;
use p2pool_core::wire::{BlockAnnouncement, Frame as _, Request, Response};
use p2pool_test_hostile::background_peer::Awake;
use p2pool_test_hostile::scripted_peer::{Kind, Reply, Stranger};

use crate::test_network::{as_nobody, Attacker, Bench};

/// An attack: how a true block becomes a false announcement.
struct Case(&'static str, fn(&mut Block));

/// A transaction that no mempool has.
fn unheard_of(number: u32) -> Transaction {
    let spent = OutPoint::new(bitcoin::hashes::Hash::from_byte_array([0xcc; 32]), number);
    Transaction {
        version: bitcoin::transaction::Version::TWO,
        lock_time: bitcoin::absolute::LockTime::ZERO,
        input: vec![bitcoin::TxIn { previous_output: spent, ..Default::default() }],
        output: vec![bitcoin::TxOut { value: Amount::from_sat(7), script_pubkey: ScriptBuf::from_bytes(vec![0x51]) }],
    }
}

const CASES: &[Case] = &[
    Case("a header with easier bits than Bitcoin's", |block| {
        block.header.bits = CompactTarget::from_consensus(0x207f_ffff);
        while block.header.validate_pow(block.header.target()).is_err() {
            block.header.nonce += 1;
        }
    }),
    Case("a header without the work it claims", |block| block.header.nonce ^= 1),
    Case("a coinbase that is none", |block| block.txdata[0] = unheard_of(1)),
    Case("a coinbase of another height", |block| {
        block.txdata[0].input[0].script_sig = ScriptBuf::from_bytes(vec![0x57, 0x00]);
    }),
    Case("a coinbase that the header does not cover", |block| {
        block.txdata[0].output[0].script_pubkey = ScriptBuf::from_bytes(vec![0x52]);
    }),
];

/// An announcement of the block at `height`, which no node found: one that an honest share happens to make is no use
/// here, for all know it.
fn announcement(bench: &Bench, height: u32, edit: impl Fn(&mut Block)) -> Vec<u8> {
    let mut block = bench.bitcoind.block(&bench.bitcoind.block_hash(height));
    edit(&mut block);
    BlockAnnouncement::of(&block, BlockHeight(height)).unwrap().encode()
}

/// Somebody behind the other node, who hears what the victim passes on.
fn listener(bench: &Bench) -> Awake {
    let (chain, node) = (bench.chain, bench.addresses[1].clone());
    let listener = Awake::start(move || {
        let mut listener = Stranger::new(Kind::of(&chain));
        listener.reply(as_nobody(chain));
        listener
    });
    listener.have(move |listener| {
        listener.connect(&node).unwrap();
        listener.join();
    });
    listener
}

/// Announcements that were heard and not yet asked for, and those of this time.
fn announcements(listener: &Awake, time: Duration) -> Vec<Vec<u8>> {
    let mut heard = listener.have(move |listener| listener.hear_for(time));
    heard.retain(|bytes| BlockAnnouncement::decode(bytes).is_ok());
    heard
}

/// Announces a block with a transaction that only the attacker could give, and answers the question for it.
fn unresolved(bench: &mut Bench, height: u32, number: u32, answer: Response) -> Attacker {
    let mut attacker = bench.attacker_of(Kind::of(&bench.chain));
    let mut nobody = as_nobody(bench.chain);
    attacker.stranger.reply(move |question| match Request::decode(question) {
        Ok(Request::BlockTransactions { .. }) => Reply::bytes(answer.encode()),
        _ => nobody(question),
    });
    attacker.enter(&bench.addresses[0]);
    attacker.stranger.subscribe();
    let bytes = announcement(bench, height, |block| block.txdata.push(unheard_of(number)));
    attacker.stranger.gossip_block(bytes);
    let is_asked = |question: &Request| matches!(question, Request::BlockTransactions { .. });
    attacker.stranger.await_question("a question for transactions", is_asked);
    attacker
}

#[test]
fn false_blocks_are_refused_scored_and_passed_on_to_nobody() {
    const FALSE: &str = "announced an invalid Bitcoin block";
    let mut bench = Bench::start(2);
    bench.bitcoind.mine(1);
    let height = bench.bitcoind.height();
    let listener = listener(&bench);
    for Case(name, edit) in CASES {
        let mut attacker = bench.attacker();
        attacker.stranger.gossip_block(announcement(&bench, height, edit));
        bench.await_points(&mut attacker, FALSE, 50);
        let again = |block: &mut Block| {
            edit(block);
            block.txdata.push(unheard_of(0));
            block.txdata[0].lock_time = bitcoin::absolute::LockTime::from_consensus(77);
        };
        // What has true work and unknown parts must be fetched before it can be called false: that comes below.
        if !name.contains("does not cover") {
            attacker.stranger.gossip_block(announcement(&bench, height, again));
            bench.await_ban(&mut attacker, FALSE);
        }
        bench.go_on();
        eprintln!("{name}");
    }

    // Short ids that never resolve: the sender may be as wrong as whoever it has them from.
    let attacker = unresolved(&mut bench, height, 1, Response::Unknown);
    bench.go_on();
    bench.assert_not_scored(&attacker);
    // Transactions that are others than the short ids say.
    let mut attacker =
        unresolved(&mut bench, height, 2, Response::block_transactions([&serialize(&unheard_of(3))[..]]));
    bench.await_points(&mut attacker, FALSE, 50);
    // Transactions that are those announced, and do not make the block.
    let mut attacker =
        unresolved(&mut bench, height, 4, Response::block_transactions([&serialize(&unheard_of(4))[..]]));
    bench.await_points(&mut attacker, FALSE, 50);
    // More transactions than were asked for, and something that is none.
    let two = [&serialize(&unheard_of(5))[..], &[1, 2, 3]];
    let mut attacker = unresolved(&mut bench, height, 5, Response::block_transactions(two));
    bench.await_points(&mut attacker, FALSE, 50);
    let mut attacker = unresolved(&mut bench, height, 6, Response::Headers(Default::default()));
    bench.await_points(&mut attacker, "sent an unrequested response", 50);
    bench.go_on();
    assert_eq!(
        announcements(&listener, Duration::from_millis(500)),
        Vec::<Vec<u8>>::new(),
        "a false block was passed on"
    );

    // All those who sent false ones ahead keep the true one from nobody.
    let mut friend = bench.attacker();
    let true_one = announcement(&bench, height, |_| ());
    friend.stranger.gossip_block(true_one.clone());
    friend.stranger.live_until("the other node's neighbour hears of the block", || {
        (announcements(&listener, Duration::ZERO) == [true_one.clone()]).then_some(())
    });
    bench.assert_not_scored(&friend);
    bench.go_on();
}
