//! Anchors: the Bitcoin blocks that shares build on (rules, section 5, rule 6).

use bitcoin::block::Header;

use crate::units::{Bits, BlockHeight, UnixTime};

/// Time after its parent at which a test network's block may have the easiest target: 20 minutes.
const TESTNET_GAP_S: u32 = 1_200;

/// A Bitcoin block as bitcoind reports it: everything that the header of a child must match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anchor {
    pub header: Header,
    pub height: BlockHeight,
    /// Median time of the eleven blocks that end with this one (BIP-0113).
    pub median_time_past: UnixTime,
    /// Target that a child must state.
    pub next_bits: Bits,
    /// On networks with the 20-minute rule: target that a child must state instead if it is that late.
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

    /// The latest header time at which a child may state these bits: test networks require others after 20 minutes.
    pub fn latest_time_for(&self, bits: Bits) -> UnixTime {
        match self.next_bits_late {
            Some(late) if bits != late => UnixTime(self.header.time).plus(TESTNET_GAP_S),
            _ => UnixTime(u32::MAX),
        }
    }
}
