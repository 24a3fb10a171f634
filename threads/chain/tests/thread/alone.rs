//! One chain thread, without other nodes.

use std::sync::Arc;
use std::time::SystemTime;

use bitcoin::hashes::Hash as _;
use bitcoin::BlockHash;
use p2pool_core::message::{AnchorAnswer, AnchorVerdict, NoWork, TemplateNews, ToAnchor, ToChain, ToStratum};
use p2pool_core::share::ShareId;
use p2pool_core::sharechain::Anchor;
use p2pool_core::sync::SyncState;
use p2pool_core::units::{Bits, BlockHeight, UnixTime};
use p2pool_core::work::Template;

use crate::node::{anchor, answer, exported, mainnet_like, template, Node, PATIENCE};

#[test]
fn a_template_becomes_a_job_and_a_share_the_next_jobs_parent() {
    let dir = tempfile::tempdir().expect("a folder");
    let node = Node::start(dir.path());
    let mut job = node.give_work();
    assert_eq!(job.info.share_height.0, 0);
    for height in 1..=5 {
        job = node.mine(&job);
        assert_eq!(job.info.share_height.0, height);
    }
    node.stop();
    let lines = exported(dir.path());
    assert_eq!(lines.lines().count(), 1 + 5, "the parameters and five shares");
}

#[test]
fn a_node_that_looks_for_no_others_is_alone_since_its_start_and_not_before() {
    let dir = tempfile::tempdir().expect("a folder");
    let before = UnixTime::from(SystemTime::now());
    let node = Node::start(dir.path());
    let job = node.give_work();
    node.mine(&job);
    match node.status.load().sync {
        SyncState::Alone { since } => assert!(since >= before, "{since} is before {before}"),
        other => panic!("{other:?}"),
    }
    node.stop();
}

#[test]
fn a_share_found_before_the_bitcoin_block_is_known_waits_for_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let node = Node::start(dir.path());
    node.give_template();
    // bitcoind says nothing for so long that the job goes out without its word.
    let job = node.job();
    node.to_chain.send(ToChain::LocalShare(answer(&job, job.time, 9))).expect("the thread lives");
    node.answer_anchor();
    assert_eq!(node.job().info.share_height.0, 1);
    node.stop();
}

#[test]
fn a_restart_goes_on_where_it_stopped_also_after_pruning() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut heights = Vec::new();
    let mut clock = UnixTime(0);
    for _ in 0..4 {
        let node = Node::start(dir.path());
        node.clock.set(clock);
        let mut job = node.give_work();
        heights.push(job.info.share_height.0);
        for _ in 0..20 {
            job = node.mine(&job);
        }
        clock = node.clock.get();
        node.stop();
    }
    assert_eq!(heights, [0, 20, 40, 60]);
    // Two windows of 12, a retarget window of 6 and 16 are kept of the 60 there were at the last start.
    assert_eq!(exported(dir.path()).lines().count(), 1 + 46 + 20);
}

#[test]
fn two_answers_to_one_job_give_a_share_and_an_uncle() {
    let dir = tempfile::tempdir().expect("a folder");
    let node = Node::start(dir.path());
    let mut job = node.give_work();
    job = node.mine(&job);
    let (first, second) = (answer(&job, job.time, 9), answer(&job, job.time, 8));
    let mut ids = [ShareId(first.hash), ShareId(second.hash)];
    for share in [first, second] {
        node.to_chain.send(ToChain::LocalShare(share)).expect("the thread lives");
    }
    // A share that is not the better one is no reason for a job; each template is.
    let job = loop {
        let job = node.job();
        if !job.info.uncles.is_empty() {
            break job;
        }
        node.give_template();
    };
    ids.sort_unstable();
    assert_eq!([job.info.parent, job.info.uncles[0]], ids, "as much work: the lowest id goes first");
    assert_eq!(job.info.uncles.len(), 1);
    node.stop();
}

