//! A peer that sends any bytes on any protocol, gossips anything, and responds with anything.

use std::collections::HashMap;
use std::future::Future;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use libp2p::gossipsub::{self, IdentTopic, MessageAuthenticity, PublishError, ValidationMode};
use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol;
use libp2p::request_response::{self, OutboundRequestId, ProtocolSupport, ResponseChannel};
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::swarm::{DialError, NetworkBehaviour, SwarmEvent};
use libp2p::{noise, tcp, yamux, Multiaddr, PeerId, StreamProtocol, Swarm, SwarmBuilder};
use p2pool_core::params::ChainId;
use p2pool_core::wire::{Frame as _, Request};
use tokio::runtime::Runtime;

use crate::names::{peer_id_of, Names};
use crate::raw::{RawCodec, RawMessage};

/// Timeout of everything that a test waits for, on a machine that is busy with other tests: twice the minute after which
/// nodes request each other's status again, should a message be lost.
pub const TIMEOUT: Duration = Duration::from_secs(120);
/// Timeout of requests in both directions. Longer than any node's, so that the node gives up first.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(240);
/// Interval at which an awaited condition is checked while there are no events.
const CHECK_INTERVAL: Duration = Duration::from_millis(20);

#[derive(NetworkBehaviour)]
struct Behaviour {
    raw: request_response::Behaviour<RawCodec>,
    gossip: Toggle<gossipsub::Behaviour>,
}

/// What a peer supports.
pub struct PeerConfig {
    /// Names of the chain whose handshake it does.
    pub names: Names,
    /// Protocol on which it sends and receives raw bytes.
    pub protocol: StreamProtocol,
    /// Whether it signs gossip; `None`: it does not support gossip.
    pub gossip: Option<MessageAuthenticity>,
}

impl PeerConfig {
    /// Raw bytes on the protocol of requests, and unsigned gossip as nodes send it.
    pub fn of(chain: &ChainId) -> Self {
        let names = Names::of(chain);
        Self { protocol: names.sync.clone(), names, gossip: Some(MessageAuthenticity::Anonymous) }
    }

    /// Without gossip.
    pub fn without_gossip(self) -> Self {
        Self { gossip: None, ..self }
    }

    /// With raw bytes on another protocol.
    pub fn with_protocol(self, protocol: StreamProtocol) -> Self {
        Self { protocol, ..self }
    }
}

/// Reaction to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Sends this message.
    Send(RawMessage),
    /// Sends nothing and keeps the stream open.
    Nothing,
}

impl Reply {
    /// Sends these bytes at once.
    pub fn bytes(bytes: Vec<u8>) -> Self {
        Self::Send(bytes.into())
    }
}

/// Maps the bytes of a request to the reaction.
type Responder = dyn FnMut(&[u8]) -> Reply;

/// A peer with a runtime of its own. It makes progress only while one of its methods runs.
pub struct ScriptedPeer {
    runtime: Runtime,
    swarm: Swarm<Behaviour>,
    /// Its peer id.
    pub id: PeerId,
    names: Names,
    gossip_received: Vec<Vec<u8>>,
    responses: HashMap<OutboundRequestId, Option<Vec<u8>>>,
    responder: Box<Responder>,
    /// All requests received so far.
    pub requests: Vec<Vec<u8>>,
    /// Streams of requests without a response, which would be closed if they were dropped.
    open_channels: Vec<ResponseChannel<RawMessage>>,
}

impl ScriptedPeer {
    /// A peer with a new id.
    pub fn new(config: PeerConfig) -> Self {
        Self::with_key(config, Keypair::generate_ed25519())
    }

