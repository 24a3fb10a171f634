//! The envelope of a share: what every version of the rules keeps (rules, section 10).
//!
//! Software that does not know a share's rules cannot derive its coinbase, so it cannot check the share. The envelope contains
//! the whole coinbase instead, which shows that work was done for this sharechain under these rules, and nothing more.

use bitcoin::block::Header;
use bitcoin::consensus::encode;
use bitcoin::hashes::Hash as _;
use bitcoin::script::Instruction;
use bitcoin::{BlockHash, Script, Transaction};
use thiserror::Error;

use super::coinbase::{fold_merkle_branch, Coinbase, Payout, COMMITMENT_PREFIX};
use super::encoding::Reader;
use super::{Share, ShareId, MERKLE_BRANCH_MAX};
use crate::bytes::{put_bytes, tagged_hash};
use crate::params::{ChainId, ChainParams};
use crate::units::{Bits, Work};

/// Largest length of the info in bytes; that of version 2 has at most 255.
const INFO_LEN_MAX: usize = 1_024;
/// Largest length of the coinbase in bytes: more than twice what 1,000 outputs need.
const COINBASE_LEN_MAX: usize = 100_000;
/// Largest length of an encoded envelope in bytes.
pub const ENVELOPE_LEN_MAX: usize = 80 + 3 + INFO_LEN_MAX + 5 + COINBASE_LEN_MAX + 1 + 32 * MERKLE_BRANCH_MAX;

/// A share of any version of the rules, with its coinbase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    pub header: Header,
    /// Begins with the rules version, the parent and the share bits in every version. The rest depends on it.
    info: Vec<u8>,
    /// The transaction without witness.
    coinbase: Vec<u8>,
    merkle_branch: Vec<[u8; 32]>,
}

/// What an envelope proves: work for this sharechain by software that follows these rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProvenWork {
    /// Id of the share.
    pub id: ShareId,
    pub rules_version: u8,
    /// The Bitcoin block that the share builds on.
    pub anchor: BlockHash,
    pub work: Work,
}

/// Why an envelope proves nothing. It never will, under any version of the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum EnvelopeError {
    #[error("info does not begin with rules version, parent and share bits")]
    Info,
    #[error("share bits are not canonical, or easier than the chain's easiest target")]
    Bits,
    #[error("header hash above the share target")]
    ProofOfWork,
    #[error("not a coinbase transaction")]
    Coinbase,
    #[error("coinbase does not commit to the info")]
    Commitment,
    #[error("merkle root does not commit to the coinbase")]
    MerkleRoot,
}

impl Envelope {
    /// The envelope of a share with these payouts.
    pub fn new(chain_id: &ChainId, share: &Share, payouts: &[Payout]) -> Self {
        let mut info = Vec::new();
        share.info.encode_into(&mut info);
        let coinbase = Coinbase::new(chain_id, &share.info, payouts).without_witness(&share.extranonce);
        Self { header: share.header, info, coinbase, merkle_branch: share.merkle_branch.clone() }
    }

