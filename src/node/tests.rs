//! Whole nodes: what they give miners, peers, bitcoind and the store.

mod clocks;
mod headers;
mod jobs;
mod newer_rules;
pub mod support;

use std::sync::Arc;

use bitcoin::block::Header;
use bitcoin::consensus::{deserialize, serialize};
use bitcoin::hashes::Hash as _;
use bitcoin::BlockHash;

use super::*;
use crate::params::{Activation, ChainParams, Network, RULES_VERSION_FIRST, RULES_VERSION_TEST};
use crate::peer::{InboundId, RequestFailed};
use crate::share::{PayoutScript, ShareId};
use crate::sharechain::tests_support::best_chain;
use crate::sharechain::{Anchor, Branch, Rule};
use crate::units::{Bits, BlockHeight, UnixTime};
use crate::wire::{Agent, List, Request, Response};
use crate::work::{NoWork, Template};
use support::{anchor, params, solve, template, Cluster, START};

/// The same rules, with those that only mainnet has.
fn mainnet_like() -> ChainParams {
    ChainParams { network: Network::Mainnet, work_cut_blocks: 2, ..params() }
}

/// Two nodes that have met: the first with a chain of some shares, the second without work.
fn pair(shares: usize) -> Cluster {
    let mut cluster = Cluster::solo();
    cluster.mine_many(0, shares);
    cluster.start(true);
    cluster.give_anchor(1, anchor());
    cluster
}

#[test]
fn a_template_becomes_a_job_and_a_share_becomes_the_next_jobs_parent() {
    let mut cluster = Cluster::solo();
    let mut job = cluster.nodes[0].job();
    assert_eq!(job.info.share_height.0, 0);
    for height in 1..=5 {
        job = cluster.mine(0, &job);
        assert_eq!(job.info.share_height.0, height);
        assert_eq!(Some(job.info.parent), cluster.nodes[0].tip());
    }
    assert_eq!(cluster.nodes[0].stored.len(), 5);
}

#[test]
fn a_node_without_ways_to_find_peers_mines_solo_from_its_start() {
    let mut cluster = Cluster::solo();
    let status = cluster.nodes[0].node.status(cluster.steady);
    assert_eq!(status.sync, SyncState::Solo { since: START });
}

#[test]
fn a_job_goes_out_after_two_seconds_without_a_response_about_its_block_and_its_share_is_deferred() {
    let mut cluster = Cluster::new(params());
    cluster.start(false);
    cluster.give_template(0);
    cluster.pass(1);
    assert!(cluster.nodes[0].work.is_empty());
    cluster.pass(1);
    let job = cluster.nodes[0].job();
    cluster.send(0, Event::ShareFound(solve(&job, job.time, 9)));
    assert_eq!(cluster.nodes[0].tip(), None);
    cluster.give_anchor(0, anchor());
    assert_eq!(cluster.nodes[0].job().info.share_height.0, 1);
}

#[test]
fn an_own_share_whose_chain_is_left_in_the_same_input_is_neither_stored_nor_announced() {
    let mut theirs = Cluster::solo();
    theirs.mine_many(0, 3);
    let mut cluster = Cluster::new(params());
    let (ours, other) = (cluster.start(false), cluster.start(false));
    cluster.give_template(ours);
    cluster.pass(2);
    let job = cluster.nodes[ours].job();
    let own = solve(&job, job.time.plus(1), 8);
    let id = ShareId(own.hash);
    // All of them wait for the same Bitcoin block, the own share first.
    cluster.send(ours, Event::ShareFound(own));
    for linked in theirs.nodes[0].tree().main_chain() {
        let event = Event::ShareGossiped { peer: PeerHandle(9), share: Arc::clone(&linked.share) };
        cluster.nodes[ours].time = cluster.nodes[ours].time.max(linked.time());
        cluster.send(ours, event);
    }
    assert_eq!(cluster.nodes[ours].waiting(), (4, 0));
    cluster.give_anchor(ours, anchor());
    let ours = &cluster.nodes[ours];
    let is_accepted = |report: &Report| matches!(report, Report::ShareVerdict { id: of, verdict: Verdict::Accepted, .. } if *of == id);
    assert!(ours.reports.iter().any(is_accepted), "it was linked");
    assert_eq!((ours.tip(), ours.stored.len()), (theirs.nodes[0].tip(), 3));
    assert!(!ours.stored.contains_key(&id));
    assert_eq!(cluster.nodes[other].waiting(), (0, 0));
}

