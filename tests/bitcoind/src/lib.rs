//! Starts a real bitcoind for tests and speaks to it.
