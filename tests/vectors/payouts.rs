//! Payout lists of credits, and credits of payout windows.

use std::collections::HashMap;

use bitcoin::hashes::{sha256, Hash as _};
use p2pool_core::payouts::{payout_list, EntrySource, Vote, Window, WindowEntry};
use p2pool_core::share::coinbase::Payout;
use p2pool_core::share::{PayoutScript, ShareId};
use p2pool_core::units::{Sats, Work};
use serde::Deserialize;

use crate::fields::{bits, hash_from_display, hex_array, read, script, ParamsFields};

#[derive(Deserialize)]
struct PayoutVector {
    why: String,
    payout_outputs_max: u32,
    credits: Option<Vec<(String, String)>>,
    generated: Option<Generated>,
    value: u64,
    finder: String,
    parent: String,
    count: usize,
    sha256: String,
    payouts: Option<Vec<(String, u64)>>,
}

/// A rule that generates many payees, see `cases/payouts.py`.
#[derive(Deserialize)]
struct Generated {
    label: String,
    count: u32,
    least: u64,
    spread: u64,
}

impl Generated {
    fn credits(&self) -> Vec<(PayoutScript, Work)> {
        (0..self.count).map(|i| self.credit(i)).collect()
    }

    fn credit(&self, i: u32) -> (PayoutScript, Work) {
        let digest = sha256::Hash::hash(&[self.label.as_bytes(), &i.to_le_bytes()].concat()).to_byte_array();
        let payee = [&[0x00, 0x14], &digest[..20]].concat();
        let number = p2pool_core::units::U256::from_le_bytes(digest);
        let rest: u64 = (number % p2pool_core::units::U256::from(self.spread)).try_into().unwrap();
        (PayoutScript::new(&payee).unwrap(), Work(u128::from(self.least + rest)))
    }
}

impl PayoutVector {
    fn credits(&self) -> Vec<(PayoutScript, Work)> {
        match (&self.credits, &self.generated) {
            (Some(credits), None) => {
                credits.iter().map(|(payee, work)| (script(payee), Work(work.parse().unwrap()))).collect()
            }
            (None, Some(rule)) => rule.credits(),
            _ => panic!("{}: credits or a rule for them, not both", self.why),
        }
    }

    fn pay(&self, credits: impl Iterator<Item = (PayoutScript, Work)>) -> Vec<Payout> {
        payout_list(
            self.payout_outputs_max,
            credits,
            Sats(self.value),
            script(&self.finder),
            ShareId(hex_array(&self.parent)),
        )
    }
}

#[test]
fn payout_lists_match_the_model() {
    let vectors: Vec<PayoutVector> = read("payouts.json");
    assert!(vectors.len() >= 90);
    for vector in &vectors {
        let paid = vector.pay(vector.credits().into_iter());
        if let Some(expected) = &vector.payouts {
            let listed: Vec<_> = paid.iter().map(|payout| (payout.script, payout.amount.0)).collect();
            let expected: Vec<_> = expected.iter().map(|(payee, amount)| (script(payee), *amount)).collect();
            assert_eq!(listed, expected, "{}", vector.why);
        }
        let mut bytes = Vec::new();
        for payout in &paid {
            bytes.extend_from_slice(payout.script.as_bytes());
            bytes.extend_from_slice(&payout.amount.0.to_le_bytes());
        }
        assert_eq!(paid.len(), vector.count, "{}", vector.why);
        assert_eq!(sha256::Hash::hash(&bytes).to_byte_array(), hex_array(&vector.sha256), "{}", vector.why);
    }
}

#[test]
fn the_order_of_credits_does_not_matter() {
    let vectors: Vec<PayoutVector> = read("payouts.json");
    for vector in &vectors {
        let credits = vector.credits();
        let paid = vector.pay(credits.iter().copied());
        assert_eq!(vector.pay(credits.iter().rev().copied()), paid, "{}", vector.why);
        let halves = |(payee, work): &(PayoutScript, Work)| {
            let half = work.0 / 2;
            [(*payee, Work(half)), (*payee, Work(work.0 - half))]
        };
        assert_eq!(vector.pay(credits.iter().rev().flat_map(halves)), paid, "{}", vector.why);
    }
}

#[derive(Deserialize)]
struct TreeVector {
    why: String,
    params: ParamsFields,
    scripts: Vec<String>,
    shares: Vec<TreeShare>,
    queries: Vec<Query>,
}

#[derive(Deserialize)]
struct TreeShare {
    id: String,
    parent: String,
    script: usize,
    work: String,
    uncles: Vec<String>,
}

#[derive(Deserialize)]
struct Query {
    parent: String,
    header_bits: String,
    value: u64,
    finder: usize,
    credits: Vec<(usize, String)>,
    payouts: Vec<(usize, u64)>,
}

struct Entries(HashMap<ShareId, WindowEntry>);

impl EntrySource for Entries {
    fn entry(&self, id: &ShareId) -> Option<&WindowEntry> {
        self.0.get(id)
    }
}

impl TreeVector {
    fn entries(&self, scripts: &[PayoutScript]) -> Entries {
        let work = |share: &TreeShare| Work(share.work.parse().unwrap());
        let by_id: HashMap<&str, &TreeShare> = self.shares.iter().map(|share| (share.id.as_str(), share)).collect();
        let entry = |share: &TreeShare| {
            let uncles = share.uncles.iter().map(|uncle| by_id[uncle.as_str()]);
            let (id, parent) = (ShareId(hash_from_display(&share.id)), ShareId(hash_from_display(&share.parent)));
            let uncles = uncles.map(|uncle| (scripts[uncle.script], work(uncle)));
            (
                id,
                WindowEntry::new(
                    id,
                    parent,
                    scripts[share.script],
                    Vote { work: work(share), ..Vote::default() },
                    uncles,
                ),
            )
        };
        Entries(self.shares.iter().map(entry).collect())
    }
}

fn check(window: &Window, query: &Query, scripts: &[PayoutScript], why: &str) {
    let mut credits: Vec<_> = window.credits().collect();
    credits.sort();
    let expected: Vec<_> =
        query.credits.iter().map(|(payee, work)| (scripts[*payee], Work(work.parse().unwrap()))).collect();
    assert_eq!(credits, expected, "{why}, after {}", query.parent);
    let paid: Vec<_> = window
        .payouts(Sats(query.value), scripts[query.finder], 0)
        .iter()
        .map(|payout| (payout.script, payout.amount.0))
        .collect();
    let expected: Vec<_> = query.payouts.iter().map(|(payee, amount)| (scripts[*payee], *amount)).collect();
    assert_eq!(paid, expected, "{why}, after {}", query.parent);
}

/// A window that is moved, and a new one for each query, match sums computed from scratch.
#[test]
fn windows_match_the_model() {
    let vectors: Vec<TreeVector> = read("windows.json");
    assert!(vectors.len() >= 4);
    for vector in &vectors {
        let params = vector.params.params();
        let scripts: Vec<PayoutScript> = vector.scripts.iter().map(|text| script(text)).collect();
        let entries = vector.entries(&scripts);
        let mut moved = Window::new(&params);
        for query in &vector.queries {
            let (parent, header_bits) = (ShareId(hash_from_display(&query.parent)), bits(&query.header_bits));
            moved.move_to(parent, header_bits, &entries).unwrap();
            check(&moved, query, &scripts, &vector.why);
            let mut fresh = Window::new(&params);
            fresh.move_to(parent, header_bits, &entries).unwrap();
            check(&fresh, query, &scripts, &vector.why);
        }
    }
}