#[test]
fn an_own_share_whose_chain_is_left_in_the_same_turn_is_not_announced() {
    let mut theirs = Cluster::solo();
    theirs.mine_many(0, 3);
    let mut cluster = Cluster::solo();
    let other = cluster.start(false);
    let job = cluster.nodes[0].job();
    let mut now = Now { steady: cluster.steady, time: theirs.nodes[0].time };
    now.time = now.time.max(job.time.plus(1));
    cluster.nodes[0].time = now.time;
    let node = &mut cluster.nodes[0].node;
    node.step(Event::ShareFound(solve(&job, job.time.plus(1), 8)), now);
    assert_eq!(node.tree().len(), 1);
    for linked in theirs.nodes[0].tree().main_chain() {
        node.step(Event::ShareGossiped { peer: PeerHandle(9), share: Arc::clone(&linked.share) }, now);
    }
    cluster.settle();
    let ours = &cluster.nodes[0];
    assert_eq!((ours.tip(), ours.stored.len()), (theirs.nodes[0].tip(), 3));
    assert_eq!(cluster.nodes[other].waiting(), (0, 0));
}

#[test]
fn a_restart_continues_where_the_node_stopped_also_after_pruning() {
    let mut cluster = Cluster::solo();
    for round in 1..=4 {
        cluster.mine_many(0, 20);
        let tip = cluster.nodes[0].tip();
        cluster.restart(0);
        assert_eq!(cluster.nodes[0].tip(), tip);
        cluster.settle();
        // Two windows of 12, a retarget window of 6 and 16 are kept.
        assert_eq!(cluster.nodes[0].stored.len(), (round * 20).min(46));
        cluster.give_work(0);
        assert_eq!(cluster.nodes[0].work.len(), 1, "one job on the stored tip");
    }
}

#[test]
fn shares_too_old_for_any_window_are_pruned_every_five_minutes() {
    let mut cluster = Cluster::solo();
    cluster.mine_many(0, 60);
    assert_eq!(cluster.nodes[0].stored.len(), 60);
    cluster.pass(300);
    assert_eq!(cluster.nodes[0].stored.len(), 46);
}

#[test]
fn two_shares_on_one_job_give_a_tip_and_an_uncle() {
    let mut cluster = Cluster::solo();
    let job = cluster.mine_many(0, 1);
    let (first, second) = (solve(&job, job.time, 9), solve(&job, job.time, 8));
    let mut ids = [ShareId(first.hash), ShareId(second.hash)];
    cluster.send(0, Event::ShareFound(first));
    cluster.send(0, Event::ShareFound(second));
    cluster.give_template(0);
    let job = cluster.nodes[0].job();
    ids.sort_unstable();
    assert_eq!((job.info.parent, &job.info.uncles[..]), (ids[0], &ids[1..]), "as much work: the lowest id wins");
}

#[test]
fn without_a_template_there_is_no_work_until_there_is_one_again() {
    let mut cluster = Cluster::solo();
    let first = cluster.nodes[0].job();
    cluster.send(0, Event::TemplateWithdrawn(NoWork::NoTemplate));
    assert!(matches!(cluster.nodes[0].update(), WorkUpdate::NoWork(NoWork::NoTemplate)));
    cluster.give_template(0);
    assert_ne!(first.id, cluster.nodes[0].job().id, "job ids are never used twice");
}

#[test]
fn a_job_is_refreshed_before_it_is_thirty_seconds_old() {
    let mut cluster = Cluster::solo();
    let first = cluster.nodes[0].job();
    cluster.pass(28);
    assert!(cluster.nodes[0].work.is_empty());
    cluster.pass(1);
    let second = cluster.nodes[0].job();
    assert_eq!((second.info.parent, second.time), (first.info.parent, first.time.plus(29)));
}

#[test]
fn the_vote_follows_the_miners_firmware_from_the_next_job_on() {
    let mut cluster = Cluster::solo();
    let job = cluster.nodes[0].job();
    assert_eq!(job.info.outputs_vote, 0, "without work");
    cluster.send(0, Event::FirmwareClass(2));
    cluster.pass(28);
    assert!(cluster.nodes[0].work.is_empty(), "no job for its sake");
    assert_eq!(cluster.nodes[0].node.status(cluster.steady).outputs_vote, 2);
    let job = cluster.mine(0, &job);
    assert_eq!(job.info.outputs_vote, 2);
    let tip = cluster.nodes[0].tree().tip().unwrap();
    assert_eq!((tip.share.info.outputs_vote, job.info.parent), (0, tip.id), "the first job's share");
    cluster.mine(0, &job);
    assert_eq!(cluster.nodes[0].tree().tip().unwrap().share.info.outputs_vote, 2);
}

