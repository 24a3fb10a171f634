//! Shares that cost their makers next to nothing (rules, section 5, spam).

use super::kit::Kit;
use super::pools::numbered;
use crate::params::{ChainParams, Network};
use crate::peer::PeerHandle;
use crate::share::ShareId;
use crate::sharechain::{Source, Verdict};
use crate::units::ShareHeight;

#[test]
fn shares_eased_by_the_age_of_their_parent_are_not_taken_in() {
    let params = ChainParams { payout_window: 400, retarget_window: 8, ..ChainParams::standard(Network::Regtest) };
    let mut kit = Kit::with(params);
    for at in 0..400 {
        // Faster at first, so that there is difficulty to be eased.
        kit.now = kit.now.plus(if at < 12 { 10 } else { 30 });
        let share = kit.next();
        assert_eq!(kit.give(&share), Verdict::Accepted);
    }
    let tip = kit.chain.tree().tip().unwrap();
    let (tip_work, height) = (tip.work, tip.share.info.share_height.0);
    let old = *kit.chain.tree().main_at(ShareHeight(height - 280)).unwrap();
    let before = kit.chain.tree().len();
    for number in 0..50u32 {
        let share = kit.edited(&old, |share| share.extranonce[..4].copy_from_slice(&number.to_le_bytes()));
        assert!(share.info.share_bits.target().unwrap().work().unwrap().0 * 8 < tip_work.0, "hardly any work");
        assert_eq!(kit.give(&share), Verdict::Unverified);
    }
    assert_eq!(kit.chain.tree().len(), before);
}

#[test]
fn of_one_header_a_peer_gets_few_copies_kept() {
    let mut kit = Kit::with_chain(30);
    let old = *kit.chain.tree().main_at(ShareHeight(3)).unwrap();
    let share = kit.on(&old);
    let copy = |number: u8| {
        let mut copy = share.clone();
        copy.extranonce[0] ^= number;
        copy
    };
    for number in 1..=4 {
        assert_eq!(kit.give_from(&copy(number), Source::Fetch(PeerHandle(1))), Verdict::Unverified);
    }
    assert_eq!(kit.give_from(&copy(5), Source::Fetch(PeerHandle(1))), Verdict::Dropped);
    // The true one, from somebody else, is not kept out.
    assert_eq!(kit.give_from(&share, Source::Fetch(PeerHandle(2))), Verdict::Unverified);
    assert_eq!(kit.chain.waiting(), (0, 5));
}

#[test]
fn a_netgroup_gets_no_more_room_by_coming_again_and_again() {
    let mut kit = Kit::with_chain(2);
    let orphan = kit.edited(&ShareId::ZERO, |share| share.merkle_branch = vec![[5; 32]; 16]);
    let flood = |kit: &mut Kit, netgroup: u32, from: u32| {
        for number in from..from + 8_000 {
            let source = Source::Fetch(PeerHandle::new(netgroup, u64::from(number / 1_000)));
            kit.give_from(&numbered(&orphan, number), source);
        }
        kit.chain.waiting().1
    };
    let of_one = flood(&mut kit, 7, 0);
    assert!((1_000..8_000).contains(&of_one), "{of_one} shares");
    let of_two = flood(&mut kit, 8, 8_000);
    assert!(of_two > of_one * 19 / 10, "another one has as much room: {of_one}, then {of_two}");
    // Peers of our own network are none.
    assert!(flood(&mut kit, 0, 16_000) > of_two + of_one);
}
