//! Tests of the whole program with a real bitcoind.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod absent_workers;
mod bitcoind_restart;
mod browsers_beside_miners;
mod dashboard;
mod found_blocks;
mod full_block;
mod full_disk;
mod idle_sessions;
mod kill_loop;
mod network;
mod network_activation;
mod network_blocks;
mod network_clock;
mod network_faults;
mod network_gossip;
mod network_homes;
mod network_operator;
mod network_partition;
mod network_pruned;
mod network_reconnect;
mod network_solo;
mod network_strangers;
mod no_work;
mod regtest;
mod rpc_rights;
mod signet;
mod transactions;
mod two_miners;
mod user_names;
mod work;
mod wrong_flags;

use std::time::Duration;

use p2pool_test_bitcoind::{wait_until, Bitcoind, Chain};
use p2pool_test_functional::{payees, pool};

/// Timeout for anything that takes a moment; generous because the machine may be busy.
const TIMEOUT: Duration = Duration::from_secs(120);

/// Lowest difficulty of sessions, as a password: 43,000 hashes per submit.
const EASIEST: &str = "d=0.00001";

/// Options with payee 0, a short share period and short windows. Sessions start with the difficulty of shares.
fn options(chain: Chain) -> pool::Options {
    pool::Options {
        address: payees::p2tr_address(chain, 0),
        flags: ["-share-period=1", "-payout-window=1000", "-retarget-window=20"].map(str::to_owned).to_vec(),
        environment: Vec::new(),
    }
}

/// Waits until bitcoind knows the block with this hash (in internal byte order), on any branch.
#[track_caller]
fn wait_block(bitcoind: &Bitcoind, hash: [u8; 32]) -> bitcoin::BlockHash {
    let hash = bitcoin::BlockHash::from_raw_hash(bitcoin::hashes::Hash::from_byte_array(hash));
    wait_until(&format!("bitcoind to have block {hash}"), TIMEOUT, || {
        bitcoind.rpc("getblock", serde_json::json!([hash.to_string(), 0])).is_ok()
    });
    hash
}
