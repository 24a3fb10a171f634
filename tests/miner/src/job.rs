//! The job of a `mining.notify`, and the headers built from it.

use bitcoin::hashes::{sha256d, Hash as _};
use bitcoin::hex::{DisplayHex as _, FromHex as _};
use serde_json::{json, Value};

use crate::target::Target;

/// A `mining.notify`, with the difficulty and version mask in force when it was received.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    pub id: String,
    /// Hash of the previous block, in internal byte order.
    pub prev_block: [u8; 32],
    /// The coinbase before the extranonce.
    pub coinbase_prefix: Vec<u8>,
    /// The coinbase after the extranonce.
    pub coinbase_suffix: Vec<u8>,
    /// Merkle branch from the coinbase to the merkle root.
    pub merkle_branch: Vec<[u8; 32]>,
    /// Block version without rolled bits.
    pub version: u32,
    /// Bitcoin's target in compact form.
    pub bits: u32,
    pub time: u32,
    /// Whether earlier jobs are stale.
    pub clean: bool,
    /// Difficulty that a submit must meet.
    pub difficulty: f64,
    /// Version bits that a submit may choose (BIP-0310).
    pub version_mask: u32,
}

impl Job {
    /// Parses the parameters of `mining.notify`; `None` if they are malformed.
    pub fn parse(params: &Value, difficulty: f64, version_mask: u32) -> Option<Self> {
        let text = |index: usize| params.get(index).and_then(Value::as_str);
        let number = |index| text(index).filter(|hex| hex.len() == 8).and_then(|hex| u32::from_str_radix(hex, 16).ok());
        let branch = params.get(4)?.as_array()?.iter();
        Some(Self {
            id: text(0)?.to_owned(),
            prev_block: swap_words(&<[u8; 32]>::from_hex(text(1)?).ok()?),
            coinbase_prefix: Vec::from_hex(text(2)?).ok()?,
            coinbase_suffix: Vec::from_hex(text(3)?).ok()?,
            merkle_branch: branch.map(|hex| <[u8; 32]>::from_hex(hex.as_str()?).ok()).collect::<Option<_>>()?,
            version: number(5)?,
            bits: number(6)?,
            time: number(7)?,
            clean: params.get(8)?.as_bool()?,
            difficulty,
            version_mask,
        })
    }

    /// The coinbase transaction, without witness.
    pub fn coinbase(&self, extranonce1: &[u8], extranonce2: &[u8]) -> Vec<u8> {
        [&self.coinbase_prefix, extranonce1, extranonce2, &self.coinbase_suffix].concat()
    }

    /// The header of a submit.
    pub fn header(&self, extranonce1: &[u8], submit: &Submit) -> [u8; 80] {
        let coinbase = self.coinbase(extranonce1, &submit.extranonce2);
        let leaf = sha256d::Hash::hash(&coinbase).to_byte_array();
        let root = self.merkle_branch.iter().fold(leaf, |left, right| {
            let pair = [left, *right].concat();
            sha256d::Hash::hash(&pair).to_byte_array()
        });
        let mut header = [0; 80];
        header[..4].copy_from_slice(&self.rolled_version(submit).to_le_bytes());
        header[4..36].copy_from_slice(&self.prev_block);
        header[36..68].copy_from_slice(&root);
        header[68..72].copy_from_slice(&submit.time.to_le_bytes());
        header[72..76].copy_from_slice(&self.bits.to_le_bytes());
        header[76..].copy_from_slice(&submit.nonce.to_le_bytes());
        header
    }

    fn rolled_version(&self, submit: &Submit) -> u32 {
        match submit.version_bits {
            Some(bits) => (self.version & !self.version_mask) | (bits & self.version_mask),
            None => self.version,
        }
    }

    /// The target that a submit's hash must meet.
    pub fn target(&self) -> Target {
        Target::from_difficulty(self.difficulty)
    }

    /// The target that makes a submit a Bitcoin block.
    pub fn block_target(&self) -> Target {
        Target::from_compact(self.bits)
    }

    /// The harder of both targets, which makes a submit an accepted share and a Bitcoin block.
    ///
    /// Even where shares are as hard as blocks, the announced difficulty is rounded down, so some hashes meet it that are not
    /// blocks.
    pub fn submit_and_block_target(&self) -> Target {
        let (submit, block) = (self.target(), self.block_target());
        if submit.is_easier_than(&block) {
            block
        } else {
            submit
        }
    }
}

/// A `mining.submit`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submit {
    pub job_id: String,
    /// The miner's part of the extranonce.
    pub extranonce2: Vec<u8>,
    pub time: u32,
    pub nonce: u32,
    /// The version bits under the mask (BIP-0310); `None` keeps the job's and omits the sixth parameter.
    pub version_bits: Option<u32>,
}

