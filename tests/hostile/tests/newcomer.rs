//! A new node that knows four lying nodes and one honest one.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread::JoinHandle;

use libp2p::Multiaddr;
use p2pool_core::params::ChainId;
use p2pool_core::share::{Share, ShareId};
use p2pool_core::units::{ShareHeight, Work};
use p2pool_core::wire::{Frame as _, List, PeerStatus, Request, Response};
use p2pool_test_bitcoind::wait_until;
use p2pool_test_functional::network::TIMEOUT;
use p2pool_test_functional::pool::Pool;
use p2pool_test_hostile::forge::{params, script, Forge};
use p2pool_test_hostile::scripted_peer::{PeerConfig, Reply, ScriptedPeer};

use crate::test_network::{invented_ids, is_misbehaviour, now, status_without_shares, TestNetwork, PAYOUT_WINDOW};

/// Chain work that all of them claim: ten trillion times that of an honest chain in these tests.
const CLAIMED: Work = Work(1 << 100);

/// A peer that listens, and serves a chain in a thread of its own.
struct Liar {
    id: String,
    address: Multiaddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Liar {
    /// Serves these shares; without shares, advertises ids of shares that it does not have.
    fn start(chain: ChainId, shares: Vec<Arc<Share>>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (sender, receiver) = std::sync::mpsc::channel();
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut peer = ScriptedPeer::new(PeerConfig::of(&chain).without_gossip());
            peer.set_responder(move |request| Reply::bytes(serve(&chain, &shares, request).encode()));
            sender.send((peer.id.to_string(), peer.listen())).unwrap();
            while !stopped.load(Ordering::Relaxed) {
                peer.run_briefly();
            }
        });
        let (id, address) = receiver.recv().unwrap();
        Self { id, address, stop, thread: Some(thread) }
    }

    /// Returns a node's log lines on its misbehaviour.
    fn misbehaviours(&self, node: &Pool) -> Vec<String> {
        node.log().lines().filter(|line| is_misbehaviour(line, &self.id)).map(str::to_owned).collect()
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been printed.
            drop(thread.join());
        }
    }
}

fn serve(chain: &ChainId, shares: &[Arc<Share>], request: &[u8]) -> Response {
    let ids: Vec<ShareId> = match shares {
        [] => invented_ids(5_000),
        shares => shares.iter().map(|share| share.id()).collect(),
    };
    let start_height = shares.first().map_or(ShareHeight(0), |share| share.info.share_height);
    match Request::decode(request) {
        Ok(Request::Status) => Response::Status(PeerStatus {
            tip: ids.last().copied().unwrap_or_default(),
            share_height: ShareHeight(1_000_000),
            chain_work: CLAIMED,
            oldest_height: start_height,
            ..status_without_shares(chain)
        }),
        Ok(Request::Inventory { .. }) => {
            Response::Inventory { after: ShareId::ZERO, start_height, ids: List::first_of(ids), more: false }
        }
        Ok(Request::Shares { ids }) if !shares.is_empty() => {
            let requested = ids.iter().filter_map(|id| shares.iter().find(|share| share.id() == *id));
            Response::Shares(List::first_of(requested.map(Arc::clone)))
        }
        _ => Response::Unknown,
    }
}

fn forge(network: &TestNetwork) -> Forge {
    // Backdated, one share per period: the difficulty of shares found all at once would rise too fast.
    Forge::new(params(1, PAYOUT_WINDOW, 10), network.forge.anchor.clone(), now().minus(60))
}

fn add(forge: &mut Forge, share: Share) -> Arc<Share> {
    let share = Arc::new(share);
    forge.add(&share);
    forge.now = forge.now.plus(1);
    share
}

/// Adds a share of a new finder that pays only its finder.
fn add_greedy(forge: &mut Forge, number: u32) -> Arc<Share> {
    let tip = forge.tip();
    forge.payee = script(number);
    let me = forge.payee;
    let share = forge.build_paying(&tip, |_| (), |payouts| payouts.iter_mut().for_each(|payout| payout.script = me));
    add(forge, share)
}

/// A valid chain, mined in private.
fn private(network: &TestNetwork, shares: u32) -> Vec<Arc<Share>> {
    let mut forge = forge(network);
    let grow = |_| {
        let tip = forge.tip();
        let share = forge.build(&tip);
        add(&mut forge, share)
    };
    (0..shares).map(grow).collect()
}

/// A chain whose shares pay only their finders, although others have work in the window.
fn greedy(network: &TestNetwork) -> Vec<Arc<Share>> {
    let mut forge = forge(network);
    (0..30).map(|number| add_greedy(&mut forge, number)).collect()
}

/// A chain with a claimed pruned base: its oldest share claims invented work, and the shares above pay only their finders.
fn invalid_base(network: &TestNetwork) -> Vec<Arc<Share>> {
    let mut forge = forge(network);
    let root = forge.build_edited(&ShareId::ZERO, |share| {
        share.info.parent = invented_ids(1)[0];
        share.info.share_height = ShareHeight(1_000);
        share.info.chain_work = CLAIMED;
    });
    let mut shares = vec![add(&mut forge, root)];
    shares.extend((0..PAYOUT_WINDOW + 15).map(|number| add_greedy(&mut forge, number)));
    shares
}

#[test]
fn a_new_node_among_liars_adopts_the_honest_chain_and_mines() {
    let mut network = TestNetwork::start(2);
    for _ in 0..6 {
        network.mine_share();
    }
    network.update_forge();
    let chain = network.chain;
    let liars = [
        ("advertised shares that it does not have", Vec::new(), &["advertised shares it does not have"][..]),
        ("a private chain that claims more work than it has", private(&network, 3), &[]),
        ("a chain that pays only its finders", greedy(&network), &["sent a share that breaks rule 8"]),
        ("an invalid base", invalid_base(&network), &["offered an invalid chain", "banned for 24 h"]),
    ];
    let liars = liars.map(|(name, shares, logged)| (name, logged, Liar::start(chain, shares)));
    let mut bootnodes: Vec<Multiaddr> = liars.iter().map(|(_, _, liar)| liar.address.clone()).collect();
    bootnodes.push(network.addresses[0].clone());
    let start = std::time::Instant::now();
    let new_node = network.start_node(&bootnodes);
    // The new node tries each, before or after it has adopted the honest chain.
    for (name, logged, liar) in &liars {
        for part in *logged {
            let what = format!("{name} to be logged: {part}");
            wait_until(&what, 2 * TIMEOUT, || liar.misbehaviours(&new_node).iter().any(|line| line.contains(part)));
            eprintln!("{what}: after {} ms", start.elapsed().as_millis());
        }
    }
    // Its miners get work only on the honest chain.
    network.add_node(new_node);
    eprintln!("the new node's miner is connected after {} ms", start.elapsed().as_millis());
    for _ in 0..3 {
        network.mine_share();
    }
    eprintln!("the new node mines with the others after {} ms", start.elapsed().as_millis());
    let (_, _, private) = &liars[1];
    assert_eq!(private.misbehaviours(&network.nodes[2]), Vec::<String>::new(), "a valid chain is not misbehaviour");
}
