//! Attackers with addresses of many netgroups.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use p2pool_test_bitcoind::internet::{Host, Internet};
use p2pool_test_bitcoind::{wait_until, Bitcoind, Chain};
use p2pool_test_functional::namespaces::forward_port;
use p2pool_test_functional::network::{id, status, TIMEOUT};
use p2pool_test_functional::pool::Pool;
use p2pool_test_hostile::crowd::{Crowd, Manner};
use p2pool_test_hostile::forge;
use p2pool_test_hostile::names::Names;

use crate::network_homes::Placed;

/// Idle strangers' networks, and addresses of each, as many as a node lets in from one: all inbound slots of a node.
const IDLE_NETWORKS: u8 = 10;
const IDLE_PER_NETWORK: u8 = 8;
/// Slots that are not temporary.
const LASTING: usize = 72;
/// Longer than a newcomer's slot lasts that is only temporary.
const TEMPORARY: Duration = Duration::from_secs(13);

/// Throw-away identities' networks, each a /16 and four times as many as the node has outbound connections, and identities
/// of each, a few less than a node lets connect in one go.
const THROWN_NETWORKS: u8 = 12;
const THROWN_PER_NETWORK: usize = 30;
/// Outbound connections of the node, and those of them that are to anchors.
const OUTBOUND: usize = 3;
const ANCHORS: usize = 2;

/// Names of the chain of `network::options`.
fn names() -> Names {
    Names::of(&forge::params(2, 1_000, 20).chain_id())
}

/// Starts a crowd on a host.
fn crowd(node: &Placed<'_>, host: &Host, addresses: &[Ipv4Addr], peers: usize, manner: Manner) -> Crowd {
    let node = node.p2p_address().parse().unwrap();
    host.inside(|| Crowd::start(&node, &names(), addresses, peers, manner))
}

/// Returns the ids of the peers of a node that are connected in this direction.
fn peers(node: &Placed<'_>, direction: &str) -> BTreeSet<String> {
    let status = node.host.inside(|| status(&node.node));
    let peers = status["peers"].as_array().into_iter().flatten().filter(|peer| peer["direction"] == direction);
    peers.filter_map(|peer| peer["id"].as_str().map(str::to_owned)).collect()
}

fn public_hosts(net: &mut Internet, first: u8, count: u8) -> Vec<Host> {
    (first..first + count).map(|number| net.public(number)).collect()
}

#[test]
fn idle_strangers_of_many_netgroups_keep_no_honest_node_out() {
    let Some(mut net) = Internet::new_or_skip() else { return };
    let bitcoind = Bitcoind::start(Chain::OpTrueSignet);
    let hosts = public_hosts(&mut net, 1, 3);
    let strangers = public_hosts(&mut net, 10, IDLE_NETWORKS);
    let _ports: Vec<_> = hosts.iter().map(|host| forward_port(host.namespace.clone(), bitcoind.rpc_port())).collect();
    let public = Placed::start(&hosts[0], &bitcoind, 1, None);
    let bootnode = || Some(format!("-bootnodes={}", public.p2p_address()));
    let first = Placed::start(&hosts[1], &bitcoind, 2, bootnode());
    public.mine_for(&first);
    first.mine_for(&public);

    let crowd = |host: &Host| crowd(&public, host, &host.addresses(IDLE_PER_NETWORK), 1, Manner::Stay);
    let crowds: Vec<Crowd> = strangers.iter().map(crowd).collect();
    wait_until("strangers on all slots", TIMEOUT, || peers(&public, "inbound").len() >= LASTING);
    let evictions =
        || public.host.inside(|| public.node.metric("p2pool_peer_evictions_total")).expect("it is always shown");
    let before = evictions();
    let started = Instant::now();
    let newcomer = Placed::start(&hosts[2], &bitcoind, 3, bootnode());
    wait_until("the newcomer", TIMEOUT, || peers(&public, "inbound").contains(&id(&newcomer.node)));
    // It has both shares, or its own would be no child of theirs.
    newcomer.mine_for(&public);
    println!("newcomer admitted and synced {:.1?} after its start", started.elapsed());
    std::thread::sleep(TEMPORARY);
    public.mine_for(&newcomer);
    let inbound = peers(&public, "inbound");
    assert!([&first, &newcomer].iter().all(|honest| inbound.contains(&id(&honest.node))), "{inbound:?}");
    println!("{before} and {} evictions, {} inbound peers", evictions(), inbound.len());
    assert!(evictions() > before, "no stranger was evicted since the newcomer came");
    drop(crowds);
}