impl Submit {
    /// The parameters of `mining.submit`.
    pub fn params(&self, worker: &str) -> Value {
        let mut params = vec![
            json!(worker),
            json!(self.job_id),
            json!(self.extranonce2.to_lower_hex_string()),
            json!(format!("{:08x}", self.time)),
            json!(format!("{:08x}", self.nonce)),
        ];
        params.extend(self.version_bits.map(|bits| json!(format!("{bits:08x}"))));
        Value::Array(params)
    }
}

/// Stratum sends the previous block's hash as eight 32-bit words, each with its bytes reversed.
fn swap_words(hash: &[u8; 32]) -> [u8; 32] {
    let mut swapped = *hash;
    swapped.chunks_exact_mut(4).for_each(<[u8]>::reverse);
    swapped
}

#[cfg(test)]
mod tests {
    use super::*;
    use bitcoin::consensus::{deserialize, serialize};
    use bitcoin::constants::genesis_block;
    use bitcoin::{Block, Network};

    /// The genesis block as a job, with the extranonce within the coinbase's script.
    fn genesis_job() -> (Job, Block, Submit) {
        let block = genesis_block(Network::Bitcoin);
        let coinbase = serialize(&block.txdata[0]);
        let header = serialize(&block.header);
        let swapped = swap_words(&header[4..36].try_into().unwrap());
        let params = json!([
            "1f",
            swapped.to_lower_hex_string(),
            coinbase[..50].to_lower_hex_string(),
            coinbase[58..].to_lower_hex_string(),
            [],
            "00000001",
            "1d00ffff",
            "495fab29",
            true
        ]);
        let submit = Submit {
            job_id: "1f".to_owned(),
            extranonce2: coinbase[54..58].to_vec(),
            time: block.header.time,
            nonce: block.header.nonce,
            version_bits: None,
        };
        (Job::parse(&params, 1.0, 0x1fff_e000).unwrap(), block, submit)
    }

    #[test]
    fn the_genesis_block_is_rebuilt() {
        let (job, block, submit) = genesis_job();
        let extranonce1 = serialize(&block.txdata[0])[50..54].to_vec();
        let header = job.header(&extranonce1, &submit);
        assert_eq!(header.to_vec(), serialize(&block.header));
        let hash = sha256d::Hash::hash(&header).to_byte_array();
        assert!(job.target().is_met_by(&hash) && job.block_target().is_met_by(&hash));
        let coinbase = job.coinbase(&extranonce1, &submit.extranonce2);
        assert_eq!(deserialize::<bitcoin::Transaction>(&coinbase).unwrap(), block.txdata[0]);
    }

    #[test]
    fn submit_params_have_the_format_of_stratum() {
        let (_, _, mut submit) = genesis_job();
        submit.extranonce2 = vec![0, 0xab];
        submit.nonce = 0x1d;
        assert_eq!(submit.params("w"), json!(["w", "1f", "00ab", "495fab29", "0000001d"]));
        submit.version_bits = Some(0x2000);
        assert_eq!(submit.params("w")[5], "00002000");
    }

    #[test]
    fn version_bits_replace_the_jobs_bits_only_under_the_mask() {
        let (mut job, _, mut submit) = genesis_job();
        job.version = 0x3000_2004;
        let version = |job: &Job, submit: &Submit| job.header(&[0; 4], submit)[..4].to_vec();
        assert_eq!(version(&job, &submit), 0x3000_2004u32.to_le_bytes());
        submit.version_bits = Some(0xffff_4fff);
        assert_eq!(version(&job, &submit), 0x3fff_4004u32.to_le_bytes());
        submit.version_bits = Some(0);
        assert_eq!(version(&job, &submit), 0x2000_0004u32.to_le_bytes());
    }

    #[test]
    fn the_previous_hash_is_word_swapped() {
        let mut hash = [0; 32];
        hash[..5].copy_from_slice(&[1, 2, 3, 4, 5]);
        assert_eq!(swap_words(&hash)[..8], [4, 3, 2, 1, 0, 0, 0, 5]);
    }

    #[test]
    fn malformed_params_are_rejected() {
        for params in [
            json!(null),
            json!([]),
            json!(["1", "00", "", "", [], "00000001", "1d00ffff", "495fab29", true]),
            json!(["1", "00".repeat(32), "", "", ["zz"], "00000001", "1d00ffff", "495fab29", true]),
            json!(["1", "00".repeat(32), "", "", [], "1", "1d00ffff", "495fab29", true]),
            json!(["1", "00".repeat(32), "", "", [], "00000001", "1d00ffff", "495fab29"]),
        ] {
            assert_eq!(Job::parse(&params, 1.0, 0), None, "{params}");
        }
    }
}
