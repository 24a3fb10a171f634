//! Tests of the store in one process. Tests with several processes are in `processes.rs`.

use std::fs;

use bitcoin::block::{Header, Version};
use bitcoin::hashes::Hash as _;
use bitcoin::{BlockHash, CompactTarget, TxMerkleNode};
use p2pool_core::node::StoredShare;
use p2pool_core::params::Network;
use p2pool_core::share::{CoinbaseTag, PayoutScript, Share, ShareInfo};
use p2pool_core::sharechain::bitcoin_difficulty::PeriodStart;
use p2pool_core::sharechain::{Anchor, RecentTimes};
use p2pool_core::units::{Bits, BlockHeight, Sats, ShareHeight, UnixTime, Work};
use tempfile::TempDir;

use super::*;

mod processes;

/// A map so small that a few hundred shares outgrow it.
const TINY_MAP_BYTES: usize = 256 << 10;

pub(crate) fn params() -> ChainParams {
    ChainParams::standard(Network::Regtest)
}

/// The share at `height` of a chain without forks. It has no proof of work, which the store does not check.
pub(crate) fn share(height: u32) -> StoredShare {
    let parent = if height == 0 { ShareId::ZERO } else { header_id(height - 1) };
    let info = ShareInfo {
        rules_version: 2,
        parent,
        share_bits: Bits(0x207f_ffff),
        base_bits: Bits(0x207f_ffff),
        signal: 2,
        outputs_vote: 0,
        outputs_class: 0,
        uncles: Vec::new(),
        share_height: ShareHeight(height),
        chain_work: Work(u128::from(height) + 1),
        block_height: BlockHeight(height + 1),
        coinbase_value: Sats(5_000_000_000),
        payout_script: PayoutScript::new(&[&[0x00, 0x14][..], &[7; 20]].concat()).unwrap(),
        witness_commitment: [8; 32],
        coinbase_tag: CoinbaseTag::new(b"test").unwrap(),
    };
    let share = Share { header: header(height), info, extranonce: [9; 12], merkle_branch: vec![[10; 32]; 8] };
    StoredShare { id: share.id(), share: share.into(), verified: height.is_multiple_of(2) }
}

fn header(number: u32) -> Header {
    Header {
        version: Version::from_consensus(0x2000_0000),
        prev_blockhash: BlockHash::all_zeros(),
        merkle_root: TxMerkleNode::all_zeros(),
        time: 1_700_000_000 + number,
        bits: CompactTarget::from_consensus(0x207f_ffff),
        nonce: number,
    }
}

fn header_id(number: u32) -> ShareId {
    ShareId(header(number).block_hash().to_byte_array())
}

pub(super) fn anchor(number: u32) -> Anchor {
    let header = header(number);
    let times = RecentTimes::new((0..=number.min(10)).map(|back| UnixTime(header.time).minus(600 * back)));
    let period_start = PeriodStart { time: UnixTime(1_699_999_000), bits: Bits(0x1d00_1000) };
    let network = if number % 2 == 1 { Network::Testnet4 } else { Network::Regtest };
    Anchor::new(network, header, BlockHeight(number), times, period_start, Bits(0x1d00_2000))
}

/// Length of the data file of a store in `dir`.
fn data_len(dir: &Path) -> u64 {
    fs::metadata(data_file(dir)).unwrap().len()
}

/// The error text of an operation that must fail.
fn error_of<T>(result: Result<T, StoreError>) -> String {
    result.err().expect("the operation must fail").to_string()
}

#[test]
fn committed_shares_are_loaded_parents_first() {
    let dir = TempDir::new().unwrap();
    let all: Vec<StoredShare> = (0..300).map(share).collect();
    let mut store = Store::open(dir.path(), &params()).unwrap();
    let Content { tip, shares, anchors } = store.load().unwrap();
    assert!(tip.is_none() && shares.is_empty() && anchors.is_empty());
    // Newest first, in uneven batches: loading must order by height.
    for shares in all.rchunks(77) {
        let batch = Changes { put_shares: shares.to_vec(), tip: Some(shares[0].id), ..Changes::default() };
        store.commit(&batch).unwrap();
    }
    store.commit(&Changes { put_anchors: (0..5).map(anchor).collect(), ..Changes::default() }).unwrap();
    store.commit(&Changes::default()).unwrap();
    drop(store);

    let Content { tip, shares, mut anchors } = Store::open(dir.path(), &params()).unwrap().load().unwrap();
    assert_eq!(tip, Some(all[0].id));
    assert_eq!(shares, all);
    anchors.sort_by_key(|anchor| anchor.height);
    assert_eq!(anchors, (0..5).map(anchor).collect::<Vec<_>>());
}

