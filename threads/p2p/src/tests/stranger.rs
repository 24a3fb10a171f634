//! A peer that speaks the wire directly: any bytes on any protocol, any gossip, any answer.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::time::Duration;

use futures::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use futures::StreamExt as _;
use libp2p::gossipsub::{self, IdentTopic, MessageAuthenticity, ValidationMode};
use libp2p::identity::Keypair;
use libp2p::request_response::{self, Codec, OutboundRequestId, ProtocolSupport};
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::swarm::{DialError, NetworkBehaviour, SwarmEvent};
use libp2p::{noise, tcp, yamux, Multiaddr, PeerId, StreamProtocol, Swarm, SwarmBuilder};
use tokio::runtime::Runtime;

use super::kit::{params, TestNode, PATIENCE};
use crate::dialer::split_peer;
use crate::names::Names;

/// Bytes as they are. An answer is read to its end.
#[derive(Clone, Default)]
pub struct Raw;

impl Codec for Raw {
    type Protocol = StreamProtocol;
    type Request = Vec<u8>;
    type Response = Vec<u8>;

    async fn read_request<T: AsyncRead + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
    ) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        io.read_to_end(&mut bytes).await?;
        Ok(bytes)
    }

    async fn read_response<T: AsyncRead + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
    ) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        io.read_to_end(&mut bytes).await?;
        Ok(bytes)
    }

    async fn write_request<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        bytes: Vec<u8>,
    ) -> io::Result<()> {
        io.write_all(&bytes).await
    }

    async fn write_response<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        bytes: Vec<u8>,
    ) -> io::Result<()> {
        io.write_all(&bytes).await
    }
}

#[derive(NetworkBehaviour)]
pub struct Wire {
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
    pub fn names() -> Names {
        Names::new(&params().chain_id()).unwrap()
    }

    pub fn asking() -> Self {
        Self { protocol: Self::names().sync, ..Self::gossiping() }.mute()
    }

    pub fn gossiping() -> Self {
        let nothing = StreamProtocol::new("/nothing");
        Self { names: Self::names(), protocol: nothing, gossip: Some(MessageAuthenticity::Anonymous) }
    }

    pub fn mute(self) -> Self {
        Self { gossip: None, ..self }
    }
}

/// A stranger with its own little runtime.
pub struct Stranger {
    runtime: Runtime,
    pub swarm: Swarm<Wire>,
    pub id: PeerId,
    names: Names,
    heard: Vec<Vec<u8>>,
    answers: HashMap<OutboundRequestId, Option<Vec<u8>>>,
    /// What it answers whatever is asked; none: it never answers.
    pub reply: Option<Vec<u8>>,
    kept: Vec<request_response::ResponseChannel<Vec<u8>>>,
}

fn gossip(authenticity: MessageAuthenticity) -> gossipsub::Behaviour {
    let config = gossipsub::ConfigBuilder::default()
        .validation_mode(ValidationMode::None)
        .max_transmit_size(4 << 20)
        .heartbeat_initial_delay(Duration::from_millis(50))
        .message_id_fn(|message| gossipsub::MessageId::new(&message.data))
        .build()
        .unwrap();
    gossipsub::Behaviour::new(authenticity, config).unwrap()
}

