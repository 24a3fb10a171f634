//! Tests of what is stored on disk.

use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use p2pool_core::share::ShareId;
use p2pool_core::sharechain::Tree;
use p2pool_core::status::{
    BlockStatus, BlocksStatus, ChainStatus, MinersStatus, OwnBlock, OwnBlocksStatus, SubmitOutcome,
};
use p2pool_core::sync::SyncState;
use p2pool_core::units::{BlockHeight, Sats, UnixTime};
use serde_json::Value;

use crate::node::{job, miner, now, Node, Recording};

fn start(folder: &std::path::Path, with_shares: bool) -> Node {
    let recording = Recording::read();
    let tree = if with_shares { recording.tree() } else { Tree::new(Arc::new(recording.params.clone())) };
    Node::start_in(folder, recording, ChainStatus::new(Arc::new(tree), SyncState::Synced))
}

#[test]
fn found_blocks_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let node = start(folder.path(), true);
    let blocks = node.json("/api/v1/blocks")["blocks"].as_array().unwrap().clone();
    assert!(!blocks.is_empty(), "some of the shares are regtest blocks");
    let share = format!("/api/v1/share/{}", blocks[0]["hash"].as_str().unwrap());
    assert!(blocks.iter().all(|block| block["share_stored"] == true));
    assert_eq!(node.get(&share).status, 200);
    drop(node);

    // The log has the blocks, but their shares are gone.
    let node = start(folder.path(), false);
    let mut expected = blocks.clone();
    expected.iter_mut().for_each(|block| block["share_stored"] = false.into());
    assert_eq!(node.json("/api/v1/blocks")["blocks"].as_array().unwrap(), &expected);
    assert_eq!(node.get(&share).status, 404);
    assert_eq!(node.json("/api/v1/status")["last_block_found_hash"], blocks[0]["hash"]);
}

#[test]
fn history_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let node = start(folder.path(), true);
    node.sources.miners.store(Arc::new(MinersStatus {
        time: now(),
        miners: vec![miner("one", 1e12)],
        ..MinersStatus::default()
    }));
    node.wait_for("a sample with a miner", |status| {
        status["history"].as_array().unwrap().iter().any(|point| point["lh"].as_f64().unwrap() > 0.0)
    });
    drop(node);

    // The second run has no miner: rates above zero are of the first.
    let node = start(folder.path(), false);
    for window in ["1h", "1d", "7d", "30d"] {
        let history = node.json(&format!("/api/v1/history?window={window}"));
        let mut points = history["points"].as_array().unwrap().iter();
        assert!(points.any(|point| point["lh"].as_f64().unwrap() > 0.0), "{window}: {history}");
    }
}

#[test]
fn workers_are_remembered_over_a_restart_and_only_their_owner_can_read_them() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("history/workers.jsonl");
    let is_stored = || std::fs::read_to_string(&file).unwrap_or_default().contains("\"garage\"");
    let node = start(folder.path(), true);
    let miners = vec![miner("garage", 1e12)];
    node.sources.miners.store(Arc::new(MinersStatus { time: now(), miners, ..MinersStatus::default() }));
    node.wait_for("a sample with the miner", |status| {
        status["history"].as_array().unwrap().iter().any(|point| point["miners"] == 1)
    });
    assert!(!is_stored(), "not at each change");
    drop(node);
    assert!(is_stored());
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    // The second run has no miner, and stores what it has read.
    let node = start(folder.path(), true);
    assert_eq!(node.json("/api/v1/status")["gone_miners"].as_array().unwrap().len(), 0, "it has time to return");
    std::fs::remove_file(&file).unwrap();
    drop(node);
    assert!(is_stored());
}

#[test]
fn the_status_of_blocks_is_tracked_and_shown() {
    let folder = tempfile::tempdir().unwrap();
    let node = start(folder.path(), true);
    let block = |index: usize| node.json("/api/v1/blocks")["blocks"][index].clone();
    assert_eq!((&block(0)["status"], &block(0)["confirmations"]), (&"submitted".into(), &serde_json::Value::Null));
    let tracked = node.sources.tracked.load_full();
    let ids: Vec<ShareId> = tracked.0.iter().take(3).copied().collect();
    assert_eq!(ids[0].to_string(), block(0)["hash"].as_str().unwrap());
    let mut statuses: HashMap<ShareId, BlockStatus> =
        HashMap::from([(ids[0], BlockStatus::Orphaned), (ids[1], BlockStatus::Confirmed { confirmations: 7 })]);
    node.sources.blocks.store(Arc::new(BlocksStatus { blocks: statuses.clone() }));
    assert_eq!(block(0)["status"], "orphaned");
    assert_eq!((&block(1)["status"], &block(1)["confirmations"]), (&"confirmed".into(), &7.into()));
    statuses.insert(ids[2], BlockStatus::Confirmed { confirmations: 100 });
    node.sources.blocks.store(Arc::new(BlocksStatus { blocks: statuses }));
    assert_eq!((&block(2)["status"], &block(2)["confirmations"]), (&"confirmed".into(), &100.into()));
    let second = block(1)["hash"].clone();
    node.wait_for("the last block not orphaned", |status| status["last_block_found_hash"] == second);
    assert!(!node.sources.tracked.load().0.contains(&ids[2]), "a mature block is no longer tracked");
    drop(node);
    let node = start(folder.path(), false);
    let blocks = node.json("/api/v1/blocks")["blocks"].clone();
    assert_eq!((&blocks[0]["status"], &blocks[2]["confirmations"]), (&"orphaned".into(), &100.into()));
}

