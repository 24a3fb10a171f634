//! The `mining.notify` line of a job: formatted once, the same for all sessions except for the version bits that they roll.

use std::fmt::Write as _;
use std::io::Write as _;

use bitcoin::hashes::Hash as _;
use bitcoin::hex::DisplayHex as _;
use bitcoin::BlockHash;

use super::{Job, JobId, Template};
use crate::share::coinbase::Coinbase;
use crate::units::UnixTime;

/// Length of a line without coinbase and merkle branch, with room to spare.
const FIELDS_LEN: usize = 256;
/// Length of a hash of the merkle branch with its quotes and comma.
const HASH_LEN: usize = 67;

/// The `mining.notify` line of a job without its version and its last parameter, `clean_jobs`.
#[derive(Clone, Debug)]
pub(super) struct NotifyLine {
    before_version: String,
    after_version: String,
}

impl NotifyLine {
    pub fn new(
        id: JobId,
        template: &Template,
        coinbase: &Coinbase,
        merkle_branch: &[[u8; 32]],
        time: UnixTime,
    ) -> Self {
        let Template { bits, prev_block, .. } = template;
        let (prefix, suffix) = (coinbase.prefix.as_hex(), coinbase.suffix.as_hex());
        let mut line = String::with_capacity(FIELDS_LEN + 2 * coinbase.len_bytes() + HASH_LEN * merkle_branch.len());
        // Writing to a string cannot fail.
        let _ = write!(
            line,
            r#"{{"id":null,"method":"mining.notify","params":["{id}","{}","{prefix}","{suffix}",["#,
            word_swapped(prev_block),
        );
        for (at, hash) in merkle_branch.iter().enumerate() {
            let _ = write!(line, r#"{}"{}""#, if at == 0 { "" } else { "," }, hash.as_hex());
        }
        line.push_str(r#"],""#);
        Self { before_version: line, after_version: format!(r#"","{bits}","{:08x}","#, time.0) }
    }
}

/// The previous block's hash in Stratum's byte order: internal order with the bytes of each 32-bit word reversed.
fn word_swapped(hash: &BlockHash) -> String {
    let mut bytes = hash.to_byte_array();
    bytes.chunks_mut(4).for_each(<[u8]>::reverse);
    bytes.to_lower_hex_string()
}

impl Job {
    /// Appends the `mining.notify` line with its line feed; `clean` makes miners discard their current work.
    ///
    /// The version has no bit of `version_mask`, the bits that the miner rolls. Firmware differs in what it submits: the
    /// rolled bits (BIP-0310), or the rolled version XOR the job's. Both are the same if the job's bits are zero.
    pub fn write_notify(&self, version_mask: u32, clean: bool, out: &mut Vec<u8>) {
        let NotifyLine { before_version, after_version } = &self.notify;
        out.extend_from_slice(before_version.as_bytes());
        // Writing to a vector cannot fail.
        let _ = write!(out, "{:08x}", self.version_without(version_mask));
        out.extend_from_slice(after_version.as_bytes());
        out.extend_from_slice(if clean { &b"true]}\n"[..] } else { b"false]}\n" });
    }

    /// Length of the longer [`Self::write_notify`] in bytes.
    pub fn notify_len_max(&self) -> usize {
        self.notify.before_version.len() + "00000000".len() + self.notify.after_version.len() + b"false]}\n".len()
    }

    /// The block version without the bits of a mask.
    pub fn version_without(&self, version_mask: u32) -> i32 {
        self.template.version & !version_mask as i32
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::hex::FromHex as _;
    use serde_json::Value;

    use super::super::fixtures::{job, many_p2tr, p2tr, template, tx};
    use super::super::Submit;
    use super::*;
    use crate::share::coinbase::fold_merkle_branch;
    use crate::share::header_hash;

    fn line(job: &Job, clean: bool) -> String {
        let mut line = Vec::new();
        job.write_notify(0, clean, &mut line);
        assert!((job.notify_len_max() - 1..=job.notify_len_max()).contains(&line.len()));
        String::from_utf8(line).unwrap()
    }

    fn params(line: &str) -> Vec<Value> {
        let value: Value = serde_json::from_str(line).unwrap();
        assert_eq!((&value["id"], &value["method"]), (&Value::Null, &Value::from("mining.notify")));
        value["params"].as_array().unwrap().clone()
    }

    fn bytes(value: &Value) -> Vec<u8> {
        Vec::from_hex(value.as_str().unwrap()).unwrap()
    }

    /// Builds the header as firmware does: from the hexadecimal fields, with the bytes of each word reversed.
    fn header_by_firmware(params: &[Value], submit: &Submit) -> [u8; 80] {
        let coinbase = [bytes(&params[2]), submit.extranonce.to_vec(), bytes(&params[3])].concat();
        let txid = bitcoin::hashes::sha256d::Hash::hash(&coinbase).to_byte_array();
        let branch: Vec<[u8; 32]> =
            params[4].as_array().unwrap().iter().map(|hash| bytes(hash).try_into().unwrap()).collect();
        let reversed_words = |bytes: Vec<u8>| {
            bytes.chunks(4).flat_map(|word| word.iter().rev().copied().collect::<Vec<_>>()).collect::<Vec<u8>>()
        };
        [
            reversed_words(bytes(&params[5])),
            reversed_words(bytes(&params[1])),
            fold_merkle_branch(txid, &branch).to_vec(),
            reversed_words(bytes(&params[7])),
            reversed_words(bytes(&params[6])),
            submit.nonce.to_le_bytes().to_vec(),
        ]
        .concat()
        .try_into()
        .unwrap()
    }

    #[test]
    fn firmware_and_node_build_the_same_header() {
        for transactions in [0, 1, 2, 9] {
            let job = job(template(300, (0..transactions).map(|n| tx(n, 1, 2, 3)).collect()), &many_p2tr(5));
            let submit = Submit {
                extranonce: *b"serverMINERX",
                time: job.time.0,
                nonce: 0xdead_beef,
                version: job.template.version,
            };
            for clean in [false, true] {
                let params = params(&line(&job, clean));
                let hashed = job.hash_header(&submit);
                assert_eq!(header_by_firmware(&params, &submit), hashed.header);
                assert_eq!(header_hash(&hashed.header), hashed.hash);
                assert_eq!(params.len(), 9);
                assert_eq!((&params[0], &params[8]), (&Value::from("1f"), &Value::from(clean)));
            }
        }
    }

    #[test]
    fn the_line_has_the_format_of_the_protocol() {
        let job = job(template(300, vec![]), &[p2tr(1)]);
        let line = line(&job, true);
        assert!(line.starts_with(r#"{"id":null,"method":"mining.notify","params":["1f",""#));
        assert!(line.ends_with(&format!(r#"",[],"20000000","207fffff","{:08x}",true]}}{}"#, job.time.0, "\n")));
        assert_eq!(line.matches('\n').count(), 1);
    }

    #[test]
    fn the_version_has_no_bit_that_the_miner_rolls() {
        let job = job(Template { version: 0x3fff_e004, ..template(300, vec![]) }, &[p2tr(1)]);
        let version = |mask: u32| {
            let mut line = Vec::new();
            job.write_notify(mask, true, &mut line);
            params(std::str::from_utf8(&line).unwrap())[5].clone()
        };
        assert_eq!(version(0), "3fffe004");
        assert_eq!(version(0x1fff_e000), "20000004");
        assert_eq!(version(0x00ff_e000), "3f000004");
    }

    #[test]
    fn the_previous_block_hash_is_word_swapped() {
        // The genesis block, as it was sent to miners of block 1.
        let genesis: BlockHash = "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f".parse().unwrap();
        assert_eq!(word_swapped(&genesis), "0a8ce26f72b3f1b646a2a6c14ff763ae65831e939c085ae10019d66800000000");
    }
}
