use p2pool_core::params::ChainParams;
use p2pool_core::payouts::{Credit, EntrySource, Vote, WindowEntry};

use super::*;

fn script(miner: u16) -> PayoutScript {
    let mut bytes = [0; 22];
    bytes[1] = 0x14;
    bytes[2..4].copy_from_slice(&miner.to_be_bytes());
    PayoutScript::new(&bytes).unwrap()
}

struct OneShare(WindowEntry);

impl EntrySource for OneShare {
    fn entry(&self, id: &ShareId) -> Option<&WindowEntry> {
        (*id == self.0.id).then_some(&self.0)
    }
}

/// A window in which miner 1 did one hash, miner 2 two, and so on.
fn window_of(miners: u16) -> Window {
    let credit = |miner: u16| Credit { script: script(miner), work: Work(miner.into()) };
    let credits: std::sync::Arc<[Credit]> = (1..=miners).map(credit).collect();
    let work_with_uncles = Work(credits.iter().map(|credit| credit.work.0).sum());
    let entry =
        WindowEntry { id: ShareId([1; 32]), parent: ShareId::ZERO, credits, work_with_uncles, vote: Vote::default() };
    let mut window = Window::new(&ChainParams::standard(Network::Regtest));
    window.move_to(entry.id, Bits(0x207f_ffff), &OneShare(entry)).unwrap();
    window
}

#[test]
fn our_own_work_is_always_listed() {
    let window = window_of(300);
    let total = 300.0 * 301.0 / 2.0;
    // Ours is within the first 256, just after them, last, and without work.
    for (ours, listed) in [(300, 256), (45, 256), (44, 257), (1, 257), (301, 256)] {
        let summary = WindowSummary::of_window(&window, &script(ours), Network::Regtest);
        assert_eq!((summary.weights.len(), summary.omitted), (listed, 300 - listed), "{ours}");
        let address = script(ours).to_address(Network::Regtest);
        let own = summary.weights.iter().find(|weight| weight.address == address);
        let work = if ours <= 300 { f64::from(ours) } else { 0.0 };
        assert_eq!(summary.our_fraction, Some(work / total), "{ours}");
        assert_eq!(own.map(|own| own.pct), (ours <= 300).then_some(work / total * 100.0), "{ours}");
        assert_eq!(summary.weights[0].work, "300");
        assert!(summary.weights.is_sorted_by(|one, next| one.pct > next.pct));
    }
}

#[test]
fn a_small_pool_is_listed_completely() {
    let summary = WindowSummary::of_window(&window_of(3), &script(2), Network::Regtest);
    assert_eq!((summary.weights.len(), summary.omitted, summary.our_fraction), (3, 0, Some(2.0 / 6.0)));
    assert_eq!((summary.shares, summary.work), (Some(1), Some(Work(6))));
}