    /// The encoding: header, info, coinbase, number of hashes in the merkle branch as one byte, the hashes. The lengths of
    /// info and coinbase are CompactSizes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = encode::serialize(&self.header);
        put_bytes(&mut out, &self.info);
        put_bytes(&mut out, &self.coinbase);
        out.push(u8::try_from(self.merkle_branch.len()).unwrap_or(u8::MAX));
        out.extend(self.merkle_branch.iter().flatten());
        out
    }

    /// Decodes an envelope; `None` if `bytes` are not the output of [`Self::encode`].
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let header = encode::deserialize(&reader.array::<80>().ok()?).ok()?;
        let info = reader.long_bytes("info", INFO_LEN_MAX).ok()?.to_vec();
        let coinbase = reader.long_bytes("coinbase", COINBASE_LEN_MAX).ok()?.to_vec();
        let merkle_branch = reader.hashes("merkle branch", MERKLE_BRANCH_MAX).ok()?;
        reader.is_at_end().then_some(Self { header, info, coinbase, merkle_branch })
    }

    /// Checks that the work was done for this chain and exactly these facts.
    ///
    /// The share bits are part of the info, which the coinbase commits to, so no sender can claim more work than was aimed at.
    ///
    /// # Errors
    /// What does not hold.
    pub fn prove(&self, params: &ChainParams, chain_id: &ChainId) -> Result<ProvenWork, EnvelopeError> {
        let mut reader = Reader::new(&self.info);
        let mut start = || Some((reader.array::<1>().ok()?, reader.array::<32>().ok()?, reader.array::<4>().ok()?));
        let ([rules_version], _parent, share_bits) = start().ok_or(EnvelopeError::Info)?;
        let share_bits = Bits(u32::from_le_bytes(share_bits));
        let (target, easiest) = (share_bits.target(), params.easiest_bits.target());
        let (Ok(target), Ok(easiest), Some(work)) = (target, easiest, share_bits.work()) else {
            return Err(EnvelopeError::Bits);
        };
        let require = |holds: bool, error| if holds { Ok(()) } else { Err(error) };
        require(target <= easiest, EnvelopeError::Bits)?;
        let id = ShareId::of(&self.header);
        require(target.is_met_by(&id.0), EnvelopeError::ProofOfWork)?;
        let coinbase: Transaction = encode::deserialize(&self.coinbase).map_err(|_| EnvelopeError::Coinbase)?;
        require(coinbase.is_coinbase(), EnvelopeError::Coinbase)?;
        let commitment = tagged_hash(b"p2pool/share", &[&chain_id.0[..], &self.info].concat());
        let script_sig = coinbase.input.first().map(|input| &*input.script_sig);
        require(
            script_sig.is_some_and(|script| pushes(script, &[COMMITMENT_PREFIX, &commitment].concat())),
            EnvelopeError::Commitment,
        )?;
        let txid = coinbase.compute_txid().to_byte_array();
        let root = fold_merkle_branch(txid, &self.merkle_branch);
        require(root == self.header.merkle_root.to_byte_array(), EnvelopeError::MerkleRoot)?;
        Ok(ProvenWork { id, rules_version, anchor: self.header.prev_blockhash, work })
    }
}

