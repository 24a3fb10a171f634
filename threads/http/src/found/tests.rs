use std::collections::HashMap;

use super::*;

fn id(number: u32) -> ShareId {
    let mut id = [0; 32];
    id[..4].copy_from_slice(&number.to_le_bytes());
    ShareId(id)
}

fn block(number: u32) -> FoundBlock {
    let facts = Facts {
        block_height: number,
        share_height: Some(number),
        miner: "address".to_owned(),
        ours: false,
        coinbase_value: 50,
    };
    FoundBlock { id: id(number), time: number, facts, fate: None, refusal: None }
}

/// As if the sharechain had these blocks.
fn add(found: &mut Found, numbers: impl Iterator<Item = u32>) {
    let blocks: Vec<FoundBlock> = numbers.map(block).collect();
    let lines: Vec<Line> = blocks.iter().flat_map(lines_of).collect();
    blocks.into_iter().for_each(|block| found.put(block));
    found.tidy();
    found.append(&lines);
}

fn status(fates: &[(u32, BlockFate)]) -> BlocksStatus {
    BlocksStatus { fates: fates.iter().map(|(number, fate)| (id(*number), *fate)).collect::<HashMap<_, _>>() }
}

fn lines(dir: &Path) -> usize {
    fs::read_to_string(dir.join(FILE)).unwrap().lines().count()
}

#[test]
fn blocks_and_their_fates_are_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut found = Found::open(dir.path());
    add(&mut found, 1..=4);
    found.hear(&status(&[(1, BlockFate::Confirmed { confirmations: 100 }), (2, BlockFate::Orphaned)]));
    found.hear(&status(&[(3, BlockFate::Confirmed { confirmations: 5 }), (4, BlockFate::Unknown)]));
    let before = found.blocks.clone();
    drop(found);
    let found = Found::open(dir.path());
    // A few confirmations are asked for again, not stored.
    assert_eq!(before[2].fate, Some(BlockFate::Confirmed { confirmations: 5 }));
    assert_eq!(found.blocks[2].fate, None);
    assert_eq!(found.blocks[..2], before[..2]);
    assert_eq!(found.newest().unwrap().id, id(4));
}

#[test]
fn the_same_word_is_written_once_and_a_changed_one_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut found = Found::open(dir.path());
    add(&mut found, 1..=1);
    for _ in 0..5 {
        found.hear(&status(&[(1, BlockFate::Orphaned)]));
    }
    assert_eq!(lines(dir.path()), 2);
    // Another reorganisation brings it back.
    found.hear(&status(&[(1, BlockFate::Confirmed { confirmations: 3 })]));
    found.hear(&status(&[(1, BlockFate::Confirmed { confirmations: 101 })]));
    found.hear(&status(&[(1, BlockFate::Confirmed { confirmations: 102 })]));
    found.hear(&status(&[(1, BlockFate::Unknown)]));
    assert_eq!(lines(dir.path()), 4);
    drop(found);
    assert_eq!(Found::open(dir.path()).blocks[0].fate, Some(BlockFate::Confirmed { confirmations: 101 }));
}

#[test]
fn a_torn_line_is_passed_over_and_swallows_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let mut found = Found::open(dir.path());
    add(&mut found, 1..=2);
    drop(found);
    let path = dir.path().join(FILE);
    let text = fs::read_to_string(&path).unwrap();
    for len in 0..text.len() {
        fs::write(&path, &text[..len]).unwrap();
        let mut found = Found::open(dir.path());
        let held = found.len();
        add(&mut found, 9..=9);
        drop(found);
        let found = Found::open(dir.path());
        assert_eq!(found.len(), held + 1, "torn at {len}");
        assert_eq!(found.newest().unwrap().id, id(9));
    }
}

#[test]
fn the_newest_are_remembered_and_the_file_stays_small() {
    let dir = tempfile::tempdir().unwrap();
    let most = u32::try_from(BLOCKS_MAX).unwrap();
    let mut found = Found::open(dir.path());
    add(&mut found, 0..6 * most);
    assert_eq!((found.len(), found.known.len()), (BLOCKS_MAX, BLOCKS_MAX));
    assert!(!found.has_room_for(&block(3)) && found.has_room_for(&block(9 * most)));
    assert_eq!(lines(dir.path()), 6 * BLOCKS_MAX);
    drop(found);
    let found = Found::open(dir.path());
    assert_eq!(lines(dir.path()), BLOCKS_MAX);
    assert_eq!((found.len(), found.newest().unwrap().id), (BLOCKS_MAX, id(6 * most - 1)));
    assert!(!dir.path().join(NEW_FILE).exists());
}