#[test]
fn folders_are_private_and_the_socket_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let node = start(folder.path(), false);
    let mode = |name: &str| std::fs::metadata(folder.path().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("web"), mode("history")), (0o700, 0o700));
    assert_eq!(node.get("/api/v1/peers").status, 200);
    drop(node);
    assert!(!folder.path().join("web").exists());
}

#[test]
fn an_own_block_that_is_not_a_share_is_shown_with_its_status() {
    let folder = tempfile::tempdir().unwrap();
    let node = start(folder.path(), false);
    let (first, second) = (ShareId([1; 32]), ShareId([2; 32]));
    let publish = |outcomes: [Option<SubmitOutcome>; 2]| {
        let block = |(id, height, outcome)| OwnBlock {
            id,
            time: UnixTime(1_700_000_000 + height),
            height: BlockHeight(height),
            value: Sats(5_000_000_000),
            queued: now(),
            outcome,
        };
        let [one, other] = outcomes;
        let blocks = [(first, 7, one), (second, 8, other)].map(block).to_vec();
        node.sources.own_blocks.store(Arc::new(OwnBlocksStatus { blocks }));
    };
    publish([None, None]);
    let listed = || node.json("/api/v1/blocks")["blocks"].clone();
    let newest = listed()[0].clone();
    assert_eq!((&newest["hash"], &newest["status"]), (&second.to_string().into(), &"submitted".into()));
    assert_eq!((&newest["ours"], &newest["share_height"], &newest["height"]), (&true.into(), &Value::Null, &8.into()));
    let ours = node.json("/api/v1/status")["our_address"].clone();
    assert_eq!((&newest["miner"], &newest["value"]), (&ours, &5_000_000_000_u64.into()));
    assert!(node.sources.tracked.load().0.contains(&second), "its confirmations are tracked");

    publish([Some(SubmitOutcome::Accepted), Some(SubmitOutcome::Rejected("high-hash".to_owned()))]);
    let blocks = listed();
    assert_eq!((&blocks[0]["status"], &blocks[0]["reason"]), (&"rejected".into(), &"high-hash".into()));
    assert_eq!((&blocks[1]["status"], &blocks[1]["reason"]), (&"submitted".into(), &Value::Null));
    let statuses = [(first, BlockStatus::Confirmed { confirmations: 3 })].into_iter().collect();
    node.sources.blocks.store(Arc::new(BlocksStatus { blocks: statuses }));
    assert_eq!((&listed()[1]["status"], &listed()[1]["confirmations"]), (&"confirmed".into(), &3.into()));
    node.wait_for("the last block", |status| status["last_block_found_hash"] == first.to_string());
    drop(node);
    let node = start(folder.path(), false);
    assert_eq!(node.json("/api/v1/blocks")["blocks"][0]["status"], "rejected");
}

/// bitcoind reports blocks one after the other, so possibly with different tips.
#[test]
fn confirmations_are_counted_from_one_tip() {
    let node = Node::start_empty();
    let ids: Vec<ShareId> = (1..=3).map(|number| ShareId([number; 32])).collect();
    let block = |(index, id): (usize, &ShareId)| OwnBlock {
        id: *id,
        time: UnixTime(1_700_000_000),
        height: BlockHeight(4 + index as u32),
        value: Sats(1),
        queued: now(),
        outcome: Some(SubmitOutcome::Accepted),
    };
    let blocks = ids.iter().enumerate().map(block).collect();
    node.sources.own_blocks.store(Arc::new(OwnBlocksStatus { blocks }));
    let confirmations = || {
        let blocks = node.json("/api/v1/blocks")["blocks"].clone();
        let of = |block: &Value| (block["height"].as_u64().unwrap(), block["confirmations"].as_u64());
        blocks.as_array().unwrap().iter().map(of).collect::<Vec<_>>()
    };
    // Blocks 4 and 5 were requested when the tip was 5, block 6 later.
    let reported = [(ids[0], 2), (ids[1], 1), (ids[2], 1)];
    let statuses =
        reported.map(|(id, confirmations)| (id, BlockStatus::Confirmed { confirmations })).into_iter().collect();
    node.sources.blocks.store(Arc::new(BlocksStatus { blocks: statuses }));
    assert_eq!(confirmations(), [(6, Some(1)), (5, Some(2)), (4, Some(3))]);

    // The current job builds on a higher tip.
    let tree = node.recording.empty_tree();
    let job = job(&tree, node.recording.scripts[0], now());
    let tip = u64::from(job.template.height.0) - 1;
    assert!(tip > 6);
    node.publish(|chain| chain.job = Some(job));
    let from_tip = |height: u64| (height, Some((tip - height + 1).min(100)));
    assert_eq!(confirmations(), [from_tip(6), from_tip(5), from_tip(4)]);

    // At most 100 confirmations are counted.
    let statuses = [(ids[2], BlockStatus::Confirmed { confirmations: 250 })].into_iter().collect();
    node.sources.blocks.store(Arc::new(BlocksStatus { blocks: statuses }));
    assert_eq!(confirmations(), [(6, Some(100)), (5, Some(100)), (4, Some(100))]);
}
