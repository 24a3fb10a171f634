//! What can go wrong with the store, in words for its operator.

use std::io;
use std::path::{Path, PathBuf};

use p2pool_core::params::ChainId;
use thiserror::Error;

use super::schema::{RecordError, SCHEMA_VERSION};

/// Why the store could not be opened, read or written.
#[derive(Debug, Error)]
pub enum StoreError {
    /// This process has it open; a second environment on the same file would break LMDB's locks.
    #[error("the store {} is already open in this process", .0.display())]
    AlreadyOpen(PathBuf),
    /// Another process writes it.
    #[error("another p2pool is running on {}; stop it, or choose another data directory", .0.display())]
    InUse(PathBuf),
    /// There is none to read.
    #[error("there is no store at {}; p2pool makes it when it first runs on this chain", .0.display())]
    Missing(PathBuf),
    /// Made by a program that knows more than this one, or something quite different.
    #[error(
        "the store {} was written by a newer p2pool (its schema is {found}, this one reads {SCHEMA_VERSION}); run the newer \
         p2pool, or remove the folder to fetch the sharechain again",
        .path.display()
    )]
    Newer {
        /// The store.
        path: PathBuf,
        /// Its schema version.
        found: u32,
    },
    /// It holds another chain.
    #[error(
        "the store {} holds chain {found}, not {expected}: network, chain name or chain parameters differ from those it \
         was made with; restore them, or choose another data directory",
        .path.display()
    )]
    OtherChain {
        /// The store.
        path: PathBuf,
        /// Chain of the store.
        found: ChainId,
        /// Chain of this node.
        expected: ChainId,
    },
    /// Written on a machine of another word size.
    #[error(
        "the store {} was written by a {written}-bit p2pool and this one is {}-bit; `p2pool export` of the {written}-bit \
         program still reads it, or remove the folder to fetch the sharechain again",
        .path.display(), usize::BITS
    )]
    WordSize {
        /// The store.
        path: PathBuf,
        /// Bits of the program that wrote it.
        written: u32,
    },
    /// Not an LMDB file, or damaged beyond reading.
    #[error("{} is no p2pool store or is damaged ({what}); remove the folder to fetch the sharechain again", .path.display())]
    Damaged {
        /// The store.
        path: PathBuf,
        /// What was noticed.
        what: String,
    },
    /// One record is not what was written.
    #[error("record {key} of the store {} is damaged: {source}; remove the folder to fetch the sharechain again", .path.display())]
    Record {
        /// The store.
        path: PathBuf,
        /// The record's key: its kind as a letter, and the id in hexadecimal as it is shown elsewhere.
        key: String,
        /// What is wrong with it.
        source: RecordError,
    },
    /// Disk, quota or medium takes no more. Nothing of the change was kept; the same change may be tried again later.
    #[error("the disk of {} is full or failing: {source}", .path.display())]
    Full {
        /// The store.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is as large as the store is allowed to become.
    #[error("the store {} has reached its limit of {limit_bytes} bytes", .path.display())]
    MapLimit {
        /// The store.
        path: PathBuf,
        /// The limit.
        limit_bytes: usize,
    },
    /// Every slot for readers is taken by processes that read or were killed while reading.
    #[error("too many programs read the store {} or were killed while doing so; restart p2pool to clear them", .0.display())]
    Readers(PathBuf),
    /// The file system refused something.
    #[error("cannot {doing} {}: {source}", .path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// LMDB refused something that it should not.
    #[error("cannot {doing} the store {}: {source}", .path.display())]
    Lmdb {
        /// What was tried.
        doing: &'static str,
        /// The store.
        path: PathBuf,
        /// What LMDB said.
        source: lmdb::Error,
    },
}

impl StoreError {
    /// An error of the file system.
    pub(super) fn io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        if is_full(&source) {
            Self::Full { path, source }
        } else {
            Self::Io { doing, path, source }
        }
    }

    /// An error of LMDB on the store at `path`.
    pub(super) fn lmdb(doing: &'static str, path: &Path, source: lmdb::Error) -> Self {
        let damaged = || Self::Damaged { path: path.to_owned(), what: source.to_string() };
        match source {
            lmdb::Error::Other(code) => Self::io(doing, path, io::Error::from_raw_os_error(code)),
            lmdb::Error::Invalid | lmdb::Error::VersionMismatch => damaged(),
            lmdb::Error::Corrupted | lmdb::Error::PageNotFound | lmdb::Error::Incompatible => damaged(),
            lmdb::Error::ReadersFull => Self::Readers(path.to_owned()),
            _ => Self::Lmdb { doing, path: path.to_owned(), source },
        }
    }
}

/// Whether the system says that the medium takes no more bytes.
///
/// LMDB reports a write that was cut short as EIO, which is what some full file systems do; a medium that fails says
/// the same, and trying again later is right for both.
fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
        || error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
}
