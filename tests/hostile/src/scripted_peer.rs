//! A peer that speaks the wire directly: any bytes on any protocol, any gossip, any answer.

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

use crate::names::{id_in, Names};
use crate::raw::{Bytes, Raw};

/// For whatever nodes tell each other, on a machine that is busy with other tests: twice the minute after which they compare
/// chains again, should a message be lost.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// Deadline of its own questions and answers: longer than any node's, so that it is the node which gives up.
const STREAM_TIMEOUT: Duration = Duration::from_secs(240);
/// Without any event the awaited condition is looked at this often.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// All that it speaks.
#[derive(NetworkBehaviour)]
struct Wire {
    raw: request_response::Behaviour<Raw>,
    gossip: Toggle<gossipsub::Behaviour>,
}

/// What it brings.
pub struct Kind {
    /// Bytes of which chain's id it shakes hands with.
    pub names: Names,
    /// The protocol on which it sends and answers raw bytes.
    pub protocol: StreamProtocol,
    /// Whether it takes part in the gossip.
    pub gossip: Option<MessageAuthenticity>,
}

impl Kind {
    /// Sends and answers on the protocol of questions, and gossips as nodes do.
    pub fn of(chain: &ChainId) -> Self {
        let names = Names::of(chain);
        Self { protocol: names.sync.clone(), names, gossip: Some(MessageAuthenticity::Anonymous) }
    }

    /// The same without gossip.
    pub fn mute(self) -> Self {
        Self { gossip: None, ..self }
    }

    /// The same with its raw bytes on another protocol.
    pub fn on(self, protocol: StreamProtocol) -> Self {
        Self { protocol, ..self }
    }
}

/// What it does about a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Sends this.
    Say(Bytes),
    /// Leaves the asker waiting.
    Nothing,
}

impl Reply {
    /// These bytes at once.
    pub fn bytes(bytes: Vec<u8>) -> Self {
        Self::Say(bytes.into())
    }
}

/// From a question to what is done about it.
type Replies = dyn FnMut(&[u8]) -> Reply;

/// A stranger with its own little runtime. It does something only while one of its methods runs.
pub struct Stranger {
    runtime: Runtime,
    swarm: Swarm<Wire>,
    /// Who it is.
    pub id: PeerId,
    names: Names,
    heard: Vec<Vec<u8>>,
    answers: HashMap<OutboundRequestId, Option<Vec<u8>>>,
    replies: Box<Replies>,
    /// All questions that it was asked.
    pub asked: Vec<Vec<u8>>,
    kept: Vec<ResponseChannel<Bytes>>,
}

