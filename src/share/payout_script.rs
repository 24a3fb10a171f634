//! The script that a share's miner is paid to.

use std::fmt;

use bitcoin::hex::DisplayHex as _;
use bitcoin::{Address, Script};

use crate::params::Network;

/// Length of the longest standard scripts, P2WSH and P2TR, in bytes.
const LEN_MAX: usize = 34;

/// A scriptPubKey of one of the five standard types: P2PKH, P2SH, P2WPKH, P2WSH or P2TR. Stored inline.
///
/// Ordered lexicographically by bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PayoutScript {
    bytes: [u8; LEN_MAX],
    len: u8,
}

/// The script is not of a type that a share may pay to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a P2PKH, P2SH, P2WPKH, P2WSH or P2TR script")]
pub struct PayoutScriptError;

impl PayoutScript {
    /// Checks that `script` is of one of the five types.
    ///
    /// # Errors
    /// If it is not.
    pub fn new(script: &[u8]) -> Result<Self, PayoutScriptError> {
        let standard = match script {
            [0x76, 0xa9, 0x14, hash @ .., 0x88, 0xac] => hash.len() == 20,
            [0xa9, 0x14, hash @ .., 0x87] => hash.len() == 20,
            [0x00, 0x14, hash @ ..] => hash.len() == 20,
            [0x00, 0x20, hash @ ..] | [0x51, 0x20, hash @ ..] => hash.len() == 32,
            _ => false,
        };
        let mut bytes = [0; LEN_MAX];
        let (Some(place), Ok(len), true) = (bytes.get_mut(..script.len()), u8::try_from(script.len()), standard) else {
            return Err(PayoutScriptError);
        };
        place.copy_from_slice(script);
        Ok(Self { bytes, len })
    }

    /// The script, 22 to 34 bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or(&self.bytes)
    }

    /// The script's address on `network`.
    pub fn to_address(&self, network: Network) -> String {
        Address::from_script(Script::from_bytes(self.as_bytes()), network.to_bitcoin())
            .map_or_else(|_| format!("script {self}"), |address| address.to_string())
    }
}

impl Ord for PayoutScript {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl PartialOrd for PayoutScript {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for PayoutScript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().as_hex().fmt(f)
    }
}

impl fmt::Debug for PayoutScript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PayoutScript({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(parts: &[&[u8]]) -> Vec<u8> {
        parts.concat()
    }

    #[test]
    fn the_five_standard_types_are_accepted() {
        for bytes in [
            script(&[&[0x76, 0xa9, 0x14], &[1; 20], &[0x88, 0xac]]),
            script(&[&[0xa9, 0x14], &[1; 20], &[0x87]]),
            script(&[&[0x00, 0x14], &[1; 20]]),
            script(&[&[0x00, 0x20], &[1; 32]]),
            script(&[&[0x51, 0x20], &[1; 32]]),
        ] {
            assert_eq!(PayoutScript::new(&bytes).unwrap().as_bytes(), bytes);
        }
    }

    #[test]
    fn other_scripts_are_rejected() {
        for bytes in [
            script(&[]),
            script(&[&[0x51]]),
            script(&[&[0x6a, 0x04], &[1; 4]]),
            script(&[&[0x00, 0x14], &[1; 21]]),
            script(&[&[0x00, 0x20], &[1; 20]]),
            script(&[&[0x52, 0x20], &[1; 32]]),
            script(&[&[0x76, 0xa9, 0x14], &[1; 20], &[0x88, 0xad]]),
            script(&[&[0x51, 0x02], &[1; 2]]),
            script(&[&[0x51, 0x20], &[1; 200]]),
        ] {
            assert_eq!(PayoutScript::new(&bytes), Err(PayoutScriptError));
        }
    }

    #[test]
    fn scripts_sort_by_their_bytes() {
        let p2tr = PayoutScript::new(&script(&[&[0x51, 0x20], &[0; 32]])).unwrap();
        let p2wpkh = PayoutScript::new(&script(&[&[0x00, 0x14], &[0xff; 20]])).unwrap();
        assert!(p2wpkh < p2tr);
    }
}
