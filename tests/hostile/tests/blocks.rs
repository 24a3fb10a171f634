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

/// Returns an announcement of an edited block.
fn announcement(network: &TestNetwork, block: &Block, edit: impl Fn(&mut Block)) -> Vec<u8> {
    let mut block = block.clone();
    edit(&mut block);
    BlockAnnouncement::from_block(&block, BlockHeight(network.bitcoind.height() + 1)).unwrap().encode()
}

/// Returns a block of the pool that no node has yet, with at most one transaction.
fn block_of_the_pool(network: &mut TestNetwork, transaction: Option<&Transaction>) -> Block {
    network.update_forge();
    let tip = network.forge.tip();
    network.forge.build_block(&tip, transaction)
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

/// Announces an edited block with a transaction that only the attacker has, and sends this response to the request for it.
fn unresolved(network: &mut TestNetwork, block: &Block, edit: impl Fn(&mut Block), response: Response) -> Attacker {
    let mut attacker = network.attacker_with(PeerConfig::of(&network.chain));
    let mut otherwise = respond_without_shares(network.chain);
    attacker.peer.set_responder(move |request| match Request::decode(request) {
        Ok(Request::BlockTransactions { .. }) => Reply::bytes(response.encode()),
        _ => otherwise(request),
    });
    attacker.connect(&network.addresses[0]);
    attacker.peer.subscribe();
    attacker.peer.gossip_block(announcement(network, block, edit));
    let is_for_transactions = |request: &Request| matches!(request, Request::BlockTransactions { .. });
    attacker.peer.await_request("a request for transactions", is_for_transactions);
    attacker
}

#[test]
fn invalid_blocks_are_refused_scored_and_not_relayed() {
    const INVALID: &str = "announced an invalid Bitcoin block";
    let mut network = TestNetwork::start(2);
    let listener = listener(&network);
    let block = block_of_the_pool(&mut network, None);
    for Case(name, edit) in CASES {
        let mut attacker = network.attacker();
        attacker.peer.gossip_block(announcement(&network, &block, edit));
        network.await_score(&mut attacker, INVALID, 50);
        let again = |block: &mut Block| {
            edit(block);
            block.txdata.push(unknown_transaction(0));
            block.txdata[0].lock_time = bitcoin::absolute::LockTime::from_consensus(77);
        };
        // With valid work and unknown transactions, the transactions are requested first: that is tested below.
        if !name.contains("does not cover") {
            attacker.peer.gossip_block(announcement(&network, &block, again));
            network.await_ban(&mut attacker, INVALID);
        }
        eprintln!("{name}");
    }

    let block = block_of_the_pool(&mut network, Some(&unknown_transaction(1)));
    let announce_other = |number| move |block: &mut Block| block.txdata[1] = unknown_transaction(number);
    // Short ids that match no transaction: not the fault of the peer that relayed the announcement.
    let attacker = unresolved(&mut network, &block, announce_other(7), Response::Unknown);
    network.mine_share();
    network.assert_not_scored(&attacker);
    // Transactions with other short ids.
    let other = Response::block_transactions([&serialize(&unknown_transaction(3))[..]]);
    let mut attacker = unresolved(&mut network, &block, announce_other(2), other);
    network.await_score(&mut attacker, INVALID, 50);
    // The announced transactions, which do not make the block.
    let announced = Response::block_transactions([&serialize(&unknown_transaction(4))[..]]);
    let mut attacker = unresolved(&mut network, &block, announce_other(4), announced);
    network.await_score(&mut attacker, INVALID, 50);
    // More transactions than requested, one of them malformed.
    let two = [&serialize(&unknown_transaction(5))[..], &[1, 2, 3]];
    let mut attacker = unresolved(&mut network, &block, announce_other(5), Response::block_transactions(two));
    network.await_score(&mut attacker, INVALID, 50);
    let mut attacker = unresolved(&mut network, &block, announce_other(6), Response::Headers(Default::default()));
    network.await_score(&mut attacker, "sent an unrequested response", 50);
    network.mine_share();
    assert_eq!(
        announcements(&listener, Duration::from_millis(500)),
        Vec::<Vec<u8>>::new(),
        "an invalid block was relayed"
    );

    // The invalid announcements do not keep out the valid one.
    let transactions = Response::block_transactions([&serialize(&block.txdata[1])[..]]);
    let mut honest = unresolved(&mut network, &block, |_| (), transactions);
    let valid = announcement(&network, &block, |_| ());
    honest.peer.run_until("the block to be relayed", || {
        (announcements(&listener, Duration::ZERO) == [valid.clone()]).then_some(())
    });
    network.assert_not_scored(&honest);
    network.mine_share();
}

#[test]
fn bitcoin_blocks_that_are_not_the_pools_or_old_are_neither_fetched_nor_relayed() {
    let mut network = TestNetwork::start(2);
    let listener = listener(&network);
    let old = block_of_the_pool(&mut network, Some(&unknown_transaction(1)));
    let old = announcement(&network, &old, |_| ());
    network.bitcoind.mine(3);
    let height = network.bitcoind.height();
    let of_bitcoin = |height| {
        let mut block = network.bitcoind.block(&network.bitcoind.block_hash(height));
        // Otherwise it would be complete without a request.
        block.txdata.push(unknown_transaction(2));
        BlockAnnouncement::from_block(&block, BlockHeight(height)).unwrap().encode()
    };
    // A peer can see that a block is of others; how old it is depends on who looks.
    let cases = [(of_bitcoin(height), true), (of_bitcoin(height - 1), false), (of_bitcoin(1), false), (old, false)];
    network.mine_share();
    let mut attackers: Vec<(Attacker, bool)> = Vec::new();
    for (bytes, is_scored) in cases {
        let mut attacker = network.attacker();
        attacker.peer.set_responder({
            let mut otherwise = respond_without_shares(network.chain);
            move |request| match Request::decode(request) {
                Ok(Request::BlockTransactions { .. }) => panic!("its transactions are requested"),
                _ => otherwise(request),
            }
        });
        attacker.peer.gossip_block(bytes);
        if is_scored {
            network.await_score(&mut attacker, "announced an invalid Bitcoin block", 50);
        }
        attackers.push((attacker, is_scored));
    }
    network.mine_share();
    for (attacker, is_scored) in &mut attackers {
        attacker.peer.run_briefly();
        if !*is_scored {
            network.assert_not_scored(attacker);
        }
    }
    assert_eq!(announcements(&listener, Duration::from_millis(500)), Vec::<Vec<u8>>::new());
    network.mine_share();
}
