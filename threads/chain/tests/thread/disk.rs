//! A chain thread whose disk is full for a while.

use std::fs;
use std::time::{Duration, Instant};

use crossbeam_channel::unbounded;
use p2pool_core::message::{P2pSender, ToChain, ToP2p};

use crate::node::{answer, Node, PATIENCE};
use crate::small_disk::SmallDisk;

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_share_is_announced_only_once_it_is_on_disk() {
    let dir = tempfile::tempdir().expect("a folder");
    let Some(disk) = SmallDisk::mount(dir.path()) else {
        eprintln!("skipped: no tmpfs can be mounted here, which takes root");
        return;
    };
    let (post, mail) = unbounded();
    let p2p = P2pSender::new(move |message| {
        post.send(message).expect("the test lives");
        Ok(())
    });
    let node = Node::start_among(dir.path(), p2p, false);
    let announced = |message: ToP2p| match message {
        ToP2p::Announce(share) => Some(share.id()),
        _ => None,
    };
    let mut job = node.give_work();
    job = node.mine(&job);
    assert_eq!(mail.recv_timeout(PATIENCE).ok().and_then(announced), Some(job.info.parent));

    // LMDB needs new pages for each commit; after a few shares none is left.
    let filler = dir.path().join("filler");
    fs::write(&filler, vec![1; 2 << 20]).expect_err("the disk is full");
    while !node.status.load().unsaved {
        job = node.mine(&job);
    }
    mail.try_iter().for_each(drop);
    let share = answer(&job, job.time, 5);
    let unsaved = p2pool_core::share::ShareId(share.hash);
    node.to_chain.send(ToChain::LocalShare(share)).expect("the thread lives");
    let next = node.job();
    assert_eq!(next.info.parent, unsaved, "miners go on with it");
    let last = node.mine(&next).info.parent;
    assert_eq!(mail.try_iter().filter_map(announced).count(), 0, "nobody else has heard of it");

    assert!(disk.command("mount", &["-o", "remount,size=8m"]));
    let mut told = Vec::new();
    wait_until("they are announced", || {
        told.extend(mail.try_iter().filter_map(announced));
        told.contains(&last)
    });
    assert!(told.contains(&unsaved), "nor is it forgotten: {told:?}");
    node.stop();
    drop(disk);
}
