//! Announcement and reassembly of blocks.

use bitcoin::absolute::LockTime;
use bitcoin::block::{Header, Version};
use bitcoin::consensus::serialize;
use bitcoin::hashes::Hash as _;
use bitcoin::script::Builder;
use bitcoin::transaction::Version as TxVersion;
use bitcoin::{
    Amount, Block, BlockHash, CompactTarget, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxMerkleNode, TxOut,
    Txid, Witness,
};

use crate::units::{Bits, BlockHeight};
use crate::wire::{BlockAnnouncement, BlockError, Frame, Misbehaviour, Reassembly, WireError};

const BITS: Bits = Bits(0x207f_ffff);
const HEIGHT: BlockHeight = BlockHeight(840_000);
/// The commitment of a share, in form.
const COMMITMENT: [u8; 38] = *b"p2pool--------------------------------";

fn transaction(number: u32) -> Transaction {
    let previous_output = OutPoint { txid: Txid::from_byte_array([1; 32]), vout: number };
    let witness = Witness::from_slice(&[number.to_le_bytes()]);
    Transaction {
        version: TxVersion::TWO,
        lock_time: LockTime::ZERO,
        input: vec![TxIn { previous_output, script_sig: ScriptBuf::new(), sequence: Sequence::MAX, witness }],
        output: vec![TxOut { value: Amount::from_sat(u64::from(number)), script_pubkey: ScriptBuf::new() }],
    }
}

/// Searches for a nonce with which the header meets its target, or does not.
fn grind(block: &mut Block, meets: bool) {
    let target = BITS.target().unwrap();
    while target.is_met_by(&block.block_hash().to_byte_array()) != meets {
        block.header.nonce += 1;
    }
}

fn block_at(height: BlockHeight, others: u32) -> Block {
    let script_sig = Builder::new().push_int(i64::from(height.0)).push_slice(COMMITMENT).into_script();
    let null = OutPoint::null();
    let witness = Witness::from_slice(&[[0; 32]]);
    let coinbase = Transaction {
        version: TxVersion::TWO,
        lock_time: LockTime::ZERO,
        input: vec![TxIn { previous_output: null, script_sig, sequence: Sequence::MAX, witness }],
        output: Vec::new(),
    };
    let mut block = Block {
        header: Header {
            version: Version::from_consensus(0x2000_0000),
            prev_blockhash: BlockHash::all_zeros(),
            merkle_root: TxMerkleNode::all_zeros(),
            time: 1_700_000_000,
            bits: CompactTarget::from_consensus(BITS.0),
            nonce: 0,
        },
        txdata: std::iter::once(coinbase).chain((0..others).map(transaction)).collect(),
    };
    let root = block.witness_root().unwrap();
    let commitment = Block::compute_witness_commitment(&root, &[0; 32]).to_byte_array();
    let script_pubkey = ScriptBuf::from([&[0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed][..], &commitment].concat());
    block.txdata[0].output.push(TxOut { value: Amount::ZERO, script_pubkey });
    block.header.merkle_root = block.compute_merkle_root().unwrap();
    grind(&mut block, true);
    block
}

fn block(others: u32) -> Block {
    block_at(HEIGHT, others)
}

fn announced(block: &Block) -> Vec<u8> {
    BlockAnnouncement::from_block(block, HEIGHT).unwrap().encode()
}

/// Witness ids and bytes of transactions, as a template has them.
fn known(block: &Block, indexes: impl Iterator<Item = usize>) -> Vec<([u8; 32], Vec<u8>)> {
    indexes.map(|index| &block.txdata[index]).map(|tx| (tx.compute_wtxid().to_byte_array(), serialize(tx))).collect()
}

fn reassemble(block: &Block, known: &[([u8; 32], Vec<u8>)]) -> Reassembly {
    let announcement = BlockAnnouncement::validate(&announced(block), BITS).unwrap();
    Reassembly::new(announcement, known.iter().map(|(id, data)| (*id, data.as_slice()))).unwrap()
}

fn data(block: &Block, indexes: &[u16]) -> Vec<Vec<u8>> {
    indexes.iter().map(|index| serialize(&block.txdata[usize::from(*index)])).collect()
}

#[test]
fn a_block_is_reassembled_from_known_transactions() {
    for others in [0, 1, 2, 50] {
        let block = block(others);
        let mut partial = reassemble(&block, &known(&block, 1..block.txdata.len()));
        assert!(partial.missing().is_empty());
        assert_eq!(partial.block().unwrap().unwrap(), serialize(&block));
        assert_eq!(partial.announcement().id().0, block.block_hash().to_byte_array());
    }
}

