//! The coinbase transaction of a share (rules, section 4).
//!
//! It is never transmitted. Every node derives it from the share's facts and the payouts; the share is valid only if
//! the header's merkle root commits to exactly these bytes.

use bitcoin::hashes::{sha256d, Hash as _, HashEngine as _};
use bitcoin::script::Instruction;
use bitcoin::Script;

use super::{PayoutScript, ShareInfo, EXTRANONCE_LEN};
use crate::bytes::{compact_size_len, put_compact_size};
use crate::params::ChainId;
use crate::units::Sats;

/// Prefix of the commitment within its push.
pub(super) const COMMITMENT_PREFIX: &[u8] = b"p2pool";
/// Start of the witness commitment output's script (BIP-0141).
pub const WITNESS_COMMITMENT_PREFIX: [u8; 6] = [0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed];
/// The input's sequence number, with which nLockTime is enforced (BIP-0054).
const SEQUENCE: u32 = 0xffff_fffe;

/// Length of the longest scriptSig: height (below 2^31), commitment, tag and extranonce, each with its length.
const SCRIPT_SIG_LEN_MAX: usize = 5 + 39 + 21 + 13;

/// A payout output of a coinbase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payout {
    pub script: PayoutScript,
    pub amount: Sats,
}

/// A coinbase transaction without witness, split at the extranonce.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coinbase {
    /// The bytes before the extranonce (Stratum's "coinb1").
    pub prefix: Vec<u8>,
    /// The bytes after the extranonce (Stratum's "coinb2").
    pub suffix: Vec<u8>,
}

impl Coinbase {
    /// Builds the coinbase; `payouts` must be in output order.
    pub fn new(chain_id: &ChainId, info: &ShareInfo, payouts: &[Payout]) -> Self {
        let script_sig_start = script_sig_before_extranonce(chain_id, info);
        let mut prefix = Vec::with_capacity(64 + script_sig_start.len());
        prefix.extend_from_slice(&2u32.to_le_bytes());
        prefix.push(1);
        prefix.extend_from_slice(&[0; 32]);
        prefix.extend_from_slice(&[0xff; 4]);
        // Below 253 and below consensus' limit of 100.
        prefix.push(len_u8(script_sig_start.len() + EXTRANONCE_LEN));
        prefix.extend_from_slice(&script_sig_start);

        let mut suffix = Vec::with_capacity(64 + payouts.len() * 43);
        suffix.extend_from_slice(&SEQUENCE.to_le_bytes());
        put_compact_size(&mut suffix, payouts.len() + 1);
        for payout in payouts {
            suffix.extend_from_slice(&payout.amount.0.to_le_bytes());
            suffix.push(len_u8(payout.script.as_bytes().len()));
            suffix.extend_from_slice(payout.script.as_bytes());
        }
        suffix.extend_from_slice(&0u64.to_le_bytes());
        suffix.push(len_u8(WITNESS_COMMITMENT_PREFIX.len() + 32));
        suffix.extend_from_slice(&WITNESS_COMMITMENT_PREFIX);
        suffix.extend_from_slice(&info.witness_commitment);
        suffix.extend_from_slice(&info.block_height.0.saturating_sub(1).to_le_bytes());
        Self { prefix, suffix }
    }

    /// Greatest length of a transaction with this number of payouts, without witness.
    pub fn len_max(payouts: usize) -> usize {
        // Version, number of inputs, outpoint, length of the scriptSig and the longest one; sequence number.
        let input = 4 + 1 + 36 + 1 + SCRIPT_SIG_LEN_MAX + 4;
        // An amount, the length of a P2TR or P2WSH script and the script; the witness commitment output; the lock time.
        let outputs = compact_size_len(payouts.saturating_add(1)) + payouts.saturating_mul(8 + 1 + 34) + (8 + 1 + 38);
        input + outputs + 4
    }

    /// Length of the transaction without witness.
    pub fn len_bytes(&self) -> usize {
        self.prefix.len() + EXTRANONCE_LEN + self.suffix.len()
    }

    pub fn txid(&self, extranonce: &[u8; EXTRANONCE_LEN]) -> [u8; 32] {
        let mut engine = sha256d::Hash::engine();
        engine.input(&self.prefix);
        engine.input(extranonce);
        engine.input(&self.suffix);
        sha256d::Hash::from_engine(engine).to_byte_array()
    }

    /// The serialised transaction without its witness, whose hash is the transaction id.
    pub fn without_witness(&self, extranonce: &[u8; EXTRANONCE_LEN]) -> Vec<u8> {
        [&self.prefix[..], extranonce, &self.suffix].concat()
    }

