//! The nonce search.

use std::ops::Range;

use bitcoin::hashes::{sha256, sha256d, Hash as _, HashEngine as _};

use crate::target::{top, Target};

/// Length of the header's first SHA-256 block, which does not depend on the nonce.
const FIXED_LEN: usize = 64;
/// Byte range of the nonce.
const NONCE: Range<usize> = 76..80;

/// A header whose first 64 bytes have been hashed.
#[derive(Clone, Debug)]
pub struct NonceSearch {
    midstate: sha256::Midstate,
    tail: [u8; 16],
}

impl NonceSearch {
    /// Prepares a header; its nonce is ignored.
    pub fn new(header: &[u8; 80]) -> Self {
        let (fixed, rest) = header.split_at(FIXED_LEN);
        let mut engine = sha256::Hash::engine();
        engine.input(fixed);
        let mut tail = [0; 16];
        tail.copy_from_slice(rest);
        Self { midstate: engine.midstate(), tail }
    }

    /// The header's hash with this nonce, in internal byte order.
    pub fn hash(&self, nonce: u32) -> [u8; 32] {
        let mut tail = self.tail;
        tail[NONCE.start - FIXED_LEN..].copy_from_slice(&nonce.to_le_bytes());
        let mut engine = sha256::HashEngine::from_midstate(self.midstate, FIXED_LEN);
        engine.input(&tail);
        sha256::Hash::from_engine(engine).hash_again().to_byte_array()
    }

    /// The first nonce in the range whose hash meets the target, with that hash.
    pub fn first(&self, nonces: Range<u64>, target: &Target) -> Option<(u32, [u8; 32])> {
        let target_top = target.top();
        for nonce in nonces {
            let nonce = u32::try_from(nonce).ok()?;
            let hash = self.hash(nonce);
            if top(&hash) <= target_top && target.is_met_by(&hash) {
                return Some((nonce, hash));
            }
        }
        None
    }
}

/// The hash of a header, in internal byte order.
pub fn hash_header(header: &[u8; 80]) -> [u8; 32] {
    sha256d::Hash::hash(header).to_byte_array()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashing_from_the_midstate_gives_the_same_hash() {
        let mut header = [0x5a; 80];
        let search = NonceSearch::new(&header);
        for nonce in [0u32, 1, 0xdead_beef, u32::MAX] {
            header[NONCE].copy_from_slice(&nonce.to_le_bytes());
            assert_eq!(search.hash(nonce), hash_header(&header));
        }
    }

    #[test]
    fn the_first_nonce_in_the_range_is_found() {
        let header = [1; 80];
        let (search, target) = (NonceSearch::new(&header), Target::from_compact(0x2000_ffff));
        let (nonce, hash) = search.first(0..1 << 20, &target).expect("one hash in 256 meets it");
        assert!(target.is_met_by(&hash));
        assert_eq!(search.first(0..u64::from(nonce), &target), None);
        assert_eq!(search.first(u64::from(nonce)..1 << 20, &target), Some((nonce, hash)));
        assert_eq!(search.first(1 << 32..(1 << 32) + 5, &target), None);
    }
}
