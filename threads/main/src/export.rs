//! `p2pool export`: the stored sharechain as JSON lines on standard output.

use std::io;
use std::path::{Path, PathBuf};

use crate::settings::ExportSettings;

/// Why the export failed.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error("there is no sharechain in {}: give the node's own -network, -data-dir and -chain-name", .0.display())]
    NoDirectory(PathBuf),
    #[error(
        "this user may not read the sharechain in {}: run this with sudo, or as the user that the node runs as",
        .0.display()
    )]
    NotPermitted(PathBuf),
    #[error("cannot read the sharechain in {}: {cause}", .path.display())]
    Unreadable { path: PathBuf, cause: io::Error },
    /// The store could not be read or the lines could not be written.
    #[error(transparent)]
    Failed(#[from] p2pool_chain::ExportError),
}

/// Prints all shares, oldest first.
///
/// # Errors
/// The sharechain does not exist, or reading or writing it failed. A closed pipe (`| head`) is no error.
pub fn run(settings: &ExportSettings) -> Result<(), ExportError> {
    std::fs::read_dir(&settings.chain_dir).map_err(|cause| directory_error(&settings.chain_dir, cause))?;
    let summary = p2pool_chain::export(&settings.chain_dir, &settings.params, &mut std::io::stdout().lock())?;
    log::debug!("{} shares exported, {} of them with payouts", summary.shares, summary.with_payouts);
    Ok(())
}

/// Classifies why the data directory cannot be read. That of a service is closed to all but its own user (the unit's
/// `StateDirectoryMode`), which must not be reported as missing.
fn directory_error(path: &Path, cause: io::Error) -> ExportError {
    let path = path.to_owned();
    match cause.kind() {
        io::ErrorKind::NotFound => ExportError::NoDirectory(path),
        io::ErrorKind::PermissionDenied => ExportError::NotPermitted(path),
        _ => ExportError::Unreadable { path, cause },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unreadable_directory_is_not_reported_as_missing() {
        let path = Path::new("/var/lib/p2pool/mainnet-00");
        // EACCES, ENOTDIR, ENOENT by number, because a test that runs as root may open everything.
        for (number, text) in [
            (13, "this user may not read the sharechain in /var/lib/p2pool/mainnet-00: run this with sudo"),
            (20, "cannot read the sharechain in /var/lib/p2pool/mainnet-00: Not a directory"),
            (2, "there is no sharechain in /var/lib/p2pool/mainnet-00: give the node's own"),
        ] {
            let error = directory_error(path, io::Error::from_raw_os_error(number)).to_string();
            assert!(error.starts_with(text), "{error}");
        }
    }
}
