//! How full the node's tables are, for tests that check that what peers send stays within bounds.

use super::Node;

/// The size of one table, and its bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableSize {
    /// What it holds.
    pub name: &'static str,
    /// Number of entries.
    pub len: usize,
    /// Most entries it may have.
    pub max: usize,
}

impl TableSize {
    /// A table's size.
    pub const fn new(name: &'static str, len: usize, max: usize) -> Self {
        Self { name, len, max }
    }
}

impl Node {
    /// The sizes of all tables that grow with what peers send.
    pub fn tables(&self) -> impl Iterator<Item = TableSize> {
        let tables = [self.headers.table()].into_iter().chain(self.relay.tables());
        tables.chain(self.chain.tables()).chain(self.sync.tables())
    }
}
