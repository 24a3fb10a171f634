//! Linking: a share enters the tree when it has passed the validity rules (rules, section 5).

use std::sync::Arc;

use super::failure::{Failure, Need};
use super::rules;
use super::tree::Tree;
use crate::share::Share;
use crate::units::{Bits, UnixTime, Work};

/// Which rules a share must pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checks {
    /// All of them.
    Full,
    /// Those that the shares held allow to check, for the base of a pruned chain.
    Base,
}

impl Tree {
    /// Links a share that passed rules 1 and 2 after checking the others. Returns whether it is the new tip.
    ///
    /// # Errors
    /// The share breaks a rule or waits for something. The tree is unchanged.
    pub fn link(&mut self, share: Arc<Share>, work: Work, now: UnixTime, checks: Checks) -> Result<bool, Failure> {
        let info = &share.info;
        let is_base = checks == Checks::Base;
        let parent = self.get(&info.parent);
        let is_root = info.is_genesis() || (is_base && self.is_empty());
        if parent.is_none() && !is_root {
            return Err(Failure::Missing(Need::Share(info.parent)));
        }
        rules::check_lineage(self, &share, work, parent, is_base)?;
        rules::check_time(self, &share, parent)?;
        let anchor = rules::check_anchor(self, &share, parent)?;
        rules::check_due(&share, anchor, now)?;
        // The first shares of a base may name uncles that are older than all shares held: these cannot be checked.
        if !is_base || info.uncles.iter().all(|uncle| self.contains(uncle)) {
            rules::check_uncles(self, &share)?;
        }
        let verified = self.verify_payouts(&share, checks)?;
        Ok(self.insert(share, work, verified))
    }

    /// Checks a share that passed rules 1 and 2 before it takes room among the unverified: rule 6, rules 4 and 5 if its parent
    /// is verified, or if it is a genesis share.
    ///
    /// Not checked are its uncles, which may be unknown, and whatever needs the payout window at its parent: moving the window
    /// there costs up to two windows of steps, which a share with hardly any work must not cause. So the rules version and
    /// the class of payout outputs, which the window's votes decide, need only be possible.
    ///
    /// # Errors
    /// The share breaks a rule or waits for something.
    pub(super) fn check_claims(&self, share: &Share, work: Work, now: UnixTime) -> Result<(), Failure> {
        let parent = self.get(&share.info.parent);
        let anchor = rules::known_anchor(self, share)?;
        if !parent.map_or(share.info.is_genesis(), |parent| parent.verified) {
            return Ok(());
        }
        match rules::check_lineage(self, share, work, parent, false) {
            Err(Failure::Unverifiable) => return Ok(()),
            checked => checked?,
        }
        rules::check_possible_votes(self.params(), share, parent)?;
        rules::check_time(self, share, parent)?;
        rules::check_anchor(self, share, parent)?;
        rules::check_due(share, anchor, now)
    }

    /// Checks rule 8 and what the window decides. Returns false for a share of a base whose payout window is not held.
    fn verify_payouts(&mut self, share: &Share, checks: Checks) -> Result<bool, Failure> {
        let parent = share.info.parent;
        let bits = Bits(share.header.bits.to_consensus());
        let (params, chain_id) = (Arc::clone(self.params()), *self.chain_id());
        if self.may_hold_window(&parent, bits) && self.window(parent, bits).is_ok() {
            let window = self.current_window();
            rules::check_votes(&params, share, self.get(&parent), window)?;
            return rules::check_payouts(params.network, &chain_id, share, window).map(|()| true);
        }
        match checks {
            Checks::Base => Ok(false),
            Checks::Full => Err(Failure::Unverifiable),
        }
    }
}