#[test]
fn records_are_deleted_and_replaced() {
    let dir = TempDir::new().unwrap();
    let mut store = Store::open(dir.path(), &params()).unwrap();
    let put = Changes {
        put_shares: (0..10).map(share).collect(),
        put_anchors: (0..4).map(anchor).collect(),
        tip: Some(share(9).id),
        ..Changes::default()
    };
    store.commit(&put).unwrap();
    let changed = StoredShare { verified: !share(5).verified, ..share(5) };
    let change = Changes {
        // 99 does not exist. 5 is deleted and put in one batch, so it stays.
        delete_shares: [0, 1, 2, 5, 99].map(header_id).to_vec(),
        delete_anchors: vec![anchor(0).header.block_hash(), anchor(77).header.block_hash()],
        put_shares: vec![changed.clone()],
        ..Changes::default()
    };
    store.commit(&change).unwrap();
    let Content { tip, shares, anchors } = store.load().unwrap();
    assert_eq!((tip, anchors.len()), (Some(share(9).id), 3));
    assert_eq!(shares.iter().map(|share| share.share.info.share_height.0).collect::<Vec<_>>(), [3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(shares[2], changed);
    assert!(!anchors.contains(&anchor(0)));

    store.commit(&Changes { tip: Some(ShareId::ZERO), ..Changes::default() }).unwrap();
    store.commit(&Changes { tip: Some(ShareId::ZERO), ..Changes::default() }).unwrap();
    assert_eq!(store.load().unwrap().tip, None);
}

#[test]
fn the_map_grows_by_itself() {
    let dir = TempDir::new().unwrap();
    let mut store = Store::open_sized(dir.path(), &params(), TINY_MAP_BYTES).unwrap();
    let all: Vec<StoredShare> = (0..3_000).map(share).collect();
    // The second batch alone is several times the map.
    for shares in [&all[..100], &all[100..2_500], &all[2_500..]] {
        store.commit(&Changes { put_shares: shares.to_vec(), ..Changes::default() }).unwrap();
    }
    let map_bytes = store.env().unwrap().env.info().unwrap().map_size();
    assert!(map_bytes >= 4 * TINY_MAP_BYTES, "{map_bytes} bytes");
    assert!(data_len(dir.path()) as usize > 3 * TINY_MAP_BYTES);
    assert_eq!(store.load().unwrap().shares, all);
    drop(store);
    // Opened again with a map smaller than its content, it still takes more.
    let mut store = Store::open_sized(dir.path(), &params(), TINY_MAP_BYTES).unwrap();
    store.commit(&Changes { put_shares: (3_000..4_000).map(share).collect(), ..Changes::default() }).unwrap();
    assert_eq!(store.load().unwrap().shares.len(), 4_000);
}

#[test]
fn freed_space_is_reused() {
    let dir = TempDir::new().unwrap();
    let mut store = Store::open_sized(dir.path(), &params(), TINY_MAP_BYTES).unwrap();
    for number in 0..400 {
        store.commit(&churn(number)).unwrap();
    }
    assert!(data_len(dir.path()) <= 1 << 20, "{} bytes", data_len(dir.path()));
}

/// Number of shares in a batch of [`churn`], and number of batches that are kept.
const CHURN_SHARES: u32 = 5;
const CHURN_KEPT: u32 = 20;

/// The heights that batch `number` of [`churn`] adds.
fn churn_heights(number: u32) -> std::ops::Range<u32> {
    number * CHURN_SHARES..(number + 1) * CHURN_SHARES
}

/// A batch as a running node commits it: it adds shares, an anchor and a tip, and deletes old ones.
fn churn(number: u32) -> Changes {
    let old = number.checked_sub(CHURN_KEPT);
    Changes {
        put_shares: churn_heights(number).map(share).collect(),
        put_anchors: vec![anchor(number)],
        delete_shares: old.map(|old| churn_heights(old).map(header_id).collect()).unwrap_or_default(),
        delete_anchors: old.map(|old| anchor(old).header.block_hash()).into_iter().collect(),
        tip: Some(header_id(churn_heights(number).end - 1)),
    }
}

/// Returns the number of the last batch of [`churn`] in the store, and asserts that the store is as it was after that batch.
fn last_churn(content: &Content) -> Option<u32> {
    let Content { tip, shares, anchors } = content;
    let Some(tip) = *tip else {
        assert!(shares.is_empty() && anchors.is_empty(), "half a batch");
        return None;
    };
    let newest = shares.last().unwrap();
    assert_eq!(newest.id, tip, "half a batch");
    let number = newest.share.info.share_height.0 / CHURN_SHARES;
    let first = (number + 1).saturating_sub(CHURN_KEPT);
    let expected: Vec<StoredShare> = (churn_heights(first).start..churn_heights(number).end).map(share).collect();
    assert_eq!(*shares, expected, "half a batch");
    let mut heights: Vec<u32> = anchors.iter().map(|anchor| anchor.height.0).collect();
    heights.sort_unstable();
    assert_eq!(heights, (first..=number).collect::<Vec<_>>(), "half a batch");
    Some(number)
}

#[test]
fn a_process_can_open_a_store_only_once() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path(), &params()).unwrap();
    let again = dir.path().join("..").join(dir.path().file_name().unwrap());
    assert!(error_of(Store::open(&again, &params())).contains("already open in this process"));
    assert!(error_of(StoreReader::open(dir.path(), &params())).contains("already open in this process"));
    drop(store);
    let reader = StoreReader::open(dir.path(), &params()).unwrap();
    assert!(matches!(Store::open(dir.path(), &params()), Err(StoreError::AlreadyOpen(_))));
    drop(reader);
    Store::open(dir.path(), &params()).unwrap();
}