impl Stranger {
    pub fn new(kind: Kind) -> Self {
        Self::with_key(kind, Keypair::generate_ed25519())
    }

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
            reply: None,
            kept: Vec::new(),
        }
    }

    /// Connects, or says why not.
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

    /// Connects, and goes on until the node has noticed.
    pub fn meet(&mut self, node: &TestNode) {
        self.connect(&node.address).unwrap();
        let id = self.id.to_string();
        self.live_until("the node's welcome", || node.knows(&id).then_some(()));
    }

    /// Connected, and not shown out at once: whoever is banned is let in as far as its name, no further.
    pub fn is_welcome_at(&mut self, to: &Multiaddr) -> bool {
        if self.connect(to).is_err() {
            return false;
        }
        // The node reads what is sent only of a peer it lets in.
        let (peer, _) = split_peer(to.clone()).unwrap();
        let request = self
            .swarm
            .behaviour_mut()
            .raw
            .send_request(&peer, p2pool_core::wire::Frame::encode(&p2pool_core::wire::Request::Status));
        self.drive("a stranger is heard or shown out", |_, event| match event {
            Some(SwarmEvent::ConnectionClosed { .. }) => Some(false),
            Some(SwarmEvent::Behaviour(WireEvent::Raw(request_response::Event::OutboundFailure {
                request_id,
                ..
            }))) if request_id == request => Some(false),
            Some(SwarmEvent::Behaviour(WireEvent::Raw(request_response::Event::Message {
                message: request_response::Message::Response { request_id, .. },
                ..
            }))) if request_id == request => Some(true),
            _ => None,
        })
    }

    /// Sends bytes on the raw protocol; see [`Self::answer`].
    pub fn send(&mut self, to: &Multiaddr, bytes: Vec<u8>) -> OutboundRequestId {
        let (peer, _) = split_peer(to.clone()).unwrap();
        self.swarm.behaviour_mut().raw.send_request(&peer, bytes)
    }

    /// What came back; none if the stream or the connection was cut.
    pub fn answer(&mut self, id: OutboundRequestId) -> Option<Vec<u8>> {
        self.drive("an answer or its absence", |stranger, _| stranger.answers.remove(&id))
    }

    /// The same, while something else is done now and then.
    pub fn answer_meanwhile(&mut self, id: OutboundRequestId, mut meanwhile: impl FnMut()) -> Option<Vec<u8>> {
        self.drive("an answer or its absence", |stranger, _| {
            meanwhile();
            stranger.answers.remove(&id)
        })
    }

    pub fn await_shown_out(&mut self) {
        if self.swarm.connected_peers().next().is_none() {
            return;
        }
        self.drive("a stranger is shown out", |_, event| match event {
            Some(SwarmEvent::ConnectionClosed { num_established: 0, .. }) => Some(()),
            _ => None,
        });
    }

    pub fn join(&mut self) {
        for topic in [self.names.shares.clone(), self.names.blocks.clone()] {
            self.swarm.behaviour_mut().gossip.as_mut().unwrap().subscribe(&topic).unwrap();
        }
        let topics = [self.names.shares.hash(), self.names.blocks.hash()];
        self.drive("the node's subscriptions", |stranger, _| {
            let gossip = stranger.swarm.behaviour().gossip.as_ref().unwrap();
            topics.iter().all(|topic| gossip.all_peers().any(|(_, theirs)| theirs.contains(&topic))).then_some(())
        });
        // In its mesh too, or it would only be told of messages.
        self.drive("a place in the node's mesh", |stranger, _| {
            let gossip = stranger.swarm.behaviour().gossip.as_ref().unwrap();
            topics.iter().all(|topic| gossip.mesh_peers(topic).next().is_some()).then_some(())
        });
    }

    pub fn gossip(&mut self, topic: &IdentTopic, bytes: Vec<u8>) {
        self.swarm.behaviour_mut().gossip.as_mut().unwrap().publish(topic.clone(), bytes).unwrap();
    }

    /// Whatever is gossiped within this time.
    pub fn hear_for(&mut self, time: Duration) -> Vec<Vec<u8>> {
        let end = std::time::Instant::now() + time;
        self.drive("the time to pass", |_, _| (std::time::Instant::now() >= end).then_some(()));
        std::mem::take(&mut self.heard)
    }

    /// The next gossiped message.
    pub fn hear(&mut self) -> Vec<u8> {
        self.drive("gossip", |stranger, _| (!stranger.heard.is_empty()).then(|| stranger.heard.remove(0)))
    }

    /// Goes on until another thread has brought something about.
    pub fn live_until<T>(&mut self, what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
        self.drive(what, |_, _| condition())
    }

    /// Lets the swarm work until `done` says so, asked with each event and now and then without.
    fn drive<T>(
        &mut self,
        what: &str,
        mut done: impl FnMut(&mut Self, Option<SwarmEvent<WireEvent>>) -> Option<T>,
    ) -> T {
        let deadline = std::time::Instant::now() + PATIENCE;
        loop {
            if let Some(found) = done(self, None) {
                return found;
            }
            assert!(std::time::Instant::now() < deadline, "in vain waited for: {what}");
            let swarm = &mut self.swarm;
            let next = within(Duration::from_millis(20), async { swarm.select_next_some().await });
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
                return None;
            }
            SwarmEvent::Behaviour(WireEvent::Raw(request_response::Event::Message {
                message: request_response::Message::Request { channel, .. },
                ..
            })) => {
                match self.reply.clone() {
                    Some(bytes) => drop(self.swarm.behaviour_mut().raw.send_response(channel, bytes)),
                    None => self.kept.push(channel),
                }
                return None;
            }
            SwarmEvent::Behaviour(WireEvent::Raw(request_response::Event::Message {
                message: request_response::Message::Response { request_id, ref response },
                ..
            })) => {
                self.answers.insert(request_id, Some(response.clone()));
            }
            SwarmEvent::Behaviour(WireEvent::Raw(request_response::Event::OutboundFailure { request_id, .. })) => {
                self.answers.insert(request_id, None);
            }
            _ => {}
        }
        Some(event)
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
            request_response::Config::default().with_request_timeout(PATIENCE),
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
        drop(std::mem::replace(&mut self.swarm, build(Keypair::generate_ed25519(), &Kind::asking())));
    }
}