#[test]
fn the_operators_vote_stays_whatever_the_firmware() {
    let mut cluster = Cluster::new(params());
    let tree = Tree::new(Arc::clone(&cluster.params));
    let config = Config { outputs_vote: Some(3), ..Config::for_tests(params(), "") };
    let node = Node::new(&config, false, tree, Now { steady: cluster.steady, time: START });
    cluster.nodes.push(support::DrivenNode::new(node));
    cluster.give_work(0);
    assert_eq!(cluster.nodes[0].job().info.outputs_vote, 3);
    cluster.send(0, Event::FirmwareClass(1));
    cluster.pass(29);
    assert_eq!(cluster.nodes[0].job().info.outputs_vote, 3);
    assert_eq!(cluster.nodes[0].node.status(cluster.steady).outputs_vote, 3);
}

#[test]
fn a_lookup_that_bitcoind_did_not_answer_is_repeated_each_second() {
    let mut cluster = Cluster::new(params());
    cluster.start(false);
    cluster.give_template(0);
    let hash = template().prev_block;
    assert_eq!(cluster.nodes[0].lookups, [hash]);
    cluster.send(0, Event::Anchor(AnchorLookup { hash, result: AnchorResult::Unavailable }));
    cluster.pass(3);
    assert_eq!(cluster.nodes[0].lookups, [hash; 4]);
}

/// Twenty minutes after its parent a testnet block must state another target: no header of the job may be so late.
#[test]
fn where_late_blocks_are_easier_a_job_ends_when_its_target_does() {
    let mut cluster = Cluster::new(params());
    cluster.start(false);
    cluster.give_template(0);
    cluster.pass(2);
    let first = cluster.nodes[0].job();
    let anchor = Anchor { next_bits_late: Some(Bits(0x207f_fffe)), ..anchor() };
    let end = UnixTime(anchor.header.time).plus(1_200);
    assert!(first.time > end, "the block is years old");
    cluster.give_anchor(0, anchor);
    let job = cluster.nodes[0].job();
    assert_eq!((job.time, job.max_time), (end, end));
    cluster.send(0, Event::ShareFound(solve(&job, job.min_time, 9)));
    assert_eq!(cluster.nodes[0].job().info.share_height.0, 1, "its shares are valid");
}

#[test]
fn there_is_no_job_on_a_block_so_old_that_its_shares_would_be_refused() {
    let mut cluster = Cluster::new(mainnet_like());
    cluster.start(false);
    let at = |height: u32| {
        let mut header = anchor().header;
        (header.nonce, header.time) = (height, START.0);
        let anchor = Anchor { header, height: BlockHeight(height - 1), ..anchor() };
        let prev_block = anchor.header.block_hash();
        (anchor, Template { prev_block, height: BlockHeight(height), ..(*template()).clone() })
    };
    let (anchor, template) = at(10);
    cluster.give_anchor(0, anchor);
    cluster.send_template(0, template);
    cluster.mine_many(0, 1);
    for (height, is_work) in [(8, true), (7, false), (9, true)] {
        let (anchor, template) = at(height);
        cluster.give_anchor(0, anchor);
        cluster.send_template(0, template);
        match cluster.nodes[0].update() {
            WorkUpdate::Job(job) => assert!(is_work && job.template.height.0 == height, "{height}"),
            WorkUpdate::NoWork(reason) => assert!(!is_work && reason == NoWork::BitcoindBehind, "{height}"),
        }
    }
}