#[test]
fn a_reader_does_not_create_a_store() {
    let dir = TempDir::new().unwrap();
    assert!(error_of(StoreReader::open(dir.path(), &params())).contains("no store at"));
    assert!(error_of(StoreReader::open(&dir.path().join("nowhere"), &params())).contains("no store at"));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_store_of_another_chain_is_rejected() {
    let dir = TempDir::new().unwrap();
    drop(Store::open(dir.path(), &params()).unwrap());
    let other = ChainParams { chain_name: "garage".to_owned(), ..params() };
    let text = error_of(Store::open(dir.path(), &other));
    assert!(text.contains(&params().chain_id().to_string()) && text.contains(&other.chain_id().to_string()), "{text}");
    assert!(matches!(StoreReader::open(dir.path(), &other), Err(StoreError::OtherChain { .. })));
    Store::open(dir.path(), &params()).unwrap();
}

/// Changes a raw record, as a newer program or a failing disk would.
fn tamper(dir: &Path, key: &[u8], change: impl FnOnce(Option<Vec<u8>>) -> Vec<u8>) {
    let store = Store::open(dir, &params()).unwrap();
    let env = store.env().unwrap();
    let mut txn = env.env.begin_rw_txn().unwrap();
    let value = change(txn.get(env.db, &key).ok().map(<[u8]>::to_vec));
    txn.put(env.db, &key, &value, WriteFlags::empty()).unwrap();
    txn.commit().unwrap();
}

#[test]
fn another_schema_is_rejected() {
    for (schema, expected) in
        [(3, "a newer p2pool (schema 3, this one reads 2)"), (1, "an older p2pool (schema 1, this one reads 2)")]
    {
        let dir = TempDir::new().unwrap();
        tamper(dir.path(), &schema::META_KEY, |_| vec![schema, 0, 0, 0, 0xaa]);
        let text = error_of(Store::open(dir.path(), &params()));
        assert!(text.contains(&format!("written by {expected}")), "{text}");
    }
}

#[test]
fn the_error_names_a_damaged_record() {
    let id = share(7).id;
    let shown = format!("record S {id} of store");
    for (key, name) in [
        (schema::share_key(&id).to_vec(), shown.as_str()),
        (schema::TIP_KEY.to_vec(), "record T of store"),
        (schema::anchor_key(&anchor(7).header.block_hash()).to_vec(), "record A "),
        (b"X".to_vec(), "record X of store"),
    ] {
        let dir = TempDir::new().unwrap();
        let batch = Changes {
            put_shares: (0..10).map(share).collect(),
            put_anchors: vec![anchor(7)],
            tip: Some(id),
            ..Changes::default()
        };
        Store::open(dir.path(), &params()).unwrap().commit(&batch).unwrap();
        tamper(dir.path(), &key, |value| {
            let mut value = value.unwrap_or_default();
            value.iter_mut().take(1).for_each(|byte| *byte ^= 1);
            value
        });
        let store = Store::open(dir.path(), &params()).unwrap();
        let text = error_of(store.load());
        assert!(text.contains(name), "{text}");
    }
}

#[test]
fn a_file_that_is_no_store_is_rejected_and_left_unchanged() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("store").join("data.mdb");
    fs::create_dir(dir.path().join("store")).unwrap();
    let garbage: Vec<u8> = (0..20_000u32).map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect();
    for content in [garbage.clone(), garbage[..100].to_vec(), vec![0; 8_192]] {
        fs::write(&data, &content).unwrap();
        let text = error_of(Store::open(dir.path(), &params()));
        assert!(text.contains("is not a p2pool store or is damaged"), "{text}");
        assert!(matches!(StoreReader::open(dir.path(), &params()), Err(StoreError::Damaged { .. })));
        assert_eq!(fs::read(&data).unwrap(), content);
    }
}