/// Returns the lines of a node's file of known peers.
fn known(node: &Pool) -> Vec<String> {
    let chains = std::fs::read_dir(node.data_dir()).into_iter().flatten().flatten();
    let files = chains.map(|chain| chain.path().join("peers")).filter(|path: &PathBuf| path.is_file());
    files
        .flat_map(|file| std::fs::read_to_string(file).unwrap().lines().map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

#[test]
fn throw_away_identities_do_not_eclipse_a_node_that_restarts() {
    let Some(mut net) = Internet::new_or_skip() else { return };
    let bitcoind = Bitcoind::start(Chain::OpTrueSignet);
    let hosts = public_hosts(&mut net, 1, 1 + OUTBOUND as u8);
    let attackers = public_hosts(&mut net, 100, THROWN_NETWORKS);
    let _ports: Vec<_> = hosts.iter().map(|host| forward_port(host.namespace.clone(), bitcoind.rpc_port())).collect();
    // They dial no node, so that the node has chosen all its connections to them.
    let start = |(payee, host)| Placed::start(host, &bitcoind, payee, Some("-max-outbound=0".to_owned()));
    let honest: Vec<Placed<'_>> = (1..).zip(&hosts[1..]).map(start).collect();
    let ids: BTreeSet<String> = honest.iter().map(|honest| id(&honest.node)).collect();
    let bootnodes: Vec<String> = honest.iter().map(Placed::p2p_address).collect();
    let flags = [format!("-max-outbound={OUTBOUND}"), format!("-bootnodes={}", bootnodes.join(","))];
    let mut node = Placed::start(&hosts[0], &bitcoind, 9, flags);
    wait_until("the honest nodes", TIMEOUT, || peers(&node, "outbound") == ids);
    // From now on it knows them from its file alone.
    node.node.flags_mut().pop();
    assert!(node.node.terminate().success());
    hosts[0].inside(|| node.node.launch());
    wait_until("the honest nodes, from the file", TIMEOUT, || peers(&node, "outbound") == ids);

    let crowd = |host: &Host| crowd(&node, host, &[host.address], THROWN_PER_NETWORK, Manner::Leave);
    let crowds: Vec<Crowd> = attackers.iter().map(crowd).collect();
    let all = usize::from(THROWN_NETWORKS) * THROWN_PER_NETWORK;
    wait_until("all identities", TIMEOUT, || crowds.iter().map(Crowd::identified).sum::<usize>() == all);
    let count = |node: &Pool, kind: &str| known(node).iter().filter(|line| line.starts_with(kind)).count();
    wait_until("anchors", TIMEOUT, || count(&node.node, "anchor ") == ANCHORS);
    for (run, is_killed) in [false, true, false, true].into_iter().enumerate() {
        if is_killed {
            node.node.kill();
        } else {
            assert!(node.node.terminate().success());
        }
        let known_false = count(&node.node, "new ");
        assert!(known_false > 2 * usize::from(THROWN_NETWORKS), "it knows few of the attacker's: {known_false}");
        hosts[0].inside(|| node.node.launch());
        wait_until("all outbound connections", TIMEOUT, || peers(&node, "outbound").len() == OUTBOUND);
        let outbound = peers(&node, "outbound");
        let to_honest = outbound.intersection(&ids).count();
        println!(
            "run {run}: {to_honest} of {} outbound connections to honest nodes, {known_false} false",
            outbound.len()
        );
        assert!(to_honest >= ANCHORS, "run {run}: outbound connections to {outbound:?}, honest are {ids:?}");
    }
    let outbound = peers(&node, "outbound");
    let peer = honest.iter().find(|honest| outbound.contains(&id(&honest.node))).unwrap();
    peer.mine_for(&node);
    drop(crowds);
}
