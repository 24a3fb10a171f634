//! Makes a job from a block template and the facts of the next share.

use std::sync::Arc;

use thiserror::Error;

use super::notify::NotifyLine;
use super::submit::CoinbaseMidstate;
use super::trim::{fitting, CoinbaseCost};
use super::{Job, JobId, Template};
use crate::params::{ChainId, ChainParams, Network, RULES_VERSION_FIRST};
use crate::share::coinbase::{Coinbase, Payout};
use crate::share::{CoinbaseTag, PayoutScript, ShareId, ShareInfo};
use crate::units::{Bits, BitsError, BlockHeight, Sats, ShareHeight, UnixTime, Work};

/// Number of rounds in which payouts and trimming may settle before room is reserved for the largest coinbase.
///
/// One round is usually enough, and two if the block is full: a value that differs by a few fees has the same payees.
/// More rounds only occur if amounts are at the dust limit.
const TRIM_ROUNDS_MAX: usize = 4;

/// What a node puts into every share that its miners find.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finder {
    /// The scriptPubKey of the miners.
    pub payout_script: PayoutScript,
    pub coinbase_tag: CoinbaseTag,
    /// The newest version of the rules that the software knows.
    pub signal: u8,
    /// The class of payout outputs that the miners' firmware can bear.
    pub outputs_vote: u8,
}

impl Finder {
    /// A finder of the first version that votes for the least class and has no tag.
    pub fn new(payout_script: PayoutScript) -> Self {
        Self { payout_script, coinbase_tag: CoinbaseTag::default(), signal: RULES_VERSION_FIRST, outputs_vote: 0 }
    }
}

/// What the next Bitcoin block decides about a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextBlock {
    pub height: BlockHeight,
    /// Bitcoin's target.
    pub bits: Bits,
}

/// The facts that the sharechain determines for the next share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextShare {
    /// The version of the rules in force.
    pub rules_version: u8,
    /// Id of the parent share; zero for a genesis share.
    pub parent: ShareId,
    /// Ids of the uncles to name, ascending.
    pub uncles: Vec<ShareId>,
    /// The parent's height plus one; 0 for a genesis share.
    pub share_height: ShareHeight,
    /// `chain_work` of the parent; zero for a genesis share.
    pub parent_work: Work,
    /// The share target.
    pub share_bits: Bits,
    /// The target before easing.
    pub base_bits: Bits,
    /// The class of payout outputs in force.
    pub outputs_class: u8,
    pub finder: Finder,
    /// Earliest header time that the sharechain allows.
    pub min_time: UnixTime,
}

impl NextShare {
    /// The facts of a genesis share of the first version with the chain's easiest target.
    pub fn genesis(easiest_bits: Bits, finder: Finder) -> Self {
        Self {
            rules_version: RULES_VERSION_FIRST,
            parent: ShareId::ZERO,
            uncles: Vec::new(),
            share_height: ShareHeight(0),
            parent_work: Work::ZERO,
            share_bits: easiest_bits,
            base_bits: easiest_bits,
            outputs_class: 0,
            finder,
            min_time: UnixTime(0),
        }
    }

    /// The facts of the share in a block of this height and value.
    ///
    /// # Errors
    /// [`JobError::ShareBits`] or [`JobError::Work`].
    pub fn info(
        &self,
        block_height: BlockHeight,
        coinbase_value: Sats,
        witness_commitment: [u8; 32],
    ) -> Result<ShareInfo, JobError> {
        let work = self.share_bits.target().map_err(JobError::ShareBits)?.work();
        let chain_work =
            work.and_then(|own| self.parent_work.checked_add(own)).ok_or(JobError::Work(self.share_bits))?;
        Ok(ShareInfo {
            rules_version: self.rules_version,
            parent: self.parent,
            share_bits: self.share_bits,
            base_bits: self.base_bits,
            signal: self.finder.signal,
            outputs_vote: self.finder.outputs_vote,
            outputs_class: self.outputs_class,
            uncles: self.uncles.clone(),
            share_height: self.share_height,
            chain_work,
            block_height,
            coinbase_value,
            payout_script: self.finder.payout_script,
            witness_commitment,
            coinbase_tag: self.finder.coinbase_tag.clone(),
        })
    }
}

