use std::collections::HashMap;

use super::*;

fn id(number: u32) -> ShareId {
    let mut id = [0; 32];
    id[..4].copy_from_slice(&number.to_le_bytes());
    ShareId(id)
}

fn block(number: u32) -> BlockRecord {
    let details = BlockDetails {
        block_height: number,
        share_height: Some(number),
        miner: "address".to_owned(),
        ours: false,
        coinbase_value: 50,
    };
    BlockRecord::new(id(number), number, details)
}

/// Adds blocks as if they came from the sharechain.
fn add(log: &mut BlockLog, numbers: impl Iterator<Item = u32>) {
    let blocks: Vec<BlockRecord> = numbers.map(block).collect();
    let lines: Vec<Line> = blocks.iter().flat_map(lines_of).collect();
    blocks.into_iter().for_each(|block| log.insert(block));
    log.sort_and_trim();
    log.append(&lines);
}

fn status(statuses: &[(u32, BlockStatus)]) -> BlocksStatus {
    BlocksStatus { blocks: statuses.iter().map(|(number, status)| (id(*number), *status)).collect::<HashMap<_, _>>() }
}

fn lines(dir: &Path) -> usize {
    fs::read_to_string(dir.join(FILE)).unwrap().lines().count()
}

#[test]
fn blocks_and_their_final_statuses_are_restored() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = BlockLog::open(dir.path());
    add(&mut log, 1..=4);
    log.update_statuses(&status(&[(1, BlockStatus::Confirmed { confirmations: 100 }), (2, BlockStatus::Orphaned)]));
    log.update_statuses(&status(&[(3, BlockStatus::Confirmed { confirmations: 5 }), (4, BlockStatus::Unknown)]));
    let before = log.blocks.clone();
    drop(log);
    let log = BlockLog::open(dir.path());
    // A few confirmations are not stored: they are requested again.
    assert_eq!(before[2].status, Some(BlockStatus::Confirmed { confirmations: 5 }));
    assert_eq!(log.blocks[2].status, None);
    assert_eq!(log.blocks[..2], before[..2]);
    assert_eq!(log.newest().unwrap().id, id(4));
}

#[test]
fn a_status_is_stored_only_when_it_changes() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = BlockLog::open(dir.path());
    add(&mut log, 1..=1);
    for _ in 0..5 {
        log.update_statuses(&status(&[(1, BlockStatus::Orphaned)]));
    }
    assert_eq!(lines(dir.path()), 2);
    // A reorganisation brings it back.
    log.update_statuses(&status(&[(1, BlockStatus::Confirmed { confirmations: 3 })]));
    log.update_statuses(&status(&[(1, BlockStatus::Confirmed { confirmations: 101 })]));
    log.update_statuses(&status(&[(1, BlockStatus::Confirmed { confirmations: 102 })]));
    log.update_statuses(&status(&[(1, BlockStatus::Unknown)]));
    assert_eq!(lines(dir.path()), 4);
    drop(log);
    assert_eq!(BlockLog::open(dir.path()).blocks[0].status, Some(BlockStatus::Confirmed { confirmations: 101 }));
}

#[test]
fn a_torn_line_is_skipped_and_does_not_affect_others() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = BlockLog::open(dir.path());
    add(&mut log, 1..=2);
    drop(log);
    let path = dir.path().join(FILE);
    let text = fs::read_to_string(&path).unwrap();
    for len in 0..text.len() {
        fs::write(&path, &text[..len]).unwrap();
        let mut log = BlockLog::open(dir.path());
        let held = log.len();
        add(&mut log, 9..=9);
        drop(log);
        let log = BlockLog::open(dir.path());
        assert_eq!(log.len(), held + 1, "torn at {len}");
        assert_eq!(log.newest().unwrap().id, id(9));
    }
}

#[test]
fn the_log_and_its_file_are_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let most = u32::try_from(BLOCKS_MAX).unwrap();
    let mut log = BlockLog::open(dir.path());
    add(&mut log, 0..6 * most);
    assert_eq!((log.len(), log.known.len()), (BLOCKS_MAX, BLOCKS_MAX));
    assert!(!log.has_room_for(&block(3)) && log.has_room_for(&block(9 * most)));
    assert_eq!(lines(dir.path()), 6 * BLOCKS_MAX);
    drop(log);
    let log = BlockLog::open(dir.path());
    assert_eq!(lines(dir.path()), BLOCKS_MAX);
    assert_eq!((log.len(), log.newest().unwrap().id), (BLOCKS_MAX, id(6 * most - 1)));
    assert!(!dir.path().join(NEW_FILE).exists());
}