    /// The serialised transaction with its witness, the reserved value of 32 zero bytes (BIP-0141).
    pub fn with_witness(&self, extranonce: &[u8; EXTRANONCE_LEN]) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.len_bytes() + 36);
        let (version, rest) = self.prefix.split_at(4.min(self.prefix.len()));
        let (body, locktime) = self.suffix.split_at(self.suffix.len().saturating_sub(4));
        out.extend_from_slice(version);
        out.extend_from_slice(&[0x00, 0x01]);
        out.extend_from_slice(rest);
        out.extend_from_slice(extranonce);
        out.extend_from_slice(body);
        out.extend_from_slice(&[1, 32]);
        out.extend_from_slice(&[0; 32]);
        out.extend_from_slice(locktime);
        out
    }
}

/// Whether a scriptSig contains the commitment of a share of some chain: of which one follows only from the share.
pub fn has_commitment(script_sig: &Script) -> bool {
    let is_commitment = |instruction| match instruction {
        Instruction::PushBytes(push) => {
            push.len() == COMMITMENT_PREFIX.len() + 32 && push.as_bytes().starts_with(COMMITMENT_PREFIX)
        }
        Instruction::Op(_) => false,
    };
    script_sig.instructions().map_while(Result::ok).any(is_commitment)
}

/// The scriptSig up to the extranonce: BIP-0034 height, commitment, coinbase tag, and the push opcode of the extranonce.
fn script_sig_before_extranonce(chain_id: &ChainId, info: &ShareInfo) -> Vec<u8> {
    let mut script = Vec::with_capacity(80);
    put_height(&mut script, info.block_height.0);
    script.push(len_u8(COMMITMENT_PREFIX.len() + 32));
    script.extend_from_slice(COMMITMENT_PREFIX);
    script.extend_from_slice(&info.commitment(chain_id));
    if !info.coinbase_tag.as_bytes().is_empty() {
        script.push(len_u8(info.coinbase_tag.as_bytes().len()));
        script.extend_from_slice(info.coinbase_tag.as_bytes());
    }
    script.push(len_u8(EXTRANONCE_LEN));
    script
}

/// Appends the height as the script number of BIP-0034: `OP_0`, `OP_1` to `OP_16`, or a push.
fn put_height(script: &mut Vec<u8>, height: u32) {
    match height {
        0 => script.push(0x00),
        1..=16 => script.push(0x50 + len_u8(height as usize)),
        _ => {
            let bytes = height.to_le_bytes();
            let significant = 4 - (height.leading_zeros() / 8) as usize;
            let number = bytes.get(..significant).unwrap_or(&bytes);
            // The highest bit of a script number is its sign.
            let sign = number.last().is_some_and(|last| last & 0x80 != 0);
            script.push(len_u8(number.len() + usize::from(sign)));
            script.extend_from_slice(number);
            if sign {
                script.push(0);
            }
        }
    }
}

/// Converts a length that is known to fit.
fn len_u8(len: usize) -> u8 {
    u8::try_from(len).unwrap_or(u8::MAX)
}

