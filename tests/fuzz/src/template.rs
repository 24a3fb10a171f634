//! The result of `getblocktemplate`, and the job made from it.

use std::sync::Arc;

use p2pool_core::params::{ChainParams, Network};
use p2pool_core::share::coinbase::Payout;
use p2pool_core::share::PayoutScript;
use p2pool_core::units::{Sats, UnixTime};
use p2pool_core::work::{make_job, Finder, Job, JobError, JobId, NextShare, Submit, Template, TemplateError};

/// The outcome of an input.
#[derive(Debug)]
pub enum Outcome {
    /// Not text, or not a template.
    Rejected(Option<TemplateError>),
    /// A template from which no job can be made.
    NoJob(JobError),
    /// A job that keeps `kept` of the template's `all` transactions.
    Job { all: usize, kept: usize },
}

/// Words in templates.
pub const WORDS: [&str; 15] = [
    "\"",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "null",
    "true",
    "\"!newrule\"",
    "\"segwit\"",
    "\"fee\":",
    "\"weight\":",
    "\\ud800",
    "\"signet_challenge\":\"51\",",
];

/// Parses a template, makes a job, and builds the block of a submit.
///
/// The first byte selects the network; the rest is the text.
pub fn check(data: &[u8]) -> Outcome {
    let Some((choice, text)) = data.split_first() else { return Outcome::Rejected(None) };
    let network = if choice.is_multiple_of(2) { Network::Regtest } else { Network::Signet };
    let Ok(text) = std::str::from_utf8(text) else { return Outcome::Rejected(None) };
    let template = match Template::from_json(text, network) {
        Ok(template) => Arc::new(template),
        Err(error) => {
            assert!(error.to_string().chars().count() < 1_000, "a readable error: {error}");
            return Outcome::Rejected(Some(error));
        }
    };
    let chain = ChainParams::standard(network);
    let payee = payee();
    let all_to_one = |amount: Sats| match amount {
        Sats(0) => Vec::new(),
        amount => vec![Payout { script: payee, amount }],
    };
    match make_job(
        JobId(1),
        &chain,
        &template,
        &NextShare::genesis(chain.easiest_bits, Finder::new(payee)),
        UnixTime(1_700_000_000),
        all_to_one,
    ) {
        Ok(job) => {
            check_job(&job, &template);
            Outcome::Job { all: template.transactions.len(), kept: job.template.transactions.len() }
        }
        Err(error) => Outcome::NoJob(error),
    }
}

/// The job is within the template's limits, and a submit for it gives a block.
fn check_job(job: &Job, template: &Template) {
    let kept = &job.template.transactions;
    let left_out = template.transactions.iter().skip(kept.len()).map(|tx| tx.fee.0).sum::<u64>();
    assert_eq!(
        job.info.coinbase_value.0 + left_out,
        template.coinbase_value.0,
        "fees of removed transactions are not paid out"
    );
    assert_eq!(job.payouts.iter().map(|payout| payout.amount.0).sum::<u64>(), job.info.coinbase_value.0);
    let sigops: u64 = kept.iter().map(|tx| tx.sigops_cost).fold(0, u64::saturating_add);
    assert!(sigops <= template.sigops_limit);
    assert!(job.min_time >= template.min_time && job.time >= job.min_time);

    let submit = Submit { extranonce: [7; 12], time: job.time.0, nonce: 7, version: job.template.version };
    let hashed = job.hash_header(&submit);
    let block = job
        .block(&hashed.header, &submit.extranonce)
        .expect("merkle branch and transactions give the same merkle root");
    // The weight of a block is three times its size without witnesses plus its size with them (BIP-0141).
    let header_and_count = 4 * (block.len() - job.coinbase.with_witness(&submit.extranonce).len()) as u64
        - 4 * kept.iter().map(|tx| tx.data.len() as u64).sum::<u64>();
    let coinbase = 3 * job.coinbase.len_bytes() as u64 + job.coinbase.with_witness(&submit.extranonce).len() as u64;
    let weight = header_and_count + coinbase + kept.iter().map(|tx| tx.weight).sum::<u64>();
    assert!(weight <= template.weight_limit, "{weight} of {} weight units", template.weight_limit);
    let other = job.hash_header(&Submit { extranonce: [8; 12], ..submit });
    assert!(job.block(&other.header, &submit.extranonce).is_err(), "another extranonce is another block");
}

fn payee() -> PayoutScript {
    PayoutScript::new(&[&[0x51, 0x20][..], &[7; 32]].concat()).expect("a P2TR script")
}

/// Templates of a real bitcoind.
pub fn seeds() -> Vec<Vec<u8>> {
    [
        (0, include_str!("../../vectors/templates/regtest-height-1.json")),
        (0, include_str!("../../vectors/templates/regtest-transactions.json")),
        (1, include_str!("../../vectors/templates/signet-op-true-height-1.json")),
    ]
    .map(|(network, text)| [&[network], text.as_bytes()].concat())
    .to_vec()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::mutate::{mutate, Rng};

    #[test]
    fn mutated_templates_reach_every_outcome_without_failure() {
        let (seeds, mut rng) = (seeds(), Rng::new(1));
        for seed in &seeds {
            assert!(matches!(check(seed), Outcome::Job { .. }), "a real template");
        }
        let mut met = BTreeSet::new();
        for _ in 0..60_000 {
            met.insert(match check(&mutate(&seeds, &WORDS, &mut rng)) {
                Outcome::Rejected(None) => "no text".to_owned(),
                Outcome::Rejected(Some(TemplateError::Json(_))) => "JSON".to_owned(),
                Outcome::Rejected(Some(TemplateError::UnknownRule(_))) => "rule".to_owned(),
                Outcome::Rejected(Some(TemplateError::Field { field, .. })) => field.to_owned(),
                Outcome::NoJob(JobError::CoinbaseTooLarge { .. }) => "coinbase too large".to_owned(),
                Outcome::NoJob(error) => format!("{error:?}"),
                Outcome::Job { all, kept } if all == kept => "job".to_owned(),
                Outcome::Job { .. } => "trimmed job".to_owned(),
            });
        }
        for expected in [
            "no text",
            "JSON",
            "rule",
            "version",
            "height",
            "bits",
            "coinbasevalue",
            "signet_challenge",
            "transactions' weight",
            "transactions' depends",
            "default_witness_commitment",
            "coinbase too large",
            "job",
            "trimmed job",
        ] {
            assert!(met.contains(expected), "{expected} not met, only {met:?}");
        }
    }
}
