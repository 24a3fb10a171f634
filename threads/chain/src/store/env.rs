//! The LMDB environment of the store: opening it, creating it, and detecting files that are damaged or no store.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use lmdb::{Database, Environment, EnvironmentFlags, RoTransaction, Transaction as _, WriteFlags};
use p2pool_core::params::ChainId;

use super::schema::{self, Meta, META_KEY, SCHEMA_VERSION};
use super::StoreError;

/// LMDB's folder in the chain's own folder.
pub(super) const STORE_DIR: &str = "store";
/// LMDB's two files.
pub(super) const DATA_FILE: &str = "data.mdb";
const LOCK_FILE: &str = "lock.mdb";
/// Length of LMDB's lock file with its default of 126 reader slots.
const LOCK_FILE_LEN: u64 = 8_192;
/// Magic number of LMDB's files, in the byte order of the machine.
const MAGIC: u32 = 0xbeef_c0de;

/// Paths of a store's files, all in the chain's own folder.
#[derive(Clone, Debug)]
pub(super) struct Paths {
    /// LMDB's folder.
    pub store: PathBuf,
    /// Folder in which a new store is created before it is renamed.
    pub unfinished: PathBuf,
    /// File that the writing process locks.
    pub writer_lock: PathBuf,
}

impl Paths {
    /// Returns the paths for an existing folder.
    pub(super) fn new(dir: &Path) -> Result<Self, StoreError> {
        let dir = dir.canonicalize().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => StoreError::Missing(dir.join(STORE_DIR)),
            _ => StoreError::io("open", dir, error),
        })?;
        Ok(Self { store: dir.join(STORE_DIR), unfinished: dir.join("store.new"), writer_lock: dir.join("store.lock") })
    }

    /// The data file.
    pub(super) fn data(&self) -> PathBuf {
        self.store.join(DATA_FILE)
    }
}

/// An open environment.
pub(super) struct Env {
    pub(super) env: Environment,
    pub(super) db: Database,
}

impl Env {
    /// Opens the existing environment in `dir`. LMDB enlarges the map if the data needs it.
    pub(super) fn open(dir: &Path, map_bytes: usize, flags: EnvironmentFlags) -> Result<Self, StoreError> {
        if !flags.contains(EnvironmentFlags::READ_ONLY) {
            reserve_lock_file(dir)?;
        }
        let mut builder = Environment::new();
        // NO_TLS: a reader slot belongs to its transaction, not to the thread that began it.
        builder.set_map_size(map_bytes).set_flags(flags | EnvironmentFlags::NO_TLS);
        let env = builder.open(dir).map_err(|error| explain_open(dir, error))?;
        let db = retry_resized(&env, || env.open_db(None)).map_err(|error| StoreError::lmdb("open", dir, error))?;
        Ok(Self { env, db })
    }

    /// Begins a read transaction, which no later commit changes.
    pub(super) fn begin_ro(&self, dir: &Path) -> Result<RoTransaction<'_>, StoreError> {
        retry_resized(&self.env, || self.env.begin_ro_txn()).map_err(|error| StoreError::lmdb("read", dir, error))
    }

    /// Checks that the store has our schema and chain.
    pub(super) fn check(&self, dir: &Path, chain_id: &ChainId) -> Result<(), StoreError> {
        let txn = self.begin_ro(dir)?;
        let path = || dir.to_owned();
        let value = match txn.get(self.db, &META_KEY) {
            Ok(value) => value,
            Err(lmdb::Error::NotFound) => {
                return Err(StoreError::Damaged { path: path(), what: "chain id missing".to_owned() })
            }
            Err(error) => return Err(StoreError::lmdb("read", dir, error)),
        };
        match schema::decode_meta(value) {
            Ok(Meta::Ours(found)) if found == *chain_id => Ok(()),
            Ok(Meta::Ours(found)) => Err(StoreError::OtherChain { path: path(), found, expected: *chain_id }),
            Ok(Meta::OtherSchema(found)) if found < SCHEMA_VERSION => Err(StoreError::Older { path: path(), found }),
            Ok(Meta::OtherSchema(found)) => Err(StoreError::Newer { path: path(), found }),
            Err(source) => Err(StoreError::Record { path: path(), key: "M".to_owned(), source }),
        }
    }
}

/// Runs `operation`, and once more if another process has made the file outgrow our map. No transaction may be open.
fn retry_resized<T>(env: &Environment, mut operation: impl FnMut() -> lmdb::Result<T>) -> lmdb::Result<T> {
    match operation() {
        Err(lmdb::Error::MapResized) => {
            env.set_map_size(0)?;
            operation()
        }
        other => other,
    }
}

/// Creates an empty store under another name and renames it, so that there is a complete store or none at any time.
pub(super) fn create(paths: &Paths, map_bytes: usize, chain_id: &ChainId) -> Result<(), StoreError> {
    let unfinished = &paths.unfinished;
    let created = create_unfinished(unfinished, map_bytes, chain_id).and_then(|()| {
        fs::rename(unfinished, &paths.store).map_err(|error| StoreError::io("create", &paths.store, error))?;
        sync_parent(&paths.store)
    });
    if created.is_err() {
        // Best effort: the next open removes it as well.
        drop(fs::remove_dir_all(unfinished));
    }
    created
}

