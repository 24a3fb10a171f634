//! Bitcoin's difficulty rules: the target of the child of a given block.
//!
//! Rule 6 (rules, section 5) needs it: a share's header must be one that Bitcoin could accept. The rules are those of
//! Bitcoin Core's `pow.cpp`; those of testnet4 are in BIP-0094.

use crate::params::Network;
use crate::units::{Bits, BlockHeight, Target, UnixTime, U256};

/// Number of blocks between two changes of the target.
pub const RETARGET_INTERVAL_BLOCKS: u32 = 2_016;
/// Seconds that these blocks should take: two weeks.
const RETARGET_SPAN_S: u32 = 14 * 24 * 60 * 60;
/// The target changes at most by this factor at a time.
const RETARGET_STEP_MAX: u32 = 4;

/// What the difficulty rules read of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockFacts {
    pub height: BlockHeight,
    /// The header's time.
    pub time: UnixTime,
    /// The target that the header states.
    pub bits: Bits,
}

/// The target of a block's child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextBits {
    /// The target that the child must state.
    pub bits: Bits,
    /// The target that it must state instead if its time is more than 20 minutes after its parent's: the easiest one.
    /// Only testnets have it, and not for the first block of a period.
    pub late: Option<Bits>,
}

/// The difficulty rules of a network.
struct PowRules {
    /// The easiest target of the network.
    limit: Bits,
    /// Whether a late block has the easiest target.
    late_blocks_easy: bool,
    /// Whether a retarget scales the target of the period's first block instead of its last one (BIP-0094).
    from_first_block: bool,
}

/// Returns the rules of a network, or `None` if its target never changes. Custom signets have the public one's rules.
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

/// What the difficulty rules read of the first block of a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeriodStart {
    /// The header's time.
    pub time: UnixTime,
    /// The target that the header states.
    pub bits: Bits,
}

/// Whether the block at a height is the first of its period.
pub const fn starts_period(height: BlockHeight) -> bool {
    height.0.is_multiple_of(RETARGET_INTERVAL_BLOCKS)
}

/// The target that late blocks have on networks with the 20-minute rule: the easiest one.
pub fn late_bits(network: Network) -> Option<Bits> {
    pow_rules(network).filter(|rules| rules.late_blocks_easy).map(|rules| rules.limit)
}

/// Returns the target that the child of `parent` must have.
///
/// `period_start` is the first block of the parent's period. `lasting_bits` matter on networks with the 20-minute rule only:
/// the target of the last block up to the parent that is not the easiest one, or of the period's first block.
pub fn next_bits(network: Network, parent: BlockFacts, period_start: PeriodStart, lasting_bits: Bits) -> NextBits {
    // On regtest every block has the easiest target.
    let Some(rules) = pow_rules(network) else { return NextBits { bits: parent.bits, late: None } };
    if starts_period(BlockHeight(parent.height.0.saturating_add(1))) {
        let base = if rules.from_first_block { period_start.bits } else { parent.bits };
        let span_s = i64::from(parent.time.0) - i64::from(period_start.time.0);
        return NextBits { bits: retarget(base, span_s, rules.limit), late: None };
    }
    if !rules.late_blocks_easy {
        return NextBits { bits: parent.bits, late: None };
    }
    NextBits { bits: lasting_bits, late: Some(rules.limit) }
}

/// Returns `base` scaled by the time that the period took, within limits.
fn retarget(base: Bits, span_s: i64, limit: Bits) -> Bits {
    let shortest = RETARGET_SPAN_S / RETARGET_STEP_MAX;
    let longest = RETARGET_SPAN_S.saturating_mul(RETARGET_STEP_MAX);
    let span_s = u32::try_from(span_s.max(0)).unwrap_or(u32::MAX).clamp(shortest, longest);
    let target = base.target().unwrap_or(Target::MAX);
    let limit_target = limit.target().expect("a network's easiest bits are canonical");
    // The product is below 2^234 times 2^23. Signet's limit was chosen so that it just fits 256 bits.
    let scaled = target.0.wrapping_mul(U256::from(span_s)) / U256::from(RETARGET_SPAN_S);
    Target(scaled).min(limit_target).to_bits()
}

#[cfg(test)]
mod tests;
