//! Compares the export with the shares it was made from, and its payouts with a naive implementation.

use std::collections::HashMap;

use bitcoin::block::{Header, Version};
use bitcoin::hashes::Hash as _;
use bitcoin::hex::FromHex as _;
use bitcoin::{BlockHash, CompactTarget, TxMerkleNode};
use p2pool_core::params::Network;
use p2pool_core::payouts::payout_list;
use p2pool_core::share::{CoinbaseTag, PayoutScript, Share, ShareId, ShareInfo};
use p2pool_core::sharechain::bitcoin_difficulty::PeriodStart;
use p2pool_core::sharechain::{Anchor, RecentTimes};
use p2pool_core::units::{BlockHeight, Sats, ShareHeight, UnixTime, Work};
use serde_json::Value;
use tempfile::TempDir;

use super::*;
use crate::store::Store;
use p2pool_core::node::Changes;

/// Number of main-chain shares of the test chain.
const HEIGHTS: u32 = 60;

fn params() -> ChainParams {
    ChainParams { payout_window: 12, ..ChainParams::standard(Network::Regtest) }
}

fn script(miner: u8) -> PayoutScript {
    let p2wpkh = [&[0x00, 0x14][..], &[miner; 20]].concat();
    let p2tr = [&[0x51, 0x20][..], &[miner; 32]].concat();
    PayoutScript::new(if miner.is_multiple_of(2) { &p2wpkh } else { &p2tr }).unwrap()
}

/// A share without proof of work, which neither the store nor the export checks. `nonce` makes it unique.
fn share(parent: Option<&StoredShare>, uncles: &[&StoredShare], nonce: u32) -> StoredShare {
    let height = parent.map_or(0, |parent| parent.share.info.share_height.0 + 1);
    let header = Header {
        version: Version::from_consensus(0x2000_0000 | i32::from(nonce as u8) << 13),
        prev_blockhash: BlockHash::from_byte_array([nonce as u8; 32]),
        merkle_root: TxMerkleNode::from_byte_array([0x17; 32]),
        time: 1_700_000_000 + 30 * height,
        bits: CompactTarget::from_consensus(if nonce.is_multiple_of(3) { 0x207f_ffff } else { 0x2000_ffff }),
        nonce,
    };
    let mut uncles: Vec<ShareId> = uncles.iter().map(|uncle| uncle.id).collect();
    uncles.sort_unstable();
    let share_bits = if nonce.is_multiple_of(4) { Bits(0x207f_ffff) } else { Bits(0x200f_ffff) };
    let info = ShareInfo {
        rules_version: 2,
        parent: parent.map_or(ShareId::ZERO, |parent| parent.id),
        share_bits,
        base_bits: Bits(0x2000_ffff),
        signal: 3,
        outputs_vote: 1,
        outputs_class: (nonce % 2) as u8,
        uncles,
        share_height: ShareHeight(height),
        chain_work: Work(u128::MAX - u128::from(nonce)),
        block_height: BlockHeight(height + 1),
        coinbase_value: Sats(5_000_000_000 + u64::from(nonce)),
        payout_script: script(nonce as u8 % 7),
        witness_commitment: [nonce as u8; 32],
        coinbase_tag: CoinbaseTag::new(if nonce.is_multiple_of(2) { b"\"tag\\ <&" } else { b"" }).unwrap(),
    };
    let merkle_branch = (0..nonce % 4).map(|level| [level as u8; 32]).collect();
    let share = Share { header, info, extranonce: *b"server+miner", merkle_branch };
    StoredShare { id: share.id(), share: share.into(), verified: !nonce.is_multiple_of(5) }
}

/// A main chain with a stale share at every third height, and its tip. Every other stale share becomes an uncle.
fn chain() -> (Vec<StoredShare>, ShareId) {
    let mut main = vec![share(None, &[], 0)];
    let mut stale: Vec<StoredShare> = Vec::new();
    for height in 1..HEIGHTS {
        let uncles: Vec<&StoredShare> = if height % 6 == 1 { stale.iter().rev().take(1).collect() } else { Vec::new() };
        let next = share(main.last(), &uncles, height);
        if height.is_multiple_of(3) {
            stale.push(share(main.last(), &[], 1_000 + height));
        }
        main.push(next);
    }
    let tip = main.last().unwrap().id;
    (main.into_iter().chain(stale).collect(), tip)
}