fn create_unfinished(dir: &Path, map_bytes: usize, chain_id: &ChainId) -> Result<(), StoreError> {
    fs::create_dir(dir).map_err(|error| StoreError::io("create", dir, error))?;
    let env = Env::open(dir, map_bytes, EnvironmentFlags::empty())?;
    let write = || -> lmdb::Result<()> {
        let mut txn = env.env.begin_rw_txn()?;
        txn.put(env.db, &META_KEY, &schema::encode_meta(chain_id), WriteFlags::empty())?;
        txn.commit()
    };
    write().map_err(|error| StoreError::lmdb("create", dir, error))?;
    drop(env);
    sync_dir(dir)
}

/// Removes the unfinished store of a process that died while it created one.
pub(super) fn remove_unfinished(paths: &Paths) -> Result<(), StoreError> {
    match fs::remove_dir_all(&paths.unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(StoreError::io("remove", &paths.unfinished, error))
        }
        _ => Ok(()),
    }
}

/// Removes a store's folder without a data file, so that a new store can take its place.
pub(super) fn remove_hollow(paths: &Paths) -> Result<(), StoreError> {
    match fs::remove_file(paths.store.join(LOCK_FILE)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(StoreError::io("remove the lock file in", &paths.store, error));
        }
        _ => (),
    }
    match fs::remove_dir(&paths.store) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::io("replace", &paths.store, error)),
        _ => Ok(()),
    }
}

/// Allocates the blocks of LMDB's lock file.
///
/// LMDB writes it through a map. On a full disk, a file without blocks would kill the process with SIGBUS.
fn reserve_lock_file(dir: &Path) -> Result<(), StoreError> {
    let path = dir.join(LOCK_FILE);
    let reserve = || -> io::Result<()> {
        if fs::metadata(&path).is_ok_and(|file| file.len() >= LOCK_FILE_LEN) {
            return Ok(());
        }
        // LMDB itself extends the file with zeros.
        fs::write(&path, vec![0u8; usize::try_from(LOCK_FILE_LEN).unwrap_or_default()])
    };
    reserve().map_err(|error| {
        drop(fs::remove_file(&path));
        StoreError::io("write", &path, error)
    })
}

/// Checks that the data file was not truncated, as by a broken copy. Only the writer may call this, between transactions.
///
/// Reading past the file's end would kill the process with SIGBUS. Pages that were allocated and freed within one transaction
/// are never written, so the end of an intact file may be missing as well. But those pages are on the free list.
pub(super) fn check_length(env: &Env, dir: &Path) -> Result<(), StoreError> {
    let lmdb = |error| StoreError::lmdb("measure", dir, error);
    let pages = (env.env.info().map_err(lmdb)?.last_pgno() as u64).saturating_add(1);
    let page_len = u64::from(env.env.stat().map_err(lmdb)?.page_size());
    let data = dir.join(DATA_FILE);
    let io = |error| StoreError::io("measure", &data, error);
    let file = OpenOptions::new().write(true).open(&data).map_err(io)?;
    let held = file.metadata().map_err(io)?.len().checked_div(page_len).unwrap_or(0);
    if held >= pages {
        return Ok(());
    }
    // Reading zeros is an error; reading past the end would kill the process.
    file.set_len(pages.saturating_mul(page_len)).map_err(io)?;
    if pages - held <= env.env.freelist().map_err(lmdb)? as u64 {
        return Ok(());
    }
    let what = format!("{held} of {pages} pages present");
    Err(StoreError::Damaged { path: dir.to_owned(), what })
}

/// Explains why LMDB cannot open a file.
fn explain_open(dir: &Path, error: lmdb::Error) -> StoreError {
    if error != lmdb::Error::Invalid {
        return StoreError::lmdb("open", dir, error);
    }
    // LMDB's page header is a page number of the machine's word size and eight more bytes. The magic number follows.
    let (ours, other) = if usize::BITS == 64 { (16, 12) } else { (12, 16) };
    let mut head = [0u8; 20];
    let read = File::open(dir.join(DATA_FILE)).and_then(|mut file| file.read_exact(&mut head));
    let magic_at = |at: usize| head.get(at..at + 4) == Some(&MAGIC.to_ne_bytes()[..]);
    if read.is_ok() && magic_at(other) && !magic_at(ours) {
        return StoreError::WordSize { path: dir.to_owned(), written: 96 - usize::BITS };
    }
    StoreError::lmdb("open", dir, error)
}

fn sync_parent(path: &Path) -> Result<(), StoreError> {
    path.parent().map_or(Ok(()), sync_dir)
}

/// Syncs a folder, so that new names in it are durable.
fn sync_dir(dir: &Path) -> Result<(), StoreError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(|error| StoreError::io("sync", dir, error))
}
