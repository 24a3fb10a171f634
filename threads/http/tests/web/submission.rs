//! Blocks that bitcoind has not accepted, or would not accept now.

use std::sync::Arc;

use p2pool_core::share::ShareId;
use p2pool_core::status::{
    BitcoindError, BitcoindStatus, BlockStatus, BlocksStatus, OwnBlock, OwnBlocksStatus, SubmissionStatus,
    SubmitOutcome,
};
use p2pool_core::units::{BlockHeight, Sats};
use serde_json::Value;

use crate::health::{codes, health};
use crate::node::{now, Node};

/// An own block, handed to the submit thread 40 s ago.
fn own_block(number: u8, outcome: Option<SubmitOutcome>) -> OwnBlock {
    OwnBlock {
        id: ShareId([number; 32]),
        time: now().minus(40),
        height: BlockHeight(900_000 + u32::from(number)),
        value: Sats(1),
        queued: now().minus(40),
        outcome,
    }
}

#[test]
fn a_block_that_bitcoind_does_not_accept_is_an_error_until_it_does() {
    let node = Node::start();
    let publish = |blocks: Vec<OwnBlock>| node.sources.own_blocks.store(Arc::new(OwnBlocksStatus { blocks }));
    let reason = "bitcoind refuses the method submitblock (HTTP status 403): why";
    let listed = |number: u8| {
        let blocks = node.json("/api/v1/blocks")["blocks"].clone();
        let hash = ShareId([number; 32]).to_string();
        let block = blocks.as_array().unwrap().iter().find(|block| block["hash"] == hash).cloned().unwrap();
        (block["status"].clone(), block["reason"].clone())
    };
    assert_eq!((health(&node).0, node.metric("p2pool_blocks_not_accepted")), (200, Some(0.0)));

    // The first one failed, the second one has had no response for 40 s.
    publish(vec![own_block(1, Some(SubmitOutcome::Failed(reason.to_owned()))), own_block(2, None)]);
    assert_eq!(listed(1), ("not_accepted".into(), reason.into()));
    assert_eq!(listed(2), ("not_accepted".into(), "no response yet".into()));
    let status = node.wait_for("the problem", |status| status["state"]["code"] == "block_not_accepted");
    let state = &status["state"];
    assert_eq!((&state["level"], codes(&status)), (&"error".into(), vec!["block_not_accepted"]));
    let hash = ShareId([1; 32]);
    let text = format!(
        "Block {hash} at height 900001, found by a miner of this node, is not accepted by bitcoind: {reason}. So is one more."
    );
    assert_eq!(state["text"], text);
    let (code, body) = health(&node);
    assert_eq!((code, &body["reasons"]), (503, &serde_json::json!([text])));
    assert_eq!(node.metric("p2pool_blocks_not_accepted"), Some(2.0));

    // One is accepted; bitcoind has the other from elsewhere.
    publish(vec![
        own_block(1, Some(SubmitOutcome::Failed(reason.to_owned()))),
        own_block(2, Some(SubmitOutcome::Accepted)),
    ]);
    assert_eq!(listed(2).0, "submitted");
    assert_eq!(health(&node).0, 503);
    let confirmed = [(ShareId([1; 32]), BlockStatus::Confirmed { confirmations: 1 })].into_iter().collect();
    node.sources.blocks.store(Arc::new(BlocksStatus { blocks: confirmed }));
    assert_eq!(listed(1), ("confirmed".into(), Value::Null));
    assert_eq!((health(&node).0, node.metric("p2pool_blocks_not_accepted")), (200, Some(0.0)));
}

