//! Clocks that are wrong, and that are put right.

use super::support::{anchor, params, solve, template, Cluster, START};
use crate::node::*;
use crate::sharechain::AHEAD_MAX_S;
use crate::status::ClockWitness;
use crate::units::UnixTime;
use crate::work::{NoWork, Template, WorkUpdate};

/// Backwards and forwards: a second, a wrong time zone, morning for evening, a dead battery.
const STEPS_S: [i64; 6] = [-7_200, -1, 1, 7_200, 43_200, 259_200];

fn shifted(time: UnixTime, by_s: i64) -> UnixTime {
    UnixTime(u32::try_from(i64::from(time.0) + by_s).unwrap())
}

/// Sets a node's clock.
fn set_clock(cluster: &mut Cluster, node: usize, by_s: i64) {
    cluster.nodes[node].time = shifted(cluster.nodes[node].time, by_s);
    cluster.settle();
}

/// A template of a bitcoind whose clock is this much ahead of the node's.
fn give_template_ahead(cluster: &mut Cluster, node: usize, by_s: i64) {
    let cur_time = shifted(cluster.nodes[node].time, by_s);
    cluster.send(node, Event::Template(Arc::new(Template { cur_time, ..(*template()).clone() })));
}

fn reports(cluster: &Cluster, node: usize, text: &str) -> usize {
    cluster.nodes[node].reports.iter().filter(|report| report.to_string().contains(text)).count()
}

#[test]
fn a_node_whose_clock_is_set_away_from_bitcoinds_has_no_work_until_it_is_right_again() {
    for step_s in STEPS_S {
        let is_wrong = step_s.unsigned_abs() > u64::from(AHEAD_MAX_S);
        let mut cluster = Cluster::solo();
        cluster.mine_many(0, 3);
        let tip = cluster.nodes[0].tip();
        set_clock(&mut cluster, 0, step_s);
        cluster.pass(1);
        match cluster.nodes[0].work.drain(..).next_back() {
            Some(WorkUpdate::NoWork(reason)) => assert!(is_wrong && reason == NoWork::ClockOff, "{step_s}"),
            other => assert!(!is_wrong, "{step_s}: {other:?}"),
        }
        // The next template says the same.
        give_template_ahead(&mut cluster, 0, -step_s);
        let status = cluster.nodes[0].node.status(cluster.steady);
        let fault = status.clock.fault.map(|fault| (fault.witness, fault.ahead_s));
        assert_eq!(fault, is_wrong.then_some((ClockWitness::Bitcoind, step_s)));
        assert_eq!(status.no_work, is_wrong.then_some(NoWork::ClockOff));
        assert_eq!(reports(&cluster, 0, "SYSTEM CLOCK IS WRONG"), usize::from(is_wrong));
        cluster.nodes[0].work.clear();
        set_clock(&mut cluster, 0, -step_s);
        cluster.pass(29);
        let job = cluster.nodes[0].job();
        assert_eq!(Some(job.info.parent), cluster.nodes[0].tip());
        assert_eq!((cluster.nodes[0].tip(), cluster.nodes[0].waiting()), (tip, (0, 0)), "no share was moved");
        assert!(job.time <= cluster.nodes[0].time.plus(1), "{step_s}");
    }
}

#[test]
fn a_node_that_starts_with_a_wrong_clock_has_no_work_and_leaves_its_shares_alone() {
    for step_s in STEPS_S {
        let is_wrong = step_s.unsigned_abs() > u64::from(AHEAD_MAX_S);
        let mut cluster = Cluster::solo();
        cluster.mine_many(0, 3);
        let tip = cluster.nodes[0].tip();
        cluster.nodes[0].time = shifted(cluster.nodes[0].time, step_s);
        cluster.restart(0);
        cluster.give_anchor(0, anchor());
        give_template_ahead(&mut cluster, 0, -step_s);
        cluster.pass(1);
        let status = cluster.nodes[0].node.status(cluster.steady);
        assert_eq!(status.no_work, is_wrong.then_some(NoWork::ClockOff), "{step_s}");
        assert_eq!((cluster.nodes[0].tip(), cluster.nodes[0].waiting()), (tip, (0, 0)));
        set_clock(&mut cluster, 0, -step_s);
        cluster.pass(1);
        assert_eq!(Some(cluster.nodes[0].job().info.parent), tip);
    }
}

/// A node whose bitcoind has the same clock, half a day ahead for the last `ahead` shares, and right now. There was no template
/// since.
fn put_right(before: usize, ahead: usize) -> Cluster {
    let mut cluster = Cluster::solo();
    cluster.mine_many(0, before);
    set_clock(&mut cluster, 0, 43_200);
    cluster.give_template(0);
    cluster.mine_many(0, ahead);
    set_clock(&mut cluster, 0, -43_200);
    cluster.pass(1);
    cluster
}

