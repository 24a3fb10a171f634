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