fn fill(dir: &Path, params: &ChainParams, shares: &[StoredShare], tip: Option<ShareId>) {
    let batch = Changes { put_shares: shares.to_vec(), tip, ..Changes::default() };
    Store::open(dir, params).unwrap().commit(&batch).unwrap();
}

fn exported(dir: &Path, params: &ChainParams) -> (ExportSummary, Vec<Value>) {
    let mut out = Vec::new();
    let summary = export(dir, params, &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(text.ends_with('\n'));
    (summary, text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

fn text(line: &Value, field: &str) -> String {
    line[field].as_str().unwrap_or_else(|| panic!("{field} in {line}")).to_owned()
}

/// Parses a hash in display order.
fn parse_hash(digits: &str) -> [u8; 32] {
    digits.parse::<BlockHash>().unwrap().to_byte_array()
}

#[test]
fn the_first_line_has_the_parameters() {
    let (dir, params) = (TempDir::new().unwrap(), params());
    fill(dir.path(), &params, &[], None);
    let (summary, lines) = exported(dir.path(), &params);
    assert_eq!(summary, ExportSummary::default());
    let expected = serde_json::json!({
        "network": "regtest", "chain_name": "main", "signet_challenge": "", "share_period_s": 30,
        "retarget_window": 72, "payout_window": 12, "work_cut_blocks": 0, "payout_outputs": [48, 146, 366, 1000],
        "easiest_bits": "207fffff", "age_step_s": 172800, "activations": [], "chain_id": params.chain_id().to_string(), "tip": null,
    });
    assert_eq!(lines, [expected]);
}

#[test]
fn every_field_matches_the_raw_share() {
    let (dir, params) = (TempDir::new().unwrap(), params());
    let (shares, tip) = chain();
    fill(dir.path(), &params, &shares, Some(tip));
    let (summary, lines) = exported(dir.path(), &params);
    assert_eq!(summary, ExportSummary { shares: shares.len(), with_payouts: shares.len(), cut_short: false });
    assert_eq!(lines[0]["tip"], tip.to_string());
    let stored: HashMap<String, &StoredShare> = shares.iter().map(|share| (share.id.to_string(), share)).collect();
    let mut blocks = 0;
    for line in &lines[1..] {
        let share = Share::decode(&Vec::from_hex(&text(line, "raw")).unwrap()).unwrap();
        let original = stored[&text(line, "id")];
        assert_eq!(share, *original.share);
        let (header, info) = (&share.header, &share.info);
        assert_eq!(text(line, "header"), bitcoin::consensus::encode::serialize_hex(header));
        assert_eq!(line["version"], header.version.to_consensus());
        assert_eq!(parse_hash(&text(line, "prev_block")), header.prev_blockhash.to_byte_array());
        assert_eq!(parse_hash(&text(line, "merkle_root")), header.merkle_root.to_byte_array());
        assert_eq!(
            (line["time"].as_u64(), line["nonce"].as_u64()),
            (Some(header.time.into()), Some(header.nonce.into()))
        );
        assert_eq!(text(line, "bits"), format!("{:08x}", header.bits.to_consensus()));
        assert_eq!(parse_hash(&text(line, "parent")), info.parent.0);
        let uncles: Vec<[u8; 32]> =
            line["uncles"].as_array().unwrap().iter().map(|uncle| parse_hash(uncle.as_str().unwrap())).collect();
        assert_eq!(uncles, info.uncles.iter().map(|uncle| uncle.0).collect::<Vec<_>>());
        assert_eq!(line["share_height"], info.share_height.0);
        assert_eq!(text(line, "chain_work"), info.chain_work.0.to_string());
        assert_eq!(text(line, "share_bits"), format!("{:08x}", info.share_bits.0));
        assert_eq!(text(line, "base_bits"), format!("{:08x}", info.base_bits.0));
        let votes = ["rules_version", "signal", "outputs_vote", "outputs_class"].map(|field| line[field].as_u64());
        let expected = [info.rules_version, info.signal, info.outputs_vote, info.outputs_class];
        assert_eq!(votes, expected.map(|vote| Some(vote.into())));
        assert_eq!(line["block_height"], info.block_height.0);
        assert_eq!(line["coinbase_value"], info.coinbase_value.0);
        assert_eq!(Vec::from_hex(&text(line, "payout_script")).unwrap(), info.payout_script.as_bytes());
        assert_eq!(text(line, "payout_address"), info.payout_script.to_address(Network::Regtest));
        assert!(text(line, "payout_address").starts_with("bcrt1"));
        assert_eq!(<[u8; 32]>::from_hex(&text(line, "witness_commitment")).unwrap(), info.witness_commitment);
        assert_eq!(text(line, "coinbase_tag").as_bytes(), info.coinbase_tag.as_bytes());
        assert_eq!(<[u8; 12]>::from_hex(&text(line, "extranonce")).unwrap(), share.extranonce);
        let branch: Vec<[u8; 32]> = line["merkle_branch"]
            .as_array()
            .unwrap()
            .iter()
            .map(|hash| <[u8; 32]>::from_hex(hash.as_str().unwrap()).unwrap())
            .collect();
        assert_eq!(branch, share.merkle_branch);
        assert_eq!(line["main_chain"], header.nonce < 1_000);
        assert_eq!(line["verified"], original.verified);
        let is_block = header.target().is_met_by(header.block_hash());
        assert_eq!(line["is_block"], is_block);
        blocks += usize::from(is_block);
        assert_eq!(line.as_object().unwrap().len(), 32, "all but payouts and anchor time are compared");
    }
    assert!(blocks > 0 && blocks < shares.len(), "{blocks} blocks: both cases must occur");
    let order: Vec<(u64, [u8; 32])> = lines[1..]
        .iter()
        .map(|line| {
            let mut number = parse_hash(&text(line, "id"));
            number.reverse();
            (line["share_height"].as_u64().unwrap(), number)
        })
        .collect();
    assert!(order.is_sorted(), "oldest first");
}

#[test]
fn shares_have_the_time_of_their_anchor() {
    let (dir, params) = (TempDir::new().unwrap(), params());
    let (other, mut above) = (share(None, &[], 0), share(None, &[], 1));
    let header = Header { time: 1_600_000_000, ..other.share.header };
    let times = RecentTimes::new([header.time, 7, header.time - 1].map(UnixTime));
    let start = PeriodStart { time: UnixTime(0), bits: Bits(0x207f_ffff) };
    let anchor = Anchor::new(Network::Regtest, header, BlockHeight(3), times, start, start.bits);
    std::sync::Arc::make_mut(&mut above.share).header.prev_blockhash = header.block_hash();
    above.id = above.share.id();
    let expected = HashMap::from([(other.id.to_string(), None), (above.id.to_string(), Some(1_599_999_999))]);
    let batch = Changes { put_shares: vec![other, above], put_anchors: vec![anchor], ..Changes::default() };
    Store::open(dir.path(), &params).unwrap().commit(&batch).unwrap();
    let (_, lines) = exported(dir.path(), &params);
    let found = lines[1..].iter().map(|line| (text(line, "id"), line["anchor_median_time_past"].as_u64()));
    assert_eq!(found.collect::<HashMap<_, _>>(), expected);
}

/// The payouts as the rules describe them: walk back and list every credit. `None` if the walk finds a gap.
fn naive_payouts(
    params: &ChainParams,
    held: &HashMap<ShareId, &StoredShare>,
    of: &StoredShare,
) -> Option<Vec<(String, String, u64)>> {
    let work = |share: &StoredShare| share.share.info.share_bits.target().unwrap().work().unwrap().0;
    let block = Bits(of.share.header.bits.to_consensus()).target().unwrap().work().unwrap().0;
    let cut = u128::from(params.work_cut_blocks) * block;
    let (mut credits, mut total, mut count) = (Vec::new(), 0, 0);
    let mut next = of.share.info.parent;
    while next != ShareId::ZERO && count < params.payout_window && (cut == 0 || total < cut) {
        let share = held.get(&next)?;
        let mut own = work(share);
        total += own;
        for uncle in &share.share.info.uncles {
            let uncle = held.get(uncle)?;
            let credit = work(uncle) * 9 / 10;
            credits.push((uncle.share.info.payout_script, Work(credit)));
            own += work(uncle) - credit;
            total += work(uncle);
        }
        credits.push((share.share.info.payout_script, Work(own)));
        next = share.share.info.parent;
        count += 1;
    }
    let info = &of.share.info;
    let list = payout_list(
        params.payout_outputs_max(info.outputs_class),
        credits.into_iter(),
        info.coinbase_value,
        info.payout_script,
        info.parent,
    );
    Some(list.iter().map(|one| (one.script.to_string(), one.script.to_address(params.network), one.amount.0)).collect())
}

/// Compares all payouts and returns the number of shares that have some.
fn check_payouts(params: &ChainParams, shares: &[StoredShare], tip: ShareId) -> usize {
    let dir = TempDir::new().unwrap();
    fill(dir.path(), params, shares, Some(tip));
    let held: HashMap<ShareId, &StoredShare> = shares.iter().map(|share| (share.id, share)).collect();
    let (summary, lines) = exported(dir.path(), params);
    let mut with_payouts = 0;
    for line in &lines[1..] {
        let share = held[&ShareId(parse_hash(&text(line, "id")))];
        let found = line["payouts"].as_array().map(|list| {
            list.iter()
                .map(|one| (text(one, "script"), text(one, "address"), one["amount"].as_u64().unwrap()))
                .collect()
        });
        assert_eq!(found, naive_payouts(params, &held, share), "share {}", share.id);
        if let Some(list) = found {
            with_payouts += 1;
            let sum: u64 = list.iter().map(|(_, _, amount)| amount).sum();
            assert_eq!(sum, share.share.info.coinbase_value.0);
        }
    }
    assert_eq!((summary.shares, summary.with_payouts), (shares.len(), with_payouts));
    with_payouts
}

#[test]
fn payouts_follow_the_rules_wherever_the_window_is_held() {
    let (shares, tip) = chain();
    assert_eq!(check_payouts(&params(), &shares, tip), shares.len());
    // Pruned: the window reaches 12 back, and the oldest share lacks its uncle.
    let pruned: Vec<StoredShare> =
        shares.iter().filter(|share| share.share.info.share_height.0 >= 19).cloned().collect();
    let with_payouts = check_payouts(&params(), &pruned, tip);
    assert!(with_payouts > 0 && with_payouts < pruned.len());
    // Cut by work as on mainnet: some windows end before the gap.
    let cut = ChainParams { work_cut_blocks: 20, payout_window: 30, ..params() };
    let with_cut = check_payouts(&cut, &pruned, tip);
    let without = check_payouts(&ChainParams { work_cut_blocks: 0, ..cut }, &pruned, tip);
    assert!(with_cut > without, "{with_cut} with, {without} without");
    // A gap in the middle, which only damage can cause.
    let holed: Vec<StoredShare> =
        shares.iter().filter(|share| share.share.info.share_height.0 != 30).cloned().collect();
    assert!(check_payouts(&params(), &holed, tip) < holed.len());
}

/// Accepts some bytes, then fails.
struct Pipe {
    room: usize,
    error: io::ErrorKind,
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.room == 0 {
            return Err(self.error.into());
        }
        let taken = bytes.len().min(self.room);
        self.room -= taken;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_closed_pipe_is_no_error_but_a_full_disk_is() {
    let (dir, params) = (TempDir::new().unwrap(), params());
    let (shares, tip) = chain();
    fill(dir.path(), &params, &shares, Some(tip));
    for room in [0, 100, 20_000] {
        let summary = export(dir.path(), &params, &mut Pipe { room, error: io::ErrorKind::BrokenPipe }).unwrap();
        assert!(summary.cut_short && summary.shares < shares.len());
        let full = export(dir.path(), &params, &mut Pipe { room, error: io::ErrorKind::StorageFull });
        assert!(full.unwrap_err().to_string().starts_with("cannot write the export: "));
    }
}

#[test]
fn a_missing_store_or_one_of_another_chain_is_an_error() {
    let (dir, params) = (TempDir::new().unwrap(), params());
    let error_of = |params: &ChainParams| export(dir.path(), params, &mut Vec::new()).unwrap_err().to_string();
    assert!(error_of(&params).contains("no store at"));
    fill(dir.path(), &params, &[], None);
    assert!(error_of(&ChainParams::standard(Network::Testnet4)).contains("holds chain"));
}
