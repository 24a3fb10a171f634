//! GossipSub as this network uses it, and a watch on what it keeps to itself.
//!
//! Messages are anonymous and unsigned. A share proves itself (proof of work, commitment), its id is the hash of its
//! own bytes, and a signature would only tell everybody which node found it. Whoever passes on a bad one is known all
//! the same: it is the peer at the other end of the connection.

use std::collections::{HashMap, HashSet, VecDeque};
use std::task::{Context, Poll};
use std::time::Duration;

use bitcoin::hashes::{sha256, Hash as _, HashEngine as _};
use libp2p::core::transport::PortUse;
use libp2p::core::Endpoint;
use libp2p::gossipsub::{
    self, IdentityTransform, Message, MessageAuthenticity, MessageId, PeerScoreParams, PeerScoreThresholds, TopicHash,
    TopicScoreParams, ValidationMode, WhitelistSubscriptionFilter,
};
use libp2p::swarm::handler::{ConnectionEvent, ConnectionHandler, ConnectionHandlerEvent, SubstreamProtocol};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId};
use p2pool_core::sharechain::AHEAD_MAX_S;
use p2pool_core::wire::limits::BLOCK_MESSAGE_LEN_MAX;
use p2pool_core::wire::{Frame as _, GossipShare};

use crate::error::P2pError;
use crate::names::Names;

/// Bytes of one packet of the gossip protocol: the longest message, its topic and what is read ahead.
const PACKET_LEN_MAX: usize = BLOCK_MESSAGE_LEN_MAX + (64 << 10);
/// Messages in one packet. Nodes like this one send one; others may bundle a few.
const MESSAGES_PER_PACKET_MAX: usize = 64;
/// Beats (of a second) that a message is kept for its verdict, to be passed on then. Most get theirs in milliseconds, those
/// that wait for a parent or a Bitcoin header in seconds, those ahead of their time (rules, section 5, rule 5) in two
/// minutes; what takes longer comes to others when they ask what they missed. Bounded by what waits for verdicts, see
/// `driver::on_gossip`.
pub const VERDICT_BEATS: usize = AHEAD_MAX_S as usize + 10;
/// The same message is not looked at again within this time, not while it waits.
const REMEMBERED: Duration = Duration::from_secs(VERDICT_BEATS as u64 + 30);
/// Messages that wait for one slow peer: half of a full inbox of the chain thread.
const QUEUE_PER_PEER_MAX: usize = 128;
/// Below this a peer's gossip is not listened to: three rejected messages.
pub const DEAF_SCORE: f64 = -80.0;
/// GossipSub remembers a peer of no good standing so long after it has gone. Whoever comes each time as somebody else is
/// slowed down at the door; our own points are kept for longer, in a table of fixed size (`bans`).
const STANDING_KEPT: Duration = Duration::from_secs(600);
/// Inbound gossip streams on one connection. A node opens one; it opens another only if the first broke, which ours
/// does upon bytes that are no gossip or a packet too long.
const STREAMS_MAX: u32 = 2;

type Inner = gossipsub::Behaviour<IdentityTransform, WhitelistSubscriptionFilter>;
type InnerHandler = <Inner as NetworkBehaviour>::ConnectionHandler;

/// The message's id: a share's digest, so that a share is one message however it was packed; else a hash that no
/// share has.
fn message_id(shares: &TopicHash, message: &Message) -> MessageId {
    if message.topic == *shares {
        if let Ok(gossip) = GossipShare::decode(&message.data) {
            return MessageId::new(&gossip.share.digest().0);
        }
    }
    let mut engine = sha256::Hash::engine();
    engine.input(message.topic.as_str().as_bytes());
    engine.input(&message.data);
    MessageId::new(sha256::Hash::from_engine(engine).as_byte_array())
}

/// Peers gain a little by being first and lose much by what is rejected. Nothing is expected of a peer by number:
/// shares come every half a minute, and a quiet peer is no bad one.
fn topic_score() -> TopicScoreParams {
    TopicScoreParams {
        topic_weight: 1.0,
        time_in_mesh_weight: 0.01,
        time_in_mesh_quantum: Duration::from_secs(1),
        time_in_mesh_cap: 600.0,
        first_message_deliveries_weight: 0.5,
        first_message_deliveries_decay: gossipsub::score_parameter_decay(Duration::from_secs(3_600)),
        first_message_deliveries_cap: 20.0,
        mesh_message_deliveries_weight: 0.0,
        mesh_failure_penalty_weight: 0.0,
        // Squared: one costs 20, two cost 80.
        invalid_message_deliveries_weight: -20.0,
        invalid_message_deliveries_decay: gossipsub::score_parameter_decay(Duration::from_secs(3_600)),
        ..TopicScoreParams::default()
    }
}

fn peer_score(names: &Names) -> PeerScoreParams {
    PeerScoreParams {
        topics: HashMap::from([(names.shares.hash(), topic_score()), (names.blocks.hash(), topic_score())]),
        // Good deeds never outweigh three bad ones.
        topic_score_cap: 20.0,
        // Our own points, see `bans`.
        app_specific_weight: 1.0,
        // The doorkeeper counts neighbours, and exempts our own network.
        ip_colocation_factor_weight: 0.0,
        behaviour_penalty_weight: -1.0,
        behaviour_penalty_threshold: 6.0,
        behaviour_penalty_decay: gossipsub::score_parameter_decay(Duration::from_secs(600)),
        retain_score: STANDING_KEPT,
        ..PeerScoreParams::default()
    }
}

