//! Peers that do nothing but what libp2p does by itself: they identify themselves and respond to pings.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use futures::StreamExt as _;
use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{identify, ping, Multiaddr, Swarm};
use tokio::sync::{oneshot, Semaphore};

use crate::names::{peer_id_of, Names};
use crate::scripted_peer::swarm;

/// Time after which a peer that was refused or evicted comes again.
const RETRY: Duration = Duration::from_secs(2);

/// What peers do when they are connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// All stay, and come again when they are disconnected.
    Stay,
    /// One after the other leaves when it has said where it can be reached. It goes on to listen there.
    Leave,
}

#[derive(NetworkBehaviour)]
struct Behaviour {
    identify: identify::Behaviour,
    ping: ping::Behaviour,
}

/// Peers in a thread of their own, until it is dropped.
pub struct Crowd {
    identified: Arc<AtomicUsize>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Crowd {
    /// Connects so many new peers from each of these addresses, at which they listen too, to a node of this chain.
    pub fn start(node: &Multiaddr, names: &Names, addresses: &[Ipv4Addr], peers: usize, manner: Manner) -> Self {
        let (stop, stopped) = oneshot::channel();
        let identified = Arc::new(AtomicUsize::new(0));
        let (node, names, addresses, counter) = (node.clone(), names.clone(), addresses.to_vec(), identified.clone());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let turns = Arc::new(Semaphore::new(if manner == Manner::Leave { 1 } else { Semaphore::MAX_PERMITS }));
                for address in addresses.into_iter().flat_map(|address| std::iter::repeat_n(address, peers)) {
                    let mut swarm = build_swarm(&names);
                    swarm.listen_on(Multiaddr::from(address).with(Protocol::Tcp(0))).unwrap();
                    tokio::spawn(live(swarm, node.clone(), manner, turns.clone(), counter.clone()));
                }
                // It ends with the sender as well.
                let _ = stopped.await;
            });
        });
        Self { identified, stop: Some(stop), thread: Some(thread) }
    }

    /// Number of peers that have been connected and said where they can be reached.
    pub fn identified(&self) -> usize {
        self.identified.load(Ordering::Relaxed)
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been printed.
            drop(thread.join());
        }
    }
}

async fn live(
    mut peer: Swarm<Behaviour>,
    node: Multiaddr,
    manner: Manner,
    turns: Arc<Semaphore>,
    identified: Arc<AtomicUsize>,
) {
    // It dials from the address at which it listens.
    while !matches!(peer.select_next_some().await, SwarmEvent::NewListenAddr { .. }) {}
    let turn = turns.acquire().await.unwrap();
    join(&mut peer, &node).await;
    identified.fetch_add(1, Ordering::Relaxed);
    let id = peer_id_of(&node);
    if manner == Manner::Leave {
        // An error means that it has been disconnected already.
        let _ = peer.disconnect_peer_id(id);
    }
    drop(turn);
    loop {
        peer.select_next_some().await;
        if manner == Manner::Stay && !peer.is_connected(&id) {
            tokio::time::sleep(RETRY).await;
            join(&mut peer, &node).await;
        }
    }
}

/// Connects until the node has identified it.
async fn join(peer: &mut Swarm<Behaviour>, node: &Multiaddr) {
    loop {
        // An error means that the node has dialled it.
        let _ = peer.dial(node.clone());
        let (mut has_sent, mut has_pong) = (false, false);
        loop {
            match peer.select_next_some().await {
                SwarmEvent::Behaviour(BehaviourEvent::Identify(identify::Event::Sent { .. })) => has_sent = true,
                // The node has handled what it got before.
                SwarmEvent::Behaviour(BehaviourEvent::Ping(ping::Event { result: Ok(_), .. })) => has_pong = true,
                SwarmEvent::OutgoingConnectionError { .. } | SwarmEvent::ConnectionClosed { .. } => break,
                _ => {}
            }
            if has_sent && has_pong {
                return;
            }
        }
        tokio::time::sleep(RETRY).await;
    }
}

fn build_swarm(names: &Names) -> Swarm<Behaviour> {
    swarm(Keypair::generate_ed25519(), names, |key| Behaviour {
        identify: identify::Behaviour::new(identify::Config::new(names.identify.clone(), key.public())),
        ping: ping::Behaviour::new(ping::Config::new()),
    })
}
