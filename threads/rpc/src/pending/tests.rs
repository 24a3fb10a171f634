use std::time::Duration;

use bitcoin::consensus::encode::serialize;
use bitcoin::constants::genesis_block;
use bitcoin::Network;
use tempfile::TempDir;

use super::*;

/// Facts of a block that is none.
fn named(number: u8) -> BlockSummary {
    let (height, value) = (BlockHeight(1), Sats(0));
    BlockSummary { id: ShareId([number; 32]), finder: Finder::Own, time: UnixTime(0), height, value }
}

#[test]
fn of_the_rejected_the_newest_are_kept() {
    let dir = TempDir::new().unwrap();
    let files = BlockFiles::open(dir.path()).unwrap();
    let count = u8::try_from(REJECTED_MAX).unwrap() + 3;
    for number in 0..count {
        files.write(&named(number), b"refused").unwrap();
        let written = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::from(number) + 1);
        File::open(files.path(&named(number))).unwrap().set_modified(written).unwrap();
        files.reject(&named(number));
    }
    let mut kept = files.files();
    kept.sort();
    let expected: Vec<PathBuf> = (3..count).map(|number| files.named(named(number).id, REJECTED)).collect();
    assert_eq!(kept, expected);
    assert_eq!(files.waiting(), []);
}

#[test]
fn what_waits_is_found_again_if_it_is_the_block_its_name_says() {
    let dir = TempDir::new().unwrap();
    let files = BlockFiles::open(dir.path()).unwrap();
    let block = genesis_block(Network::Regtest);
    let bytes = serialize(&block);
    let whole = BlockSummary {
        id: ShareId(block.block_hash().to_byte_array()),
        finder: Finder::Own,
        time: UnixTime(block.header.time),
        height: BlockHeight(1),
        value: Sats(5_000_000_000),
    };
    files.write(&named(1), &bytes).unwrap();
    files.write(&named(2), &bytes[1..]).unwrap();
    assert_eq!(files.waiting(), [], "another block, and none at all");
    assert_eq!(files.files().len(), 2, "left for the operator");

    files.write(&whole, &bytes).unwrap();
    assert_eq!(files.waiting(), [whole]);
    assert_eq!(files.read(&whole).unwrap(), bytes);

    // Written whole, but not renamed yet when the power failed.
    fs::copy(files.path(&whole), files.part(&whole)).unwrap();
    assert_eq!(files.waiting(), [whole], "one block, though two files");
    fs::write(files.part(&whole), &bytes[..100]).unwrap();
    assert_eq!(files.waiting(), [whole]);
    assert!(!files.part(&whole).exists());

    files.remove(&whole);
    assert_eq!(files.waiting(), []);
    files.remove(&whole);
}

#[test]
fn whose_block_it_is_outlasts_the_process() {
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
