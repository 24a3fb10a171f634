//! A whole pool in one process, in virtual time, from one seed (`tests/simulation/README.md`).
//!
//! | file | what it simulates |
//! |---|---|
//! | `engine` | virtual time, the queue of what is to happen, faults |
//! | `host` | a machine with the real node: driver, clocks, crashes |
//! | `store` | its disk |
//! | `network` | connections, gossip with verdicts, requests, ban scores |
//! | `bitcoin` | Bitcoin blocks and bitcoinds |
//! | `miner` | mining: shares are really found |
//! | `hostile` | peers that break the rules |
//! | `invariants` | what must always hold, and a planted bug for each |
//! | `scenario` | what a pool is like, drawn from a seed |
//! | `worlds` | pools to which one thing happens, and what must hold then |
//! | `figures` | tables for the README |
//! | `rules` | difficulty and payouts over time, without nodes |

pub mod bitcoin;
pub mod engine;
pub mod figures;
pub mod host;
pub mod hostile;
pub mod invariants;
pub mod miner;
pub mod network;
pub mod random;
pub mod rules;
pub mod scenario;
pub mod store;
pub mod worlds;
