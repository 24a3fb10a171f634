//! Scripts and ids for the tests of this module.

use crate::share::{PayoutScript, ShareId};

/// The P2WPKH script of miner `number`; ascending with the number.
pub(crate) fn script(number: u32) -> PayoutScript {
    let mut bytes = [0; 22];
    bytes[1] = 0x14;
    bytes[2..6].copy_from_slice(&number.to_be_bytes());
    PayoutScript::new(&bytes).unwrap()
}

/// A share id that is not zero, one for each number.
pub(crate) fn id(number: u32) -> ShareId {
    let mut bytes = [1; 32];
    bytes[..4].copy_from_slice(&number.to_le_bytes());
    ShareId(bytes)
}
