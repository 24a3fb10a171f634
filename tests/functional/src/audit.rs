//! Verifies blocks and exported shares by the independent model of the rules (`audit_blocks.py`).

use std::io::Write as _;
use std::ops::RangeInclusive;
use std::path::Path;
use std::process::{Command, Stdio};

use bitcoin::BlockHash;
use p2pool_test_bitcoind::Bitcoind;
use serde_json::{json, Value};

use crate::pool::Pool;

/// Counts of what was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    /// Shares that follow all rules, including payouts.
    pub shares: u64,
    /// Shares of the main chain.
    pub main_chain: u64,
    /// Blocks whose payouts follow the rules.
    pub blocks: u64,
    /// Blocks that are shares.
    pub blocks_that_are_shares: u64,
    /// Most payees of one block.
    pub outputs_max: u64,
}

/// Verifies all stored shares of a node, and the blocks at these heights of bitcoind's best chain, which must be from
/// this pool. Panics at the first difference.
#[track_caller]
pub fn audit(pool: &Pool, bitcoind: &Bitcoind, heights: RangeInclusive<u32>) -> Audit {
    let blocks: Vec<BlockHash> = heights.map(|height| bitcoind.block_hash(height)).collect();
    audit_blocks(pool, bitcoind, &blocks)
}

/// Same as [`audit`], for blocks on any branch.
#[track_caller]
pub fn audit_blocks(pool: &Pool, bitcoind: &Bitcoind, blocks: &[BlockHash]) -> Audit {
    let lines: Vec<String> = blocks.iter().map(|hash| block_line(bitcoind, hash).to_string()).collect();
    let file = pool.data_dir().join("audited_blocks.jsonl");
    std::fs::write(&file, lines.join("\n")).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let counts = run(&pool.export_text(), &file);
    let count =
        |name: &str| counts[name].as_u64().unwrap_or_else(|| panic!("the audit has no count of {name}: {counts}"));
    Audit {
        shares: count("shares"),
        main_chain: count("main_chain"),
        blocks: count("blocks"),
        blocks_that_are_shares: count("blocks_that_are_shares"),
        outputs_max: count("outputs_max"),
    }
}

fn block_line(bitcoind: &Bitcoind, hash: &BlockHash) -> Value {
    let block = bitcoind.block(hash);
    let outputs = block.txdata[0].output.iter();
    let outputs: Vec<Value> =
        outputs.map(|output| json!([output.script_pubkey.to_hex_string(), output.value.to_sat()])).collect();
    json!({"hash": hash.to_string(), "bits": format!("{:08x}", block.header.bits.to_consensus()), "outputs": outputs})
}

#[track_caller]
fn run(export: &str, blocks: &Path) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("audit_blocks.py");
    let mut child = Command::new("python3")
        .arg(script)
        .arg(blocks)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("python3: {error}"));
    let mut stdin = child.stdin.take().unwrap_or_else(|| panic!("python3 has no input"));
    // It ends at the first difference, perhaps before it has read all input.
    drop(stdin.write_all(export.as_bytes()));
    drop(stdin);
    let output = child.wait_with_output().unwrap_or_else(|error| panic!("python3: {error}"));
    assert!(output.status.success(), "audit failed: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("counts of the audit: {error}"))
}
