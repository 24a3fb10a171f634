//! The Bitcoin block that a share is built on (rules, section 5, rule 6).

use bitcoin::block::Header;

use crate::units::{Bits, BlockHeight, UnixTime};

/// Longest gap after which a test network allows its easiest target: 20 minutes.
const TESTNET_GAP_S: u32 = 1_200;

/// What bitcoind told us of one Bitcoin block: all that the header of its child must fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// The block's header.
    pub header: Header,
    /// Its height.
    pub height: BlockHeight,
    /// Median time of the eleven blocks that end with it.
    pub median_time_past: UnixTime,
    /// Target that its child must have.
    pub next_bits: Bits,
    /// Target that a child later than 20 minutes must have instead, on networks with that rule.
    pub next_bits_late: Option<Bits>,
}

impl Anchor {
    /// The target that a child with this header time must state.
    pub fn required_bits(&self, child_time: UnixTime) -> Bits {
        match self.next_bits_late {
            Some(late) if child_time > UnixTime(self.header.time).plus(TESTNET_GAP_S) => late,
            _ => self.next_bits,
        }
    }

    /// The latest header time for which a child may state these bits: testnets ask for others after 20 minutes.
    pub fn latest_time_for(&self, bits: Bits) -> UnixTime {
        match self.next_bits_late {
            Some(late) if bits != late => UnixTime(self.header.time).plus(TESTNET_GAP_S),
            _ => UnixTime(u32::MAX),
        }
    }
}
