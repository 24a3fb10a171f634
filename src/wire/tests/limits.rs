//! Each limit with a message that keeps it and one that exceeds it.

use std::fmt::Debug;
use std::sync::Arc;

use bitcoin::hashes::Hash as _;
use bitcoin::BlockHash;

use crate::params::ChainId;
use crate::share::encoding::tests::longest_share;
use crate::share::encoding::SHARE_LEN_MAX;
use crate::share::ShareId;
use crate::sharechain::Rule;
use crate::units::{ShareHeight, UnixTime, Work};
use crate::wire::limits::*;
use crate::wire::{
    Agent, BlockAnnouncement, Bytes, Frame, GossipShare, List, Misbehaviour, PeerStatus, Request, Response, WireError,
    BAN_THRESHOLD,
};

const ID: ShareId = ShareId([7; 32]);

/// Asserts that a message fits its limit and survives encoding; returns its length.
fn assert_fits<T: Frame + PartialEq + Debug>(message: &T) -> usize {
    let bytes = message.encode();
    assert!(bytes.len() <= T::LEN_MAX, "{} of {} bytes", bytes.len(), T::LEN_MAX);
    assert_eq!(&T::decode(&bytes).unwrap(), message);
    bytes.len()
}

fn full<T: Clone, const MAX: usize>(item: T) -> List<T, MAX> {
    assert!(List::<T, MAX>::try_from(vec![item.clone(); MAX + 1]).is_err());
    List::try_from(vec![item; MAX]).unwrap()
}

#[test]
fn every_full_list_fits_its_message() {
    let block = BlockHash::from_byte_array([1; 32]);
    assert_fits(&Request::Inventory { locator: full(ID) });
    assert_fits(&Request::Shares { ids: full(ID) });
    assert_fits(&Request::BlockTransactions { block, indexes: full(u16::MAX) });
    assert_fits(&Response::Inventory { after: ID, start_height: ShareHeight(u32::MAX), ids: full(ID), more: true });
    let share = Arc::new(longest_share());
    assert_fits(&Response::Shares(full(Arc::clone(&share))));
    assert_fits(&Response::Headers(full(share.header)));
    assert_fits(&Response::Status(PeerStatus {
        chain_id: ChainId([1; 32]),
        tip: ID,
        share_height: ShareHeight(u32::MAX),
        chain_work: Work(u128::MAX),
        oldest_height: ShareHeight(u32::MAX),
        clock: UnixTime(u32::MAX),
        agent: Agent::new(&"~".repeat(AGENT_LEN_MAX)).unwrap(),
    }));
    let len = assert_fits(&GossipShare { share });
    assert_eq!(len, SHARE_LEN_MAX + 5, "a map, a key and a length around the share");
}

/// The bytes `before`, followed by an encoded list of `count` times `item`.
fn with_list(before: &[u8], count: usize, item: &[u8]) -> Vec<u8> {
    let count = u16::try_from(count).unwrap().to_be_bytes();
    [before, &[0x99], &count, &item.repeat(u16::from_be_bytes(count).into())].concat()
}