    /// A peer whose id may be known.
    pub fn with_key(config: PeerConfig, key: Keypair) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let id = key.public().to_peer_id();
        let swarm = {
            let _inside = runtime.enter();
            build_swarm(key, &config)
        };
        Self {
            runtime,
            swarm,
            id,
            names: config.names,
            gossip_received: Vec::new(),
            responses: HashMap::new(),
            responder: Box::new(|_| Reply::Nothing),
            requests: Vec::new(),
            open_channels: Vec::new(),
        }
    }

    /// Sets the reaction to requests. Without one, no request gets a response.
    pub fn set_responder(&mut self, responder: impl FnMut(&[u8]) -> Reply + 'static) {
        self.responder = Box::new(responder);
    }

    /// Listens on a free loopback port. Returns the address with the peer id.
    pub fn listen(&mut self) -> Multiaddr {
        {
            let _inside = self.runtime.enter();
            self.swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse().unwrap()).unwrap();
        }
        let address = self.drive("a listen address", |_, event| match event {
            Some(SwarmEvent::NewListenAddr { address, .. }) => Some(address),
            _ => None,
        });
        address.with(Protocol::P2p(self.id))
    }

    /// Connects to a node.
    ///
    /// # Errors
    /// The dial failed.
    pub fn connect(&mut self, to: &Multiaddr) -> Result<(), DialError> {
        {
            let _inside = self.runtime.enter();
            self.swarm.dial(to.clone())?;
        }
        self.drive("the outcome of a dial", |_, event| match event {
            Some(SwarmEvent::ConnectionEstablished { .. }) => Some(Ok(())),
            Some(SwarmEvent::OutgoingConnectionError { error, .. }) => Some(Err(error)),
            _ => None,
        })
    }

    /// Closes all connections.
    pub fn disconnect(&mut self) {
        let peers: Vec<PeerId> = self.swarm.connected_peers().copied().collect();
        for peer in peers {
            // An error means that it has disconnected already.
            let _ = self.swarm.disconnect_peer_id(peer);
        }
        self.await_disconnect();
    }

    /// Connects to a node and returns whether it keeps the connection. A banned peer is disconnected after the handshake.
    pub fn is_accepted_by(&mut self, node: &Multiaddr) -> bool {
        if self.connect(node).is_err() {
            return false;
        }
        // A node reads requests only of peers that it accepts.
        let request = self.send_request(node, Request::Status.encode());
        self.drive("a response or a disconnect", |peer, event| match event {
            Some(SwarmEvent::ConnectionClosed { .. }) => Some(false),
            _ => peer.responses.remove(&request).map(|response| response.is_some()),
        })
    }

    /// Sends bytes as a request; see [`Self::response`].
    pub fn send_request(&mut self, to: &Multiaddr, message: impl Into<RawMessage>) -> OutboundRequestId {
        self.swarm.behaviour_mut().raw.send_request(&peer_id_of(to), message.into())
    }

    /// Waits for the response to a request; `None` if the stream or the connection was closed.
    pub fn response(&mut self, request: OutboundRequestId) -> Option<Vec<u8>> {
        self.response_while(request, || ())
    }

    /// Waits for the response to a request and calls `meanwhile` repeatedly.
    pub fn response_while(&mut self, request: OutboundRequestId, mut meanwhile: impl FnMut()) -> Option<Vec<u8>> {
        self.drive("a response", |peer, _| {
            meanwhile();
            peer.responses.remove(&request)
        })
    }

    /// Whether it has a connection.
    pub fn is_connected(&self) -> bool {
        self.swarm.connected_peers().next().is_some()
    }

    /// Whether it is connected to the node at this address.
    pub fn is_connected_to(&self, node: &Multiaddr) -> bool {
        self.swarm.is_connected(&peer_id_of(node))
    }

    /// Waits until it has no connection.
    pub fn await_disconnect(&mut self) {
        self.drive("a disconnect", |peer, _| (!peer.is_connected()).then_some(()));
    }

    /// Subscribes to both topics and waits for the subscriptions of the other side.
    pub fn subscribe(&mut self) {
        for topic in [self.names.shares.clone(), self.names.blocks.clone()] {
            self.swarm.behaviour_mut().gossip.as_mut().unwrap().subscribe(&topic).unwrap();
        }
        let topics = [self.names.shares.hash(), self.names.blocks.hash()];
        self.drive("the node's subscriptions", |peer, _| {
            let gossip = peer.swarm.behaviour().gossip.as_ref().unwrap();
            topics.iter().all(|topic| gossip.all_peers().any(|(_, theirs)| theirs.contains(&topic))).then_some(())
        });
    }

    /// Subscribes and joins the node's mesh. Outside of it, a peer gets only the ids of messages.
    pub fn join_mesh(&mut self) {
        self.subscribe();
        let topics = [self.names.shares.hash(), self.names.blocks.hash()];
        self.drive("the node's mesh", |peer, _| {
            let gossip = peer.swarm.behaviour().gossip.as_ref().unwrap();
            topics.iter().all(|topic| gossip.mesh_peers(topic).next().is_some()).then_some(())
        });
    }

    /// Gossips bytes on a topic.
    pub fn gossip(&mut self, topic: &IdentTopic, bytes: Vec<u8>) {
        match self.swarm.behaviour_mut().gossip.as_mut().unwrap().publish(topic.clone(), bytes) {
            // Without subscribers the peer has been disconnected.
            Ok(_) | Err(PublishError::NoPeersSubscribedToTopic) => {}
            Err(error) => panic!("publishing failed: {error}"),
        }
    }

    /// Gossips bytes on the topic of shares.
    pub fn gossip_share(&mut self, bytes: Vec<u8>) {
        let topic = self.names.shares.clone();
        self.gossip(&topic, bytes);
    }

    /// Gossips bytes on the topic of found Bitcoin blocks.
    pub fn gossip_block(&mut self, bytes: Vec<u8>) {
        let topic = self.names.blocks.clone();
        self.gossip(&topic, bytes);
    }

    /// Runs for some time and returns all gossip received.
    pub fn collect_gossip(&mut self, time: Duration) -> Vec<Vec<u8>> {
        let end = Instant::now() + time;
        self.drive("time to pass", |_, _| (Instant::now() >= end).then_some(()));
        std::mem::take(&mut self.gossip_received)
    }

    /// Waits for the next gossiped message.
    pub fn next_gossip(&mut self) -> Vec<u8> {
        self.drive("gossip", |peer, _| (!peer.gossip_received.is_empty()).then(|| peer.gossip_received.remove(0)))
    }

    /// Runs until a condition is met that another thread or process brings about.
    pub fn run_until<T>(&mut self, what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
        self.drive(what, |_, _| condition())
    }

    /// Runs until it has received a matching request.
    pub fn await_request(&mut self, what: &str, is_match: impl Fn(&Request) -> bool) {
        self.drive(what, |peer, _| {
            let mut requests = peer.requests.iter().filter_map(|bytes| Request::decode(bytes).ok());
            requests.any(|request| is_match(&request)).then_some(())
        });
    }

    /// Runs until no event is ready, and at least for a moment.
    pub fn run_briefly(&mut self) {
        let end = Instant::now() + CHECK_INTERVAL;
        self.drive("no event", |_, event| (event.is_none() && Instant::now() >= end).then_some(()));
    }

    /// Runs the swarm until `done` returns a value. It is called with each event, and regularly without.
    fn drive<T>(
        &mut self,
        what: &str,
        mut done: impl FnMut(&mut Self, Option<SwarmEvent<BehaviourEvent>>) -> Option<T>,
    ) -> T {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            if let Some(value) = done(self, None) {
                return value;
            }
            assert!(Instant::now() < deadline, "timed out waiting for {what}");
            let swarm = &mut self.swarm;
            let next = within(CHECK_INTERVAL, async { swarm.select_next_some().await });
            let Some(event) = self.runtime.block_on(next) else { continue };
            let event = self.handle(event);
            if let Some(value) = done(self, event) {
                return value;
            }
        }
    }

    /// Handles gossip, requests and responses; returns all other events.
    fn handle(&mut self, event: SwarmEvent<BehaviourEvent>) -> Option<SwarmEvent<BehaviourEvent>> {
        match event {
            SwarmEvent::Behaviour(BehaviourEvent::Gossip(gossipsub::Event::Message { message, .. })) => {
                self.gossip_received.push(message.data);
                None
            }
            SwarmEvent::Behaviour(BehaviourEvent::Raw(event)) => {
                self.handle_raw(event);
                None
            }
            event => Some(event),
        }
    }

    fn handle_raw(&mut self, event: request_response::Event<RawMessage, RawMessage>) {
        match event {
            request_response::Event::Message { message, .. } => match message {
                request_response::Message::Request { channel, request, .. } => {
                    match (self.responder)(&request.bytes) {
                        // It does not matter whether it can still be sent.
                        Reply::Send(message) => drop(self.swarm.behaviour_mut().raw.send_response(channel, message)),
                        Reply::Nothing => self.open_channels.push(channel),
                    }
                    self.requests.push(request.bytes);
                }
                request_response::Message::Response { request_id, response } => {
                    self.responses.insert(request_id, Some(response.bytes));
                }
            },
            request_response::Event::OutboundFailure { request_id, .. } => {
                self.responses.insert(request_id, None);
            }
            _ => {}
        }
    }
}

