use p2pool_core::message::InboxFull;

use super::*;
use crate::network::tests::chain;

#[test]
fn what_the_disk_refused_is_tried_again_by_the_tick_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut chain = chain(dir.path(), P2pSender::new(|_| Err(InboxFull)));
    chain.saved.refuse_one();
    let start = Instant::now();
    chain.next_tick = start + Duration::from_secs(1);
    chain.turn(start);
    assert!(chain.status.load().unsaved, "a turn that something brought about");
    chain.turn(start + Duration::from_secs(1));
    assert!(!chain.status.load().unsaved);
    assert_eq!(chain.next_tick, start + Duration::from_secs(2));
}
