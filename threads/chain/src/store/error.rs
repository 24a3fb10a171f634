//! Errors of the store, for its operator.

use std::io;
use std::path::{Path, PathBuf};

use p2pool_core::params::ChainId;
use thiserror::Error;

use super::schema::{RecordError, SCHEMA_VERSION};

/// Why the store could not be opened, read or written.
#[derive(Debug, Error)]
pub enum StoreError {
    /// This process has it open. A second environment on the same file would break LMDB's locks.
    #[error("store {} is already open in this process", .0.display())]
    AlreadyOpen(PathBuf),
    /// Another process has it open for writing.
    #[error("another p2pool is running on {}: stop it, or choose another data directory", .0.display())]
    InUse(PathBuf),
    /// It does not exist.
    #[error("no store at {}: p2pool creates it when it first runs on this chain", .0.display())]
    Missing(PathBuf),
    /// It has a schema that this program does not know.
    #[error(
        "store {} was written by a newer p2pool (schema {found}, this one reads {SCHEMA_VERSION}): run the newer p2pool, \
         or remove the folder to fetch the sharechain again",
        .path.display()
    )]
    Newer { path: PathBuf, found: u32 },
    /// It has a schema that this program does not read any more.
    #[error(
        "store {} was written by an older p2pool (schema {found}, this one reads {SCHEMA_VERSION}): remove the folder to \
         fetch the sharechain again",
        .path.display()
    )]
    Older { path: PathBuf, found: u32 },
    /// It holds another chain.
    #[error(
        "store {} holds chain {found}, not {expected}: it was created with another network, chain name or chain \
         parameters; restore them, or choose another data directory",
        .path.display()
    )]
    OtherChain { path: PathBuf, found: ChainId, expected: ChainId },
    /// It was written on a machine of another word size.
    #[error(
        "store {} was written by a {written}-bit p2pool, this one is {}-bit: export it with the {written}-bit program \
         (`p2pool export`), or remove the folder to fetch the sharechain again",
        .path.display(), usize::BITS
    )]
    WordSize {
        path: PathBuf,
        /// Bits of the program that wrote it.
        written: u32,
    },
    /// It is not an LMDB file, or unreadable.
    #[error("{} is not a p2pool store or is damaged ({what}): remove the folder to fetch the sharechain again", .path.display())]
    Damaged { path: PathBuf, what: String },
    /// One record is damaged.
    #[error("record {key} of store {} is damaged ({source}): remove the folder to fetch the sharechain again", .path.display())]
    Record {
        path: PathBuf,
        /// The record's key: the letter of its kind, then the id in hexadecimal as it is shown elsewhere.
        key: String,
        source: RecordError,
    },
    /// The disk or quota is full, or the disk fails. The store is unchanged; the same changes may be tried again later.
    #[error("disk of {} is full or failing: {source}", .path.display())]
    Full { path: PathBuf, source: io::Error },
    /// The file has the largest size that the store may have.
    #[error("store {} has reached its limit of {limit_bytes} bytes", .path.display())]
    MapLimit { path: PathBuf, limit_bytes: usize },
    /// All reader slots are taken by processes that read or were killed while reading.
    #[error("too many programs read store {} or were killed while reading: restart p2pool to free their slots", .0.display())]
    Readers(PathBuf),
    /// A file operation failed.
    #[error("cannot {operation} {}: {source}", .path.display())]
    Io { operation: &'static str, path: PathBuf, source: io::Error },
    /// An LMDB operation failed unexpectedly.
    #[error("cannot {operation} store {}: {source}", .path.display())]
    Lmdb { operation: &'static str, path: PathBuf, source: lmdb::Error },
}

impl StoreError {
    /// Makes an error from a failed file operation.
    pub(super) fn io(operation: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        if is_full(&source) {
            Self::Full { path, source }
        } else {
            Self::Io { operation, path, source }
        }
    }

    /// Makes an error from a failed LMDB operation on the store at `path`.
    pub(super) fn lmdb(operation: &'static str, path: &Path, source: lmdb::Error) -> Self {
        let damaged = || Self::Damaged { path: path.to_owned(), what: source.to_string() };
        match source {
            lmdb::Error::Other(code) => Self::io(operation, path, io::Error::from_raw_os_error(code)),
            lmdb::Error::Invalid | lmdb::Error::VersionMismatch => damaged(),
            lmdb::Error::Corrupted | lmdb::Error::PageNotFound | lmdb::Error::Incompatible => damaged(),
            lmdb::Error::ReadersFull => Self::Readers(path.to_owned()),
            _ => Self::Lmdb { operation, path: path.to_owned(), source },
        }
    }
}

/// Whether an error means that the disk is full or failing.
///
/// Some full file systems cut a write short, which LMDB reports as EIO. A failing disk reports the same. In both cases it is
/// right to try again later.
fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
        || error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
}
