//! GossipSub with this network's settings, limits on what peers send, and detection of streams that carry no gossip.
//!
//! Messages are anonymous and unsigned. A share proves itself (proof of work, commitment), its message id is the hash of
//! its bytes, and a signature would only reveal which node found it. The peer that relays an invalid message is known
//! without one: it is at the other end of the connection.

use std::collections::{HashMap, HashSet, VecDeque};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bitcoin::hashes::{sha256, Hash as _, HashEngine as _};
use libp2p::core::transport::PortUse;
use libp2p::core::Endpoint;
use libp2p::gossipsub::{
    self, DataTransform, IdentTopic, Message, MessageAuthenticity, MessageId, PeerScoreParams, PeerScoreThresholds,
    PublishError, RawMessage, TopicHash, TopicScoreParams, ValidationMode, WhitelistSubscriptionFilter,
};
use libp2p::swarm::handler::{ConnectionEvent, ConnectionHandler, ConnectionHandlerEvent, SubstreamProtocol};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId};
use p2pool_core::netgroup::Netgroup;
use p2pool_core::sharechain::AHEAD_MAX_S;
use p2pool_core::wire::limits::BLOCK_MESSAGE_LEN_MAX;
use p2pool_core::wire::GossipShare;

use crate::error::P2pError;
use crate::names::Names;
use crate::origin::{Origin, TorAddresses};
use crate::outbox::Room;
use crate::rate_limits::{Action, NetgroupLimiter, RateLimiter};

/// Bytes of one packet of the gossip protocol: the longest message, its topic and control messages.
const PACKET_LEN_MAX: usize = BLOCK_MESSAGE_LEN_MAX + (64 << 10);
/// Messages in one packet. This node sends one; other implementations may bundle a few.
const MESSAGES_PER_PACKET_MAX: usize = 64;
/// Heartbeats (of a second) for which GossipSub keeps a message that waits for its verdict. Most get theirs in milliseconds,
/// those that wait for a parent or a Bitcoin header in seconds, those ahead of the clock (rules, section 5, rule 5) in two
/// minutes. Other nodes fetch by inventory what takes longer. `driver::gossip` bounds how many wait.
pub const VERDICT_HEARTBEATS: usize = AHEAD_MAX_S as usize + 10;
/// Time for which the same message is a duplicate; longer than it can wait for its verdict.
const DUPLICATE_CACHE_TIME: Duration = Duration::from_secs(VERDICT_HEARTBEATS as u64 + 30);
/// Messages that are remembered, to charge no other peer for its copy. Past that all are forgotten, and one more copy of
/// each costs a token. What a hundred peers may send takes eight seconds to get there.
const KNOWN_MAX: usize = 16_384;
/// Messages queued for one slow peer: half of a full inbox of the chain thread.
const QUEUE_PER_PEER_MAX: usize = 128;
/// GossipSub ignores a peer whose score is below this: three rejected messages.
pub const GRAYLIST_SCORE: f64 = -80.0;
/// Time for which GossipSub remembers the score of a peer that disconnected. The connection gater slows down peers that
/// reconnect under new ids; ban scores are kept for longer, in a table of bounded size (`bans`).
const RETAIN_SCORE: Duration = Duration::from_secs(600);
/// Inbound gossip streams per connection. A node opens one, and another only if the first broke. This node breaks a stream
/// that carries invalid bytes or too long a packet.
const STREAMS_MAX: u32 = 2;

/// Refuses messages on other topics, which GossipSub would keep for as long as those that wait for a verdict, without asking for
/// one.
pub struct KnownTopics(HashSet<TopicHash>);

impl DataTransform for KnownTopics {
    fn inbound_transform(&self, message: RawMessage) -> std::io::Result<Message> {
        let RawMessage { source, data, sequence_number, topic, .. } = message;
        if !self.0.contains(&topic) {
            return Err(std::io::ErrorKind::InvalidData.into());
        }
        Ok(Message { source, data, sequence_number, topic })
    }