#[test]
fn a_share_that_the_disk_refuses_counts_and_is_announced_all_the_same_and_stored_later() {
    let mut cluster = pair(3);
    cluster.connect(0, 1);
    cluster.pass(2);
    cluster.nodes[0].is_disk_full = true;
    let job = {
        cluster.give_template(0);
        cluster.nodes[0].job()
    };
    let next = cluster.mine(0, &job);
    assert_eq!(Some(next.info.parent), cluster.nodes[0].tip(), "miners continue on it");
    assert_eq!(cluster.nodes[1].tip(), cluster.nodes[0].tip(), "peers have it");
    assert_eq!(cluster.nodes[0].stored.len(), 3);
    assert!(cluster.nodes[0].node.status(cluster.steady).unsaved);
    assert_eq!(cluster.nodes[0].node.backlog().put_shares.len(), 1);
    cluster.nodes[0].is_disk_full = false;
    cluster.pass(1);
    assert_eq!(cluster.nodes[0].stored.len(), 4);
    assert!(!cluster.nodes[0].node.status(cluster.steady).unsaved);
}

#[test]
fn a_newcomer_fetches_the_chain_before_its_miners_get_work() {
    let mut cluster = pair(30);
    cluster.give_template(1);
    assert!(matches!(cluster.nodes[1].update(), WorkUpdate::NoWork(NoWork::NoPeers)));
    cluster.connect(0, 1);
    cluster.pass(2);
    assert_eq!(cluster.nodes[1].tip(), cluster.nodes[0].tip());
    assert_eq!(Some(cluster.nodes[1].job().info.parent), cluster.nodes[0].tip());
    assert_eq!((&cluster.nodes[0].misbehaviours[..], &cluster.nodes[1].misbehaviours[..]), (&[][..], &[][..]));
    assert_eq!(cluster.nodes[1].stored.len(), 30);
}

#[test]
fn miners_get_the_true_reason_why_they_have_no_work_and_each_once() {
    let mut cluster = Cluster::new(params());
    cluster.start(true);
    assert!(matches!(cluster.nodes[0].node.sync_state(), SyncState::NoPeers { was_synced: false, .. }));
    cluster.give_work(0);
    assert!(matches!(cluster.nodes[0].update(), WorkUpdate::NoWork(NoWork::NoPeers)));
    assert_eq!(cluster.nodes[0].node.status(cluster.steady).no_work, Some(NoWork::NoPeers));
    cluster.give_template(0);
    assert!(cluster.nodes[0].work.is_empty(), "another template changes nothing");
    // A peer that does not respond.
    cluster.send(0, Event::PeerConnected { peer: PeerHandle(77) });
    assert!(matches!(cluster.nodes[0].update(), WorkUpdate::NoWork(NoWork::Syncing)));
}

#[test]
fn before_a_chain_is_started_a_peer_that_has_not_reported_its_tip_takes_the_work_at_once() {
    let mut cluster = Cluster::new(params());
    cluster.start(true);
    cluster.start(true);
    cluster.connect(0, 1);
    assert_eq!(cluster.nodes[0].node.sync_state(), SyncState::Synced);
    cluster.give_work(0);
    cluster.nodes[0].job();
    cluster.send(0, Event::PeerConnected { peer: PeerHandle(77) });
    assert!(matches!(cluster.nodes[0].update(), WorkUpdate::NoWork(NoWork::Syncing)));
    assert_eq!(cluster.nodes[0].node.sync_state(), SyncState::Synced);
    cluster.send(0, Event::PeerDisconnected { peer: PeerHandle(77) });
    cluster.nodes[0].job();
}

#[test]
fn a_share_of_one_node_is_relayed_and_becomes_the_parent_of_the_others_next() {
    let mut cluster = pair(3);
    cluster.give_template(1);
    cluster.connect(0, 1);
    cluster.pass(2);
    let job = cluster.nodes[1].job();
    cluster.mine(1, &job);
    assert_eq!(cluster.nodes[0].tip(), cluster.nodes[1].tip());
    assert_eq!(cluster.nodes[0].verdicts, [GossipVerdict::Accept]);
    cluster.give_template(0);
    assert_eq!(Some(cluster.nodes[0].job().info.parent), cluster.nodes[1].tip());
}

#[test]
fn fetched_shares_bring_about_no_verdicts() {
    let mut cluster = pair(30);
    cluster.connect(0, 1);
    cluster.pass(2);
    assert_eq!(cluster.nodes[1].node.tree().len(), 30);
    assert_eq!(cluster.nodes[1].verdicts, []);
}

