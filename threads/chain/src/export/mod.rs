//! `p2pool export`: writes the stored sharechain as JSON lines, so that anyone can check it with other tools.
//!
//! The first line has the chain's parameters and tip. Each further line has one share, oldest first (by share height, then id).
//! A line includes the raw share, so every other field can be recomputed.
//!
//! | value | written as |
//! |---|---|
//! | `id`, `parent`, `uncles`, `tip`, `prev_block`, `merkle_root` | 64 hexadecimal digits, last byte first, as Bitcoin displays hashes |
//! | `bits`, `share_bits`, `easiest_bits` | 8 hexadecimal digits |
//! | other byte strings, including `chain_id` | hexadecimal, first byte first |
//! | `chain_work` | a decimal number in a string, because it may exceed the numbers that other tools can read |
//! | amounts | satoshis |
//! | `payouts` | the outputs of the coinbase in their order; `null` if the payout window is not held |
//!
//! `main_chain` says whether the share is the tip or one of its ancestors, `verified` whether the node checked it by all rules,
//! and `is_block` whether its header meets Bitcoin's target. `anchor_median_time_past` is that of the Bitcoin block that the share
//! builds on, which dates its work in the choice between chains.

mod index;
mod json;
#[cfg(test)]
mod tests;

use std::io::{self, BufWriter, Write};
use std::path::Path;

use p2pool_core::node::StoredShare;
use p2pool_core::params::ChainParams;
use p2pool_core::payouts::Window;
use p2pool_core::units::Bits;
use thiserror::Error;

use crate::store::{StoreError, StoreReader, View};
use index::Index;

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExportSummary {
    pub shares: usize,
    /// Number of shares whose payouts were written.
    pub with_payouts: usize,
    /// Whether the reader of the output closed it before the end, as `head` does.
    pub cut_short: bool,
}

/// Why the export failed.
#[derive(Debug, Error)]
pub enum ExportError {
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The output cannot be written.
    #[error("cannot write the export: {0}")]
    Write(#[from] io::Error),
}

/// Writes the store in `dir`, the chain's own folder, as it is at this moment. A node may be using it.
///
/// The export keeps an index of the shares and one share at a time in memory. It is no error if the output's reader closes it.
///
/// # Errors
/// The store cannot be opened or read, or the output fails.
pub fn export(dir: &Path, params: &ChainParams, out: &mut dyn Write) -> Result<ExportSummary, ExportError> {
    let reader = StoreReader::open(dir, params)?;
    let view = reader.view()?;
    let index = Index::new(&view)?;
    let mut summary = ExportSummary::default();
    match write_lines(&view, &index, params, &mut BufWriter::new(out), &mut summary) {
        Err(ExportError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => summary.cut_short = true,
        other => other?,
    }
    Ok(summary)
}

fn write_lines(
    view: &View<'_>,
    index: &Index,
    params: &ChainParams,
    out: &mut impl Write,
    summary: &mut ExportSummary,
) -> Result<(), ExportError> {
    line(out, &json::Chain::new(params, index.tip()))?;
    let mut window = Window::new(params);
    for id in index.ids() {
        let stored = view.share(&id)?.expect("a view does not change, so it still has an indexed share");
        let payouts = payouts(&mut window, index, &stored);
        let anchor_time = index.anchor_time(&stored.share.header.prev_blockhash);
        line(out, &json::ShareLine::new(params, &stored, anchor_time, index.is_main(&id), payouts.as_deref()))?;
        summary.shares += 1;
        summary.with_payouts += usize::from(payouts.is_some());
    }
    out.flush()?;
    Ok(())
}

/// Returns the payouts of the share's coinbase if its window is held.
fn payouts(window: &mut Window, index: &Index, stored: &StoredShare) -> Option<Vec<json::Payout>> {
    let info = &stored.share.info;
    let bits = Bits(stored.share.header.bits.to_consensus());
    if !index.may_hold_window(window, &info.parent, bits) {
        return None;
    }
    window.move_to(info.parent, bits, index).ok()?;
    Some(window.payouts(info.coinbase_value, info.payout_script, info.outputs_class))
}

fn line(out: &mut impl Write, value: &impl serde::Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}
