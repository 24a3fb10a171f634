//! Bitcoin's own difficulty rules: the target that the child of a given block must have.
//!
//! Needed for rule 6 (rules, section 5), which demands that a share's header could be a Bitcoin block. The rules
//! are those of Bitcoin Core's `pow.cpp`; the ones of testnet4 are BIP-0094.

use crate::params::Network;
use crate::units::{Bits, BlockHeight, Target, UnixTime, U256};

/// Blocks between two changes of the target.
pub const RETARGET_INTERVAL_BLOCKS: u32 = 2_016;
/// Seconds that so many blocks should take: two weeks.
const RETARGET_SPAN_S: u32 = 14 * 24 * 60 * 60;
/// The target changes at most by this factor at a time.
const RETARGET_STEP_MAX: u32 = 4;

/// What the difficulty rules read of a block header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockFacts {
    /// Height of the block.
    pub height: BlockHeight,
    /// Its header's time.
    pub time: UnixTime,
    /// Its header's target.
    pub bits: Bits,
}

/// The target of a block's child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextBits {
    /// What the child must state.
    pub bits: Bits,
    /// What it must state instead when its time is more than 20 minutes after its parent's: the network's easiest
    /// target, on testnets and there only while the period lasts.
    pub late: Option<Bits>,
}

/// How a network sets its target.
struct PowRules {
    /// The easiest target.
    limit: Bits,
    /// Whether a block that comes late may be as easy as that.
    late_blocks_easy: bool,
    /// Whether a new period starts from the target of the last period's first block instead of its last (BIP-0094).
    from_first_block: bool,
}

/// The rules of `network`; custom signets have those of the public one. `None`: the target never changes.
fn pow_rules(network: Network) -> Option<PowRules> {
    let rules = |limit, late_blocks_easy, from_first_block| {
        Some(PowRules { limit: Bits(limit), late_blocks_easy, from_first_block })
    };
    match network {
        Network::Mainnet => rules(0x1d00_ffff, false, false),
        Network::Testnet3 => rules(0x1d00_ffff, true, false),
        Network::Testnet4 => rules(0x1d00_ffff, true, true),
        Network::Signet => rules(0x1e03_77ae, false, false),
        Network::Regtest => None,
    }
}

/// The target that the child of `parent` must have.
///
/// `ancestor` gives the facts of the block at a lower height on `parent`'s own branch. It is asked for the first block of
/// the period at the end of one, else on testnets for one block after the other, downwards, while they are as
/// easy as late blocks may be; at most [`RETARGET_INTERVAL_BLOCKS`] - 1 questions.
///
/// # Errors
/// Whatever `ancestor` fails with.
pub fn next_bits<E>(
    network: Network,
    parent: BlockFacts,
    mut ancestor: impl FnMut(BlockHeight) -> Result<BlockFacts, E>,
) -> Result<NextBits, E> {
    // Regtest has every block at its easiest target.
    let Some(rules) = pow_rules(network) else { return Ok(NextBits { bits: parent.bits, late: None }) };
    let place = parent.height.0 % RETARGET_INTERVAL_BLOCKS;
    if place == RETARGET_INTERVAL_BLOCKS - 1 {
        let first = ancestor(BlockHeight(parent.height.0.saturating_sub(place)))?;
        let base = if rules.from_first_block { first.bits } else { parent.bits };
        let span_s = i64::from(parent.time.0) - i64::from(first.time.0);
        return Ok(NextBits { bits: retarget(base, span_s, rules.limit), late: None });
    }
    if !rules.late_blocks_easy {
        return Ok(NextBits { bits: parent.bits, late: None });
    }
    let mut block = parent;
    while block.bits == rules.limit && !block.height.0.is_multiple_of(RETARGET_INTERVAL_BLOCKS) {
        block = ancestor(BlockHeight(block.height.0.saturating_sub(1)))?;
    }
    Ok(NextBits { bits: block.bits, late: Some(rules.limit) })
}

/// `base` scaled by the time the period took, within limits.
fn retarget(base: Bits, span_s: i64, limit: Bits) -> Bits {
    let shortest = RETARGET_SPAN_S / RETARGET_STEP_MAX;
    let longest = RETARGET_SPAN_S.saturating_mul(RETARGET_STEP_MAX);
    let span_s = u32::try_from(span_s.max(0)).unwrap_or(u32::MAX).clamp(shortest, longest);
    // Whatever bitcoind accepted as a header has canonical targets.
    let (Ok(target), Ok(limit_target)) = (base.target(), limit.target()) else { return base };
    // At most 2^234 times 2^23 by the limits above, but signet's limit was chosen so that it just fits 256 bits.
    let scaled = target.0.wrapping_mul(U256::from(span_s)) / U256::from(RETARGET_SPAN_S);
    Target(scaled).min(limit_target).to_bits()
}

#[cfg(test)]
mod tests;