#[test]
fn a_rejected_block_is_a_warning_for_a_day() {
    let node = Node::start();
    let rejected = |number: u8, age_s: u32| OwnBlock {
        time: now().minus(age_s),
        ..own_block(number, Some(SubmitOutcome::Rejected("bad-cb-amount".to_owned())))
    };
    let blocks = vec![rejected(1, 86_500), rejected(2, 86_300)];
    node.sources.own_blocks.store(Arc::new(OwnBlocksStatus { blocks }));
    let status = node.wait_for("the problem", |status| status["state"]["code"] == "block_rejected");
    assert_eq!((codes(&status), &status["state"]["level"]), (vec!["block_rejected"], &"warning".into()));
    let text = status["state"]["text"].as_str().unwrap();
    assert!(text.starts_with(&format!("Block {} at", ShareId([2; 32]))), "{text}");
    assert!(text.ends_with("is rejected by bitcoind: bad-cb-amount."), "{text}");
    assert_eq!(health(&node).0, 200);
}

#[test]
fn a_block_just_found_is_no_problem() {
    let node = Node::start();
    let block = OwnBlock { queued: now().minus(20), ..own_block(1, None) };
    node.sources.own_blocks.store(Arc::new(OwnBlocksStatus { blocks: vec![block] }));
    let newest = node.json("/api/v1/blocks")["blocks"][0].clone();
    assert_eq!((&newest["height"], &newest["status"]), (&900_001.into(), &"submitted".into()));
    assert_eq!(health(&node).0, 200);
}

#[test]
fn a_bitcoind_that_would_accept_no_block_is_an_error() {
    let node = Node::start();
    let publish = |status: SubmissionStatus| node.sources.submission.store(Arc::new(status));
    let since = now().minus(7);
    publish(SubmissionStatus { refused: vec!["submitblock", "getblockheader"], error: None, since });
    let status = node.json("/api/v1/status");
    let state = &status["state"];
    assert_eq!((codes(&status), &state["since"]), (vec!["methods_refused"], &since.0.into()));
    assert!(state["text"].as_str().unwrap().ends_with("(HTTP status 403): submitblock, getblockheader."), "{state}");
    assert!(state["advice"].as_str().unwrap().contains("rpcwhitelist="), "{state}");
    assert_eq!((health(&node).0, node.metric("p2pool_submission_ready")), (503, Some(0.0)));

    let error = BitcoindError::NoResponse("receive response timeout, 3 s".to_owned());
    publish(SubmissionStatus { refused: Vec::new(), error: Some(error.clone()), since });
    let (code, body) = health(&node);
    let text = "A block found now could not be submitted: bitcoind does not respond: receive response timeout, 3 s.";
    assert_eq!((code, &body["reasons"]), (503, &serde_json::json!([text])));
    assert_eq!(node.metric("p2pool_submission_ready"), Some(0.0));
    // The same is said once, while the poll thread sees it too.
    node.sources.bitcoind.store(Arc::new(BitcoindStatus { error: Some(error), ..BitcoindStatus::default() }));
    assert_eq!(
        codes(&node.wait_for("the other notice", |status| status["state"]["code"] == "bitcoind_no_response")),
        ["bitcoind_no_response"]
    );

    publish(SubmissionStatus { since, ..SubmissionStatus::default() });
    node.sources.bitcoind.store(Arc::default());
    assert_eq!((health(&node).0, node.metric("p2pool_submission_ready")), (200, Some(1.0)));
}

#[test]
fn polling_without_a_long_poll_is_a_warning() {
    let node = Node::start();
    assert_eq!(node.metric("p2pool_long_poll"), Some(1.0));
    let long_poll_off_since = Some(now().minus(7));
    node.sources.bitcoind.store(Arc::new(BitcoindStatus { long_poll_off_since, ..BitcoindStatus::default() }));
    let status = node.json("/api/v1/status");
    assert_eq!((codes(&status), &status["state"]["level"]), (vec!["long_poll_off"], &"warning".into()));
    assert!(status["state"]["advice"].as_str().unwrap().contains("rpcthreads="), "{status}");
    assert_eq!((health(&node).0, node.metric("p2pool_long_poll")), (200, Some(0.0)));
}