#[test]
fn a_node_whose_clock_was_half_a_day_ahead_goes_on_from_its_last_good_share() {
    let mut cluster = put_right(3, 4);
    let stored: Vec<ShareId> = cluster.nodes[0].stored.keys().copied().collect();
    assert_eq!(stored.len(), 7);
    assert!(
        matches!(cluster.nodes[0].work.back(), Some(WorkUpdate::NoWork(NoWork::ClockOff))),
        "bitcoind may be right"
    );
    cluster.give_template(0);
    let job = cluster.nodes[0].job();
    assert_eq!((job.info.share_height.0, &job.info.uncles[..]), (3, &[][..]));
    assert!(job.min_time <= cluster.nodes[0].time && job.time <= cluster.nodes[0].time.plus(1));
    assert_eq!(cluster.nodes[0].waiting(), (4, 0));
    assert_eq!(reports(&cluster, 0, "4 shares are from the future"), 1);
    assert!(stored.iter().all(|id| cluster.nodes[0].stored.contains_key(id)), "they are not lost");
    // A restart finds the same, and does not build on them.
    cluster.send(0, Event::ShareFound(solve(&job, job.time, 9)));
    let tip = cluster.nodes[0].tip();
    cluster.restart(0);
    cluster.give_work(0);
    let job = cluster.nodes[0].job();
    assert_eq!((Some(job.info.parent), &job.info.uncles[..]), (tip, &[][..]));
    assert!(job.min_time <= cluster.nodes[0].time.plus(AHEAD_MAX_S));
    assert_eq!(cluster.nodes[0].waiting(), (4, 0));
    // At their time they are back, and stay over a restart: four on the third have more work than one.
    set_clock(&mut cluster, 0, 43_200);
    cluster.give_template(0);
    cluster.pass(1);
    assert_eq!((cluster.nodes[0].job().info.share_height.0, cluster.nodes[0].waiting()), (7, (0, 0)));
    let (tip, count) = (cluster.nodes[0].tip(), cluster.nodes[0].stored.len());
    cluster.restart(0);
    cluster.give_work(0);
    assert_eq!((cluster.nodes[0].tip(), cluster.nodes[0].stored.len()), (tip, count));
}

#[test]
fn a_chain_wholly_from_the_future_starts_again_and_a_newcomer_gets_work_beside_the_wrong_clock() {
    let mut cluster = put_right(0, 4);
    cluster.give_template(0);
    let job = cluster.nodes[0].job();
    assert_eq!((job.info.share_height.0, cluster.nodes[0].tip()), (0, None));
    let job = cluster.mine(0, &job);
    assert_eq!(job.info.share_height.0, 1);

    // The clock of this one stays wrong, and it serves what it has. A newcomer whose clock is right has no other peer.
    let mut cluster = Cluster::solo();
    set_clock(&mut cluster, 0, 43_200);
    cluster.give_template(0);
    cluster.mine_many(0, 4);
    let newcomer = cluster.add(Tree::new(Arc::new(params())), true, START);
    cluster.give_work(newcomer);
    cluster.connect(0, newcomer);
    let waited_s = cluster.pass_until(120, |cluster| cluster.nodes[newcomer].node.jobs.job.is_some());
    assert!(waited_s < 120);
    let job = cluster.nodes[newcomer].job();
    assert_eq!(job.info.share_height.0, 0);
}

#[test]
fn peers_are_asked_for_nothing_over_and_over_for_shares_from_the_future() {
    let mut cluster = Cluster::solo();
    cluster.mine_many(0, 3);
    let other = cluster.add(Tree::new(Arc::new(params())), true, cluster.nodes[0].time);
    cluster.give_work(other);
    cluster.connect(0, other);
    cluster.pass(5);
    assert_eq!(cluster.nodes[other].tip(), cluster.nodes[0].tip());
    // The first node's clock and bitcoind's are half a day ahead. The other sees its shares by gossip.
    let time = cluster.nodes[other].time;
    set_clock(&mut cluster, 0, 43_200);
    cluster.give_template(0);
    for _ in 0..4 {
        let job = cluster.nodes[0].job();
        cluster.send(0, Event::ShareFound(solve(&job, job.time.max(job.min_time), 9)));
    }
    assert_eq!(cluster.nodes[other].time, time);
    let before = cluster.fetches;
    cluster.pass(600);
    // A status a minute each way, and now and then a list.
    let fetches = cluster.fetches - before;
    assert!(fetches < 80, "{fetches} requests in ten minutes");
}