    fn outbound_transform(&self, _: &TopicHash, data: Vec<u8>) -> std::io::Result<Vec<u8>> {
        Ok(data)
    }
}

type Inner = gossipsub::Behaviour<KnownTopics, WhitelistSubscriptionFilter>;
type InnerHandler = <Inner as NetworkBehaviour>::ConnectionHandler;
type InnerEvent = <InnerHandler as ConnectionHandler>::ToBehaviour;

/// Returns the id of a message: the digest of a share, or else a hash that no share has.
fn message_id(shares: &TopicHash, topic: &TopicHash, data: &[u8]) -> MessageId {
    let share = GossipShare::share_bytes(data).filter(|_| topic == shares);
    let mut engine = sha256::Hash::engine();
    if share.is_none() {
        engine.input(topic.as_str().as_bytes());
    }
    engine.input(share.unwrap_or(data));
    MessageId::new(sha256::Hash::from_engine(engine).as_byte_array())
}

/// A peer gains a little for delivering first and loses much for rejected messages. No number of messages is expected of
/// it: shares come every half a minute, and a silent peer is not a bad one.
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
        // Times the square of the number: one costs 20, two cost 80.
        invalid_message_deliveries_weight: -20.0,
        invalid_message_deliveries_decay: gossipsub::score_parameter_decay(Duration::from_secs(3_600)),
        ..TopicScoreParams::default()
    }
}

fn peer_score(names: &Names) -> PeerScoreParams {
    PeerScoreParams {
        topics: HashMap::from([(names.shares.hash(), topic_score()), (names.blocks.hash(), topic_score())]),
        // Valid messages never outweigh three rejected ones.
        topic_score_cap: 20.0,
        // The ban score, see `bans`.
        app_specific_weight: 1.0,
        // The connection gater limits netgroups, and exempts own networks.
        ip_colocation_factor_weight: 0.0,
        behaviour_penalty_weight: -1.0,
        behaviour_penalty_threshold: 6.0,
        behaviour_penalty_decay: gossipsub::score_parameter_decay(Duration::from_secs(600)),
        retain_score: RETAIN_SCORE,
        // What others have this node send a peer is not its fault.
        slow_peer_weight: 0.0,
        ..PeerScoreParams::default()
    }
}

fn config(names: &Names) -> Result<gossipsub::Config, gossipsub::ConfigBuilderError> {
    let shares = names.shares.hash();
    gossipsub::ConfigBuilder::default()
        .validate_messages()
        .validation_mode(ValidationMode::Anonymous)
        // To the mesh, which relays it: a block of half a megabyte to a hundred peers at once fills a home's uplink for minutes.
        .flood_publish(false)
        .message_id_fn(move |message| match message.source {
            None => message_id(&shares, &message.topic, &message.data),
            // See `Gossip::limit`.
            Some(_) => MessageId::new(&message.data),
        })
        .max_transmit_size(PACKET_LEN_MAX)
        .max_publish_messages(MESSAGES_PER_PACKET_MAX)
        .heartbeat_initial_delay(Duration::from_millis(100))
        .history_length(VERDICT_HEARTBEATS)
        .duplicate_cache_time(DUPLICATE_CACHE_TIME)
        .connection_handler_queue_len(QUEUE_PER_PEER_MAX)
        .build()
}

/// A connected peer.
struct Sender {
    netgroup: Option<Netgroup>,
    limiter: RateLimiter,
}

/// GossipSub that limits what peers send and counts inbound streams.
pub struct Gossip {
    /// GossipSub itself.
    pub inner: Inner,
    names: Names,
    tor: TorAddresses,
    senders: HashMap<PeerId, Sender>,
    netgroup_limiter: NetgroupLimiter,
    /// The room for messages with the reader of events, who has to take each at once; unlimited if `None`.
    pub room: Option<Room>,
    /// The source of all messages beyond the limits, which GossipSub does not take.
    no_source: PeerId,
    /// When GossipSub got messages, of peers or of this node. It drops the copies as duplicates.
    known: HashMap<MessageId, Instant>,
    /// Events to be reported.
    events: VecDeque<GossipEvent>,
}

