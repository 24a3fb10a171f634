//! What the payout window decides for the next share: the class of payout outputs (rules, section 7) and the version of the
//! rules (section 10).

use crate::params::{
    Activation, ChainParams, ACTIVATION_DELAY_MAX_BLOCKS, OUTPUTS_CLASSES, OUTPUTS_CLASS_INTERVAL, RULES_VERSION_FIRST,
};
use crate::payouts::Ballot;
use crate::share::ShareInfo;
use crate::units::BlockHeight;

/// Per cent of the work that must vote higher for the class to rise.
const OUTPUTS_RISE_PERCENT: u8 = 95;
/// Per cent of the work that must vote at least as high for the class to stay.
const OUTPUTS_STAY_PERCENT: u8 = 90;
/// Per cent of the work that must signal a version for it to begin.
const SIGNAL_PERCENT: u8 = 80;

/// Returns the class of payout outputs of a child of `parent`. `ballot` is that of the window that ends at the parent.
pub fn outputs_class(params: &ChainParams, parent: Option<&ShareInfo>, ballot: &Ballot) -> u8 {
    let Some(parent) = parent else { return 0 };
    let height = parent.share_height.0.saturating_add(1);
    if height < params.payout_window {
        return 0;
    }
    let class = parent.outputs_class;
    if !height.is_multiple_of(OUTPUTS_CLASS_INTERVAL) {
        return class;
    }
    let higher = class.saturating_add(1);
    if usize::from(higher) < OUTPUTS_CLASSES
        && ballot.is_at_least(ballot.outputs_at_least(higher), OUTPUTS_RISE_PERCENT)
    {
        return higher;
    }
    match ballot.is_at_least(ballot.outputs_at_least(class), OUTPUTS_STAY_PERCENT) {
        true => class,
        false => class.saturating_sub(1),
    }
}

/// Returns the version of the rules of a child of `parent` with this block height. `ballot` is that of the window that ends
/// at the parent. Versions that this software does not know do not begin here.
pub fn rules_version(
    params: &ChainParams,
    parent: Option<&ShareInfo>,
    block_height: BlockHeight,
    ballot: &Ballot,
) -> u8 {
    let begins = |activation: &&Activation| {
        let Some(since) = block_height.0.checked_sub(activation.height.0) else { return false };
        since >= ACTIVATION_DELAY_MAX_BLOCKS
            || ballot.is_at_least(ballot.signalling(activation.version), SIGNAL_PERCENT)
    };
    let known = params.activations.iter().filter(|activation| activation.version <= params.rules_version_known);
    let begun = known.filter(begins).map(|activation| activation.version).max();
    let before = parent.map_or(RULES_VERSION_FIRST, |parent| parent.rules_version);
    begun.map_or(before, |version| version.max(before))
}

#[cfg(test)]
mod tests;
