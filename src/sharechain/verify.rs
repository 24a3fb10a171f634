//! Validity rule 8 (rules, section 5): the proof of work covers exactly the coinbase that the rules ask for.

use bitcoin::hashes::Hash as _;

use super::failure::{require, Failure, Rule};
use crate::params::{ChainId, Network};
use crate::payouts::Window;
use crate::share::coinbase::{fold_merkle_branch, Coinbase};
use crate::share::Share;
use crate::units::{BlockHeight, Sats, MAX_MONEY};

/// Subsidy of the first blocks.
const FIRST_SUBSIDY: Sats = Sats(50 * 100_000_000);

/// What Bitcoin creates in a block of this height.
pub fn subsidy(network: Network, height: BlockHeight) -> Sats {
    let halvings = height.0.checked_div(network.halving_interval_blocks()).unwrap_or(0);
    Sats(FIRST_SUBSIDY.0.checked_shr(halvings).unwrap_or(0))
}

/// Rule 8; `window` ends at the share's parent.
pub(super) fn check_payouts(
    network: Network,
    chain_id: &ChainId,
    share: &Share,
    window: &Window,
) -> Result<(), Failure> {
    let info = &share.info;
    require(
        info.coinbase_value >= subsidy(network, info.block_height) && info.coinbase_value <= MAX_MONEY,
        Rule::Payouts,
        "coinbase value below the subsidy or above all money",
    )?;
    let payouts = window.payouts(info.coinbase_value, info.payout_script);
    let coinbase = Coinbase::new(chain_id, info, &payouts);
    let root = fold_merkle_branch(coinbase.txid(&share.extranonce), &share.merkle_branch);
    require(
        root == share.header.merkle_root.to_byte_array(),
        Rule::Payouts,
        "the header does not commit to the coinbase that the rules ask for",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subsidy_halves() {
        assert_eq!(subsidy(Network::Mainnet, BlockHeight(209_999)), Sats(5_000_000_000));
        assert_eq!(subsidy(Network::Mainnet, BlockHeight(840_000)), Sats(312_500_000));
        assert_eq!(subsidy(Network::Mainnet, BlockHeight(33 * 210_000)), Sats(0));
        assert_eq!(subsidy(Network::Mainnet, BlockHeight(u32::MAX)), Sats(0));
        assert_eq!(subsidy(Network::Regtest, BlockHeight(150)), Sats(2_500_000_000));
    }
}