#[test]
fn the_newest_open_ones_are_watched() {
    let dir = tempfile::tempdir().unwrap();
    let mut found = Found::open(dir.path());
    add(&mut found, 0..300);
    found.hear(&status(&[(299, BlockFate::Confirmed { confirmations: 100 }), (298, BlockFate::Orphaned)]));
    let watched = found.watched().0;
    assert_eq!((watched.len(), watched[0]), (WATCHED_MAX, id(298)));
}

#[test]
fn a_folder_that_cannot_be_written_is_done_without() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join(FILE)).unwrap();
    let mut found = Found::open(dir.path());
    add(&mut found, 1..=2);
    assert_eq!(found.len(), 2);
}

fn own(number: u32, outcome: Option<SubmitOutcome>) -> OwnBlock {
    let (height, value) = (p2pool_core::units::BlockHeight(number), p2pool_core::units::Sats(50));
    OwnBlock { id: id(number), time: p2pool_core::units::UnixTime(number), height, value, outcome }
}

fn own_status(blocks: Vec<OwnBlock>) -> Arc<OwnBlocksStatus> {
    Arc::new(OwnBlocksStatus { blocks })
}

#[test]
fn own_blocks_that_are_no_shares_are_remembered_with_what_became_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let mut found = Found::open(dir.path());
    found.take_own(&own_status(vec![own(5, None), own(6, None)]), "mine");
    assert_eq!(found.newest().unwrap().id, id(6));
    let refused = Some(SubmitOutcome::Rejected("bad-cb-amount".to_owned()));
    let status = own_status(vec![own(5, Some(SubmitOutcome::Accepted)), own(6, refused)]);
    for _ in 0..3 {
        found.take_own(&own_status(status.blocks.clone()), "mine");
    }
    assert_eq!(found.newest().unwrap().id, id(5), "a refused block is no block");
    assert_eq!(lines(dir.path()), 3, "each fact is written once");
    // bitcoind speaks of a refused block's header as of one beside the best chain.
    found.hear(&self::status(&[(6, BlockFate::Orphaned)]));
    let before = found.blocks.clone();
    drop(found);
    let found = Found::open(dir.path());
    assert_eq!(found.blocks, before);
    let facts = &found.blocks[1].facts;
    assert_eq!((facts.ours, facts.miner.as_str(), facts.share_height), (true, "mine", None));
    assert_eq!(found.blocks[1].refusal.as_deref(), Some("bad-cb-amount"));
}

#[test]
fn a_block_that_turns_out_to_be_a_share_gets_its_height_and_stays_one_block() {
    let dir = tempfile::tempdir().unwrap();
    let mut found = Found::open(dir.path());
    found.take_own(&own_status(vec![own(7, None)]), "address");
    add(&mut found, 7..=7);
    found.take_own(&own_status(vec![own(7, Some(SubmitOutcome::Accepted))]), "address");
    assert_eq!((found.len(), found.blocks[0].facts.share_height), (1, Some(7)));
    drop(found);
    let found = Found::open(dir.path());
    assert_eq!((found.len(), found.blocks[0].facts.share_height), (1, Some(7)));
}

#[test]
fn a_file_of_an_earlier_version_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let hash = id(3);
    let text = format!(
        "{{\"hash\":\"{hash}\",\"event\":\"found\",\"time\":9,\"block_height\":3,\"share_height\":4,\"miner\":\"a\",\
         \"ours\":true,\"coinbase_value\":50}}\n{{\"hash\":\"{hash}\",\"event\":\"confirmed\",\"confirmations\":100}}\n"
    );
    fs::write(dir.path().join(FILE), text).unwrap();
    let found = Found::open(dir.path());
    assert_eq!(found.blocks[0].facts.share_height, Some(4));
    assert_eq!(found.blocks[0].fate, Some(BlockFate::Confirmed { confirmations: 100 }));
}