/// Computes the merkle root from the coinbase's txid, which is the left operand at every level, and its branch.
pub fn fold_merkle_branch(coinbase_txid: [u8; 32], branch: &[[u8; 32]]) -> [u8; 32] {
    branch.iter().fold(coinbase_txid, |left, right| {
        let mut engine = sha256d::Hash::engine();
        engine.input(&left);
        engine.input(right);
        sha256d::Hash::from_engine(engine).to_byte_array()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::{ChainParams, Network};
    use crate::share::encoding::tests::longest_share;
    use crate::units::BlockHeight;
    use bitcoin::consensus::deserialize;
    use bitcoin::{Transaction, Txid};

    fn coinbase(change: impl FnOnce(&mut ShareInfo), payouts: usize) -> (Coinbase, ShareInfo) {
        let mut info = longest_share().info;
        change(&mut info);
        let payouts = vec![Payout { script: info.payout_script, amount: Sats(1_000) }; payouts];
        (Coinbase::new(&ChainParams::standard(Network::Mainnet).chain_id(), &info, &payouts), info)
    }

    #[test]
    fn deserialises_to_the_transaction_that_the_rules_describe() {
        let (coinbase, info) = coinbase(|_| (), 48);
        let tx: Transaction = deserialize(&coinbase.with_witness(&[7; 12])).unwrap();
        assert!(tx.is_coinbase());
        assert_eq!(tx.compute_txid(), Txid::from_byte_array(coinbase.txid(&[7; 12])));
        assert_eq!((tx.version.0, tx.lock_time.to_consensus_u32()), (2, info.block_height.0 - 1));
        assert_eq!(tx.input[0].sequence.0, 0xffff_fffe);
        assert_eq!(tx.input[0].witness.to_vec(), vec![vec![0u8; 32]]);
        assert_eq!(tx.output.len(), 49);
        assert_eq!(
            tx.output[48].script_pubkey.as_bytes(),
            [&[0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed][..], &[8; 32]].concat()
        );
        let pushes: Vec<_> = tx.input[0]
            .script_sig
            .instructions()
            .map(|i| i.unwrap().push_bytes().unwrap().as_bytes().to_vec())
            .collect();
        assert_eq!(pushes[0], [0x50, 0xf8, 0x0c]);
        assert_eq!(pushes[1][..6], *b"p2pool");
        assert_eq!(pushes[1][6..], info.commitment(&ChainParams::standard(Network::Mainnet).chain_id()));
        assert_eq!(pushes[2], [b'x'; 20]);
        assert_eq!(pushes[3], [7; 12]);
    }

    #[test]
    fn the_coinbase_of_each_class_has_the_length_that_firmware_bears() {
        let params = ChainParams::standard(Network::Mainnet);
        for (outputs, most) in params.payout_outputs.into_iter().zip([2_250, 6_500, 16_000, 43_500]) {
            let outputs = usize::try_from(outputs).unwrap();
            // With a script of the longest type, a tag of the greatest length, and a height of four bytes.
            let (longest, _) = coinbase(|info| info.block_height = BlockHeight(0x7fff_ffff), outputs);
            assert_eq!(longest.len_bytes(), Coinbase::len_max(outputs), "{outputs} outputs");
            assert!(Coinbase::len_max(outputs) <= most, "{outputs} outputs");
        }
        let within = |len: usize| params.outputs_class_within(len);
        assert_eq!(
            [0, 2_239, 2_240, 6_453, 6_454, 15_915, 15_916, 43_177, 43_178].map(within),
            [0, 0, 0, 0, 1, 1, 2, 2, 3]
        );
        assert_eq!(within(usize::MAX), 3);
    }

    #[test]
    fn heights_are_encoded_as_in_bip34() {
        for height in
            [1u32, 2, 15, 16, 17, 127, 128, 255, 256, 32_767, 32_768, 840_000, 8_388_607, 8_388_608, 16_777_216]
        {
            let (coinbase, _) = coinbase(|info| info.block_height = BlockHeight(height), 1);
            let tx: Transaction = deserialize(&coinbase.with_witness(&[0; 12])).unwrap();
            let expected = bitcoin::script::Builder::new().push_int(i64::from(height)).into_script();
            assert!(tx.input[0].script_sig.as_bytes().starts_with(expected.as_bytes()), "height {height}");
            assert!((2..=100).contains(&tx.input[0].script_sig.len()));
        }
    }

    #[test]
    fn output_count_is_right_for_none_and_many_payouts() {
        for payouts in [0usize, 1, 251, 252, 1_000] {
            let (coinbase, _) = coinbase(|_| (), payouts);
            let tx: Transaction = deserialize(&coinbase.with_witness(&[0; 12])).unwrap();
            assert_eq!(tx.output.len(), payouts + 1);
        }
    }

    #[test]
    fn an_empty_tag_is_not_pushed() {
        let (coinbase, _) = coinbase(|info| info.coinbase_tag = Default::default(), 1);
        let tx: Transaction = deserialize(&coinbase.with_witness(&[0; 12])).unwrap();
        assert_eq!(tx.input[0].script_sig.instructions().count(), 3);
    }

    #[test]
    fn fold_merkle_branch_matches_the_bitcoin_crate() {
        let ids: Vec<[u8; 32]> = (0..4u8).map(|n| [n; 32]).collect();
        let root = bitcoin::merkle_tree::calculate_root(ids.iter().map(|id| Txid::from_byte_array(*id))).unwrap();
        let pair = |a: [u8; 32], b: [u8; 32]| fold_merkle_branch(a, &[b]);
        assert_eq!(fold_merkle_branch(ids[0], &[ids[1], pair(ids[2], ids[3])]), root.to_byte_array());
        assert_eq!(fold_merkle_branch([5; 32], &[]), [5; 32]);
    }
}
