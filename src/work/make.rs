//! Template and sharechain to job.

use std::sync::Arc;

use thiserror::Error;

use super::notify::NotifyLines;
use super::submit::CoinbaseMidstate;
use super::trim::{fitting, CoinbaseCost};
use super::{Job, JobId, Template};
use crate::params::{ChainId, ChainParams, Network};
use crate::share::coinbase::{Coinbase, Payout};
use crate::share::{CoinbaseTag, PayoutScript, ShareId, ShareInfo};
use crate::units::{Bits, BitsError, Sats, ShareHeight, Target, UnixTime, Work};

/// How often payouts and trimming may chase each other before room is reserved for the largest coinbase.
///
/// Nearly always one round is enough, and two when the block is full: a value that differs by a few fees has
/// the same payees. More only happen when amounts sit right at the dust limit.
const TRIM_ROUNDS_MAX: usize = 4;

/// What the sharechain says of the share that the next answer will make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextShare {
    /// The share to build on; zero for a genesis share.
    pub parent: ShareId,
    /// Stale siblings of ancestors to name, ascending.
    pub uncles: Vec<ShareId>,
    /// The parent's and one more; 0 for a genesis share.
    pub share_height: ShareHeight,
    /// `chain_work` of the parent; none for a genesis share.
    pub parent_work: Work,
    /// The target the share must meet.
    pub share_bits: Bits,
    /// Where the miner is paid.
    pub payout_script: PayoutScript,
    /// The operator's text.
    pub coinbase_tag: CoinbaseTag,
    /// Earliest header time that the sharechain allows.
    pub min_time: UnixTime,
}

/// Why there is no job.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum JobError {
    /// The template's target cannot be read.
    #[error("the template's {0}")]
    BlockBits(BitsError),
    /// The share's target cannot be read.
    #[error("the share's {0}")]
    ShareBits(BitsError),
    /// More work than a chain may claim.
    #[error("share target {0} takes the chain past the greatest work that can be written")]
    Work(Bits),
    /// Not even an empty block holds the coinbase.
    #[error("a coinbase of {weight} weight units and sigops cost {sigops_cost} leaves no room for a block (limits {weight_limit} and {sigops_limit})")]
    CoinbaseTooLarge {
        /// The coinbase's weight units.
        weight: u64,
        /// The cost of its signature operations.
        sigops_cost: u64,
        /// Weight units a block may have.
        weight_limit: u64,
        /// Cost of signature operations a block may have.
        sigops_limit: u64,
    },
    /// The template's fees are more than its coinbase value.
    #[error("fees of left out transactions exceed the template's coinbase value of {0}")]
    Fees(Sats),
    /// More outputs than the chain allows.
    #[error("{count} payouts, at most {max} are allowed")]
    TooManyPayouts {
        /// Payouts there are.
        count: usize,
        /// Payouts the chain allows.
        max: usize,
    },
    /// There is no header time that keeps all rules.
    #[error("the block's target holds for header times up to {max} only, and {min} is the earliest allowed")]
    NoTime {
        /// Earliest header time that both Bitcoin and the sharechain allow.
        min: UnixTime,
        /// Latest header time with which the target is right.
        max: UnixTime,
    },
    /// Payouts must spend all there is, no more and no less.
    #[error("payouts sum to {sum} instead of {value}")]
    PayoutSum {
        /// What they sum to; the greatest number if it cannot be written.
        sum: Sats,
        /// The coinbase's value.
        value: Sats,
    },
}

/// Makes a job of a template and the facts of the next share.
///
/// `payouts` gives the payout list, in final order, for a coinbase value (rules, section 7). It may be
/// asked several times: the payouts depend on the value, the value on which transactions fit, and what fits
/// on the size of the payouts. Transactions are dropped from the end until the whole block keeps the
/// template's limits.
///
/// # Errors
/// See [`JobError`].
pub fn make_job(
    id: JobId,
    chain: &ChainParams,
    template: &Arc<Template>,
    facts: &NextShare,
    now: UnixTime,
    payouts: impl FnMut(Sats) -> Vec<Payout>,
) -> Result<Job, JobError> {
    let block_target = template.bits.target().map_err(JobError::BlockBits)?;
    let share_target = facts.share_bits.target().map_err(JobError::ShareBits)?;
    let chain_id = chain.chain_id();
    let info = first_info(template, facts, share_target)?;
    let mut drafter = Drafter { chain, chain_id: &chain_id, template, info, payouts };
    let Draft { kept, mut info, payouts } = drafter.settle()?;

    let template = trimmed(template, kept, info.coinbase_value);
    info.witness_commitment = template.transactions.witness_commitment();
    let coinbase = Coinbase::new(&chain_id, &info, &payouts);
    let merkle_branch = template.transactions.merkle_branch().to_vec();
    let min_time = earliest_time(chain.network, &template, facts);
    let time = now.max(min_time);
    let (version, bits, prev_block) = (template.version, template.bits, template.prev_block);
    Ok(Job {
        id,
        coinbase_midstate: CoinbaseMidstate::new(&coinbase),
        notify: NotifyLines::new(id, &prev_block, &coinbase, &merkle_branch, version, bits, time),
        info,
        coinbase,
        payouts: payouts.into(),
        merkle_branch,
        version,
        prev_block,
        block_height: template.height,
        bits,
        block_target,
        share_target,
        time,
        min_time,
        max_time: UnixTime(u32::MAX),
        template,
    })
}