fn gossip(authenticity: MessageAuthenticity) -> gossipsub::Behaviour {
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

impl Stranger {
    /// One that nobody has met.
    pub fn new(kind: Kind) -> Self {
        Self::with_key(kind, Keypair::generate_ed25519())
    }

    /// One that may have been here before.
    pub fn with_key(kind: Kind, key: Keypair) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let id = key.public().to_peer_id();
        let swarm = {
            let _inside = runtime.enter();
            build(key, &kind)
        };
        Self {
            runtime,
            swarm,
            id,
            names: kind.names,
            heard: Vec::new(),
            answers: HashMap::new(),
            replies: Box::new(|_| Reply::Nothing),
            asked: Vec::new(),
            kept: Vec::new(),
        }
    }

    /// What it does about questions from now on; at first it leaves all askers waiting.
    pub fn reply(&mut self, replies: impl FnMut(&[u8]) -> Reply + 'static) {
        self.replies = Box::new(replies);
    }

    /// Listens on a free port of loopback; says where, with its id.
    pub fn listen(&mut self) -> Multiaddr {
        {
            let _inside = self.runtime.enter();
            self.swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse().unwrap()).unwrap();
        }
        let address = self.drive("a place to listen", |_, event| match event {
            Some(SwarmEvent::NewListenAddr { address, .. }) => Some(address),
            _ => None,
        });
        address.with(Protocol::P2p(self.id))
    }

    /// Connects, or says why not.
    ///
    /// # Errors
    /// No connection comes about.
    pub fn connect(&mut self, to: &Multiaddr) -> Result<(), DialError> {
        {
            let _inside = self.runtime.enter();
            self.swarm.dial(to.clone())?;
        }
        self.drive("a stranger's dial ends", |_, event| match event {
            Some(SwarmEvent::ConnectionEstablished { .. }) => Some(Ok(())),
            Some(SwarmEvent::OutgoingConnectionError { error, .. }) => Some(Err(error)),
            _ => None,
        })
    }

    /// Ends all connections.
    pub fn leave(&mut self) {
        let peers: Vec<PeerId> = self.swarm.connected_peers().copied().collect();
        for peer in peers {
            // An error says that it is gone already.
            let _ = self.swarm.disconnect_peer_id(peer);
        }
        self.await_shown_out();
    }

    /// Connected, and not shown out at once: whoever is banned is let in as far as its name, no further.
    pub fn is_welcome_at(&mut self, to: &Multiaddr) -> bool {
        if self.connect(to).is_err() {
            return false;
        }
        // The node reads what is sent only of a peer it lets in.
        let request = self.send(to, Request::Status.encode());
        self.drive("a stranger is heard or shown out", |stranger, event| match event {
            Some(SwarmEvent::ConnectionClosed { .. }) => Some(false),
            _ => stranger.answers.remove(&request).map(|answer| answer.is_some()),
        })
    }

    /// Sends bytes on the raw protocol; see [`Self::answer`].
    pub fn send(&mut self, to: &Multiaddr, bytes: impl Into<Bytes>) -> OutboundRequestId {
        self.swarm.behaviour_mut().raw.send_request(&id_in(to), bytes.into())
    }

    /// What came back; none if the stream or the connection was cut.
    pub fn answer(&mut self, id: OutboundRequestId) -> Option<Vec<u8>> {
        self.answer_meanwhile(id, || ())
    }

    /// The same, while something else is done now and then.
    pub fn answer_meanwhile(&mut self, id: OutboundRequestId, mut meanwhile: impl FnMut()) -> Option<Vec<u8>> {
        self.drive("an answer or its absence", |stranger, _| {
            meanwhile();
            stranger.answers.remove(&id)
        })
    }

    /// Whether it is connected with anybody.
    pub fn is_connected(&self) -> bool {
        self.swarm.connected_peers().next().is_some()
    }

    /// Whether it is connected with the node at this address.
    pub fn is_connected_to(&self, node: &Multiaddr) -> bool {
        self.swarm.is_connected(&id_in(node))
    }

    /// Goes on until no connection is left.
    pub fn await_shown_out(&mut self) {
        self.drive("a stranger is shown out", |stranger, _| (!stranger.is_connected()).then_some(()));
    }

    /// Joins both topics and waits until the other side has.
    pub fn subscribe(&mut self) {
        for topic in [self.names.shares.clone(), self.names.blocks.clone()] {
            self.swarm.behaviour_mut().gossip.as_mut().unwrap().subscribe(&topic).unwrap();
        }
        let topics = [self.names.shares.hash(), self.names.blocks.hash()];
        self.drive("the node's subscriptions", |stranger, _| {
            let gossip = stranger.swarm.behaviour().gossip.as_ref().unwrap();
            topics.iter().all(|topic| gossip.all_peers().any(|(_, theirs)| theirs.contains(&topic))).then_some(())
        });
    }

    /// The same, and waits for a place in the node's mesh, without which it would only be told of messages.
    pub fn join(&mut self) {
        self.subscribe();
        let topics = [self.names.shares.hash(), self.names.blocks.hash()];
        self.drive("a place in the node's mesh", |stranger, _| {
            let gossip = stranger.swarm.behaviour().gossip.as_ref().unwrap();
            topics.iter().all(|topic| gossip.mesh_peers(topic).next().is_some()).then_some(())
        });
    }

    /// Gossips bytes to whoever listens.
    pub fn gossip(&mut self, topic: &IdentTopic, bytes: Vec<u8>) {
        match self.swarm.behaviour_mut().gossip.as_mut().unwrap().publish(topic.clone(), bytes) {
            // Nobody listens any more: it was shown out meanwhile.
            Ok(_) | Err(PublishError::NoPeersSubscribedToTopic) => {}
            Err(error) => panic!("nothing gossiped: {error}"),
        }
    }

    /// Gossips bytes as a share.
    pub fn gossip_share(&mut self, bytes: Vec<u8>) {
        let topic = self.names.shares.clone();
        self.gossip(&topic, bytes);
    }

    /// Gossips bytes as the announcement of a Bitcoin block.
    pub fn gossip_block(&mut self, bytes: Vec<u8>) {
        let topic = self.names.blocks.clone();
        self.gossip(&topic, bytes);
    }

    /// Whatever is gossiped within this time.
    pub fn hear_for(&mut self, time: Duration) -> Vec<Vec<u8>> {
        let end = Instant::now() + time;
        self.drive("the time to pass", |_, _| (Instant::now() >= end).then_some(()));
        std::mem::take(&mut self.heard)
    }

    /// The next gossiped message.
    pub fn hear(&mut self) -> Vec<u8> {
        self.drive("gossip", |stranger, _| (!stranger.heard.is_empty()).then(|| stranger.heard.remove(0)))
    }

    /// Goes on until another thread or process has brought something about.
    pub fn live_until<T>(&mut self, what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
        self.drive(what, |_, _| condition())
    }

    /// Goes on until it was asked what `is_it` recognises.
    pub fn await_question(&mut self, what: &str, is_it: impl Fn(&Request) -> bool) {
        self.drive(what, |stranger, _| {
            let mut asked = stranger.asked.iter().filter_map(|bytes| Request::decode(bytes).ok());
            asked.any(|question| is_it(&question)).then_some(())
        });
    }

    /// Works off what is there, without waiting for more.
    pub fn breathe(&mut self) {
        let end = Instant::now() + LOOK_EVERY;
        self.drive("a breath", |_, event| (event.is_none() && Instant::now() >= end).then_some(()));
    }

    /// Lets the swarm work until `done` says so, asked with each event and now and then without.
    fn drive<T>(
        &mut self,
        what: &str,
        mut done: impl FnMut(&mut Self, Option<SwarmEvent<WireEvent>>) -> Option<T>,
    ) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = done(self, None) {
                return found;
            }
            assert!(Instant::now() < deadline, "in vain waited for: {what}");
            let swarm = &mut self.swarm;
            let next = within(LOOK_EVERY, async { swarm.select_next_some().await });
            let Some(event) = self.runtime.block_on(next) else { continue };
            let event = self.note(event);
            if let Some(found) = done(self, event) {
                return found;
            }
        }
    }

    fn note(&mut self, event: SwarmEvent<WireEvent>) -> Option<SwarmEvent<WireEvent>> {
        match event {
            SwarmEvent::Behaviour(WireEvent::Gossip(gossipsub::Event::Message { message, .. })) => {
                self.heard.push(message.data);
                None
            }
            SwarmEvent::Behaviour(WireEvent::Raw(event)) => {
                self.note_raw(event);
                None
            }
            event => Some(event),
        }
    }

    fn note_raw(&mut self, event: request_response::Event<Bytes, Bytes>) {
        match event {
            request_response::Event::Message { message, .. } => match message {
                request_response::Message::Request { channel, request, .. } => {
                    match (self.replies)(&request.bytes) {
                        // Whether it still can be sent does not matter.
                        Reply::Say(bytes) => drop(self.swarm.behaviour_mut().raw.send_response(channel, bytes)),
                        Reply::Nothing => self.kept.push(channel),
                    }
                    self.asked.push(request.bytes);
                }
                request_response::Message::Response { request_id, response } => {
                    self.answers.insert(request_id, Some(response.bytes));
                }
            },
            request_response::Event::OutboundFailure { request_id, .. } => {
                self.answers.insert(request_id, None);
            }
            _ => {}
        }
    }
}

