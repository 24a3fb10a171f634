//! `p2pool export`: the stored sharechain as JSON lines on standard output.

use std::io;
use std::path::{Path, PathBuf};

use crate::settings::ChainSettings;

/// Why nothing, or not all, was printed.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// No node has run with these settings.
    #[error("there is no sharechain in {}: give the node's own -network, -data-dir and -chain-name", .0.display())]
    NoFolder(PathBuf),
    /// There may be one, but not for this user.
    #[error(
        "the sharechain in {} may not be read by this user: run this with sudo, or as the user that the node runs as",
        .0.display()
    )]
    NotPermitted(PathBuf),
    /// The folder is none, or its disk fails.
    #[error("the sharechain in {} cannot be read: {cause}", .path.display())]
    Unreadable {
        /// The chain's folder.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// Reading the store or writing the lines failed.
    #[error(transparent)]
    Failed(#[from] p2pool_chain::ExportError),
}

/// Prints all shares, oldest first.
///
/// # Errors
/// No such chain, or it cannot be read or written out. A reader that has seen enough (`| head`) is no error.
pub fn run(settings: &ChainSettings) -> Result<(), ExportError> {
    std::fs::read_dir(&settings.chain_dir).map_err(|cause| no_folder(&settings.chain_dir, cause))?;
    let summary = p2pool_chain::export(&settings.chain_dir, &settings.params, &mut std::io::stdout().lock())?;
    log::debug!("{} shares exported, {} of them with payouts", summary.shares, summary.with_payouts);
    Ok(())
}

/// Why the chain's folder cannot be looked into. A service's folder is closed to all but its own user (the unit's
/// `StateDirectoryMode`), which is no reason to say that it is not there.
fn no_folder(path: &Path, cause: io::Error) -> ExportError {
    let path = path.to_owned();
    match cause.kind() {
        io::ErrorKind::NotFound => ExportError::NoFolder(path),
        io::ErrorKind::PermissionDenied => ExportError::NotPermitted(path),
        _ => ExportError::Unreadable { path, cause },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_closed_or_broken_is_not_called_missing() {
        let path = Path::new("/var/lib/p2pool/mainnet-00");
        // EACCES, ENOTDIR, ENOENT; the superuser of a test machine may open everything.
        for (number, words) in [
            (13, "the sharechain in /var/lib/p2pool/mainnet-00 may not be read by this user: run this with sudo"),
            (20, "the sharechain in /var/lib/p2pool/mainnet-00 cannot be read: Not a directory"),
            (2, "there is no sharechain in /var/lib/p2pool/mainnet-00: give the node's own"),
        ] {
            let error = no_folder(path, io::Error::from_raw_os_error(number)).to_string();
            assert!(error.starts_with(words), "{error}");
        }
    }
}
