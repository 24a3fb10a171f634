use std::time::Duration;

use bitcoin::consensus::encode::serialize;
use bitcoin::constants::genesis_block;
use bitcoin::Network;
use tempfile::TempDir;

use super::*;

fn id(number: u8) -> ShareId {
    ShareId([number; 32])
}

#[test]
fn of_the_rejected_the_newest_are_kept() {
    let dir = TempDir::new().unwrap();
    let files = BlockFiles::open(dir.path()).unwrap();
    let count = u8::try_from(REJECTED_MAX).unwrap() + 3;
    for number in 0..count {
        files.write(id(number), b"refused").unwrap();
        let written = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::from(number) + 1);
        File::open(files.path(id(number), WAITING)).unwrap().set_modified(written).unwrap();
        files.reject(id(number));
    }
    let mut kept = files.files();
    kept.sort();
    let expected: Vec<PathBuf> = (3..count).map(|number| files.path(id(number), REJECTED)).collect();
    assert_eq!(kept, expected);
    assert_eq!(files.waiting(), []);
}

#[test]
fn what_waits_is_found_again_if_it_is_the_block_its_name_says() {
    let dir = TempDir::new().unwrap();
    let files = BlockFiles::open(dir.path()).unwrap();
    let block = genesis_block(Network::Regtest);
    let whole = ShareId(block.block_hash().to_byte_array());
    let bytes = serialize(&block);
    files.write(id(1), &bytes).unwrap();
    files.write(id(2), &bytes[1..]).unwrap();
    assert_eq!(files.waiting(), [], "another block, and none at all");
    assert_eq!(files.files().len(), 2, "left for the operator");

    files.write(whole, &bytes).unwrap();
    let summary = BlockSummary { id: whole, height: BlockHeight(1), value: Sats(5_000_000_000) };
    assert_eq!(files.waiting(), [summary]);
    assert_eq!(files.read(whole).unwrap(), bytes);

    // Written whole, but not renamed yet when the power failed.
    fs::copy(files.path(whole, WAITING), files.path(whole, PART_OF_BLOCK)).unwrap();
    assert_eq!(files.waiting(), [summary], "one block, though two files");
    fs::write(files.path(whole, PART_OF_BLOCK), &bytes[..100]).unwrap();
    assert_eq!(files.waiting(), [summary]);
    assert!(!files.path(whole, PART_OF_BLOCK).exists());

    files.remove(whole);
    assert_eq!(files.waiting(), []);
    files.remove(whole);
}