#[test]
fn lists_that_are_too_long_are_rejected() {
    let id = [&[0x58, 0x20][..], &[7; 32]].concat();
    let header = [&[0x58, 0x50][..], &[7; 80]].concat();
    let inventory = |count| {
        let before = [&[0xa5, 0, 1, 1][..], &id, &[2, 0, 3]].concat();
        [with_list(&before, count, &id), vec![4, 0xf4]].concat()
    };
    let indexes = |count| with_list(&[&[0xa3, 0, 4, 1][..], &id, &[2]].concat(), count, &[0x07]);
    let transactions = |count| with_list(&[0xa2, 0, 4, 1], count, &[0x40]);
    assert!(Response::decode(&inventory(INVENTORY_MAX)).is_ok());
    assert!(Request::decode(&indexes(TRANSACTIONS_REQUESTED_MAX)).is_ok());
    assert!(Response::decode(&transactions(TRANSACTIONS_REQUESTED_MAX)).is_ok());
    for rejected in [
        Response::decode(&inventory(INVENTORY_MAX + 1)).map(drop),
        Request::decode(&indexes(TRANSACTIONS_REQUESTED_MAX + 1)).map(drop),
        Response::decode(&transactions(TRANSACTIONS_REQUESTED_MAX + 1)).map(drop),
        Request::decode(&with_list(&[0xa2, 0, 1, 1], LOCATOR_MAX + 300, &id)).map(drop),
        Request::decode(&with_list(&[0xa2, 0, 2, 1], SHARES_MAX + 1, &id)).map(drop),
        Response::decode(&with_list(&[0xa2, 0, 3, 1], HEADERS_MAX + 300, &header)).map(drop),
    ] {
        match rejected {
            Err(WireError::Malformed(why)) => assert!(why.contains("in a list"), "{why}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn messages_that_are_too_long_are_not_decoded() {
    fn check<T: Frame + Debug>() {
        let at_limit = T::decode(&vec![0; T::LEN_MAX]);
        assert!(matches!(at_limit, Err(WireError::Malformed(_))), "{at_limit:?}");
        let over = T::decode(&vec![0; T::LEN_MAX + 1]).unwrap_err();
        assert_eq!(over, WireError::Oversize { len: T::LEN_MAX + 1, max: T::LEN_MAX });
        assert_eq!(Misbehaviour::from(&over), Misbehaviour::Oversize);
    }
    check::<GossipShare>();
    check::<BlockAnnouncement>();
    check::<Request>();
    check::<Response>();
    let over = BlockAnnouncement::decode_header(&vec![0; BLOCK_MESSAGE_LEN_MAX + 1]);
    assert!(matches!(over, Err(WireError::Oversize { .. })));
}

#[test]
fn only_the_first_transactions_that_fit_are_sent() {
    let sent = |all: &[Vec<u8>]| match Response::block_transactions(all.iter().map(Vec::as_slice)) {
        Response::BlockTransactions(sent) => {
            assert_fits(&Response::BlockTransactions(sent.clone()));
            sent.len()
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(sent(&[]), 0);
    assert_eq!(sent(&vec![vec![1; 1_000]; 2_000]), 995, "about a megabyte");
    assert_eq!(sent(&[vec![1; TRANSACTION_LEN_MAX]]), 1);
    assert_eq!(sent(&[vec![1; TRANSACTION_LEN_MAX], vec![1; 99_900]]), 2);
    assert_eq!(sent(&[vec![1; TRANSACTION_LEN_MAX], vec![1; 100_000]]), 1);
    assert_eq!(sent(&[vec![1; TRANSACTION_LEN_MAX + 1], vec![1]]), 0, "none that is larger can be sent");
    assert_eq!(sent(&vec![Vec::new(); TRANSACTIONS_REQUESTED_MAX + 1]), TRANSACTIONS_REQUESTED_MAX);
}

#[test]
fn byte_strings_and_agents_have_limits() {
    assert!(Bytes::<4>::try_from(vec![0; 4]).is_ok());
    assert!(Bytes::<4>::try_from(vec![0; 5]).is_err());
    assert!(Agent::new(&"a".repeat(AGENT_LEN_MAX)).is_ok());
    assert!(Agent::new(&"a".repeat(AGENT_LEN_MAX + 1)).is_err());
    assert!(Agent::new("p2pool\u{1b}[2J").is_err());
    assert!(Agent::new("Grüße").is_err());
}

#[test]
fn errors_do_not_repeat_much_of_what_a_peer_sent() {
    let text = [&[0xa2, 0, 3, 1, 0x79, 0xff, 0x00][..], &[b'!'; 0xff00]].concat();
    let error = Request::decode(&text).unwrap_err();
    assert!(error.to_string().len() < 150, "{error}");
    assert_eq!(Misbehaviour::from(&error), Misbehaviour::Malformed);
}

#[test]
fn misbehaviour_is_scored_and_bad_luck_is_not() {
    for rule in [Rule::Form, Rule::ProofOfWork, Rule::Lineage, Rule::Uncles, Rule::Payouts] {
        assert!(Misbehaviour::BrokenRule(rule).ban_score() > 0, "{rule:?}");
    }
    for rule in [Rule::Time, Rule::Anchor] {
        assert_eq!(Misbehaviour::BrokenRule(rule).ban_score(), 0, "{rule:?}");
    }
    assert!(Misbehaviour::FalseChain.ban_score() >= BAN_THRESHOLD);
    assert!(Misbehaviour::Late.ban_score() * 5 < BAN_THRESHOLD, "slow lines are not banned");
}