#[test]
fn missing_transactions_are_listed_and_filled_in() {
    let block = block(20);
    let mut partial = reassemble(&block, &known(&block, (1..21).filter(|at| at % 5 != 0)));
    assert_eq!(partial.missing()[..], [5, 10, 15, 20]);
    assert_eq!(partial.block(), Ok(None));
    // A peer sends the first ones that fit; the others are requested again.
    partial.fill(&[5, 10, 15, 20], &data(&block, &[5, 10])).unwrap();
    assert_eq!(partial.missing()[..], [15, 20]);
    partial.fill(&[15, 20], &data(&block, &[15, 20])).unwrap();
    assert_eq!(partial.block().unwrap().unwrap(), serialize(&block));
}

#[test]
fn transactions_from_a_peer_must_be_the_announced_ones() {
    let block = block(3);
    let mut partial = reassemble(&block, &[]);
    assert_eq!(partial.missing()[..], [1, 2, 3]);
    assert_eq!(partial.fill(&[1, 2], &data(&block, &[1, 3])), Err(BlockError::Transaction(2)));
    assert_eq!(partial.fill(&[2], &[b"no transaction"]), Err(BlockError::Transaction(2)));
    assert_eq!(partial.fill(&[0], &data(&block, &[0])), Err(BlockError::Transaction(0)));
    assert_eq!(partial.fill(&[9], &data(&block, &[1])), Err(BlockError::Transaction(9)));
    assert_eq!(partial.fill(&[2], &data(&block, &[2, 3])), Err(BlockError::TooMany));
    // Another witness gives another short id.
    let mut other = block.txdata[2].clone();
    other.input[0].witness = Witness::from_slice(&[[1; 70]]);
    assert_eq!(other.compute_txid(), block.txdata[2].compute_txid());
    assert_eq!(partial.fill(&[2], &[serialize(&other)]), Err(BlockError::Transaction(2)));
    assert_eq!(partial.missing()[..], [2, 3], "the first one is kept");
}

#[test]
fn transactions_matched_wrongly_by_short_id_are_dropped() {
    let block = block(4);
    // A transaction under the id of another one stands for a collision of short ids.
    let mut false_known = known(&block, 1..5);
    false_known[2].1 = serialize(&transaction(99));
    let mut partial = reassemble(&block, &false_known);
    assert!(partial.missing().is_empty());
    assert_eq!(partial.block(), Ok(None));
    assert_eq!(partial.missing()[..], [1, 2, 3, 4], "all that were matched by short id are missing again");
    partial.fill(&[1, 2, 3, 4], &data(&block, &[1, 2, 3, 4])).unwrap();
    assert_eq!(partial.block().unwrap().unwrap(), serialize(&block));
}

#[test]
fn announced_transactions_that_do_not_make_the_block_are_misbehaviour() {
    let mut block = block(2);
    block.header.merkle_root = TxMerkleNode::from_byte_array([5; 32]);
    grind(&mut block, true);
    let mut partial = reassemble(&block, &[]);
    partial.fill(&[1, 2], &data(&block, &[1, 2])).unwrap();
    let error = partial.block().unwrap_err();
    assert_eq!(error, BlockError::MerkleRoot);
    assert_eq!(Misbehaviour::from(&error), Misbehaviour::FalseBlock);
}

#[test]
fn a_wrong_witness_commitment_is_rejected() {
    let mut block = block(2);
    block.txdata[2].input[0].witness = Witness::from_slice(&[[1; 70]]);
    assert!(block.check_merkle_root() && !block.check_witness_commitment());
    let mut partial = reassemble(&block, &[]);
    partial.fill(&[1, 2], &data(&block, &[1, 2])).unwrap();
    assert_eq!(partial.block(), Err(BlockError::MerkleRoot));
}

/// bitcoind rejects such blocks without another look at the true one, which has the same hash.
#[test]
fn a_block_without_the_witnesses_it_commits_to_is_no_block() {
    for others in [0, 2] {
        let true_block = block(others);
        let mut stripped = true_block.clone();
        stripped.txdata.iter_mut().for_each(|transaction| transaction.input[0].witness.clear());
        assert_eq!(stripped.block_hash(), true_block.block_hash());
        assert!(stripped.check_merkle_root() && stripped.check_witness_commitment());
        assert_eq!(BlockAnnouncement::validate(&announced(&stripped), BITS), Err(BlockError::Coinbase), "{others}");
    }
}