/// Why a job cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum JobError {
    #[error("invalid block target in the template: {0}")]
    BlockBits(BitsError),
    #[error("invalid share target: {0}")]
    ShareBits(BitsError),
    /// The share's work or its chain work exceeds the limits of section 3 of the rules.
    #[error("share target {0} makes the chain work exceed its limit")]
    Work(Bits),
    /// The coinbase does not even fit into a block without other transactions.
    #[error("a coinbase of weight {weight} and sigops cost {sigops_cost} does not fit into a block (limits {weight_limit} and {sigops_limit})")]
    CoinbaseTooLarge { weight: u64, sigops_cost: u64, weight_limit: u64, sigops_limit: u64 },
    #[error("fees of removed transactions exceed the template's coinbase value of {0}")]
    Fees(Sats),
    #[error("{count} payouts exceed the limit of {max}")]
    TooManyPayouts { count: usize, max: usize },
    /// No header time satisfies all rules.
    #[error("the block's target is valid for header times up to {max}, but {min} is the earliest allowed")]
    NoTime { min: UnixTime, max: UnixTime },
    /// The sum of the payouts (saturated) is not the coinbase value.
    #[error("payouts sum to {sum} instead of {value}")]
    PayoutSum { sum: Sats, value: Sats },
}

/// Makes a job from a template and the facts of the next share.
///
/// `payouts` returns the payout list for a coinbase value, in output order (rules, section 7). It may be called several
/// times: the payouts depend on the value, the value on which transactions fit, and that on the size of the payouts.
/// Transactions are dropped from the end until the block is within the template's limits.
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
    // Trimming may change value and witness commitment.
    let info = facts.info(template.height, template.coinbase_value, template.transactions.witness_commitment())?;
    let mut drafter = Drafter { chain, chain_id: &chain_id, template, info, payouts };
    let Draft { kept, mut info, payouts } = drafter.settle()?;

    let template = trimmed(template, kept, info.coinbase_value);
    info.witness_commitment = template.transactions.witness_commitment();
    let coinbase = Coinbase::new(&chain_id, &info, &payouts);
    let merkle_branch = template.transactions.merkle_branch().to_vec();
    let min_time = earliest_time(chain.network, &template, facts);
    let time = now.max(min_time);
    Ok(Job {
        id,
        coinbase_midstate: CoinbaseMidstate::new(&coinbase),
        notify: NotifyLine::new(id, &template, &coinbase, &merkle_branch, time),
        info,
        coinbase,
        payouts: payouts.into(),
        merkle_branch,
        block_target,
        share_target,
        time,
        min_time,
        max_time: UnixTime(u32::MAX),
        template,
    })
}

impl Job {
    /// Limits the job's header time to `max_time`.
    ///
    /// # Errors
    /// [`JobError::NoTime`] if that is before the earliest time.
    pub fn until(self, max_time: UnixTime) -> Result<Self, JobError> {
        if max_time < self.min_time {
            return Err(JobError::NoTime { min: self.min_time, max: max_time });
        }
        let time = self.time.min(max_time);
        let notify = match time == self.time {
            true => self.notify,
            false => NotifyLine::new(self.id, &self.template, &self.coinbase, &self.merkle_branch, time),
        };
        Ok(Self { time, max_time, notify, ..self })
    }
}

/// A template with the first `kept` transactions, which it shares with the given one.
fn trimmed(template: &Arc<Template>, kept: usize, coinbase_value: Sats) -> Arc<Template> {
    if kept >= template.transactions.len() {
        return Arc::clone(template);
    }
    Arc::new(Template { coinbase_value, transactions: template.transactions.prefix(kept), ..**template })
}

fn earliest_time(network: Network, template: &Template, facts: &NextShare) -> UnixTime {
    let earliest = template.min_time.max(facts.min_time);
    match network {
        // The target depends on the header's time (it is the easiest after 20 minutes without a block). The template's
        // target is valid for bitcoind's time, but not for an earlier one.
        Network::Testnet3 | Network::Testnet4 => earliest.max(template.cur_time),
        Network::Mainnet | Network::Signet | Network::Regtest => earliest,
    }
}

/// A number of transactions and the payouts for it.
struct Draft {
    /// Number of transactions kept, from the first.
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
    /// Drops transactions until the rest fits beside the coinbase that pays its value.
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

    /// Computes the payouts of a block with the first `kept` transactions.
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

    /// An upper bound on the cost of any coinbase with these facts.
    fn largest_coinbase(&self) -> CoinbaseCost {
        let payouts = vec![Payout { script: longest_script(), amount: Sats(0) }; self.outputs_max()];
        CoinbaseCost::upper_bound(&Coinbase::new(self.chain_id, &self.info, &payouts), payouts.len())
    }

    fn outputs_max(&self) -> usize {
        usize::try_from(self.chain.payout_outputs_max(self.info.outputs_class)).unwrap_or(usize::MAX)
    }
}

/// A P2TR script; P2WSH is as long, the others are shorter.
fn longest_script() -> PayoutScript {
    let mut script = [0; 34];
    (script[0], script[1]) = (0x51, 0x20);
    PayoutScript::new(&script).expect("OP_1 and a push of 32 bytes is P2TR")
}

/// The coinbase value without the fees of the transactions beyond the first `kept`.
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
