//! Fixtures for the tests of this module.

use proptest::test_runner::{Config, RngSeed};

use crate::share::{PayoutScript, ShareId};

/// The P2WPKH script of miner `number`; ascending with the number.
pub(crate) fn script(number: u32) -> PayoutScript {
    let mut bytes = [0; 22];
    bytes[1] = 0x14;
    bytes[2..6].copy_from_slice(&number.to_be_bytes());
    PayoutScript::new(&bytes).unwrap()
}

/// A nonzero share id, unique for each number.
pub(crate) fn id(number: u32) -> ShareId {
    let mut bytes = [1; 32];
    bytes[..4].copy_from_slice(&number.to_le_bytes());
    ShareId(bytes)
}

/// Configures property tests to try the same cases in every run.
pub(crate) fn seeded(cases: u32) -> Config {
    Config { cases, rng_seed: RngSeed::Fixed(2), failure_persistence: None, ..Config::default() }
}
