use bitcoin::absolute::LockTime;
use bitcoin::block::{Header, Version};
use bitcoin::hashes::Hash as _;
use bitcoin::transaction::Version as TransactionVersion;
use bitcoin::{
    Amount, CompactTarget, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxMerkleNode, TxOut, Txid, Witness,
};
use p2pool_core::units::Bits;
use p2pool_core::wire::Frame as _;

use super::*;

/// Regtest's target, which every second hash meets.
const BITS: Bits = Bits(0x207f_ffff);
const HEIGHT: BlockHeight = BlockHeight(200);
const FINDER: PeerToken = PeerToken(7);
const OTHERS: [PeerToken; 2] = [PeerToken(8), PeerToken(9)];
const GOSSIP: GossipToken = GossipToken(1);
const START: SteadyTime = SteadyTime(1_000);

fn transaction(previous_output: OutPoint, script_sig: ScriptBuf, sats: u64) -> Transaction {
    Transaction {
        version: TransactionVersion::TWO,
        lock_time: LockTime::ZERO,
        input: vec![TxIn { previous_output, script_sig, sequence: Sequence::MAX, witness: Witness::new() }],
        output: vec![TxOut { value: Amount::from_sat(sats), script_pubkey: ScriptBuf::from_bytes(vec![0x51]) }],
    }
}

/// A block with one transaction that no template has.
fn block() -> Block {
    let height = bitcoin::script::Builder::new().push_int(i64::from(HEIGHT.0)).push_int(0).into_script();
    let spent = OutPoint::new(Txid::from_byte_array([3; 32]), 0);
    let header = Header {
        version: Version::from_consensus(0x2000_0000),
        prev_blockhash: BlockHash::all_zeros(),
        merkle_root: TxMerkleNode::all_zeros(),
        time: 1_600_000_000,
        bits: CompactTarget::from_consensus(BITS.0),
        nonce: 0,
    };
    let txdata = vec![transaction(OutPoint::null(), height, 50), transaction(spent, ScriptBuf::new(), 7)];
    let mut block = Block { header, txdata };
    block.header.merkle_root = block.compute_merkle_root().expect("there are transactions");
    while block.header.validate_pow(block.header.target()).is_err() {
        block.header.nonce += 1;
    }
    block
}

/// The finder's blocks, and a peer's that has asked the finder for what it lacks.
fn announced(block: &Block) -> (Blocks, Blocks) {
    let (mut finder, mut peer) = (Blocks::default(), Blocks::default());
    let announcement = finder.announce(HEIGHT, &serialize(block)).expect("it can be announced");
    let next = peer.announced(FINDER, GOSSIP, &announcement.encode(), BITS, None).expect("it is true");
    assert_eq!(asked(&next), Some(FINDER));
    (finder, peer)
}

fn asked(next: &Next) -> Option<PeerToken> {
    match next {
        Next::Ask(peer, GOSSIP, Request::BlockTransactions { places, .. }) if places[..] == [1] => Some(*peer),
        _ => None,
    }
}

