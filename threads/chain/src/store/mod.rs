//! The sharechain on disk (LMDB). The chain thread is its only writer.
//!
//! Always fully synced: when [`Store::commit`] has returned, the changes survive kill -9 and power loss, and they are on disk
//! whole or not at all. What arrives together should be committed together: each commit waits for the disk.
//!
//! | file | subject |
//! |---|---|
//! | `schema.rs` | keys and records, byte for byte |
//! | `env.rs` | opening, making, telling what is no store |
//! | `guard.rs` | who may have it open |
//! | `read.rs` | views, and the reader for other processes |
//! | `error.rs` | errors in words for operators |

mod env;
mod error;
mod guard;
mod read;
mod schema;

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use lmdb::{EnvironmentFlags, Transaction as _, WriteFlags};
use p2pool_core::node::{Changes, StoredShare};
use p2pool_core::params::ChainParams;
use p2pool_core::share::ShareId;
use p2pool_core::sharechain::Anchor;

pub use error::StoreError;
pub use read::{StoreReader, View};
pub use schema::RecordError;

use env::{Env, Paths, DATA_FILE, STORE_DIR};
use guard::ProcessGuard;

/// Address space a store begins with: a standard chain's 17,368 shares of up to 1 KiB take about 20 MiB, so most stores never
/// outgrow it, and it costs nothing until used.
const MAP_START_BYTES: usize = 64 << 20;
/// Largest map. On 32-bit systems more than 1 GiB of address space in one piece cannot be relied on; elsewhere this is a
/// hundred times what the largest window (2^16 shares) needs, and only stops something that runs away.
const MAP_MAX_BYTES: usize = if usize::BITS == 32 { 1 << 30 } else { 16 << 30 };

/// The file that holds everything, inside the chain's own folder.
pub fn data_file(dir: &Path) -> PathBuf {
    dir.join(STORE_DIR).join(DATA_FILE)
}

/// What [`Store::load`] found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// The tip last committed, unless there is no chain.
    pub tip: Option<ShareId>,
    /// Shares handed over.
    pub shares: usize,
    /// Anchors handed over.
    pub anchors: usize,
}

/// The store, open for writing.
pub struct Store {
    /// `None` after a failure, until the next use opens it again.
    env: Option<Env>,
    map_bytes: usize,
    paths: Paths,
    // These two come last: they are given back after the environment is closed.
    _guard: ProcessGuard,
    _writer_lock: File,
}

impl Store {
    /// Opens the store in `dir`, the chain's own folder, and makes both if need be.
    ///
    /// # Errors
    /// A store of another chain or schema, a file that is none, or one that is open elsewhere: each says what to do.
    pub fn open(dir: &Path, params: &ChainParams) -> Result<Self, StoreError> {
        Self::open_sized(dir, params, MAP_START_BYTES)
    }

    /// As [`Self::open`] with another size to begin with, so that tests see the map grow.
    fn open_sized(dir: &Path, params: &ChainParams, map_bytes: usize) -> Result<Self, StoreError> {
        fs::create_dir_all(dir).map_err(|error| StoreError::io("make", dir, error))?;
        let paths = Paths::new(dir)?;
        let guard = ProcessGuard::take(&paths.store)?;
        let writer_lock = guard::lock_for_writing(&paths.writer_lock, &paths.store)?;
        let chain_id = params.chain_id();
        env::remove_unfinished(&paths)?;
        if !paths.data().exists() {
            env::remove_hollow(&paths)?;
            env::create(&paths, map_bytes, &chain_id)?;
        }
        let mut store = Self { env: None, map_bytes, paths, _guard: guard, _writer_lock: writer_lock };
        let (env, path) = store.env()?;
        env::check_length(env, path)?;
        env.check(path, &chain_id)?;
        Ok(store)
    }

    /// The environment, opened if it is not.
    fn env(&mut self) -> Result<(&Env, &Path), StoreError> {
        let env = match self.env.take() {
            Some(env) => env,
            None => Env::open(&self.paths.store, self.map_bytes, EnvironmentFlags::empty())?,
        };
        Ok((self.env.insert(env), &self.paths.store))
    }

