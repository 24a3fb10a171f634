//! The sharechain on disk (LMDB). The chain thread is its only writer.
//!
//! Every commit is atomic and synced: when [`Store::commit`] returns, the changes survive kill -9 and power loss. Each commit
//! waits for the disk, so changes that arrive together should be committed together.
//!
//! | file | subject |
//! |---|---|
//! | `schema.rs` | keys and records, byte for byte |
//! | `env.rs` | opening and creating an environment, detecting damage |
//! | `guard.rs` | which processes may open a store |
//! | `read.rs` | views of the store, and the reader for other processes |
//! | `error.rs` | errors for operators |

mod env;
mod error;
mod guard;
mod read;
mod schema;

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use lmdb::{Database, EnvironmentFlags, RwTransaction, Transaction as _, WriteFlags};
use p2pool_core::node::Changes;
use p2pool_core::params::ChainParams;
use p2pool_core::share::ShareId;

pub use error::StoreError;
pub use read::{Content, Record, StoreReader, View};
pub use schema::RecordError;

use env::{Env, Paths, DATA_FILE, STORE_DIR};
use guard::ProcessGuard;

/// Initial map size. The 17,368 shares of a standard chain take about 20 MiB at up to 1 KiB each, so most stores never outgrow
/// it. Unused address space costs nothing.
const MAP_START_BYTES: usize = 64 << 20;
/// Largest map size. On 32-bit systems, more than 1 GiB of contiguous address space is not reliably available. Elsewhere the
/// limit is a hundred times what the largest window (2^16 shares) needs, and only stops a runaway store.
const MAP_MAX_BYTES: usize = if usize::BITS == 32 { 1 << 30 } else { 16 << 30 };

/// Returns the path of the data file. `dir` is the chain's own folder.
pub fn data_file(dir: &Path) -> PathBuf {
    dir.join(STORE_DIR).join(DATA_FILE)
}

/// A store that this process may write.
///
/// The LMDB environment is open only during a call. An open one holds memory: every page that was read, after a while the whole
/// file, and the buffers of its largest transaction. It also refuses to write after a failed write of its head.
pub struct Store {
    map_bytes: usize,
    paths: Paths,
    _guard: ProcessGuard,
    _writer_lock: File,
}

impl Store {
    /// Opens the store in `dir`, the chain's own folder. Creates both if they do not exist.
    ///
    /// # Errors
    /// The store belongs to another chain or schema, is damaged, or is open elsewhere. Each error says what to do.
    pub fn open(dir: &Path, params: &ChainParams) -> Result<Self, StoreError> {
        Self::open_sized(dir, params, MAP_START_BYTES)
    }

    /// Like [`Self::open`] with another initial map size, so that tests can see the map grow.
    fn open_sized(dir: &Path, params: &ChainParams, map_bytes: usize) -> Result<Self, StoreError> {
        fs::create_dir_all(dir).map_err(|error| StoreError::io("create", dir, error))?;
        let paths = Paths::new(dir)?;
        let guard = ProcessGuard::take(&paths.store)?;
        let writer_lock = guard::lock_for_writing(&paths.writer_lock, &paths.store)?;
        let chain_id = params.chain_id();
        env::remove_unfinished(&paths)?;
        if !paths.data().exists() {
            env::remove_hollow(&paths)?;
            env::create(&paths, map_bytes, &chain_id)?;
        }
        let store = Self { map_bytes, paths, _guard: guard, _writer_lock: writer_lock };
        let env = store.env()?;
        env::check_length(&env, &store.paths.store)?;
        env.check(&store.paths.store, &chain_id)?;
        Ok(store)
    }

    /// Opens the environment.
    fn env(&self) -> Result<Env, StoreError> {
        Env::open(&self.paths.store, self.map_bytes, EnvironmentFlags::empty())
    }

    /// Writes changes in one transaction and waits until they are on disk.
    ///
    /// # Errors
    /// The store is unchanged, and the same changes may be tried again. After [`StoreError::Full`] this may succeed later.
    pub fn commit(&mut self, changes: &Changes) -> Result<(), StoreError> {
        if changes.is_empty() {
            return Ok(());
        }
        loop {
            let env = self.env()?;
            match write(&env, changes) {
                Err(lmdb::Error::MapFull) => self.map_bytes = self.larger_map(&env)?,
                written => return written.map_err(|error| StoreError::lmdb("write", &self.paths.store, error)),
            }
        }
    }

    /// Returns twice the size of the map, for the next time it is opened.
    ///
    /// `set_map_size` would suffice. But opening the environment as its only user also frees the reader slots of processes that
    /// were killed while reading; otherwise those keep freed pages from being reused.
    fn larger_map(&self, env: &Env) -> Result<usize, StoreError> {
        let path = &self.paths.store;
        let info = env.env.info().map_err(|error| StoreError::lmdb("measure", path, error))?;
        if info.map_size() >= MAP_MAX_BYTES {
            return Err(StoreError::MapLimit { path: path.clone(), limit_bytes: MAP_MAX_BYTES });
        }
        Ok(info.map_size().saturating_mul(2).min(MAP_MAX_BYTES))
    }

    /// Reads everything, see [`View::content`].
    ///
    /// # Errors
    /// The store is unreadable, or a record is damaged; the error names it.
    pub fn load(&self) -> Result<Content, StoreError> {
        View::new(&self.env()?, &self.paths.store)?.content()
    }
}

/// Writes changes as one transaction, which is dropped without effect on any error.
fn write(env: &Env, changes: &Changes) -> lmdb::Result<()> {
    let db = env.db;
    let flags = WriteFlags::empty();
    let mut txn = env.env.begin_rw_txn()?;
    let deleted = changes.delete_shares.iter().map(schema::share_key);
    for key in deleted.chain(changes.delete_anchors.iter().map(schema::anchor_key)) {
        delete(&mut txn, db, &key)?;
    }
    for stored in &changes.put_shares {
        let key = schema::share_key(&stored.id);
        debug_assert_eq!(stored.id, stored.share.id(), "a share is stored under its own id");
        txn.put(db, &key, &schema::encode_share(&key, stored), flags)?;
    }
    for anchor in &changes.put_anchors {
        let key = schema::anchor_key(&anchor.header.block_hash());
        txn.put(db, &key, &schema::encode_anchor(&key, anchor), flags)?;
    }
    match changes.tip {
        None => (),
        Some(ShareId::ZERO) => delete(&mut txn, db, &schema::TIP_KEY)?,
        Some(tip) => txn.put(db, &schema::TIP_KEY, &schema::encode_tip(&tip), flags)?,
    }
    txn.commit()
}

/// Deletes a record, if it exists.
fn delete(txn: &mut RwTransaction<'_>, db: Database, key: &[u8]) -> lmdb::Result<()> {
    match txn.del(db, &key, None) {
        Ok(()) | Err(lmdb::Error::NotFound) => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
pub(crate) mod tests;
