//! Rules that begin with a version that a node knows or not.

use super::*;

/// Three nodes of one chain that all know each other: two whose software knows the test version of the rules, which may begin
/// with the second share, and one whose software does not. Each has the first share, and work.
fn pool_before_activation() -> Cluster {
    let activation = Activation { version: RULES_VERSION_TEST, height: BlockHeight(anchor().height.0 + 1) };
    let new = ChainParams { activations: vec![activation], rules_version_known: RULES_VERSION_TEST, ..params() };
    let old = ChainParams { rules_version_known: RULES_VERSION_FIRST, ..new.clone() };
    let mut cluster = Cluster::new(new);
    cluster.start(false);
    cluster.start(false);
    cluster.add(Tree::new(Arc::new(old)), false, START);
    for (one, other) in [(0, 1), (0, 2), (1, 2)] {
        cluster.connect(one, other);
    }
    (0..3).for_each(|at| cluster.give_work(at));
    cluster.mine_many(0, 1);
    assert!(cluster.nodes.iter().all(|node| node.tree().len() == 1));
    cluster
}

#[test]
fn a_node_that_does_not_know_the_rules_in_force_stops_and_says_which_it_needs() {
    let mut cluster = pool_before_activation();
    // A job of before is used a little longer.
    let old_job = cluster.nodes[2].job();
    assert_eq!(old_job.info.rules_version, RULES_VERSION_FIRST);
    let first = cluster.nodes[0].tip();
    cluster.give_template(0);
    cluster.mine_many(0, 3);
    assert_eq!(cluster.nodes[1].tree().len(), 4, "they cross the activation");
    assert_eq!(cluster.nodes[1].tip(), cluster.nodes[0].tip());
    assert_eq!(cluster.nodes[2].tip(), first);
    cluster.send(2, Event::ShareFound(solve(&old_job, cluster.nodes[2].time, 8)));
    assert_eq!(cluster.nodes[2].tree().len(), 2, "it still follows its own rules");
    assert_eq!(cluster.nodes[0].tree().len(), 4);
    cluster.nodes[2].work.clear();
    cluster.pass(ENVELOPES_WITHIN_S);
    assert!(matches!(cluster.nodes[2].work.back(), Some(WorkUpdate::NoWork(NoWork::Outdated))));
    let needs =
        |report: &&Report| matches!(report, Report::RulesVersionNeeded { needed: Some(RULES_VERSION_TEST), known: 2 });
    assert_eq!(cluster.nodes[2].reports.iter().filter(needs).count(), 1);
    let rules = cluster.nodes[2].node.status(cluster.steady.plus(60)).rules;
    assert_eq!((rules.known, rules.needed), (RULES_VERSION_FIRST, Some(RULES_VERSION_TEST)));
    assert_eq!(rules.signals, [(RULES_VERSION_TEST, 50.0)], "one share of another node, one of its own");
    cluster.pass(300);
    for node in &cluster.nodes {
        assert_eq!(node.misbehaviours, [], "no side is scored for its software's age");
    }
    assert!(cluster.nodes[..2].iter_mut().all(|node| matches!(node.work.back(), Some(WorkUpdate::Job(_)))));
    // Credits from before count: the next block pays the miner of the first share by the same window.
    cluster.give_template(0);
    let job = cluster.nodes[0].job();
    assert_eq!((job.info.rules_version, job.info.share_height.0), (RULES_VERSION_TEST, 4));
}

/// Within this many seconds a node has asked two peers for envelopes.
const ENVELOPES_WITHIN_S: u32 = 35;

#[test]
fn a_peer_that_sends_an_invalid_envelope_is_scored() {
    struct Liar(Response);
    impl support::ScriptedPeer for Liar {
        fn respond(&mut self, request: &Request, now: UnixTime) -> Option<(u32, Result<Response, RequestFailed>)> {
            let chain = Tree::new(Arc::new(params()));
            let response = match request {
                Request::Envelopes { .. } => self.0.clone(),
                _ => Response::Status(crate::sync::serve::status(&chain, now, Agent::default())),
            };
            Some((0, Ok(response)))
        }
    }
    let mut theirs = Cluster::solo();
    theirs.mine_many(0, 1);
    let tree = theirs.nodes[0].node.chain.tree_mut();
    let share = Arc::clone(&tree.tip().unwrap().share);
    let payouts = tree.payouts(&share.info, Bits(share.header.bits.to_consensus())).unwrap();
    let other = ChainParams { chain_name: "other".to_owned(), ..params() }.chain_id();
    let envelope = |chain_id| {
        let envelope = crate::share::envelope::Envelope::new(&chain_id, &share, &payouts);
        Response::Envelopes(List::first_of([Arc::new(envelope)]))
    };
    let cases = [
        (envelope(params().chain_id()), vec![]),
        (envelope(other), vec![Misbehaviour::FalseEnvelope]),
        (Response::Busy, vec![]),
        (Response::Shares(List::default()), vec![Misbehaviour::Unrequested]),
    ];
    for (response, expected) in cases {
        let mut cluster = Cluster::solo();
        cluster.connect_scripted(0, PeerHandle(9), Liar(response));
        cluster.pass(14);
        let scored: Vec<Misbehaviour> = cluster.nodes[0].misbehaviours.iter().map(|(_, what)| *what).collect();
        assert_eq!(scored, expected);
        assert!(matches!(cluster.nodes[0].work.back(), Some(WorkUpdate::Job(_))));
    }
}
