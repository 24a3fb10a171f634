//! Invalid announcements of found Bitcoin blocks.

use std::time::Duration;

use bitcoin::consensus::serialize;
use bitcoin::{Amount, Block, CompactTarget, OutPoint, ScriptBuf, Transaction};
use p2pool_core::units::BlockHeight;
use p2pool_core::wire::{BlockAnnouncement, Frame as _, Request, Response};
use p2pool_test_hostile::background_peer::BackgroundPeer;
use p2pool_test_hostile::scripted_peer::{PeerConfig, Reply, ScriptedPeer};

use crate::test_network::{respond_without_shares, Attacker, TestNetwork};

/// An attack: its name, and how it changes a valid block.
struct Case(&'static str, fn(&mut Block));

/// A transaction that no mempool has.
fn unknown_transaction(number: u32) -> Transaction {
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
    Case("a coinbase that is not a coinbase", |block| block.txdata[0] = unknown_transaction(1)),
    Case("a coinbase of another height", |block| {
        block.txdata[0].input[0].script_sig = ScriptBuf::from_bytes(vec![0x57, 0x00]);
    }),
    Case("a coinbase that the header does not cover", |block| {
        block.txdata[0].output[0].script_pubkey = ScriptBuf::from_bytes(vec![0x52]);
    }),
];

/// Returns an edited announcement of the block at `height`, which must be one that no node found and announced.
fn announcement(network: &TestNetwork, height: u32, edit: impl Fn(&mut Block)) -> Vec<u8> {
    let mut block = network.bitcoind.block(&network.bitcoind.block_hash(height));
    edit(&mut block);
    BlockAnnouncement::from_block(&block, BlockHeight(height)).unwrap().encode()
}

/// A peer of the other node, which receives what the victim relays.
fn listener(network: &TestNetwork) -> BackgroundPeer {
    let (chain, node) = (network.chain, network.addresses[1].clone());
    let listener = BackgroundPeer::start(move || {
        let mut listener = ScriptedPeer::new(PeerConfig::of(&chain));
        listener.set_responder(respond_without_shares(chain));
        listener
    });
    listener.run(move |listener| {
        listener.connect(&node).unwrap();
        listener.join_mesh();
    });
    listener
}

/// Runs for some time and returns the announcements received since the last call.
fn announcements(listener: &BackgroundPeer, time: Duration) -> Vec<Vec<u8>> {
    let mut received = listener.run(move |listener| listener.collect_gossip(time));
    received.retain(|bytes| BlockAnnouncement::decode(bytes).is_ok());
    received
}

/// Announces a block with a transaction that only the attacker has, and sends this response to the request for it.
fn unresolved(network: &mut TestNetwork, height: u32, number: u32, response: Response) -> Attacker {
    let mut attacker = network.attacker_with(PeerConfig::of(&network.chain));
    let mut otherwise = respond_without_shares(network.chain);
    attacker.peer.set_responder(move |request| match Request::decode(request) {
        Ok(Request::BlockTransactions { .. }) => Reply::bytes(response.encode()),
        _ => otherwise(request),
    });
    attacker.connect(&network.addresses[0]);
    attacker.peer.subscribe();
    let bytes = announcement(network, height, |block| block.txdata.push(unknown_transaction(number)));
    attacker.peer.gossip_block(bytes);
    let is_for_transactions = |request: &Request| matches!(request, Request::BlockTransactions { .. });
    attacker.peer.await_request("a request for transactions", is_for_transactions);
    attacker
}

#[test]
fn invalid_blocks_are_refused_scored_and_not_relayed() {
    const INVALID: &str = "announced an invalid Bitcoin block";
    let mut network = TestNetwork::start(2);
    network.bitcoind.mine(1);
    let height = network.bitcoind.height();
    let listener = listener(&network);
    for Case(name, edit) in CASES {
        let mut attacker = network.attacker();
        attacker.peer.gossip_block(announcement(&network, height, edit));
        network.await_score(&mut attacker, INVALID, 50);
        let again = |block: &mut Block| {
            edit(block);
            block.txdata.push(unknown_transaction(0));
            block.txdata[0].lock_time = bitcoin::absolute::LockTime::from_consensus(77);
        };
        // With valid work and unknown transactions, the transactions are requested first: that is tested below.
        if !name.contains("does not cover") {
            attacker.peer.gossip_block(announcement(&network, height, again));
            network.await_ban(&mut attacker, INVALID);
        }
        network.mine_share();
        eprintln!("{name}");
    }

    // Short ids that match no transaction: not the fault of the peer that relayed the announcement.
    let attacker = unresolved(&mut network, height, 1, Response::Unknown);
    network.mine_share();
    network.assert_not_scored(&attacker);
    // Transactions with other short ids.
    let mut attacker =
        unresolved(&mut network, height, 2, Response::block_transactions([&serialize(&unknown_transaction(3))[..]]));
    network.await_score(&mut attacker, INVALID, 50);
    // The announced transactions, which do not make the block.
    let mut attacker =
        unresolved(&mut network, height, 4, Response::block_transactions([&serialize(&unknown_transaction(4))[..]]));
    network.await_score(&mut attacker, INVALID, 50);
    // More transactions than requested, one of them malformed.
    let two = [&serialize(&unknown_transaction(5))[..], &[1, 2, 3]];
    let mut attacker = unresolved(&mut network, height, 5, Response::block_transactions(two));
    network.await_score(&mut attacker, INVALID, 50);
    let mut attacker = unresolved(&mut network, height, 6, Response::Headers(Default::default()));
    network.await_score(&mut attacker, "sent an unrequested response", 50);
    network.mine_share();
    assert_eq!(
        announcements(&listener, Duration::from_millis(500)),
        Vec::<Vec<u8>>::new(),
        "an invalid block was relayed"
    );

    // The invalid announcements do not keep out the valid one.
    let mut honest = network.attacker();
    let valid = announcement(&network, height, |_| ());
    honest.peer.gossip_block(valid.clone());
    honest.peer.run_until("the block to be relayed", || {
        (announcements(&listener, Duration::ZERO) == [valid.clone()]).then_some(())
    });
    network.assert_not_scored(&honest);
    network.mine_share();
}
