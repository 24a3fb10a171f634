//! What the chain thread does though nothing arrives.

use std::time::Duration;

use p2pool_chain::Intervals;

use crate::node::{exported, Node};

/// Longer than any test.
const NEVER: Duration = Duration::from_secs(3_600);

#[test]
fn miners_get_a_new_job_in_time_though_nothing_happens() {
    let dir = tempfile::tempdir().expect("a folder");
    // The tick does not help.
    let intervals = Intervals { tick: NEVER, job_refresh: Duration::from_millis(50), prune: NEVER };
    let node = Node::start_paced(dir.path(), intervals);
    let mut before = node.give_work();
    for _ in 0..3 {
        let job = node.job();
        assert!(job.id > before.id);
        assert_eq!((job.info.parent, job.block_height), (before.info.parent, before.block_height));
        before = job;
    }
    node.stop();
    assert!(Intervals::default().job_refresh < Duration::from_secs(30), "miners are to have it after 30 s at latest");
}

#[test]
fn shares_too_old_for_any_window_are_forgotten_while_the_thread_runs() {
    let dir = tempfile::tempdir().expect("a folder");
    let node = Node::start_paced(dir.path(), Intervals { prune: Duration::ZERO, ..Intervals::default() });
    let mut job = node.give_work();
    for _ in 0..60 {
        job = node.mine(&job);
    }
    node.stop();
    // Two windows of 12, a retarget window of 6 and 16.
    assert_eq!(exported(dir.path()).lines().count(), 1 + 46);
}
