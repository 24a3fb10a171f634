use std::time::Duration;

use bitcoin::consensus::encode::serialize;
use bitcoin::constants::genesis_block;
use bitcoin::Network;
use tempfile::TempDir;

use super::*;

/// Facts of a block that does not exist.
fn block(number: u8) -> BlockSummary {
    let (height, value) = (BlockHeight(1), Sats(0));
    BlockSummary { id: ShareId([number; 32]), finder: Finder::Own, time: UnixTime(0), height, value }
}

#[test]
fn the_newest_rejected_blocks_are_kept() {
    let dir = TempDir::new().unwrap();
    let files = BlockFiles::open(dir.path()).unwrap();
    let count = u8::try_from(REJECTED_MAX).unwrap() + 3;
    for number in 0..count {
        files.write(&block(number), b"rejected").unwrap();
        let written = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::from(number) + 1);
        File::open(files.path(&block(number))).unwrap().set_modified(written).unwrap();
        files.reject(&block(number));
    }
    let mut kept = files.files();
    kept.sort();
    let expected: Vec<PathBuf> = (3..count).map(|number| files.named(block(number).id, REJECTED)).collect();
    assert_eq!(kept, expected);
    assert_eq!(files.waiting(), []);
}

#[test]
fn waiting_blocks_are_found_if_their_content_matches_their_name() {
    let dir = TempDir::new().unwrap();
    let files = BlockFiles::open(dir.path()).unwrap();
    let genesis = genesis_block(Network::Regtest);
    let bytes = serialize(&genesis);
    let summary = BlockSummary {
        id: ShareId(genesis.block_hash().to_byte_array()),
        finder: Finder::Own,
        time: UnixTime(genesis.header.time),
        height: BlockHeight(1),
        value: Sats(5_000_000_000),
    };
    files.write(&block(1), &bytes).unwrap();
    files.write(&block(2), &bytes[1..]).unwrap();
    assert_eq!(files.waiting(), [], "another block, and an invalid one");
    assert_eq!(files.files().len(), 2, "both files stay");

    files.write(&summary, &bytes).unwrap();
    assert_eq!(files.waiting(), [summary]);
    assert_eq!(files.read(&summary).unwrap(), bytes);

    // Written completely, but not renamed before a power failure.
    fs::copy(files.path(&summary), files.part(&summary)).unwrap();
    assert_eq!(files.waiting(), [summary], "one block in two files");
    fs::write(files.part(&summary), &bytes[..100]).unwrap();
    assert_eq!(files.waiting(), [summary]);
    assert!(!files.part(&summary).exists());

    files.remove(&summary);
    assert_eq!(files.waiting(), []);
    files.remove(&summary);
}

#[test]
fn the_finder_of_a_block_survives_a_restart() {
    let dir = TempDir::new().unwrap();
    let files = BlockFiles::open(dir.path()).unwrap();
    let bytes = serialize(&genesis_block(Network::Regtest));
    let theirs = BlockSummary::of(&bytes, Finder::Peer).unwrap();
    files.write(&theirs, &bytes).unwrap();
    assert_eq!(files.waiting(), [theirs]);
    fs::rename(files.path(&theirs), files.part(&theirs)).unwrap();
    assert_eq!(files.waiting(), [theirs]);
    let own = BlockSummary { finder: Finder::Own, ..theirs };
    files.write(&own, &bytes).unwrap();
    assert_eq!(files.waiting(), [own], "one block is submitted once");
}
