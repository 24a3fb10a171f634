//! Checks the export with an independent program, `tests/vectors/audit.py`.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use bitcoin::block::Header;
use bitcoin::consensus::encode::deserialize_hex;
use bitcoin::hex::FromHex as _;
use p2pool_chain::export::export;
use p2pool_chain::store::Store;
use p2pool_core::node::{Changes, StoredShare};
use p2pool_core::params::{ChainParams, Network};
use p2pool_core::share::{Share, ShareId};
use p2pool_core::sharechain::bitcoin_difficulty::PeriodStart;
use p2pool_core::sharechain::{Anchor, RecentTimes};
use p2pool_core::units::{Bits, BlockHeight, UnixTime};
use serde_json::Value;

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors")
}

fn vector() -> Value {
    let text = std::fs::read_to_string(vectors().join("chain.json")).expect("the vectors are in the repository");
    serde_json::from_str(&text).expect("the vectors are JSON")
}

/// The recorded Bitcoin blocks. Of what only their children depend on, nothing is recorded.
fn anchors() -> Vec<Anchor> {
    let chain = vector();
    let number = |recorded: &Value, field: &str| {
        let number = recorded[field].as_u64().expect("a number");
        u32::try_from(number).expect("32 bits")
    };
    let anchor = |recorded: &Value| {
        let header: Header = deserialize_hex(recorded["header"].as_str().expect("a header")).expect("a header");
        let times = RecentTimes::new([UnixTime(number(recorded, "median_time_past"))]);
        let start = PeriodStart { time: UnixTime(0), bits: Bits(header.bits.to_consensus()) };
        Anchor::new(Network::Regtest, header, BlockHeight(number(recorded, "height")), times, start, start.bits)
    };
    chain["anchors"].as_array().expect("anchors").iter().map(anchor).collect()
}

/// The recorded chain of the model: its parameters, tip and shares.
fn recorded() -> (ChainParams, ShareId, Vec<StoredShare>) {
    let chain = vector();
    let params = ChainParams {
        chain_name: chain["params"]["chain_name"].as_str().expect("chain name").to_owned(),
        retarget_window: 8,
        payout_window: 20,
        ..ChainParams::standard(Network::Regtest)
    };
    assert_eq!(chain["chain_id"], params.chain_id().to_string());
    let stored = |recorded: &Value| {
        let raw = Vec::from_hex(recorded["raw"].as_str().expect("raw share")).expect("hexadecimal");
        let share = Share::decode(&raw).expect("a share");
        StoredShare { id: share.id(), share: share.into(), verified: true }
    };
    let shares: Vec<StoredShare> = chain["shares"].as_array().expect("shares").iter().map(stored).collect();
    let tip = shares.iter().find(|share| chain["tip"] == share.id.to_string()).expect("the tip is among the shares");
    (params, tip.id, shares)
}

/// Stores the shares, exports them and audits the export.
fn audit(params: &ChainParams, tip: ShareId, shares: Vec<StoredShare>) -> Output {
    let dir = tempfile::tempdir().expect("a folder for the store");
    let batch = Changes { put_shares: shares, put_anchors: anchors(), tip: Some(tip), ..Changes::default() };
    Store::open(dir.path(), params).expect("a new store").commit(&batch).expect("room for the shares");
    let mut lines = Vec::new();
    export(dir.path(), params, &mut lines).expect("an export");
    let file = dir.path().join("export.jsonl");
    std::fs::write(&file, &lines).expect("room for the export");
    Command::new("python3").arg(vectors().join("audit.py")).arg(&file).output().expect("python3 is installed")
}

fn text_of(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn a_correct_export_passes_complete_and_pruned() {
    let (params, tip, shares) = recorded();
    let all = shares.len();
    let output = audit(&params, tip, shares.clone());
    assert!(output.status.success(), "{}", text_of(&output));
    assert!(
        text_of(&output).contains(&format!("{all} coinbases and their payouts recomputed")),
        "{}",
        text_of(&output)
    );
    let pruned = shares.into_iter().filter(|share| share.share.info.share_height.0 >= 15).collect();
    let output = audit(&params, tip, pruned);
    assert!(output.status.success(), "{}", text_of(&output));
}

#[test]
fn a_share_whose_miner_was_changed_in_the_store_is_detected() {
    let (params, tip, mut shares) = recorded();
    let other = shares[0].share.info.payout_script;
    let forged = shares.iter_mut().find(|share| share.share.info.payout_script != other).expect("two miners");
    std::sync::Arc::make_mut(&mut forged.share).info.payout_script = other;
    let id = forged.id;
    let output = audit(&params, tip, shares);
    assert_eq!(output.status.code(), Some(1), "{}", text_of(&output));
    assert!(text_of(&output).contains(&format!("share {id}: rule 8")), "{}", text_of(&output));
}
