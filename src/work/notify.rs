//! A job as Stratum v1 tells it to miners: one line for all sessions, written once per job.

use std::fmt::Write as _;
use std::sync::Arc;

use bitcoin::hashes::Hash as _;
use bitcoin::hex::DisplayHex as _;
use bitcoin::BlockHash;

use super::{Job, JobId};
use crate::share::coinbase::Coinbase;
use crate::units::{Bits, UnixTime};

/// The two forms of a job's `mining.notify` line.
#[derive(Clone, Debug)]
pub(super) struct NotifyLines {
    keep: Arc<str>,
    clean: Arc<str>,
}

impl NotifyLines {
    /// Writes both lines.
    pub fn new(
        id: JobId,
        prev_block: &BlockHash,
        coinbase: &Coinbase,
        merkle_branch: &[[u8; 32]],
        version: i32,
        bits: Bits,
        time: UnixTime,
    ) -> Self {
        let branch: Vec<String> = merkle_branch.iter().map(|hash| format!("\"{}\"", hash.as_hex())).collect();
        let start = format!(
            "{{\"id\":null,\"method\":\"mining.notify\",\"params\":[\"{id}\",\"{}\",\"{}\",\"{}\",[{}],\"{version:08x}\",\"{bits}\",\"{:08x}\",",
            word_swapped(prev_block),
            coinbase.prefix.as_hex(),
            coinbase.suffix.as_hex(),
            branch.join(","),
            time.0,
        );
        Self { keep: (start.clone() + "false]}\n").into(), clean: (start + "true]}\n").into() }
    }
}

/// Stratum's own order for the previous block's hash: as the header has it, but each four bytes reversed.
fn word_swapped(hash: &BlockHash) -> String {
    let mut text = String::with_capacity(64);
    for word in hash.as_byte_array().chunks(4) {
        for byte in word.iter().rev() {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
    }
    text
}

impl Job {
    /// The whole `mining.notify` line, line feed included; `clean` tells miners to drop what they are at.
    pub fn notify_line(&self, clean: bool) -> &Arc<str> {
        if clean {
            &self.notify.clean
        } else {
            &self.notify.keep
        }
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

    fn params(line: &str) -> Vec<Value> {
        let value: Value = serde_json::from_str(line).unwrap();
        assert_eq!((&value["id"], &value["method"]), (&Value::Null, &Value::from("mining.notify")));
        value["params"].as_array().unwrap().clone()
    }

    fn bytes(value: &Value) -> Vec<u8> {
        Vec::from_hex(value.as_str().unwrap()).unwrap()
    }

    /// Does what a miner's firmware does with the line: header from its hexadecimal fields, each word turned round.
    fn header_by_firmware(params: &[Value], answer: &Submit) -> [u8; 80] {
        let coinbase = [bytes(&params[2]), answer.extranonce.to_vec(), bytes(&params[3])].concat();
        let txid = bitcoin::hashes::sha256d::Hash::hash(&coinbase).to_byte_array();
        let branch: Vec<[u8; 32]> =
            params[4].as_array().unwrap().iter().map(|hash| bytes(hash).try_into().unwrap()).collect();
        let turned = |bytes: Vec<u8>| {
            bytes.chunks(4).flat_map(|word| word.iter().rev().copied().collect::<Vec<_>>()).collect::<Vec<u8>>()
        };
        [
            turned(bytes(&params[5])),
            turned(bytes(&params[1])),
            fold_merkle_branch(txid, &branch).to_vec(),
            turned(bytes(&params[7])),
            turned(bytes(&params[6])),
            answer.nonce.to_le_bytes().to_vec(),
        ]
        .concat()
        .try_into()
        .unwrap()
    }

    #[test]
    fn firmware_that_follows_the_line_hashes_the_header_that_is_judged() {
        for transactions in [0, 1, 2, 9] {
            let job = job(template(300, (0..transactions).map(|n| tx(n, 1, 2, 3)).collect()), &many_p2tr(5));
            let answer =
                Submit { extranonce: *b"serverMINERX", time: job.time.0, nonce: 0xdead_beef, version: job.version };
            for clean in [false, true] {
                let params = params(job.notify_line(clean));
                let judged = job.hash_header(&answer);
                assert_eq!(header_by_firmware(&params, &answer), judged.header);
                assert_eq!(header_hash(&judged.header), judged.hash);
                assert_eq!(params.len(), 9);
                assert_eq!((&params[0], &params[8]), (&Value::from("1f"), &Value::from(clean)));
            }
        }
    }

    #[test]
    fn the_line_is_as_the_protocol_writes_it() {
        let job = job(template(300, vec![]), &[p2tr(1)]);
        let line = job.notify_line(true);
        assert!(line.starts_with(r#"{"id":null,"method":"mining.notify","params":["1f",""#));
        assert!(line.ends_with(&format!(r#"",[],"20000000","207fffff","{:08x}",true]}}{}"#, job.time.0, "\n")));
        assert_eq!(line.matches('\n').count(), 1);
    }

    #[test]
    fn the_previous_block_is_written_word_by_word() {
        // Bitcoin block 0, as pools told miners of block 1.
        let genesis: BlockHash = "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f".parse().unwrap();
        assert_eq!(word_swapped(&genesis), "0a8ce26f72b3f1b646a2a6c14ff763ae65831e939c085ae10019d66800000000");
    }
}
