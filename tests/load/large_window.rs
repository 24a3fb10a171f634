//! A full payout window with many payees whose scripts are of the longest type.

use std::collections::HashMap;

use p2pool_core::bytes::tagged_hash;
use p2pool_core::params::ChainParams;
use p2pool_core::payouts::{EntrySource, Vote, Window, WindowEntry};
use p2pool_core::share::{PayoutScript, ShareId};
use p2pool_core::units::{Bits, Work};

struct Entries(HashMap<ShareId, WindowEntry>);

impl EntrySource for Entries {
    fn entry(&self, id: &ShareId) -> Option<&WindowEntry> {
        self.0.get(id)
    }
}

/// The P2TR script of a payee.
pub fn p2tr(number: u32) -> PayoutScript {
    let key = tagged_hash(b"test/payee", &number.to_le_bytes());
    PayoutScript::new(&[&[0x51, 0x20][..], &key].concat()).unwrap()
}

/// A window of full length with this number of payees, at most one for each share, whose works differ a hundredfold.
pub fn window(params: &ChainParams, payees: u32) -> Window {
    let id = |number: u32| match number {
        0 => ShareId::ZERO,
        _ => ShareId(tagged_hash(b"test/share", &number.to_le_bytes())),
    };
    let entry = |number: u32| {
        let payee = number % payees;
        let work = 1_000_000 * (1 + u128::from(payee % 100)) + u128::from(number);
        let vote = Vote { work: Work(work), ..Vote::default() };
        WindowEntry::new(id(number), id(number - 1), p2tr(payee), vote, std::iter::empty())
    };
    let entries = (1..=params.payout_window).map(|number| (id(number), entry(number))).collect();
    let mut window = Window::new(params);
    window.move_to(id(params.payout_window), Bits(0x207f_ffff), &Entries(entries)).unwrap();
    window
}
