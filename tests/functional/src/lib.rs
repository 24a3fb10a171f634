//! The whole program against a real bitcoind.