#[test]
fn without_a_template_there_is_no_work_and_with_one_there_is_again() {
    let dir = tempfile::tempdir().expect("a folder");
    let node = Node::start(dir.path());
    let first = node.give_work();
    node.templates.put(TemplateNews::Withdrawn);
    assert!(matches!(node.message(), ToStratum::NoWork(NoWork::NoTemplate)));
    let second = node.give_work();
    assert_ne!(first.id, second.id, "names are never used twice");
    node.stop();
}

#[test]
fn an_unanswered_question_is_asked_again() {
    let dir = tempfile::tempdir().expect("a folder");
    let node = Node::start(dir.path());
    node.give_template();
    let question = || node.questions.recv_timeout(PATIENCE).expect("asked");
    assert!(matches!(question(), ToAnchor::Lookup(_)));
    let verdict = AnchorVerdict::Unanswered;
    let answer = AnchorAnswer { hash: BlockHash::all_zeros(), verdict };
    node.to_chain.send(ToChain::Anchor(answer)).expect("the thread lives");
    assert!(matches!(question(), ToAnchor::Lookup(_)));
    node.stop();
}

#[test]
fn a_chain_without_neighbours_ends() {
    let dir = tempfile::tempdir().expect("a folder");
    let node = Node::start(dir.path());
    let Node { to_chain, thread, templates, .. } = node;
    drop(to_chain);
    thread.join().expect("no panic").expect("no error");
    drop(templates);
}

/// Twenty minutes after its parent a testnet block must state another target: no header of the job may be so late.
#[test]
fn where_late_blocks_are_easier_a_job_ends_when_its_target_does() {
    let dir = tempfile::tempdir().expect("a folder");
    let node = Node::start(dir.path());
    node.give_template();
    let first = node.job();
    let anchor = Anchor { next_bits_late: Some(Bits(0x207f_fffe)), ..anchor() };
    let end = UnixTime(anchor.header.time).plus(1_200);
    assert!(first.time > end, "the block is years old");
    node.answer_with(anchor);
    let job = node.job();
    assert_eq!((job.time, job.max_time), (end, end));
    let share = answer(&job, job.min_time, 9);
    node.to_chain.send(ToChain::LocalShare(share)).expect("the thread lives");
    assert_eq!(node.job().info.share_height.0, 1, "its shares are valid");
    node.stop();
}

#[test]
fn no_job_on_a_block_so_old_that_its_shares_would_be_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let node = Node::start_on(mainnet_like(), dir.path());
    let at = |height: u32| {
        let mut header = anchor().header;
        header.nonce = height;
        let anchor = Anchor { header, height: BlockHeight(height - 1), ..anchor() };
        let prev_block = anchor.header.block_hash();
        (anchor, Arc::new(Template { prev_block, height: BlockHeight(height), ..(*template()).clone() }))
    };
    let (newest, on_newest) = at(10);
    node.templates.put(TemplateNews::Template(on_newest));
    node.answer_with(newest);
    let job = node.job();
    node.mine(&job);
    for (height, is_work) in [(8, true), (7, false), (9, true)] {
        let (anchor, template) = at(height);
        node.templates.put(TemplateNews::Template(template));
        node.answer_with(anchor);
        match node.message() {
            ToStratum::Job(job) => assert!(is_work && job.block_height.0 == height, "{height}"),
            ToStratum::NoWork(_) => assert!(!is_work, "{height}"),
        }
    }
    node.stop();
}

#[test]
fn without_a_source_of_templates_the_thread_goes_on() {
    let dir = tempfile::tempdir().expect("a folder");
    let node = Node::start(dir.path());
    let job = node.give_work();
    let Node { to_chain, templates, jobs, woken, thread, .. } = node;
    drop(templates);
    to_chain.send(ToChain::LocalShare(answer(&job, job.time, 9))).expect("the thread lives");
    woken.recv_timeout(PATIENCE).expect("a job");
    assert!(matches!(jobs.take(), Some(ToStratum::Job(job)) if job.info.share_height.0 == 1));
    to_chain.send(ToChain::Stop).expect("the thread lives");
    thread.join().expect("no panic").expect("no error");
}