async fn within<T>(time: Duration, work: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(time, work).await.ok()
}

fn build(key: Keypair, kind: &Kind) -> Swarm<Wire> {
    let prologue = kind.names.noise_prologue.clone();
    let behaviour = Wire {
        raw: request_response::Behaviour::new(
            [(kind.protocol.clone(), ProtocolSupport::Full)],
            request_response::Config::default()
                .with_request_timeout(STREAM_TIMEOUT)
                .with_max_concurrent_streams(10_000),
        ),
        gossip: kind.gossip.clone().map(gossip).into(),
    };
    SwarmBuilder::with_existing_identity(key)
        .with_tokio()
        .with_tcp(
            tcp::Config::default().nodelay(true),
            |key: &Keypair| noise::Config::new(key).map(|config| config.with_prologue(prologue)),
            yamux::Config::default,
        )
        .unwrap()
        .with_behaviour(|_| behaviour)
        .unwrap()
        .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(600)))
        .build()
}

impl Drop for Stranger {
    fn drop(&mut self) {
        // Sockets belong to the runtime.
        let _inside = self.runtime.enter();
        let nobody = Kind { names: self.names.clone(), protocol: StreamProtocol::new("/nothing"), gossip: None };
        drop(std::mem::replace(&mut self.swarm, build(Keypair::generate_ed25519(), &nobody)));
    }
}
