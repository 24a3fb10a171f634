//! Remembers the hashes of earlier submits, in memory that is allocated once.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};

/// Number of hashes in each of two generations.
///
/// A thousand miners at vardiff's target interval send 100 submits per second. Two generations then cover 11 to 22
/// minutes, longer than jobs are kept.
const GENERATION_LEN: usize = 65_536;

/// The low half of a hash. Unlike the high half, which has leading zeros, it is effectively random, so that no two honest
/// submits have the same.
type Fingerprint = u128;

type Generation = HashSet<Fingerprint, BuildHasherDefault<LowBits>>;

/// The hashes of the last 65,536 to 131,072 submits. Does not allocate after `new`.
#[derive(Debug)]
pub struct SeenHashes {
    young: Generation,
    old: Generation,
    generation_len: usize,
}

impl SeenHashes {
    /// Allocates about 4.5 MB, which become resident as they are used.
    pub fn new() -> Self {
        Self::with_generation(GENERATION_LEN)
    }

    fn with_generation(generation_len: usize) -> Self {
        let generation = || Generation::with_capacity_and_hasher(generation_len, BuildHasherDefault::default());
        Self { young: generation(), old: generation(), generation_len }
    }

    /// Whether the hash was inserted recently.
    pub fn contains(&self, hash: &[u8; 32]) -> bool {
        let fingerprint = fingerprint(hash);
        self.young.contains(&fingerprint) || self.old.contains(&fingerprint)
    }

    pub fn insert(&mut self, hash: &[u8; 32]) {
        if self.young.len() >= self.generation_len {
            std::mem::swap(&mut self.young, &mut self.old);
            self.young.clear();
        }
        self.young.insert(fingerprint(hash));
    }
}

impl Default for SeenHashes {
    fn default() -> Self {
        Self::new()
    }
}

fn fingerprint(hash: &[u8; 32]) -> Fingerprint {
    let [low @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = *hash;
    Fingerprint::from_le_bytes(low)
}

/// Uses bits of the key as its hash. To make them collide, a miner would have to find a share per attempt.
#[derive(Debug, Default)]
struct LowBits(u64);

impl Hasher for LowBits {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u128(&mut self, key: u128) {
        self.0 = (key as u64) ^ ((key >> 64) as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(number: u32) -> [u8; 32] {
        crate::share::header_hash(&{
            let mut header = [0; 80];
            header[..4].copy_from_slice(&number.to_le_bytes());
            header
        })
    }

    #[test]
    fn a_hash_is_remembered_for_one_to_two_generations() {
        let mut seen = SeenHashes::with_generation(100);
        assert!(!seen.contains(&hash(0)));
        for number in 0..1_000 {
            assert!(!seen.contains(&hash(number)));
            seen.insert(&hash(number));
            for recent in number.saturating_sub(99)..=number {
                assert!(seen.contains(&hash(recent)));
            }
            assert!(seen.young.len() + seen.old.len() <= 200);
        }
        assert!(!seen.contains(&hash(0)));
    }

    #[test]
    fn inserting_does_not_allocate() {
        let mut seen = SeenHashes::with_generation(1_000);
        let capacity = (seen.young.capacity(), seen.old.capacity());
        for number in 0..5_000 {
            seen.insert(&hash(number));
        }
        assert_eq!((seen.young.capacity(), seen.old.capacity()), capacity);
    }
}
