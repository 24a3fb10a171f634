//! A peer that sends arbitrary identify information without end.

use std::sync::mpsc;
use std::time::Duration;

use futures::StreamExt as _;
use libp2p::identity::Keypair;
use libp2p::kad::store::MemoryStore;
use libp2p::swarm::NetworkBehaviour;
use libp2p::{identify, kad, noise, tcp, yamux, Multiaddr, Swarm, SwarmBuilder};

use super::support::{params, until, TestNode};
use crate::address::split_peer_id;
use crate::names::Names;

#[derive(NetworkBehaviour)]
struct Behaviour {
    identify: identify::Behaviour,
    dht: kad::Behaviour<MemoryStore>,
}

fn build() -> Swarm<Behaviour> {
    let names = Names::new(&params().chain_id());
    let key = Keypair::generate_ed25519();
    let id = key.public().to_peer_id();
    let identify = identify::Behaviour::new(identify::Config::new(names.identify, key.public()));
    let mut dht = kad::Behaviour::with_config(id, MemoryStore::new(id), kad::Config::new(names.dht));
    dht.set_mode(Some(kad::Mode::Server));
    SwarmBuilder::with_existing_identity(key)
        .with_tokio()
        .with_tcp(
            tcp::Config::default().nodelay(true),
            |key: &Keypair| noise::Config::new(key).map(|config| config.with_prologue(names.noise_prologue)),
            yamux::Config::default,
        )
        .unwrap()
        .with_behaviour(|_| Behaviour { identify, dht })
        .unwrap()
        .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(600)))
        .build()
}

/// Eight unused addresses, different ones for each round.
fn addresses(round: u32) -> impl Iterator<Item = Multiaddr> {
    let [.., a, b] = round.to_be_bytes();
    (1..=8).map(move |n| format!("/ip4/127.{a}.{b}.{n}/tcp/1").parse().unwrap())
}

/// Sends the node new addresses every 10 ms until the other end of `stop` is dropped.
fn push_until_stopped(node: Multiaddr, stop: &mpsc::Receiver<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut swarm = build();
        let (id, _) = split_peer_id(node.clone()).unwrap();
        swarm.dial(node).unwrap();
        let mut tick = tokio::time::interval(Duration::from_millis(10));
        for round in 1.. {
            while tokio::select! { _ = swarm.select_next_some() => true, _ = tick.tick() => false } {}
            if stop.try_recv() == Err(mpsc::TryRecvError::Disconnected) {
                return;
            }
            for address in addresses(round - 1) {
                swarm.remove_external_address(&address);
            }
            addresses(round).for_each(|address| swarm.add_external_address(address));
            if swarm.is_connected(&id) {
                swarm.behaviour_mut().identify.push([id]);
            }
        }
    });
}

#[test]
fn a_peer_that_sends_new_addresses_without_end_is_penalised_and_discovery_still_works() {
    let node = TestNode::start(&[]);
    let honest = TestNode::start(&[&node.address]);
    node.await_peer(&honest.id());
    let (stopper, stop) = mpsc::channel();
    let address = node.address.clone();
    let pushing = std::thread::spawn(move || push_until_stopped(address, &stop));
    until("two penalties", || (node.metrics().peer_misbehaviours.get() >= 2).then_some(()));
    let newcomer = TestNode::start(&[&node.address]);
    newcomer.await_peer(&honest.id());
    drop(stopper);
    pushing.join().unwrap();
}