fn config(names: &Names) -> Result<gossipsub::Config, gossipsub::ConfigBuilderError> {
    let shares = names.shares.hash();
    gossipsub::ConfigBuilder::default()
        .validate_messages()
        .validation_mode(ValidationMode::Anonymous)
        .message_id_fn(move |message| message_id(&shares, message))
        .max_transmit_size(PACKET_LEN_MAX)
        .max_publish_messages(MESSAGES_PER_PACKET_MAX)
        .heartbeat_initial_delay(Duration::from_millis(100))
        .history_length(VERDICT_BEATS)
        .duplicate_cache_time(REMEMBERED)
        .connection_handler_queue_len(QUEUE_PER_PEER_MAX)
        .build()
}

/// GossipSub with eyes on its streams.
pub struct Gossip {
    /// GossipSub itself.
    pub inner: Inner,
    suspects: VecDeque<PeerId>,
}

/// What comes of the gossip.
#[derive(Debug)]
pub enum GossipEvent {
    /// GossipSub says.
    Inner(gossipsub::Event),
    /// A peer's stream broke again and again: what it sends is no gossip.
    BrokenStreams(PeerId),
}

impl Gossip {
    /// Joined to both topics of a chain.
    ///
    /// # Errors
    /// None for the settings above, which the library checks.
    pub fn new(names: &Names) -> Result<Self, P2pError> {
        let failed = |what: &dyn std::fmt::Display| P2pError::Setup(what.to_string());
        let filter = WhitelistSubscriptionFilter(HashSet::from([names.shares.hash(), names.blocks.hash()]));
        let config = config(names).map_err(|error| failed(&error))?;
        let mut inner = Inner::new_with_subscription_filter(MessageAuthenticity::Anonymous, config, filter)
            .map_err(|error| failed(&error))?;
        let thresholds = PeerScoreThresholds { graylist_threshold: DEAF_SCORE, ..PeerScoreThresholds::default() };
        inner.with_peer_score(peer_score(names), thresholds).map_err(|error| failed(&error))?;
        for topic in [&names.shares, &names.blocks] {
            inner.subscribe(topic).map_err(|error| failed(&error))?;
        }
        Ok(Self { inner, suspects: VecDeque::new() })
    }
}

/// GossipSub's handler of one connection, its streams counted.
pub struct Watched {
    inner: InnerHandler,
    streams: u32,
    broken: bool,
}

impl Watched {
    fn new(inner: InnerHandler) -> Self {
        Self { inner, streams: 0, broken: false }
    }
}

/// What a connection's handler tells.
#[derive(Debug)]
pub enum FromHandler<E> {
    /// GossipSub's own.
    Inner(E),
    /// One stream too many.
    BrokenStream,
}

impl ConnectionHandler for Watched {
    type FromBehaviour = <InnerHandler as ConnectionHandler>::FromBehaviour;
    type ToBehaviour = FromHandler<<InnerHandler as ConnectionHandler>::ToBehaviour>;
    type InboundProtocol = <InnerHandler as ConnectionHandler>::InboundProtocol;
    type OutboundProtocol = <InnerHandler as ConnectionHandler>::OutboundProtocol;
    type InboundOpenInfo = <InnerHandler as ConnectionHandler>::InboundOpenInfo;
    type OutboundOpenInfo = <InnerHandler as ConnectionHandler>::OutboundOpenInfo;

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol, Self::InboundOpenInfo> {
        self.inner.listen_protocol()
    }

    fn connection_keep_alive(&self) -> bool {
        self.inner.connection_keep_alive()
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, Self::OutboundOpenInfo, Self::ToBehaviour>> {
        if std::mem::take(&mut self.broken) {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(FromHandler::BrokenStream));
        }
        self.inner.poll(cx).map(|event| event.map_custom(FromHandler::Inner))
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Option<Self::ToBehaviour>> {
        self.inner.poll_close(cx).map(|event| event.map(FromHandler::Inner))
    }

    fn on_behaviour_event(&mut self, event: Self::FromBehaviour) {
        self.inner.on_behaviour_event(event);
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<
            Self::InboundProtocol,
            Self::OutboundProtocol,
            Self::InboundOpenInfo,
            Self::OutboundOpenInfo,
        >,
    ) {
        if matches!(event, ConnectionEvent::FullyNegotiatedInbound(_)) {
            self.streams = self.streams.saturating_add(1);
            self.broken |= self.streams > STREAMS_MAX;
        }
        self.inner.on_connection_event(event);
    }
}

impl NetworkBehaviour for Gossip {
    type ConnectionHandler = Watched;
    type ToSwarm = GossipEvent;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.inner.handle_pending_inbound_connection(connection, local, remote)
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inner.handle_established_inbound_connection(connection, peer, local, remote).map(Watched::new)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        self.inner.handle_pending_outbound_connection(connection, peer, addresses, role)
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inner.handle_established_outbound_connection(connection, peer, address, role, port).map(Watched::new)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        self.inner.on_swarm_event(event);
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, connection: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {
            FromHandler::Inner(event) => self.inner.on_connection_handler_event(peer, connection, event),
            FromHandler::BrokenStream => self.suspects.push_back(peer),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        if let Some(peer) = self.suspects.pop_front() {
            return Poll::Ready(ToSwarm::GenerateEvent(GossipEvent::BrokenStreams(peer)));
        }
        self.inner.poll(cx).map(|event| event.map_out(GossipEvent::Inner))
    }
}