impl Job {
    /// The same job with a latest header time.
    ///
    /// # Errors
    /// [`JobError::NoTime`] if that is before the earliest.
    pub fn until(self, max_time: UnixTime) -> Result<Self, JobError> {
        if max_time < self.min_time {
            return Err(JobError::NoTime { min: self.min_time, max: max_time });
        }
        let time = self.time.min(max_time);
        let notify = if time == self.time {
            self.notify
        } else {
            let branch = &self.merkle_branch;
            NotifyLines::new(self.id, &self.prev_block, &self.coinbase, branch, self.version, self.bits, time)
        };
        Ok(Self { time, max_time, notify, ..self })
    }
}

/// The share's facts for the whole template; value and witness commitment follow when it is trimmed.
fn first_info(template: &Template, facts: &NextShare, share_target: Target) -> Result<ShareInfo, JobError> {
    let chain_work = share_target
        .work()
        .and_then(|own| facts.parent_work.checked_add(own))
        .ok_or(JobError::Work(facts.share_bits))?;
    Ok(ShareInfo {
        parent: facts.parent,
        uncles: facts.uncles.clone(),
        share_height: facts.share_height,
        chain_work,
        share_bits: facts.share_bits,
        block_height: template.height,
        coinbase_value: template.coinbase_value,
        payout_script: facts.payout_script,
        witness_commitment: template.transactions.witness_commitment(),
        coinbase_tag: facts.coinbase_tag.clone(),
    })
}

/// The same template if all transactions are kept; else one that shares those that are.
fn trimmed(template: &Arc<Template>, kept: usize, coinbase_value: Sats) -> Arc<Template> {
    if kept >= template.transactions.len() {
        return Arc::clone(template);
    }
    Arc::new(Template {
        coinbase_value,
        transactions: template.transactions.first_few(kept),
        signet_challenge: template.signet_challenge.clone(),
        ..**template
    })
}

fn earliest_time(network: Network, template: &Template, facts: &NextShare) -> UnixTime {
    let earliest = template.min_time.max(facts.min_time);
    match network {
        // There the target depends on the header's time (20 minutes without a block make it the easiest): the
        // template's is right for bitcoind's own time, and not for an earlier one.
        Network::Testnet3 | Network::Testnet4 => earliest.max(template.cur_time),
        Network::Mainnet | Network::Signet | Network::Regtest => earliest,
    }
}

/// Transactions and payouts that belong together.
struct Draft {
    /// Transactions kept, counted from the first.
    kept: usize,
    info: ShareInfo,
    payouts: Vec<Payout>,
}

struct Drafter<'a, P> {
    chain: &'a ChainParams,
    chain_id: &'a ChainId,
    template: &'a Template,
    info: ShareInfo,
    payouts: P,
}

impl<P: FnMut(Sats) -> Vec<Payout>> Drafter<'_, P> {
    /// Drops transactions until the payouts of what is left fit beside it.
    fn settle(&mut self) -> Result<Draft, JobError> {
        let mut kept = self.template.transactions.len();
        for _ in 0..TRIM_ROUNDS_MAX {
            let draft = self.draft(kept)?;
            let coinbase = Coinbase::new(self.chain_id, &draft.info, &draft.payouts);
            let fits = self.fitting(CoinbaseCost::of(&coinbase, &draft.payouts))?;
            if fits >= kept {
                return Ok(draft);
            }
            kept = fits;
        }
        let fits = self.fitting(self.largest_coinbase())?;
        self.draft(fits)
    }

    /// The payouts of the block that keeps this many transactions.
    fn draft(&mut self, kept: usize) -> Result<Draft, JobError> {
        let value = value_without(self.template, kept)?;
        let payouts = (self.payouts)(value);
        check_payouts(&payouts, value, self.outputs_max())?;
        Ok(Draft { kept, info: ShareInfo { coinbase_value: value, ..self.info.clone() }, payouts })
    }

    fn fitting(&self, cost: CoinbaseCost) -> Result<usize, JobError> {
        fitting(self.template, cost).ok_or(JobError::CoinbaseTooLarge {
            weight: cost.weight,
            sigops_cost: cost.sigops_cost,
            weight_limit: self.template.weight_limit,
            sigops_limit: self.template.sigops_limit,
        })
    }

    /// No coinbase with these facts, whatever it pays to whom, costs more.
    fn largest_coinbase(&self) -> CoinbaseCost {
        let payouts = vec![Payout { script: longest_script(), amount: Sats(0) }; self.outputs_max()];
        CoinbaseCost::most(&Coinbase::new(self.chain_id, &self.info, &payouts), payouts.len())
    }

    fn outputs_max(&self) -> usize {
        usize::try_from(self.chain.payout_outputs_max).unwrap_or(usize::MAX)
    }
}

/// P2TR's, as long as P2WSH's and longer than the others.
fn longest_script() -> PayoutScript {
    let mut script = [0; 34];
    (script[0], script[1]) = (0x51, 0x20);
    PayoutScript::new(&script).expect("OP_1 and a push of 32 bytes is P2TR")
}

/// The coinbase value without the fees of the transactions after the first `kept`.
fn value_without(template: &Template, kept: usize) -> Result<Sats, JobError> {
    let dropped = template.transactions.get(kept..).unwrap_or_default();
    dropped
        .iter()
        .try_fold(template.coinbase_value.0, |value, tx| value.checked_sub(tx.fee.0))
        .map(Sats)
        .ok_or(JobError::Fees(template.coinbase_value))
}

fn check_payouts(payouts: &[Payout], value: Sats, max: usize) -> Result<(), JobError> {
    if payouts.len() > max {
        return Err(JobError::TooManyPayouts { count: payouts.len(), max });
    }
    let sum = payouts.iter().fold(0u64, |sum, payout| sum.saturating_add(payout.amount.0));
    if sum != value.0 {
        return Err(JobError::PayoutSum { sum: Sats(sum), value });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