#[test]
fn a_block_that_repeats_its_last_transactions_is_no_block() {
    // The merkle trees repeat the last node of a row with an odd number of them.
    for (others, repeated) in [(2, 1), (4, 1), (5, 2)] {
        let true_block = block(others);
        let mut longer = true_block.clone();
        longer.txdata.extend_from_within(true_block.txdata.len() - repeated..);
        assert!(longer.check_merkle_root());
        assert_eq!(longer.block_hash(), true_block.block_hash());
        assert!(longer.check_witness_commitment());
        let mut partial = reassemble(&longer, &known(&longer, 1..longer.txdata.len()));
        let missing = partial.missing();
        partial.fill(&missing, &data(&longer, &missing)).unwrap();
        // What was matched by short id is requested again before the announcer is at fault.
        let mut made = partial.block();
        if made == Ok(None) {
            let missing = partial.missing();
            partial.fill(&missing, &data(&longer, &missing)).unwrap();
            made = partial.block();
        }
        assert_eq!(made, Err(BlockError::MerkleRoot), "{others} and {repeated}");
    }
}

#[test]
fn the_work_of_the_header_is_checked_first() {
    let mut block = block(2);
    let good = announced(&block);
    assert_eq!(BlockAnnouncement::decode_header(&good).unwrap(), block.header);
    assert!(BlockAnnouncement::validate(&good, BITS).is_ok());
    assert!(matches!(BlockAnnouncement::validate(&good, Bits(0x1d00_ffff)), Err(BlockError::Bits { .. })));
    grind(&mut block, false);
    // The rest is malformed, but is not decoded.
    let mut without_work = announced(&block);
    without_work.truncate(90);
    assert_eq!(BlockAnnouncement::validate(&without_work, BITS), Err(BlockError::Work));
    let mut garbage = good.clone();
    garbage.truncate(90);
    assert!(matches!(BlockAnnouncement::validate(&garbage, BITS), Err(BlockError::Wire(WireError::Malformed(_)))));
    for len in 0..84 {
        assert!(BlockAnnouncement::decode_header(&good[..len]).is_err(), "{len} bytes");
    }
}

#[test]
fn the_coinbase_must_be_valid_and_of_the_announced_height() {
    for height in [1, 16, 17, 127, 128, 840_000] {
        let block = block_at(BlockHeight(height), 1);
        let check = |announced| {
            let bytes = BlockAnnouncement::from_block(&block, BlockHeight(announced)).unwrap().encode();
            BlockAnnouncement::validate(&bytes, BITS).map(drop)
        };
        assert_eq!(check(height), Ok(()));
        assert_eq!(check(height + 1), Err(BlockError::Coinbase));
    }
    let mut none = block(1);
    none.txdata[0] = transaction(7);
    grind(&mut none, true);
    assert_eq!(BlockAnnouncement::validate(&announced(&none), BITS), Err(BlockError::Coinbase));
}

#[test]
fn the_largest_blocks_can_be_announced() {
    // The smallest transactions that bitcoind relays have 65 bytes without witness: 15,000 of them fill a block.
    let block = block(15_000);
    let bytes = announced(&block);
    assert!(bytes.len() < 100_000, "{} bytes", bytes.len());
    let mut partial = reassemble(&block, &known(&block, 1..10_000));
    assert_eq!(partial.missing().len(), 15_001 - 10_000);
    let missing = partial.missing();
    partial.fill(&missing, &data(&block, &missing)).unwrap();
    assert_eq!(partial.block().unwrap().unwrap(), serialize(&block));
}

#[test]
fn blocks_with_too_many_transactions_are_not_announced() {
    let mut block = block(0);
    block.txdata.extend(vec![transaction(1); 65_534]);
    let most = BlockAnnouncement::from_block(&block, HEIGHT).unwrap();
    assert_eq!(BlockAnnouncement::decode(&most.encode()).unwrap(), most);
    block.txdata.push(transaction(1));
    assert!(BlockAnnouncement::from_block(&block, HEIGHT).is_err());
    let mut long = block_at(HEIGHT, 0);
    long.txdata[0].output[0].script_pubkey = ScriptBuf::from(vec![0x6a; 50_000]);
    assert!(BlockAnnouncement::from_block(&long, HEIGHT).is_err());
}