/// An event of [`Gossip`].
#[derive(Debug)]
pub enum GossipEvent {
    /// An event of GossipSub.
    Inner(gossipsub::Event),
    /// A peer's streams broke repeatedly: it does not send gossip.
    BrokenStreams(PeerId),
    /// A peer sent a message beyond its own limits, or else those of its netgroup or the room that there is.
    Beyond { peer: PeerId, action: Action, is_own: bool },
}

impl Gossip {
    /// Subscribes to both topics of a chain.
    ///
    /// # Errors
    /// None for the settings above, which GossipSub validates.
    pub fn new(names: &Names, tor: TorAddresses) -> Result<Self, P2pError> {
        let failed = |what: &dyn std::fmt::Display| P2pError::Setup(what.to_string());
        let topics = HashSet::from([names.shares.hash(), names.blocks.hash()]);
        let (filter, transform) = (WhitelistSubscriptionFilter(topics.clone()), KnownTopics(topics));
        let config = config(names).map_err(|error| failed(&error))?;
        let anonymous = MessageAuthenticity::Anonymous;
        let mut inner = Inner::new_with_subscription_filter_and_transform(anonymous, config, filter, transform)
            .map_err(|error| failed(&error))?;
        let thresholds = PeerScoreThresholds { graylist_threshold: GRAYLIST_SCORE, ..PeerScoreThresholds::default() };
        inner.with_peer_score(peer_score(names), thresholds).map_err(|error| failed(&error))?;
        for topic in [&names.shares, &names.blocks] {
            inner.subscribe(topic).map_err(|error| failed(&error))?;
        }
        let no_source = PeerId::random();
        inner.blacklist_peer(&no_source);
        Ok(Self {
            inner,
            names: names.clone(),
            tor,
            senders: HashMap::new(),
            netgroup_limiter: NetgroupLimiter::default(),
            room: None,
            no_source,
            known: HashMap::new(),
            events: VecDeque::new(),
        })
    }

    /// Gives back the tokens of a message that turned out to be useful: much that is valid is not too much.
    pub fn give_back(&mut self, peer: &PeerId, action: Action) {
        let Some(sender) = self.senders.get_mut(peer) else { return };
        sender.limiter.give_back(action);
        self.netgroup_limiter.give_back(sender.netgroup, action);
    }

    /// Charges a peer for messages that no peer has sent before.
    ///
    /// GossipSub would remember for minutes those beyond the limits, and those without room, and drop the copies of other peers or
    /// ask them for none. So it gets the id alone of such a message, from a source that it ignores, and learns from it only that
    /// the peer kept its promise to send the message.
    fn limit(&mut self, peer: PeerId, messages: &mut [RawMessage], now: Instant) {
        let (shares, blocks) = (self.names.shares.hash(), self.names.blocks.hash());
        let mut room = self.room.as_ref().map_or(usize::MAX, Room::left);
        for message in messages {
            let action = match &message.topic {
                topic if *topic == shares => Action::Share,
                topic if *topic == blocks => Action::Block,
                // See `KnownTopics`.
                _ => continue,
            };
            let id = message_id(&shares, &message.topic, &message.data);
            if self.known.get(&id).is_some_and(|at| now.duration_since(*at) < DUPLICATE_CACHE_TIME) {
                continue;
            }
            let Some(Sender { netgroup, limiter }) = self.senders.get_mut(&peer) else { continue };
            let is_own = !limiter.take(action, now);
            if is_own || !self.netgroup_limiter.take(*netgroup, action, now) || room == 0 {
                (message.source, message.data) = (Some(self.no_source), id.0);
                self.events.push_back(GossipEvent::Beyond { peer, action, is_own });
                continue;
            }
            room -= 1;
            self.remember(id, now);
        }
    }

