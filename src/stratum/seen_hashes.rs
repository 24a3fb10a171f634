//! Header hashes that were seen before, in memory that is claimed once.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};

/// Hashes in each of two generations.
///
/// A thousand miners at the aimed pace send 100 a second: two generations then hold between 11 and
/// 22 minutes, longer than jobs live.
const GENERATION_LEN: usize = 65_536;

/// The low half of a hash. Its high bytes are zeros, its low ones as good as random: two honest shares that agree
/// in 128 bits do not happen.
type Fingerprint = u128;

type Generation = HashSet<Fingerprint, BuildHasherDefault<LowBits>>;

/// Remembers the last headers: at least 65,536, at most twice as many; never allocates after `new`.
#[derive(Debug)]
pub struct SeenHashes {
    young: Generation,
    old: Generation,
    generation_len: usize,
}

impl SeenHashes {
    /// Claims the memory, about 4.5 MB of address space; pages count once they are used.
    pub fn new() -> Self {
        Self::with_generation(GENERATION_LEN)
    }

    fn with_generation(generation_len: usize) -> Self {
        let generation = || Generation::with_capacity_and_hasher(generation_len, BuildHasherDefault::default());
        Self { young: generation(), old: generation(), generation_len }
    }

    /// Whether the hash was inserted lately.
    pub fn contains(&self, hash: &[u8; 32]) -> bool {
        let fingerprint = fingerprint(hash);
        self.young.contains(&fingerprint) || self.old.contains(&fingerprint)
    }

    /// Remembers the hash.
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

/// Takes the key's low bits for its hash: a miner who wants them to collide must find a share for each try.
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
    fn a_hash_is_remembered_for_a_generation_and_forgotten_after_two() {
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
    fn memory_is_claimed_once() {
        let mut seen = SeenHashes::with_generation(1_000);
        let capacity = (seen.young.capacity(), seen.old.capacity());
        for number in 0..5_000 {
            seen.insert(&hash(number));
        }
        assert_eq!((seen.young.capacity(), seen.old.capacity()), capacity);
    }
}
