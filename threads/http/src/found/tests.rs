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
        share_height: number,
        miner: "address".to_owned(),
        ours: false,
        coinbase_value: 50,
    };
    FoundBlock { id: id(number), time: number, facts, fate: None }
}

/// As if the sharechain had these blocks.
fn add(found: &mut Found, numbers: impl Iterator<Item = u32>) {
    let blocks: Vec<FoundBlock> = numbers.map(block).collect();
    let lines: Vec<Line> = blocks.iter().flat_map(lines_of).collect();
    found.known.extend(blocks.iter().map(|block| block.id));
    found.blocks.extend(blocks);
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