    fn remember(&mut self, id: MessageId, now: Instant) {
        if self.known.len() >= KNOWN_MAX {
            self.known.clear();
        }
        self.known.insert(id, now);
    }

    /// Publishes a message of this node. Copies of it cost peers nothing either.
    ///
    /// # Errors
    /// As GossipSub's own.
    pub fn publish(&mut self, topic: &IdentTopic, data: Vec<u8>) -> Result<(), PublishError> {
        let id = self.inner.publish(topic.clone(), data)?;
        self.remember(id, Instant::now());
        Ok(())
    }

    /// Returns the connected peers that speak GossipSub, each with whether it has subscribed to a topic.
    pub fn speakers<'a>(&'a self, topic: &'a TopicHash) -> impl Iterator<Item = (&'a PeerId, bool)> {
        // Both iterate over the same map. The type of the kinds has no public name.
        let peers = self.inner.all_peers().zip(self.inner.peer_protocol());
        let speakers = peers.filter(|(_, (_, kind))| kind.as_static_ref().starts_with("Gossipsub"));
        speakers.map(move |((peer, topics), _)| (peer, topics.contains(&topic)))
    }
}

/// GossipSub's handler of one connection, with a count of inbound streams.
pub struct CountingHandler {
    inner: InnerHandler,
    streams: u32,
    has_broken: bool,
}

impl CountingHandler {
    fn new(inner: InnerHandler) -> Self {
        Self { inner, streams: 0, has_broken: false }
    }
}

/// An event of [`CountingHandler`].
#[derive(Debug)]
pub enum HandlerEvent<E> {
    /// An event of GossipSub's handler.
    Inner(E),
    /// The peer opened more than [`STREAMS_MAX`] streams.
    BrokenStream,
}

impl ConnectionHandler for CountingHandler {
    type FromBehaviour = <InnerHandler as ConnectionHandler>::FromBehaviour;
    type ToBehaviour = HandlerEvent<<InnerHandler as ConnectionHandler>::ToBehaviour>;
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
        if std::mem::take(&mut self.has_broken) {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(HandlerEvent::BrokenStream));
        }
        self.inner.poll(cx).map(|event| event.map_custom(HandlerEvent::Inner))
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
            self.has_broken |= self.streams > STREAMS_MAX;
        }
        self.inner.on_connection_event(event);
    }
}

impl NetworkBehaviour for Gossip {
    type ConnectionHandler = CountingHandler;
    type ToSwarm = GossipEvent;

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inner.handle_established_inbound_connection(connection, peer, local, remote).map(CountingHandler::new)
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inner
            .handle_established_outbound_connection(connection, peer, address, role, port)
            .map(CountingHandler::new)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match &event {
            FromSwarm::ConnectionEstablished(made) => {
                let netgroup = Origin::of(made.endpoint, &self.tor).netgroup;
                self.senders.insert(made.peer_id, Sender { netgroup, limiter: RateLimiter::new(1, Instant::now()) });
            }
            FromSwarm::ConnectionClosed(closed) => drop(self.senders.remove(&closed.peer_id)),
            _ => {}
        }
        self.inner.on_swarm_event(event);
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, connection: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {
            HandlerEvent::Inner(mut event) => {
                if let InnerEvent::Message { rpc, .. } = &mut event {
                    self.limit(peer, &mut rpc.messages, Instant::now());
                }
                self.inner.on_connection_handler_event(peer, connection, event);
            }
            HandlerEvent::BrokenStream => self.events.push_back(GossipEvent::BrokenStreams(peer)),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        if let Some(event) = self.events.pop_front() {
            return Poll::Ready(ToSwarm::GenerateEvent(event));
        }
        self.inner.poll(cx).map(|event| event.map_out(GossipEvent::Inner))
    }
}

#[cfg(test)]
mod tests;
