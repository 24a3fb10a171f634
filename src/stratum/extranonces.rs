//! The part of the search space that a session owns: four bytes of the coinbase that no other live session has.

use std::collections::{HashSet, VecDeque};

use crate::share::EXTRANONCE1_LEN;

/// A session's part of the extranonce.
pub type Extranonce1 = [u8; EXTRANONCE1_LEN];

/// Left sessions whose part is kept for their return; a reconnecting farm fits.
const RESUMABLE_MAX: usize = 4_096;

/// Hands out extranonces.
#[derive(Debug)]
pub struct Extranonces {
    next: u32,
    live: HashSet<u32>,
    released: VecDeque<u32>,
}

impl Extranonces {
    /// Starts counting at `first`, which should differ from one run of the program to the next.
    pub fn new(first: u32) -> Self {
        Self { next: first, live: HashSet::new(), released: VecDeque::new() }
    }

    /// One that no live session has. The counter comes around after 2^32 sessions.
    pub fn allocate(&mut self) -> Extranonce1 {
        while !self.live.insert(self.next) {
            self.next = self.next.wrapping_add(1);
        }
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        number.to_be_bytes()
    }

    /// The same as a session had that has ended; whether it could be given.
    pub fn resume(&mut self, extranonce1: Extranonce1) -> bool {
        let number = u32::from_be_bytes(extranonce1);
        let Some(place) = self.released.iter().position(|released| *released == number) else { return false };
        self.released.remove(place);
        self.live.insert(number)
    }

    /// The session that had it has ended.
    pub fn release(&mut self, extranonce1: Extranonce1) {
        let number = u32::from_be_bytes(extranonce1);
        if self.live.remove(&number) {
            if self.released.len() >= RESUMABLE_MAX {
                self.released.pop_front();
            }
            self.released.push_back(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn live_sessions_never_share() {
        let mut extranonces = Extranonces::new(u32::MAX);
        let first = extranonces.allocate();
        assert_eq!(first, [0xff; 4]);
        assert_eq!(extranonces.allocate(), [0; 4]);
        extranonces.next = u32::MAX;
        assert_eq!(extranonces.allocate(), [0, 0, 0, 1], "taken ones are skipped");
    }

    #[test]
    fn only_what_was_given_and_is_free_is_resumed() {
        let mut extranonces = Extranonces::new(7);
        let mine = extranonces.allocate();
        assert!(!extranonces.resume(mine), "still live");
        assert!(!extranonces.resume([9; 4]), "never given");
        extranonces.release(mine);
        extranonces.release([9; 4]);
        assert!(!extranonces.resume([9; 4]), "releasing what was not live gives nothing");
        assert!(extranonces.resume(mine));
        assert!(!extranonces.resume(mine), "resumed once");
    }

    #[test]
    fn what_is_kept_for_return_is_bounded() {
        let mut extranonces = Extranonces::new(0);
        for _ in 0..RESUMABLE_MAX + 10 {
            let extranonce1 = extranonces.allocate();
            extranonces.release(extranonce1);
        }
        assert_eq!(extranonces.released.len(), RESUMABLE_MAX);
        assert!(!extranonces.resume([0; 4]));
        assert!(extranonces.resume([0, 0, 0, 10]));
    }
}
