//! Start, work, restart and stop.

use p2pool_channels::ToChain;
use p2pool_core::node::Event;
use p2pool_core::work::WorkUpdate;

use crate::node::{exported, solve, TestChain, TIMEOUT};

#[test]
fn shares_survive_a_restart() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut heights = Vec::new();
    for _ in 0..3 {
        let chain = TestChain::start(dir.path());
        let mut job = chain.give_work();
        heights.push(job.info.share_height.0);
        for _ in 0..5 {
            job = chain.mine(&job);
        }
        chain.stop();
    }
    assert_eq!(heights, [0, 5, 10]);
    assert_eq!(exported(dir.path()).lines().count(), 1 + 15, "the parameters and fifteen shares");
}

#[test]
fn the_thread_ends_when_no_sender_is_left() {
    let dir = tempfile::tempdir().expect("a folder");
    let TestChain { to_chain, thread, templates, .. } = TestChain::start(dir.path());
    drop(to_chain);
    thread.join().expect("no panic").expect("no error");
    drop(templates);
}

#[test]
fn the_thread_continues_without_a_source_of_templates() {
    let dir = tempfile::tempdir().expect("a folder");
    let chain = TestChain::start(dir.path());
    let job = chain.give_work();
    let TestChain { to_chain, templates, work, woken, thread, .. } = chain;
    drop(templates);
    to_chain.send(Event::ShareFound(solve(&job, job.time, 9)).into()).expect("the thread lives");
    woken.recv_timeout(TIMEOUT).expect("a job");
    assert!(matches!(work.take(), Some(WorkUpdate::Job(job)) if job.info.share_height.0 == 1));
    to_chain.send(ToChain::Stop).expect("the thread lives");
    thread.join().expect("no panic").expect("no error");
}
