//! The threads that speak to bitcoind: poll, submit and anchor.