    /// Writes changes and waits until they are on disk.
    ///
    /// # Errors
    /// Nothing of them is in the store then, and the same changes may be tried again. [`StoreError::Full`] says
    /// that this is worth while later.
    pub fn commit(&mut self, changes: &Changes) -> Result<(), StoreError> {
        if changes.is_empty() {
            return Ok(());
        }
        loop {
            let (env, path) = self.env()?;
            match write(env, changes) {
                Ok(()) => return Ok(()),
                Err(lmdb::Error::MapFull) => self.grow()?,
                Err(error) => {
                    let error = StoreError::lmdb("write", path, error);
                    // LMDB trusts an environment no more once its head could not be written: open it afresh next time.
                    self.env = None;
                    return Err(error);
                }
            }
        }
    }

    /// Doubles the map by closing the environment and opening it again.
    ///
    /// `set_map_size` would do, but being the only one to open it also frees the reader slots of processes that were
    /// killed while reading, which otherwise keep freed pages from ever being used again.
    fn grow(&mut self) -> Result<(), StoreError> {
        let (env, path) = self.env()?;
        let info = env.env.info().map_err(|error| StoreError::lmdb("measure", path, error))?;
        if info.map_size() >= MAP_MAX_BYTES {
            return Err(StoreError::MapLimit { path: path.to_owned(), limit_bytes: MAP_MAX_BYTES });
        }
        self.map_bytes = info.map_size().saturating_mul(2).min(MAP_MAX_BYTES);
        self.env = None;
        self.env().map(drop)
    }

    /// Hands over all anchors, then all shares by ascending share height (then id), so that parents come first.
    ///
    /// Holds all shares in memory for a moment, where its caller keeps them anyway.
    ///
    /// # Errors
    /// Unreadable, or a damaged record, which it names; or what a callback returned.
    pub fn load<E: From<StoreError>>(
        &mut self,
        mut each_share: impl FnMut(StoredShare) -> Result<(), E>,
        mut each_anchor: impl FnMut(Anchor) -> Result<(), E>,
    ) -> Result<Summary, E> {
        let (env, path) = self.env()?;
        let view = View::new(env, path)?;
        let mut summary = Summary { tip: view.tip()?, ..Summary::default() };
        let mut shares = Vec::new();
        view.each::<E>(
            |share| {
                shares.push(share);
                Ok(())
            },
            |anchor| {
                summary.anchors += 1;
                each_anchor(anchor)
            },
        )?;
        summary.shares = shares.len();
        shares.sort_unstable_by_key(|stored| (stored.share.info.share_height, stored.id));
        shares.into_iter().try_for_each(&mut each_share)?;
        Ok(summary)
    }

    /// Length of the data file.
    ///
    /// # Errors
    /// The system refuses.
    pub fn size_bytes(&self) -> Result<u64, StoreError> {
        let data = self.paths.data();
        fs::metadata(&data).map(|file| file.len()).map_err(|error| StoreError::io("measure", &data, error))
    }
}

/// Writes changes as one transaction; dropped on any error, it leaves no trace.
fn write(env: &Env, changes: &Changes) -> lmdb::Result<()> {
    let db = env.db;
    let flags = WriteFlags::empty();
    let mut txn = env.env.begin_rw_txn()?;
    let gone = changes.delete_shares.iter().map(schema::share_key);
    for key in gone.chain(changes.delete_anchors.iter().map(schema::anchor_key)) {
        match txn.del(db, &key, None) {
            Ok(()) | Err(lmdb::Error::NotFound) => (),
            Err(error) => return Err(error),
        }
    }
    for stored in &changes.put_shares {
        let key = schema::share_key(&stored.id);
        txn.put(db, &key, &schema::encode_share(&key, stored), flags)?;
    }
    for anchor in &changes.put_anchors {
        let key = schema::anchor_key(&anchor.header.block_hash());
        txn.put(db, &key, &schema::encode_anchor(&key, anchor), flags)?;
    }
    match changes.tip {
        None => (),
        Some(ShareId::ZERO) => match txn.del(db, &schema::TIP_KEY, None) {
            Ok(()) | Err(lmdb::Error::NotFound) => (),
            Err(error) => return Err(error),
        },
        Some(tip) => txn.put(db, &schema::TIP_KEY, &schema::encode_tip(&tip), flags)?,
    }
    txn.commit()
}

#[cfg(test)]
pub(crate) mod tests;
