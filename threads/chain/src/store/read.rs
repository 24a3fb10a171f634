//! Reading the store: a view at one moment, and a reader for other processes than the node.

use std::path::{Path, PathBuf};

use bitcoin::hex::DisplayHex as _;
use lmdb::{Cursor as _, Database, EnvironmentFlags, RoTransaction, Transaction as _};
use p2pool_core::node::StoredShare;
use p2pool_core::params::ChainParams;
use p2pool_core::share::ShareId;
use p2pool_core::sharechain::Anchor;

use super::env::{Env, Paths};
use super::guard::ProcessGuard;
use super::schema::{self, RecordError, ANCHOR_PREFIX, META_KEY, SHARE_PREFIX, TIP_KEY};
use super::{StoreError, MAP_START_BYTES};

/// A store that is open for reading, perhaps while a node in another process writes it.
pub struct StoreReader {
    env: Env,
    path: PathBuf,
    // Last, so that it is released after the environment is closed.
    _guard: ProcessGuard,
}

impl StoreReader {
    /// Opens the store of the chain in `dir`, the chain's own folder.
    ///
    /// # Errors
    /// The store does not exist, belongs to another chain or schema, or is already open in this process.
    pub fn open(dir: &Path, params: &ChainParams) -> Result<Self, StoreError> {
        let paths = Paths::new(dir)?;
        if !paths.data().exists() {
            return Err(StoreError::Missing(paths.store));
        }
        let guard = ProcessGuard::take(&paths.store)?;
        let env = Env::open(&paths.store, MAP_START_BYTES, EnvironmentFlags::READ_ONLY)?;
        env.check(&paths.store, &params.chain_id())?;
        Ok(Self { env, path: paths.store, _guard: guard })
    }

    /// Returns a view of the store as it is now. While the view exists, the node cannot reuse pages that it frees, so the
    /// file grows: drop the view soon.
    ///
    /// # Errors
    /// The read transaction cannot begin.
    pub fn view(&self) -> Result<View<'_>, StoreError> {
        View::new(&self.env, &self.path)
    }
}

/// The content of a store.
#[derive(Debug, Default)]
pub struct Content {
    /// The tip last committed; `None` while there is no chain.
    pub tip: Option<ShareId>,
    pub shares: Vec<StoredShare>,
    pub anchors: Vec<Anchor>,
}

/// A share or an anchor of a store.
pub enum Record {
    Share(StoredShare),
    Anchor(Anchor),
}

/// The store at one moment.
pub struct View<'env> {
    txn: RoTransaction<'env>,
    db: Database,
    path: &'env Path,
}

impl<'env> View<'env> {
    pub(super) fn new(env: &'env Env, path: &'env Path) -> Result<Self, StoreError> {
        Ok(Self { txn: env.begin_ro(path)?, db: env.db, path })
    }

    /// The tip; `None` while there is no chain.
    ///
    /// # Errors
    /// The store is unreadable or damaged.
    pub fn tip(&self) -> Result<Option<ShareId>, StoreError> {
        match self.txn.get(self.db, &TIP_KEY) {
            Ok(value) => schema::decode_tip(value).map(Some).map_err(|source| self.damaged(&TIP_KEY, source)),
            Err(lmdb::Error::NotFound) => Ok(None),
            Err(error) => Err(StoreError::lmdb("read", self.path, error)),
        }
    }

    /// Reads one share.
    ///
    /// # Errors
    /// The store is unreadable or damaged.
    pub fn share(&self, id: &ShareId) -> Result<Option<StoredShare>, StoreError> {
        let key = schema::share_key(id);
        match self.txn.get(self.db, &key) {
            Ok(value) => schema::decode_share(&key, value).map(Some).map_err(|source| self.damaged(&key, source)),
            Err(lmdb::Error::NotFound) => Ok(None),
            Err(error) => Err(StoreError::lmdb("read", self.path, error)),
        }
    }

    /// Reads everything. Shares ascend by share height (then id), so that parents come first.
    ///
    /// # Errors
    /// The store is unreadable, or a record is damaged; the error names it.
    pub fn content(&self) -> Result<Content, StoreError> {
        let mut content = Content { tip: self.tip()?, ..Content::default() };
        self.each(|record| match record {
            Record::Share(stored) => content.shares.push(stored),
            Record::Anchor(anchor) => content.anchors.push(anchor),
        })?;
        content.shares.sort_unstable_by_key(|stored| (stored.share.info.share_height, stored.id));
        Ok(content)
    }

    /// Passes on every record in the order of keys: anchors, then shares by the bytes of their ids.
    ///
    /// # Errors
    /// The store is unreadable or damaged.
    pub fn each(&self, mut each: impl FnMut(Record)) -> Result<(), StoreError> {
        let unreadable = |error| StoreError::lmdb("read", self.path, error);
        let mut cursor = self.txn.open_ro_cursor(self.db).map_err(unreadable)?;
        for record in cursor.iter_start() {
            let (key, value) = record.map_err(unreadable)?;
            let damaged = |source| self.damaged(key, source);
            match key.first() {
                Some(&SHARE_PREFIX) => each(Record::Share(schema::decode_share(key, value).map_err(damaged)?)),
                Some(&ANCHOR_PREFIX) => each(Record::Anchor(schema::decode_anchor(key, value).map_err(damaged)?)),
                _ if key == META_KEY || key == TIP_KEY => (),
                _ => return Err(damaged(RecordError::Key)),
            }
        }
        Ok(())
    }

    fn damaged(&self, key: &[u8], source: RecordError) -> StoreError {
        StoreError::Record { path: self.path.to_owned(), key: show_key(key), source }
    }
}

/// Formats a key for operators: the letter of its kind, then the hash in display order.
fn show_key(key: &[u8]) -> String {
    let Some((kind, id)) = key.split_first() else { return "(empty key)".to_owned() };
    let kind = char::from(*kind).escape_default();
    if id.is_empty() {
        return kind.to_string();
    }
    let id: Vec<u8> = id.iter().rev().copied().collect();
    format!("{kind} {}", id.as_hex())
}
