//! Hostile peers. Each follows the chain with a node of its own, so that what it sends is as plausible as can be, and
//! misuses what it knows.

use p2pool_core::wire::{Frame as _, Response};

use crate::engine::Simulation;

/// How a hostile peer behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Never responds and relays nothing.
    Silent,
}

impl Manner {
    /// All of them.
    pub const ALL: [Self; 1] = [Self::Silent];
}

/// What a hostile peer remembers.
pub struct Actor {
    pub manner: Manner,
}

impl Actor {
    /// One that has done nothing yet.
    pub const fn new(manner: Manner) -> Self {
        Self { manner }
    }
}

impl Simulation {
    /// Whether a node relays nothing.
    pub fn is_silent(&self, host: usize) -> bool {
        self.hosts[host].settings.manner == Some(Manner::Silent)
    }

    /// What a node really sends as its response, and after how many milliseconds.
    pub fn edit_response(&mut self, host: usize, response: Response) -> Option<(Vec<u8>, u64)> {
        match self.hosts[host].settings.manner {
            None => Some((response.encode(), 0)),
            Some(Manner::Silent) => None,
        }
    }

    /// Whether a node gives the blocks that it finds to bitcoind.
    pub fn keeps_blocks(&self, _host: usize) -> bool {
        true
    }

    /// A hostile peer's turn.
    pub fn attack(&mut self, _host: usize, _boot: u32) {}
}