async fn within<T>(time: Duration, work: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(time, work).await.ok()
}

fn gossip_behaviour(authenticity: MessageAuthenticity) -> gossipsub::Behaviour {
    let config = gossipsub::ConfigBuilder::default()
        .validation_mode(ValidationMode::None)
        .max_transmit_size(4 << 20)
        .heartbeat_initial_delay(Duration::from_millis(50))
        .connection_handler_queue_len(20_000)
        .message_id_fn(|message| gossipsub::MessageId::new(&message.data))
        .build()
        .unwrap();
    gossipsub::Behaviour::new(authenticity, config).unwrap()
}

fn build_swarm(key: Keypair, config: &PeerConfig) -> Swarm<Behaviour> {
    swarm(key, &config.names, |_| Behaviour {
        raw: request_response::Behaviour::new(
            [(config.protocol.clone(), ProtocolSupport::Full)],
            request_response::Config::default()
                .with_request_timeout(REQUEST_TIMEOUT)
                .with_max_concurrent_streams(10_000),
        ),
        gossip: config.gossip.clone().map(gossip_behaviour).into(),
    })
}

/// Returns a swarm that speaks to the nodes of a chain. It must be called inside a tokio runtime.
pub(crate) fn swarm<B: NetworkBehaviour>(
    key: Keypair,
    names: &Names,
    behaviour: impl FnOnce(&Keypair) -> B,
) -> Swarm<B> {
    let prologue = names.noise_prologue.clone();
    SwarmBuilder::with_existing_identity(key)
        .with_tokio()
        .with_tcp(
            tcp::Config::default().nodelay(true),
            |key: &Keypair| noise::Config::new(key).map(|config| config.with_prologue(prologue)),
            yamux::Config::default,
        )
        .unwrap()
        .with_behaviour(behaviour)
        .unwrap()
        .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(600)))
        .build()
}

impl Drop for ScriptedPeer {
    fn drop(&mut self) {
        // The sockets of the swarm must be dropped inside the runtime, so another swarm takes its place.
        let _inside = self.runtime.enter();
        let empty = PeerConfig { names: self.names.clone(), protocol: StreamProtocol::new("/none"), gossip: None };
        drop(std::mem::replace(&mut self.swarm, build_swarm(Keypair::generate_ed25519(), &empty)));
    }
}
