//! How full a bounded table is, for tests that check that what peers send stays within bounds.

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
