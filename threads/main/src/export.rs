//! `p2pool export`: the stored sharechain as JSON lines on standard output.

use std::path::PathBuf;

use crate::settings::ChainSettings;

/// Why nothing, or not all, was printed.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// No node has run with these settings.
    #[error("there is no sharechain in {}: give the node's own -network, -data-dir and -chain-name", .0.display())]
    NoFolder(PathBuf),
    /// Reading the store or writing the lines failed.
    #[error(transparent)]
    Failed(#[from] p2pool_chain::ExportError),
}

/// Prints all shares, oldest first.
///
/// # Errors
/// No such chain, or it cannot be read or written out. A reader that has seen enough (`| head`) is no error.
pub fn run(settings: &ChainSettings) -> Result<(), ExportError> {
    if !settings.chain_dir.is_dir() {
        return Err(ExportError::NoFolder(settings.chain_dir.clone()));
    }
    let summary = p2pool_chain::export(&settings.chain_dir, &settings.params, &mut std::io::stdout().lock())?;
    log::debug!("{} shares exported, {} of them with payouts", summary.shares, summary.with_payouts);
    Ok(())
}