fn given(finder: &Blocks, block: &Block) -> Vec<TransactionBytes> {
    match finder.transactions(&block.block_hash(), &[1]) {
        Response::BlockTransactions(given) => given.to_vec(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn when_the_finder_gives_nothing_others_are_asked_by_turns() {
    let block = block();
    let (finder, mut peer) = announced(&block);
    let hash = block.block_hash();
    assert!(peer.tick(&OTHERS, START).is_empty(), "a question is under way");
    assert!(matches!(peer.answered(GOSSIP, None, START), Ok(Next::Nothing)));
    assert!(peer.tick(&OTHERS, START.plus(1)).is_empty(), "not at once");
    assert!(peer.tick(&[], START.plus(2)).is_empty(), "nobody is there");
    let first = peer.tick(&OTHERS, START.plus(2));
    assert_eq!(first.iter().map(asked).collect::<Vec<_>>(), [Some(OTHERS[1])]);
    assert!(matches!(peer.answered(GOSSIP, None, START.plus(2)), Ok(Next::Nothing)));
    let second = peer.tick(&OTHERS, START.plus(4));
    assert_eq!(second.iter().map(asked).collect::<Vec<_>>(), [Some(OTHERS[0])]);
    match peer.answered(GOSSIP, Some(&given(&finder, &block)), START.plus(4)) {
        Ok(Next::Submit { height, block: bytes, .. }) => assert_eq!((height, bytes), (HEIGHT, serialize(&block))),
        other => panic!("{other:?}"),
    }
    assert!(peer.tick(&OTHERS, START.plus(9)).is_empty() && peer.knows(&hash, FINDER));
}

#[test]
fn false_transactions_are_held_against_their_sender_and_the_block_is_not_lost() {
    let block = block();
    let (finder, mut peer) = announced(&block);
    let wrong: Vec<TransactionBytes> = vec![serialize(&block.txdata[0]).try_into().expect("short")];
    assert!(matches!(peer.answered(GOSSIP, Some(&wrong), START), Err((FINDER, BlockError::Transaction(1)))));
    assert_eq!(peer.take_verdicts(), [], "it may still become whole");
    assert_eq!(peer.tick(&OTHERS, START.plus(2)).iter().map(asked).collect::<Vec<_>>(), [Some(OTHERS[1])]);
    let whole = peer.answered(GOSSIP, Some(&given(&finder, &block)), START.plus(2));
    assert!(matches!(whole, Ok(Next::Submit { .. })));
}

#[test]
fn a_block_that_nobody_has_is_given_up() {
    let block = block();
    let (_, mut peer) = announced(&block);
    let hash = block.block_hash();
    let mut now = START;
    for _ in 1..QUESTIONS_MAX {
        assert!(matches!(peer.answered(GOSSIP, None, now), Ok(Next::Nothing)));
        now = now.plus(AGAIN_S);
        assert_eq!(peer.tick(&OTHERS, now).len(), 1);
    }
    assert!(peer.knows(&hash, FINDER));
    assert!(matches!(peer.answered(GOSSIP, None, now), Ok(Next::Nothing)));
    assert!(!peer.knows(&hash, FINDER), "and may be announced again");
}

/// The block as somebody announces it who puts other short ids beside its header.
fn false_announcement(block: &Block) -> Vec<u8> {
    let mut other = block.clone();
    other.txdata[1] = transaction(OutPoint::new(Txid::from_byte_array([4; 32]), 0), ScriptBuf::new(), 8);
    BlockAnnouncement::of(&other, HEIGHT).expect("it can be announced").encode()
}

#[test]
fn a_false_announcement_sent_ahead_keeps_out_no_true_one_and_goes_on_to_nobody() {
    const LIAR: PeerToken = PeerToken(66);
    const FALSE: GossipToken = GossipToken(66);
    let block = block();
    let (finder, _) = announced(&block);
    let mut peer = Blocks::default();
    let first = peer.announced(LIAR, FALSE, &false_announcement(&block), BITS, None);
    assert!(matches!(first, Ok(Next::Ask(LIAR, FALSE, _))));
    assert!(peer.knows(&block.block_hash(), LIAR) && !peer.knows(&block.block_hash(), FINDER));
    let true_one = Blocks::default().announce(HEIGHT, &serialize(&block)).expect("it can be announced");
    assert!(peer.announced(FINDER, GOSSIP, &true_one.encode(), BITS, None).is_ok());
    assert_eq!(peer.take_verdicts(), [], "neither is whole");
    let whole = peer.answered(GOSSIP, Some(&given(&finder, &block)), START);
    assert!(matches!(whole, Ok(Next::Submit { .. })));
    assert_eq!(peer.take_verdicts(), [(GOSSIP, GossipVerdict::Accept), (FALSE, GossipVerdict::Ignore)]);
}

#[test]
fn who_has_the_true_block_is_not_to_blame_for_a_false_announcement() {
    const LIAR: PeerToken = PeerToken(66);
    let block = block();
    let (finder, _) = announced(&block);
    let mut peer = Blocks::default();
    peer.announced(LIAR, GOSSIP, &false_announcement(&block), BITS, None).expect("nothing is known of it yet");
    assert!(matches!(peer.answered(GOSSIP, None, START), Ok(Next::Nothing)));
    assert_eq!(peer.tick(&OTHERS, START.plus(2)).iter().map(asked).collect::<Vec<_>>(), [Some(OTHERS[1])]);
    assert!(matches!(peer.answered(GOSSIP, Some(&given(&finder, &block)), START.plus(2)), Ok(Next::Nothing)));
}

#[test]
fn nobodys_announcements_take_the_places_of_others() {
    let block = block();
    let (_, mut peer) = announced(&block);
    for number in 0..20 {
        let mut other = block.clone();
        other.header.nonce += 1;
        while other.header.validate_pow(other.header.target()).is_err() {
            other.header.nonce += 1;
        }
        other.txdata[1] = transaction(OutPoint::new(Txid::from_byte_array([number; 32]), 0), ScriptBuf::new(), 8);
        let bytes = BlockAnnouncement::of(&other, HEIGHT).expect("it can be announced").encode();
        peer.announced(PeerToken(66), GossipToken(100 + u64::from(number)), &bytes, BITS, None).expect("well formed");
    }
    assert_eq!(peer.partial.len(), 1 + PARTIAL_PER_PEER_MAX);
    assert!(peer.knows(&block.block_hash(), FINDER));
    assert_eq!(peer.take_verdicts().len(), 20 - PARTIAL_PER_PEER_MAX);
}
