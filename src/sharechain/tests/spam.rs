//! Shares that cost next to nothing to make (rules, section 5, spam).

use super::pools::numbered;
use super::support::TestNode;
use crate::params::{ChainParams, Network};
use crate::peer::PeerHandle;
use crate::share::ShareId;
use crate::sharechain::{Source, Verdict};
use crate::units::ShareHeight;

#[test]
fn eased_shares_on_an_old_parent_stay_unverified() {
    let params = ChainParams { payout_window: 400, retarget_window: 8, ..ChainParams::standard(Network::Regtest) };
    let mut node = TestNode::with(params);
    for at in 0..400 {
        // Faster at first, so that the target can be eased.
        node.now = node.now.plus(if at < 12 { 10 } else { 30 });
        let share = node.next();
        assert_eq!(node.give(&share), Verdict::Accepted);
    }
    let tip = node.chain.tree().tip().unwrap();
    let (tip_work, height) = (tip.work, tip.share.info.share_height.0);
    let old = node.chain.tree().main_at(ShareHeight(height - 280)).unwrap().id;
    let before = node.chain.tree().len();
    for number in 0..50u32 {
        let share = node.edited(&old, |share| share.extranonce[..4].copy_from_slice(&number.to_le_bytes()));
        assert!(share.info.share_bits.target().unwrap().work().unwrap().0 * 8 < tip_work.0, "hardly any work");
        assert_eq!(node.give(&share), Verdict::Unverified);
    }
    assert_eq!(node.chain.tree().len(), before);
}

#[test]
fn few_copies_of_one_header_are_kept_from_one_peer() {
    let mut node = TestNode::with_chain(30);
    let old = node.chain.tree().main_at(ShareHeight(3)).unwrap().id;
    let share = node.on(&old);
    let copy = |number: u8| {
        let mut copy = share.clone();
        copy.extranonce[0] ^= number;
        copy
    };
    for number in 1..=4 {
        assert_eq!(node.give_from(&copy(number), Source::Fetch(PeerHandle(1))), Verdict::Unverified);
    }
    assert_eq!(node.give_from(&copy(5), Source::Fetch(PeerHandle(1))), Verdict::Dropped);
    // The true share from another peer is still kept.
    assert_eq!(node.give_from(&share, Source::Fetch(PeerHandle(2))), Verdict::Unverified);
    assert_eq!(node.chain.waiting(), (0, 5));
}

#[test]
fn a_netgroup_gets_no_more_room_by_reconnecting() {
    let mut node = TestNode::with_chain(2);
    let orphan = node.edited(&ShareId::ZERO, |share| share.merkle_branch = vec![[5; 32]; 16]);
    let flood = |node: &mut TestNode, netgroup: u32, from: u32| {
        for number in from..from + 8_000 {
            let source = Source::Fetch(PeerHandle::new(netgroup, u64::from(number / 1_000)));
            node.give_from(&numbered(&orphan, number), source);
        }
        node.chain.waiting().1
    };
    let of_one = flood(&mut node, 7, 0);
    assert!((1_000..8_000).contains(&of_one), "{of_one} shares");
    let of_two = flood(&mut node, 8, 8_000);
    assert!(of_two > of_one * 19 / 10, "another netgroup has as much room: {of_one}, then {of_two}");
    // Peers of our own network belong to no netgroup.
    assert!(flood(&mut node, 0, 16_000) > of_two + of_one);
}
