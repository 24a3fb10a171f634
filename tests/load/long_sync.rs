//! The cost of a chain of full length: the time to receive it, and the memory of waiting shares.

// Test code, helpers included.
#![allow(clippy::unwrap_used)]

mod allocations;
mod full_chain;

use std::sync::Arc;
use std::time::Duration;

use allocations::bytes_held_by;
use bitcoin::hashes::Hash as _;
use bitcoin::TxMerkleNode;
use full_chain::{chain_with, grind, share, share_time, SHARES_PER_BLOCK, START};
use p2pool_core::params::{ChainParams, Network};
use p2pool_core::peer::PeerHandle;
use p2pool_core::share::{Share, ShareId};
use p2pool_core::sharechain::{CandidateId, CandidateOutcome, Effect, Source};

/// The rules' limit on the memory of each kind of waiting shares.
const POOL_BYTES: i64 = 16 << 20;
/// What a share of a chain kept apart may take.
const APART_SHARE_BYTES: i64 = 1_800;

/// CPU time of the current thread, which other programs do not influence.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(stat.split(' ').next().unwrap().parse().unwrap())
}

/// A new node receives a pruned chain of full length from one peer. The cost of a share must not grow with their number.
#[test]
fn a_chain_of_full_length_is_received_in_seconds() {
    let params = ChainParams::standard(Network::Regtest);
    let (kept, window) = (params.shares_kept(), params.payout_window);
    let total = kept + 300;
    let anchors = total / SHARES_PER_BLOCK + 1;
    let mut theirs = chain_with(anchors);
    let now = share_time(total);
    let mut shares = Vec::new();
    for number in 0..total {
        let share = share(&mut theirs, number);
        shares.push(Arc::new(share.clone()));
        theirs.receive(Arc::new(share), Source::Local, now);
    }
    assert_eq!(theirs.tree().len(), total as usize);

    let shares = shares.split_off((total - kept) as usize);
    let mut ours = chain_with(anchors);
    ours.open_candidate(CandidateId(1), false, now);
    let mut at = Vec::new();
    let start = cpu_time();
    let (bytes, ()) = bytes_held_by(|| {
        for share in &shares {
            // As decoded from the wire, with a single owner.
            let share = Arc::new(Share::clone(share));
            let effects = ours.receive_candidate(CandidateId(1), share, Source::Fetch(PeerHandle(1)), now);
            assert!(effects.is_empty(), "{effects:?}");
            at.push(cpu_time() - start);
        }
    });
    ours.finish_candidate(CandidateId(1), now);
    let effects = ours.tick(now);
    let took = cpu_time() - start;
    let adopted = Effect::CandidateJudged { id: CandidateId(1), outcome: CandidateOutcome::Adopted };
    assert!(effects.contains(&adopted));
    assert_eq!(ours.tree().tip().unwrap().id, theirs.tree().tip().unwrap().id);
    let verified = ours.tree().shares().filter(|node| node.verified).count();
    assert!(verified >= window as usize);
    let base = at[window as usize - 1];
    println!("{kept} shares in {took:?}: the base's {window} in {base:?}, {} bytes each", bytes / i64::from(kept));
    assert!(took < Duration::from_secs(20), "{kept} shares in {took:?}");
    // The base is not verified, so it is cheaper.
    assert!(base * 2 < took, "the base took {base:?} of {took:?}");
    assert!(bytes < APART_SHARE_BYTES * i64::from(kept), "{bytes} bytes");
}

/// Makes a share from a number.
type Kind<'a> = Box<dyn FnMut(u32) -> Share + 'a>;

/// Receives more shares from many peers than fit. Returns the bytes they use, the number kept, and the number of pools.
fn flood(mut next: impl FnMut(u32) -> Share) -> (i64, i64, i64) {
    let mut chain = chain_with(1);
    for number in 0..3 {
        let share = share(&mut chain, number);
        chain.receive(Arc::new(share), Source::Local, START.plus(600));
    }
    let (bytes, ()) = bytes_held_by(|| {
        for number in 0..20_000 {
            chain.receive(
                Arc::new(next(number)),
                Source::Fetch(PeerHandle(u64::from(number / 2_000))),
                START.plus(600),
            );
        }
    });
    let (held, unverified) = chain.waiting();
    let waiting = i64::try_from(held + unverified).unwrap();
    (bytes, waiting, i64::from(held > 0) + i64::from(unverified > 0))
}

#[test]
fn waiting_shares_use_no_more_memory_than_the_rules_allow() {
    let template = share(&mut chain_with(1), 0);
    let with = |number: u32, hashes: usize, parent: ShareId| {
        let mut share = template.clone();
        share.merkle_branch = vec![[5; 32]; hashes];
        share.extranonce[..4].copy_from_slice(&number.to_le_bytes());
        share.info.parent = parent;
        share
    };
    let numbered = |mut share: Share, number: u32| {
        share.header.time += number % 400;
        share.header.merkle_root = TxMerkleNode::from_byte_array([number as u8; 32]);
        grind(share)
    };
    let id = |number: u32| {
        let mut id = [9; 32];
        id[..4].copy_from_slice(&number.to_be_bytes());
        ShareId(id)
    };
    for hashes in [0, 16] {
        let mut last = ShareId::ZERO;
        let kinds: [(&str, Kind<'_>); 4] = [
            ("copies of an orphan", Box::new(|number| numbered(with(number, hashes, id(0)), 0))),
            ("orphans of many parents", Box::new(|number| numbered(with(number, hashes, id(number)), number))),
            ("genesis shares", Box::new(|number| numbered(with(number, hashes, ShareId::ZERO), number))),
            (
                "a chain beside ours",
                Box::new(|number| {
                    let share = numbered(with(number, hashes, last), number);
                    last = share.id();
                    share
                }),
            ),
        ];
        for (kind, next) in kinds {
            let (bytes, waiting, pools) = flood(next);
            println!("{hashes} hashes, {kind}: {waiting} wait, {} bytes each", bytes / waiting);
            assert!(waiting > 5_000 * pools, "{waiting} {kind}");
            assert!(bytes <= pools * POOL_BYTES, "{waiting} {kind} take {bytes} bytes");
        }
    }
}