#[test]
fn the_newest_immature_blocks_are_tracked() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = BlockLog::open(dir.path());
    add(&mut log, 0..300);
    log.update_statuses(&status(&[(299, BlockStatus::Confirmed { confirmations: 100 }), (298, BlockStatus::Orphaned)]));
    let tracked = log.tracked().0;
    assert_eq!((tracked.len(), tracked[0]), (TRACKED_MAX, id(298)));
}

#[test]
fn without_a_usable_file_the_log_is_kept_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join(FILE)).unwrap();
    let mut log = BlockLog::open(dir.path());
    add(&mut log, 1..=2);
    assert_eq!(log.len(), 2);
}

fn own(number: u32, outcome: Option<SubmitOutcome>) -> OwnBlock {
    let (height, value) = (p2pool_core::units::BlockHeight(number), p2pool_core::units::Sats(50));
    let (time, queued) = (UnixTime(number), UnixTime(1_000 + number));
    OwnBlock { id: id(number), time, height, value, queued, outcome }
}

fn own_status(blocks: Vec<OwnBlock>) -> Arc<OwnBlocksStatus> {
    Arc::new(OwnBlocksStatus { blocks })
}

#[test]
fn own_blocks_that_are_not_shares_are_stored_with_their_status() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = BlockLog::open(dir.path());
    log.add_own(&own_status(vec![own(5, None), own(6, None)]), "mine");
    assert_eq!(log.newest().unwrap().id, id(6));
    let rejected = Some(SubmitOutcome::Rejected("bad-cb-amount".to_owned()));
    let status = own_status(vec![own(5, Some(SubmitOutcome::Accepted)), own(6, rejected)]);
    for _ in 0..3 {
        log.add_own(&own_status(status.blocks.clone()), "mine");
    }
    assert_eq!(log.newest().unwrap().id, id(5), "a rejected block is not the newest");
    assert_eq!(lines(dir.path()), 3, "each fact is stored once");
    // bitcoind reports the header of a rejected block as not in the best chain.
    log.update_statuses(&self::status(&[(6, BlockStatus::Orphaned)]));
    let before = log.blocks.clone();
    drop(log);
    let log = BlockLog::open(dir.path());
    assert_eq!(log.blocks, before);
    let details = &log.blocks[1].details;
    assert_eq!((details.ours, details.miner.as_str(), details.share_height), (true, "mine", None));
    assert_eq!(log.blocks[1].reject_reason.as_deref(), Some("bad-cb-amount"));
}

#[test]
fn a_block_later_known_as_a_share_is_completed_and_not_duplicated() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = BlockLog::open(dir.path());
    log.add_own(&own_status(vec![own(7, None)]), "address");
    add(&mut log, 7..=7);
    log.add_own(&own_status(vec![own(7, Some(SubmitOutcome::Accepted))]), "address");
    assert_eq!((log.len(), log.blocks[0].details.share_height), (1, Some(7)));
    drop(log);
    let log = BlockLog::open(dir.path());
    assert_eq!((log.len(), log.blocks[0].details.share_height), (1, Some(7)));
}

#[test]
fn a_file_of_an_earlier_version_can_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let hash = id(3);
    let text = format!(
        "{{\"hash\":\"{hash}\",\"event\":\"found\",\"time\":9,\"block_height\":3,\"share_height\":4,\"miner\":\"a\",\
         \"ours\":true,\"coinbase_value\":50}}\n{{\"hash\":\"{hash}\",\"event\":\"confirmed\",\"confirmations\":100}}\n"
    );
    fs::write(dir.path().join(FILE), text).unwrap();
    let log = BlockLog::open(dir.path());
    assert_eq!(log.blocks[0].details.share_height, Some(4));
    assert_eq!(log.blocks[0].status, Some(BlockStatus::Confirmed { confirmations: 100 }));
}
