//! A chain thread whose disk is full for a while.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{unbounded, Receiver};
use p2pool_chain::ChainError;
use p2pool_channels::{NetworkSender, ToNetwork};
use p2pool_core::node::{Event, NetworkCommand};
use p2pool_core::share::ShareId;
use p2pool_core::work::Job;

use crate::node::{exported, solve, TestChain, TIMEOUT};
use crate::small_disk::SmallDisk;

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + TIMEOUT;
    while !is_so() {
        assert!(Instant::now() < deadline, "timeout: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A node on a full disk, and its messages to the network.
fn start_on_full_disk(dir: &Path) -> (TestChain, Receiver<ToNetwork>) {
    let (sender, messages) = unbounded();
    let network = NetworkSender::new(move |message| {
        sender.send(message).expect("the test lives");
        Ok(())
    });
    let node = TestChain::start_with(dir, network);
    fs::write(dir.join("filler"), vec![1; 2 << 20]).expect_err("the disk is full");
    (node, messages)
}

/// Mines until the store refuses shares. LMDB needs new pages for each commit, so this takes only a few shares.
fn mine_until_disk_full(node: &TestChain) -> Arc<Job> {
    let mut job = node.give_work();
    while !node.status.load().unsaved {
        job = node.mine(&job);
    }
    job
}

/// Returns the share that the node announces next.
fn announced(messages: &Receiver<ToNetwork>) -> ShareId {
    loop {
        match messages.recv_timeout(TIMEOUT) {
            Ok(ToNetwork::Command(NetworkCommand::Announce(share))) => return share.id(),
            Ok(_) => {}
            Err(error) => panic!("no announcement: {error}"),
        }
    }
}

#[test]
fn a_share_that_does_not_fit_on_the_disk_counts_and_is_stored_later() {
    let dir = tempfile::tempdir().expect("a folder");
    let Some(disk) = SmallDisk::mount_or_skip(dir.path()) else { return };
    let (node, messages) = start_on_full_disk(dir.path());
    let job = mine_until_disk_full(&node);
    let share = solve(&job, job.time, 5);
    let unsaved = ShareId(share.hash);
    node.send(Event::ShareFound(share));
    let next = node.job();
    assert_eq!(next.info.parent, unsaved, "miners work on top of it");
    while announced(&messages) != unsaved {}
    node.mine(&next);

    assert!(disk.command("mount", &["-o", "remount,size=8m"]));
    wait_until("the shares are saved", || !node.status.load().unsaved);
    node.stop();
    assert!(exported(dir.path()).contains(&unsaved.to_string()));
    drop(disk);
}

#[test]
fn a_stop_while_the_disk_is_full_is_an_error_with_the_number_of_unsaved_shares() {
    let dir = tempfile::tempdir().expect("a folder");
    let Some(disk) = SmallDisk::mount_or_skip(dir.path()) else { return };
    let (node, _messages) = start_on_full_disk(dir.path());
    let job = mine_until_disk_full(&node);
    let mined = job.info.share_height.0 as usize;
    let unsaved = match node.end() {
        Err(ChainError::Unsaved { shares, .. }) => shares,
        other => panic!("{other:?}"),
    };
    let stored = exported(dir.path()).lines().count() - 1;
    assert_eq!((unsaved > 0, stored + unsaved), (true, mined));
    drop(disk);
}
