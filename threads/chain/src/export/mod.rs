//! `p2pool export`: the stored sharechain as JSON lines, so that anyone can check it with other tools.
//!
//! The first line holds the chain's parameters and tip, each further line one share, oldest first (by share height,
//! then id). The raw share is in it, so every other field can be recomputed: none has to be believed.
//!
//! | value | written as |
//! |---|---|
//! | `id`, `parent`, `uncles`, `tip`, `prev_block`, `merkle_root` | 64 hexadecimal digits, last byte first, as Bitcoin shows hashes |
//! | `bits`, `share_bits`, `easiest_bits` | 8 hexadecimal digits |
//! | other byte strings, `chain_id` among them | hexadecimal, first byte first |
//! | `chain_work` | a decimal number in a string: it may exceed what other tools read as a number |
//! | amounts | satoshis |
//! | `payouts` | what the coinbase pays, in its order; `null` where the payout window below the share is not held |
//!
//! `main_chain` is whether the share is the tip or an ancestor of it, `verified` whether the node checked it by every
//! rule, `is_block` whether its header meets the target it states to Bitcoin.

mod index;
mod json;
#[cfg(test)]
mod tests;

use std::io::{self, BufWriter, Write};
use std::path::Path;

use p2pool_core::params::ChainParams;
use p2pool_core::payouts::Window;
use p2pool_core::units::Bits;
use thiserror::Error;

use crate::store::{StoreError, StoreReader, View};
use index::Index;
use p2pool_core::node::StoredShare;

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExportSummary {
    /// Shares.
    pub shares: usize,
    /// Those of them with payouts.
    pub with_payouts: usize,
    /// Whether the reader went away before all was written, as `head` does.
    pub cut_short: bool,
}

/// Why nothing more could be written.
#[derive(Debug, Error)]
pub enum ExportError {
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The output takes no more.
    #[error("cannot write the export: {0}")]
    Write(#[from] io::Error),
}

/// Writes the store of the chain in `dir`, the chain's own folder, as it is at this moment; a node may be running on it.
///
/// Memory is for an index of the shares and one share at a time. A reader that goes away is no error.
///
/// # Errors
/// The store cannot be opened or read, or the output fails.
pub fn export(dir: &Path, params: &ChainParams, out: &mut dyn Write) -> Result<ExportSummary, ExportError> {
    let reader = StoreReader::open(dir, params)?;
    let view = reader.view()?;
    let index = Index::new(&view, params)?;
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
        // One view does not change, so what was indexed is still there.
        let Some(stored) = view.share(&id)? else { continue };
        let payouts = payouts(&mut window, index, &stored);
        line(out, &json::ShareLine::new(params, &stored, index.is_main(&id), payouts.as_deref()))?;
        summary.shares += 1;
        summary.with_payouts += usize::from(payouts.is_some());
    }
    out.flush()?;
    Ok(())
}

/// What the share's coinbase pays, if its window is held.
fn payouts(window: &mut Window, index: &Index, stored: &StoredShare) -> Option<Vec<json::Payout>> {
    let info = &stored.share.info;
    let bits = Bits(stored.share.header.bits.to_consensus());
    if !index.may_hold_window(&info.parent, bits) {
        return None;
    }
    window.move_to(info.parent, bits, index).ok()?;
    Some(window.payouts(info.coinbase_value, info.payout_script))
}

fn line(out: &mut impl Write, value: &impl serde::Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}
