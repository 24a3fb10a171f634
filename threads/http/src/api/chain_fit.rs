//! Whether the chain of this node fits its miners' hash rate.

use p2pool_core::params::{MAIN_CHAIN_NAME, MINI_CHAIN_NAME};
use serde::Serialize;

use crate::snapshot::Snapshot;

/// Own shares in a payout window from which a payout is steady enough: with fewer it varies by more than a third, as the
/// square root of ten is about a third of it.
const OWN_SHARES_MIN: f64 = 10.0;

/// How many shares this node's miners find in a payout window, and which of the official chains fits that.
#[derive(Serialize)]
pub struct ChainFit {
    /// On average, at the present hash rates; `None` without miners or while the chain is not known.
    own_shares_per_window: Option<f64>,
    /// `None` on other chains as well.
    fits: Option<&'static str>,
    /// Why, and what to do.
    advice: Option<String>,
}

impl ChainFit {
    /// `window_shares` is the number of shares in the payout window, if it is known.
    pub fn new(snapshot: &Snapshot, window_shares: Option<usize>) -> Self {
        let (tree, local) = (snapshot.tree(), snapshot.local_hashes_per_s());
        let pool = snapshot.pool_hashes_per_s().max(local);
        let known = window_shares.filter(|_| local > 0.0);
        // While the chain is short, the window is not at its full length.
        let full = tree.params().payout_window as usize;
        let shares = known.map(|shares| if shares < tree.main_chain().len() { shares } else { full });
        Self::of(&tree.params().chain_name, shares.map(|shares| shares as f64 * local / pool))
    }

    fn of(chain_name: &str, own: Option<f64>) -> Self {
        let none = Self { own_shares_per_window: own, fits: None, advice: None };
        let Some(shares) = own else { return none };
        let found = match shares {
            shares if shares < 1.5 => "about one share or less".to_owned(),
            shares => format!("about {shares:.0} shares"),
        };
        let window = format!("A payout window holds {found} of your miners at their present hash rate.");
        let below = format!("Below {OWN_SHARES_MIN}, what a block pays you varies by more than a third");
        let (fits, advice) = match (chain_name, shares < OWN_SHARES_MIN) {
            (MAIN_CHAIN_NAME, false) => (MAIN_CHAIN_NAME, format!("{window} The chain “{MAIN_CHAIN_NAME}” fits.")),
            (MAIN_CHAIN_NAME, true) => (
                MINI_CHAIN_NAME,
                format!("{window} {below}: “-chain-name {MINI_CHAIN_NAME}”, for small miners, fits better if others mine there, \
                     though its blocks are rarer."),
            ),
            (MINI_CHAIN_NAME, false) => (MINI_CHAIN_NAME, format!("{window} The chain “{MINI_CHAIN_NAME}” fits.")),
            (MINI_CHAIN_NAME, true) => (MINI_CHAIN_NAME, format!("{window} {below}; there is no smaller chain.")),
            _ => return none,
        };
        Self { fits: Some(fits), advice: Some(advice), ..none }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_that_fits_follows_from_the_own_shares_in_a_window() {
        for (chain, own, fits, part) in [
            ("main", Some(120.0), Some("main"), "about 120 shares of your miners"),
            ("main", Some(10.0), Some("main"), "“main” fits."),
            (
                "main",
                Some(9.9),
                Some("mini"),
                "Below 10, what a block pays you varies by more than a third: “-chain-name mini”",
            ),
            ("main", Some(0.2), Some("mini"), "about one share or less"),
            ("mini", Some(50.0), Some("mini"), "“mini” fits."),
            ("mini", Some(2.0), Some("mini"), "no smaller chain"),
            ("our-club", Some(2.0), None, ""),
            ("main", None, None, ""),
        ] {
            let fit = ChainFit::of(chain, own);
            assert_eq!((fit.own_shares_per_window, fit.fits), (own, fits), "{chain} {own:?}");
            assert_eq!(fit.advice.is_some(), fits.is_some());
            assert!(fit.advice.unwrap_or_default().contains(part), "{chain} {own:?}");
        }
    }
}