/// Whether a script pushes exactly these bytes before anything that is not an instruction.
fn pushes(script: &Script, bytes: &[u8]) -> bool {
    let mut instructions = script.instructions().map_while(Result::ok);
    instructions.any(|instruction| matches!(instruction, Instruction::PushBytes(push) if push.as_bytes() == bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sharechain::tests_support::{params, TestNode, BITS};

    /// A chain, and the envelope of its newest share.
    fn envelope() -> (TestNode, Envelope) {
        let mut node = TestNode::with_chain(3);
        let share = node.main_shares()[2].clone();
        let payouts = node.chain.tree_mut().payouts(&share.info, BITS).unwrap();
        let envelope = Envelope::new(node.chain.tree().chain_id(), &share, &payouts);
        (node, envelope)
    }

    fn prove(envelope: &Envelope) -> Result<ProvenWork, EnvelopeError> {
        envelope.prove(&params(), &params().chain_id())
    }

    #[test]
    fn the_envelope_of_a_valid_share_proves_its_work() {
        let (node, envelope) = envelope();
        let tip = node.chain.tree().tip().unwrap();
        let (id, anchor) = (tip.id, tip.share.header.prev_blockhash);
        assert_eq!(prove(&envelope), Ok(ProvenWork { id, rules_version: 2, anchor, work: tip.work }));
        assert_eq!(Envelope::decode(&envelope.encode()), Some(envelope));
    }

    #[test]
    fn nothing_but_the_work_for_these_facts_is_proven() {
        let (_, envelope) = envelope();
        let edited = |edit: &dyn Fn(&mut Envelope)| {
            let mut edited = envelope.clone();
            edit(&mut edited);
            prove(&edited)
        };
        let other_chain = ChainParams { chain_name: "other".into(), ..params() };
        assert_eq!(envelope.prove(&params(), &other_chain.chain_id()), Err(EnvelopeError::Commitment));
        assert_eq!(edited(&|envelope| envelope.info[0] = 3), Err(EnvelopeError::Commitment), "another version");
        assert_eq!(edited(&|envelope| envelope.info.truncate(36)), Err(EnvelopeError::Info));
        let with_bits = |bits: u32| edited(&|envelope| envelope.info[33..37].copy_from_slice(&bits.to_le_bytes()));
        assert_eq!(with_bits(0x1d00_ffff), Err(EnvelopeError::ProofOfWork), "more work than was done");
        assert_eq!(with_bits(0x207f_fffe), Err(EnvelopeError::Commitment), "a little more than was aimed at");
        assert_eq!(with_bits(0x2100_ffff), Err(EnvelopeError::Bits), "easier than the chain's easiest target");
        assert_eq!(with_bits(0x1d80_ffff), Err(EnvelopeError::Bits), "negative");
        assert_eq!(edited(&|envelope| envelope.merkle_branch.clear()), Err(EnvelopeError::MerkleRoot));
        assert_eq!(edited(&|envelope| envelope.coinbase.truncate(64)), Err(EnvelopeError::Coinbase));
        assert_eq!(edited(&|envelope| envelope.coinbase[5] = 1), Err(EnvelopeError::Coinbase), "a previous output");
        assert_eq!(edited(&|envelope| *envelope.coinbase.last_mut().unwrap() ^= 1), Err(EnvelopeError::MerkleRoot));
    }

    #[test]
    fn a_bitcoin_block_of_others_proves_nothing() {
        // Its coinbase pushes no commitment, whatever info is claimed.
        let genesis = bitcoin::constants::genesis_block(bitcoin::Network::Regtest);
        let info = [&[9][..], &[0; 32], &0x207f_ffffu32.to_le_bytes()].concat();
        let coinbase = encode::serialize(&genesis.txdata[0]);
        let envelope = Envelope { header: genesis.header, info, coinbase, merkle_branch: Vec::new() };
        assert_eq!(prove(&envelope), Err(EnvelopeError::Commitment));
    }

    #[test]
    fn only_one_encoding_decodes() {
        let (_, envelope) = envelope();
        let bytes = envelope.encode();
        for len in 0..bytes.len() {
            assert_eq!(Envelope::decode(&bytes[..len]), None, "{len} bytes");
        }
        assert_eq!(Envelope::decode(&[&bytes[..], &[0]].concat()), None);
        for at in (0..bytes.len()).step_by(3) {
            for change in [0x01, 0xff] {
                let mut mutant = bytes.clone();
                mutant[at] ^= change;
                if let Some(decoded) = Envelope::decode(&mutant) {
                    assert_eq!(decoded.encode(), mutant, "byte {at} changed by {change:#x}");
                }
            }
        }
        // A CompactSize in a longer form.
        let longer = [&bytes[..80], &[0xfd, bytes[80], 0], &bytes[81..]].concat();
        assert_eq!(Envelope::decode(&longer), None);
        let huge = [&bytes[..80], &[0xff; 9][..]].concat();
        assert_eq!(Envelope::decode(&huge), None);
    }

    #[test]
    fn the_largest_envelope_has_the_stated_length() {
        let (_, envelope) = envelope();
        let largest = Envelope {
            info: vec![2; INFO_LEN_MAX],
            coinbase: vec![1; COINBASE_LEN_MAX],
            merkle_branch: vec![[5; 32]; MERKLE_BRANCH_MAX],
            ..envelope
        };
        assert_eq!(largest.encode().len(), ENVELOPE_LEN_MAX);
        assert_eq!(Envelope::decode(&largest.encode()), Some(largest.clone()));
        for too_large in [
            Envelope { info: vec![2; INFO_LEN_MAX + 1], ..largest.clone() },
            Envelope { coinbase: vec![1; COINBASE_LEN_MAX + 1], ..largest.clone() },
            Envelope { merkle_branch: vec![[5; 32]; MERKLE_BRANCH_MAX + 1], ..largest },
        ] {
            assert_eq!(Envelope::decode(&too_large.encode()), None);
        }
    }
}