#[test]
fn an_invalid_share_is_rejected_and_its_sender_penalised() {
    let mut cluster = Cluster::solo();
    cluster.mine_many(0, 3);
    let tip = Arc::clone(&cluster.nodes[0].node.tree().tip().expect("a chain").share);
    let mut forged = (*tip).clone();
    // Another miner's work with this address.
    forged.info.payout_script = PayoutScript::new(&[&[0x00, 0x14][..], &[66; 20]].concat()).expect("P2WPKH");
    let target = forged.info.share_bits.target().expect("canonical bits");
    forged.header.nonce = forged.header.nonce.wrapping_add(1);
    while !target.is_met_by(&forged.id().0) {
        forged.header.nonce = forged.header.nonce.wrapping_add(1);
    }
    let peer = PeerHandle(9);
    cluster.send(0, Event::PeerConnected { peer });
    cluster.send(0, Event::ShareGossiped { peer, share: Arc::new(forged) });
    assert_eq!(cluster.nodes[0].verdicts, [GossipVerdict::Reject]);
    assert_eq!(cluster.nodes[0].misbehaviours, [(peer, Misbehaviour::BrokenRule(Rule::Payouts))]);
}

#[test]
fn an_announced_block_on_an_unknown_one_makes_the_node_ask_one_peer_after_the_other_for_two_minutes() {
    let mut cluster = Cluster::new(params());
    cluster.start(true);
    let peers = [1, 2, 3].map(PeerHandle);
    peers.into_iter().for_each(|peer| cluster.send(0, Event::PeerConnected { peer }));
    let mut header = anchor().header;
    let parent = BlockHash::from_byte_array([7; 32]);
    header.prev_blockhash = parent;
    let (gossip, announcement) = (GossipId([5; 32]), Vec::new());
    cluster.send(0, Event::BlockAnnounced { peer: peers[1], gossip, header, announcement });
    let mut requested = Vec::new();
    for second in 0..130 {
        if cluster.nodes[0].lookups.drain(..).any(|hash| hash == parent) {
            cluster.send(0, Event::Anchor(AnchorLookup { hash: parent, result: AnchorResult::Unknown }));
        }
        requested.extend(cluster.nodes[0].header_requests.drain(..).map(|peer| (second, peer.0)));
        cluster.pass(1);
    }
    assert_eq!(requested[..4], [(0, 2), (10, 1), (20, 3), (30, 2)], "the announcer, then the others");
    assert!(requested.len() <= 12, "{requested:?}");
    assert_eq!(cluster.nodes[0].verdicts, [GossipVerdict::Ignore]);
    assert!(!cluster.nodes[0].lookups.contains(&parent), "it is over");
}

#[test]
fn a_found_block_reaches_the_other_nodes_bitcoind_and_an_invalid_one_is_penalised() {
    let mut cluster = Cluster::solo();
    let job = cluster.nodes[0].job();
    cluster.start(true);
    cluster.give_anchor(1, anchor());
    cluster.connect(0, 1);
    let found = solve(&job, job.time, 1);
    let block = job.block(&found.header, &found.extranonce).expect("a block");
    cluster.send(0, Event::BlockFound { height: BlockHeight(1), block: block.clone() });
    let [PeerBlock { height, block: given, .. }] = &cluster.nodes[1].blocks[..] else { panic!("one block") };
    assert_eq!((*height, given), (BlockHeight(1), &block));
    // One whose header does not have the work of a block.
    let mut whole: bitcoin::Block = deserialize(&block).expect("a block");
    let hash = |header: &Header| crate::share::header_hash(&serialize(header).try_into().expect("80 bytes"));
    while job.block_target.is_met_by(&hash(&whole.header)) {
        whole.header.nonce = whole.header.nonce.wrapping_add(1);
    }
    cluster.send(0, Event::BlockFound { height: BlockHeight(1), block: serialize(&whole) });
    assert_eq!(
        (cluster.nodes[1].blocks.len(), &cluster.nodes[1].misbehaviours[..]),
        (1, &[(PeerHandle(0), Misbehaviour::FalseBlock)][..])
    );
}

#[test]
fn a_clock_that_is_set_is_reported() {
    let mut cluster = Cluster::solo();
    cluster.pass(5);
    assert!(!cluster.nodes[0].reports.iter().any(|report| report.to_string().contains("clock")));
    cluster.nodes[0].time = cluster.nodes[0].time.plus(7_200);
    cluster.pass(1);
    let is_set = |report: &Report| report.to_string() == "system clock was set by 7200 s";
    assert!(cluster.nodes[0].reports.iter().any(is_set));
}
