//! Assigns each session its extranonce1: four bytes of the coinbase that no other live session has.

use std::collections::{HashSet, VecDeque};

use crate::share::EXTRANONCE1_LEN;

/// The server's part of the extranonce, unique for each live session.
pub type Extranonce1 = [u8; EXTRANONCE1_LEN];

/// Number of ended sessions whose extranonce is kept for a reconnect; enough for a farm.
const RESUMABLE_MAX: usize = 4_096;

/// The extranonces of live sessions, and those of ended sessions that may reconnect.
#[derive(Debug)]
pub struct Extranonces {
    next: u32,
    live: HashSet<u32>,
    released: VecDeque<u32>,
}

impl Extranonces {
    /// Starts at `first`, which should differ between runs of the program.
    pub fn new(first: u32) -> Self {
        Self { next: first, live: HashSet::new(), released: VecDeque::new() }
    }

    /// Assigns an extranonce that no live session has. The counter wraps around after 2^32 sessions.
    pub fn allocate(&mut self) -> Extranonce1 {
        while !self.live.insert(self.next) {
            self.next = self.next.wrapping_add(1);
        }
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        number.to_be_bytes()
    }

    /// Assigns the extranonce of an ended session again; false if that is not possible.
    pub fn resume(&mut self, extranonce1: Extranonce1) -> bool {
        let number = u32::from_be_bytes(extranonce1);
        let Some(index) = self.released.iter().position(|released| *released == number) else { return false };
        self.released.remove(index);
        self.live.insert(number)
    }

    /// Releases the extranonce of a session that has ended.
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
    fn live_sessions_have_different_extranonces() {
        let mut extranonces = Extranonces::new(u32::MAX);
        let first = extranonces.allocate();
        assert_eq!(first, [0xff; 4]);
        assert_eq!(extranonces.allocate(), [0; 4]);
        extranonces.next = u32::MAX;
        assert_eq!(extranonces.allocate(), [0, 0, 0, 1], "those in use are skipped");
    }

    #[test]
    fn only_released_extranonces_are_resumed() {
        let mut extranonces = Extranonces::new(7);
        let mine = extranonces.allocate();
        assert!(!extranonces.resume(mine), "still in use");
        assert!(!extranonces.resume([9; 4]), "never assigned");
        extranonces.release(mine);
        extranonces.release([9; 4]);
        assert!(!extranonces.resume([9; 4]), "releasing one that was not assigned has no effect");
        assert!(extranonces.resume(mine));
        assert!(!extranonces.resume(mine), "resumed already");
    }

    #[test]
    fn the_number_of_released_extranonces_is_bounded() {
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