#[test]
fn a_file_of_the_other_word_size_is_recognised() {
    let dir = TempDir::new().unwrap();
    fs::create_dir(dir.path().join("store")).unwrap();
    let (magic_at, flags_at, other) = if usize::BITS == 64 { (12, 6, 32) } else { (16, 10, 64) };
    let mut page = vec![0u8; 8_192];
    page[flags_at] = 0x08;
    page[magic_at..magic_at + 4].copy_from_slice(&0xbeef_c0de_u32.to_ne_bytes());
    fs::write(dir.path().join("store").join("data.mdb"), &page).unwrap();
    let text = error_of(Store::open(dir.path(), &params()));
    assert!(text.contains(&format!("was written by a {other}-bit p2pool")) && text.contains("export"), "{text}");
}

#[test]
fn a_truncated_file_is_an_error_and_no_crash() {
    let dir = TempDir::new().unwrap();
    let mut store = Store::open(dir.path(), &params()).unwrap();
    store.commit(&Changes { put_shares: (0..2_000).map(share).collect(), ..Changes::default() }).unwrap();
    drop(store);
    let data = dir.path().join("store").join("data.mdb");
    let whole = fs::read(&data).unwrap();
    for cut in [whole.len() - 4_096, whole.len() / 2, 3 * 4_096] {
        fs::write(&data, &whole[..cut]).unwrap();
        let result = Store::open(dir.path(), &params()).and_then(|store| store.load());
        assert!(matches!(result, Err(StoreError::Damaged { .. })), "{result:?}");
    }
}

#[test]
fn a_store_without_its_data_file_is_created_again() {
    let dir = TempDir::new().unwrap();
    drop(Store::open(dir.path(), &params()).unwrap());
    fs::remove_file(dir.path().join("store").join("data.mdb")).unwrap();
    fs::create_dir(dir.path().join("store.new")).unwrap();
    fs::write(dir.path().join("store.new").join("data.mdb"), b"half").unwrap();
    let mut store = Store::open(dir.path(), &params()).unwrap();
    store.commit(&churn(0)).unwrap();
    assert!(!dir.path().join("store.new").exists());
}
