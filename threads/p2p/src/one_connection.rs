//! One connection per peer: a new connection of a connected peer replaces the one before.
//!
//! A peer that dials again no longer has the old connection, even if this node still holds it: the peer was killed and
//! started again, or a router between the two forgot the connection. The handshake proves that it is the same peer. The
//! behaviours of this network's protocols keep what they know of a peer until its last connection closes (GossipSub sends
//! its subscriptions only on the first), so they see a replacement as a disconnect and a connect.
//!
//! A direct connection replaces a relayed one in any case (hole punching). Connections by which a peer tests whether this node
//! is reachable, or this node a peer, replace nothing: no protocol runs on them. Nor on those of inbound peers that are turned
//! away, but the one that says why.

use std::collections::{HashMap, VecDeque};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use either::Either;
use libp2p::core::transport::PortUse;
use libp2p::core::{ConnectedPoint, Endpoint};
use libp2p::swarm::behaviour::ConnectionEstablished;
use libp2p::swarm::{
    CloseConnection, ConnectionClosed, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, NotifyHandler,
    THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId, StreamProtocol};
use thiserror::Error;

use crate::full::{FullHandler, FullReport};
use crate::negotiation_timeout::SlowLineHandler;

/// Two nodes that dial each other at the same time may see the two connections in different orders, if these are
/// established within the time that packets travel. Connections that are further apart have the same order at both ends.
const SIMULTANEOUS: Duration = Duration::from_secs(5);

/// Time after which a test of reachability is closed. The other end closes it as soon as it is established.
const TEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for which an inbound connection of a peer that was asked for a test is taken for the test: the peer's timeout of a
/// dial, and a reserve.
const TEST_EXPECTED: Duration = Duration::from_secs(15);

/// Connections on which inbound peers hear at the same time that there are too many; others are closed without a word.
const LEAVING_MAX: usize = 16;
/// Time for that.
pub const LEAVE_TIME: Duration = Duration::from_secs(1);

/// Why a connection is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Surplus {
    /// Both nodes dialled, and the other connection stays.
    #[error("the peer is connected")]
    Connected,
    /// There are as many inbound connections, outbound connections, or both, as there may be.
    #[error("too many connections")]
    TooMany,
}

/// Most peers by the direction of their connection.
#[derive(Clone, Copy, Debug)]
pub struct PeerLimits {
    pub inbound: usize,
    pub outbound: usize,
    pub total: usize,
    /// Those that are connected through a relay, or were until a direct connection replaced it. The relay chooses who they
    /// are.
    pub relayed: usize,
}

#[derive(Debug)]
struct Current {
    id: ConnectionId,
    endpoint: ConnectedPoint,
    since: Instant,
    /// It is relayed, or has replaced a relayed one.
    was_relayed: bool,
}

/// Shows each peer's newest connection to the protocols in it, and closes the others.
pub struct OneConnection<B> {
    /// The protocols.
    pub inner: B,
    our_id: PeerId,
    limits: PeerLimits,
    current: HashMap<PeerId, Current>,
    replaced: VecDeque<(PeerId, ConnectionId)>,
    /// Tests of reachability, with the time at which they were established.
    tests: HashMap<ConnectionId, (PeerId, Instant)>,
    /// Connections of peers that are turned away, with the time at which they were established.
    leaving: HashMap<ConnectionId, (PeerId, Instant)>,
    /// Inbound peers were turned away since the last [`Self::take_turned_away`].
    turned_away: bool,
    /// The protocol that says why.
    full: StreamProtocol,
    /// The peer that this node has asked for a test, and when.
    test_expected: Option<(PeerId, Instant)>,
}

impl<B: NetworkBehaviour> OneConnection<B> {
    pub fn new(inner: B, our_id: PeerId, limits: PeerLimits, full: StreamProtocol) -> Self {
        Self {
            inner,
            our_id,
            limits,
            current: HashMap::new(),
            replaced: VecDeque::new(),
            tests: HashMap::new(),
            leaving: HashMap::new(),
            turned_away: false,
            full,
            test_expected: None,
        }
    }

    /// Notes that a peer was asked to dial this node.
    pub const fn expect_test(&mut self, from: PeerId, now: Instant) {
        self.test_expected = Some((from, now));
    }

    /// Notes that the peer has responded. If it has reached this node, its connection may be established here only after that.
    pub const fn end_test(&mut self, was_reached: bool) {
        if !was_reached {
            self.test_expected = None;
        }
    }

    /// Whether a connection is a test of reachability, or one of a peer that is turned away.
    pub fn is_unused(&self, connection: ConnectionId) -> bool {
        self.tests.contains_key(&connection) || self.leaving.contains_key(&connection)
    }

    /// Whether a connection is one of a peer that is turned away.
    pub fn is_turned_away(&self, connection: ConnectionId) -> bool {
        self.leaving.contains_key(&connection)
    }

    /// Whether inbound peers were turned away since the last call.
    pub const fn take_turned_away(&mut self) -> bool {
        std::mem::replace(&mut self.turned_away, false)
    }

    /// Closes tests and connections of peers that are turned away, if the other end has not closed them in time.
    pub fn close_unused(&mut self, now: Instant) {
        for (connections, time) in [(&self.tests, TEST_TIMEOUT), (&self.leaving, LEAVE_TIME)] {
            for (id, (peer, _)) in connections.iter().filter(|(_, (_, since))| now.duration_since(*since) >= time) {
                if !self.replaced.contains(&(*peer, *id)) {
                    self.replaced.push_back((*peer, *id));
                }
            }
        }
    }

    /// Whether a connection only tests reachability: AutoNAT alone dials from a new port, and is asked for inbound ones.
    fn is_for_test(&self, peer: &PeerId, endpoint: &ConnectedPoint, now: Instant) -> bool {
        match endpoint {
            ConnectedPoint::Dialer { port_use, .. } => *port_use == PortUse::New,
            ConnectedPoint::Listener { .. } => {
                let is_from = |(from, at): (PeerId, Instant)| from == *peer && now.duration_since(at) < TEST_EXPECTED;
                !endpoint.is_relayed() && self.current.contains_key(peer) && self.test_expected.is_some_and(is_from)
            }
        }
    }

    fn unused_handler(&self, connection: ConnectionId) -> FullHandler {
        FullHandler::new(self.full.clone(), self.leaving.contains_key(&connection))
    }

    fn is_current(&self, peer: &PeerId, connection: ConnectionId) -> bool {
        self.current.get(peer).is_some_and(|current| current.id == connection)
    }

    /// Decides whether a new connection is used. If two nodes dialled each other at the same time, both keep the connection
    /// that the node with the smaller id dialled.
    fn check(&self, peer: &PeerId, endpoint: &ConnectedPoint, now: Instant) -> Result<(), Surplus> {
        let (is_dialer, is_relayed) = (endpoint.is_dialer(), endpoint.is_relayed());
        let mut was_relayed = is_relayed;
        if let Some(current) = self.current.get(peer) {
            was_relayed |= current.was_relayed;
            let is_recent = now.duration_since(current.since) < SIMULTANEOUS;
            let is_refused = match (current.endpoint.is_relayed(), is_relayed) {
                (true, false) => false,
                (false, true) => is_recent,
                _ => is_recent && current.endpoint.is_dialer() != is_dialer && is_dialer != (self.our_id < *peer),
            };
            if is_refused {
                return Err(Surplus::Connected);
            }
        }
        let relayed = self.current.iter().filter(|(other, current)| *other != peer && current.was_relayed).count();
        if was_relayed && relayed >= self.limits.relayed {
            return Err(Surplus::TooMany);
        }
        let others = self.current.iter().filter(|(other, _)| *other != peer);
        let (outbound, inbound): (Vec<_>, Vec<_>) = others.partition(|(_, current)| current.endpoint.is_dialer());
        let (same, limit) =
            if is_dialer { (outbound.len(), self.limits.outbound) } else { (inbound.len(), self.limits.inbound) };
        if same >= limit || outbound.len() + inbound.len() >= self.limits.total {
            return Err(Surplus::TooMany);
        }
        Ok(())
    }

    /// Uses a new connection from now on, if [`Self::check`] permits. Returns false for one that is not used: a test, or one of a
    /// peer that is turned away.
    fn admit(&mut self, id: ConnectionId, peer: PeerId, endpoint: ConnectedPoint) -> Result<bool, ConnectionDenied> {
        let since = Instant::now();
        if self.is_for_test(&peer, &endpoint, since) {
            self.tests.insert(id, (peer, since));
            if endpoint.is_listener() {
                // One dial succeeds at most. Another connection is the peer's that has lost the one before.
                self.test_expected = None;
            }
            return Ok(false);
        }
        if let Err(surplus) = self.check(&peer, &endpoint, since) {
            let is_told = surplus == Surplus::TooMany && endpoint.is_listener() && !endpoint.is_relayed();
            self.turned_away |= is_told;
            if !is_told || self.leaving.len() >= LEAVING_MAX {
                return Err(ConnectionDenied::new(surplus));
            }
            self.leaving.insert(id, (peer, since));
            return Ok(false);
        }
        let was_relayed = endpoint.is_relayed() || self.current.get(&peer).is_some_and(|current| current.was_relayed);
        let Some(old) = self.current.insert(peer, Current { id, endpoint, since, was_relayed }) else {
            return Ok(true);
        };
        self.inner.on_swarm_event(FromSwarm::ConnectionClosed(ConnectionClosed {
            peer_id: peer,
            connection_id: old.id,
            endpoint: &old.endpoint,
            cause: None,
            remaining_established: 0,
        }));
        self.replaced.push_back((peer, old.id));
        Ok(true)
    }
}

impl<B: NetworkBehaviour> NetworkBehaviour for OneConnection<B> {
    type ConnectionHandler = Either<SlowLineHandler<B::ConnectionHandler>, FullHandler>;
    type ToSwarm = B::ToSwarm;

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
        let endpoint = ConnectedPoint::Listener { local_addr: local.clone(), send_back_addr: remote.clone() };
        if !self.admit(connection, peer, endpoint)? {
            return Ok(Either::Right(self.unused_handler(connection)));
        }
        let handler = self.inner.handle_established_inbound_connection(connection, peer, local, remote)?;
        Ok(Either::Left(SlowLineHandler(handler)))
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
        role_override: Endpoint,
        port_use: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let endpoint = ConnectedPoint::Dialer { address: address.clone(), role_override, port_use };
        if !self.admit(connection, peer, endpoint)? {
            return Ok(Either::Right(self.unused_handler(connection)));
        }
        let handler =
            self.inner.handle_established_outbound_connection(connection, peer, address, role_override, port_use);
        handler.map(SlowLineHandler).map(Either::Left)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(made) if self.is_unused(made.connection_id) => {
                // The peer that dialled has the result of its test; closing takes no more than this.
                if made.endpoint.is_listener() && self.tests.contains_key(&made.connection_id) {
                    self.replaced.push_back((made.peer_id, made.connection_id));
                }
            }
            FromSwarm::ConnectionEstablished(made) => {
                let made = ConnectionEstablished { other_established: 0, ..made };
                self.inner.on_swarm_event(FromSwarm::ConnectionEstablished(made));
            }
            FromSwarm::ConnectionClosed(closed) if self.is_current(&closed.peer_id, closed.connection_id) => {
                self.current.remove(&closed.peer_id);
                let closed = ConnectionClosed { remaining_established: 0, ..closed };
                self.inner.on_swarm_event(FromSwarm::ConnectionClosed(closed));
            }
            // The protocols have seen the end of this connection, or never saw it.
            FromSwarm::ConnectionClosed(closed) => {
                self.tests.remove(&closed.connection_id);
                self.leaving.remove(&closed.connection_id);
            }
            FromSwarm::AddressChange(change) if !self.is_current(&change.peer_id, change.connection_id) => {}
            // A peer that is connected is not unreachable, whatever became of another dial.
            FromSwarm::DialFailure(failure) if failure.peer_id.is_some_and(|peer| self.current.contains_key(&peer)) => {
            }
            event => self.inner.on_swarm_event(event),
        }
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, connection: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {
            Either::Left(event) if self.is_current(&peer, connection) => {
                self.inner.on_connection_handler_event(peer, connection, event);
            }
            Either::Right(FullReport::Said) if self.leaving.contains_key(&connection) => {
                self.replaced.push_back((peer, connection));
            }
            Either::Left(_) | Either::Right(_) => {}
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        if let Some((peer_id, id)) = self.replaced.pop_front() {
            return Poll::Ready(ToSwarm::CloseConnection { peer_id, connection: CloseConnection::One(id) });
        }
        self.inner.poll(cx).map(|event| match event.map_in(Either::Left) {
            ToSwarm::NotifyHandler { peer_id, handler: NotifyHandler::Any, event } => {
                let current = self.current.get(&peer_id);
                let handler = current.map_or(NotifyHandler::Any, |current| NotifyHandler::One(current.id));
                ToSwarm::NotifyHandler { peer_id, handler, event }
            }
            event => event,
        })
    }
}

#[cfg(test)]
mod tests {
    use libp2p::swarm::dummy;

    use super::*;

    const LIMITS: PeerLimits = PeerLimits { inbound: 3, outbound: 2, total: 4, relayed: 1 };

    fn endpoint(is_dialer: bool) -> ConnectedPoint {
        let address: Multiaddr = "/ip4/192.0.2.1/tcp/9171".parse().unwrap();
        if is_dialer {
            ConnectedPoint::Dialer { address, role_override: Endpoint::Dialer, port_use: PortUse::Reuse }
        } else {
            ConnectedPoint::Listener { local_addr: address.clone(), send_back_addr: address }
        }
    }

    /// The end of a relayed connection.
    fn relayed(is_dialer: bool) -> ConnectedPoint {
        let address: Multiaddr =
            format!("/ip4/192.0.2.1/tcp/9171/p2p/{}/p2p-circuit", PeerId::random()).parse().unwrap();
        match endpoint(is_dialer) {
            ConnectedPoint::Dialer { role_override, port_use, .. } => {
                ConnectedPoint::Dialer { address, role_override, port_use }
            }
            ConnectedPoint::Listener { send_back_addr, .. } => {
                ConnectedPoint::Listener { local_addr: address, send_back_addr }
            }
        }
    }

    fn id(number: usize) -> ConnectionId {
        ConnectionId::new_unchecked(number)
    }

    /// Two peer ids, the smaller first.
    fn ids() -> (PeerId, PeerId) {
        let (one, two) = (PeerId::random(), PeerId::random());
        (one.min(two), one.max(two))
    }

    fn node(our_id: PeerId) -> OneConnection<dummy::Behaviour> {
        OneConnection::new(dummy::Behaviour, our_id, LIMITS, StreamProtocol::new("/full"))
    }

    #[test]
    fn of_two_simultaneous_connections_both_ends_keep_the_same_in_any_order() {
        let (small, large) = ids();
        // The connection that the smaller id dialled is number 1, the other number 2.
        for (at_small, at_large) in [([1, 2], [1, 2]), ([1, 2], [2, 1]), ([2, 1], [1, 2]), ([2, 1], [2, 1])] {
            let kept = |our_id, peer, order: [usize; 2]| {
                let mut node = node(our_id);
                for number in order {
                    // The result is whether it is refused.
                    let _ = node.admit(id(number), peer, endpoint((number == 1) == (our_id == small)));
                }
                node.current[&peer].id
            };
            assert_eq!(kept(small, large, at_small), id(1));
            assert_eq!(kept(large, small, at_large), id(1));
        }
    }

    #[test]
    fn a_peer_that_dials_again_replaces_its_connection_at_once() {
        let (small, large) = ids();
        for (our_id, peer) in [(small, large), (large, small)] {
            let mut node = node(our_id);
            node.admit(id(1), peer, endpoint(false)).unwrap();
            node.admit(id(2), peer, endpoint(false)).unwrap();
            assert!(node.is_current(&peer, id(2)) && !node.is_current(&peer, id(1)));
            assert_eq!(node.replaced, [(peer, id(1))]);
        }
    }

    #[test]
    fn a_connection_replaces_an_old_one_in_the_other_direction() {
        let (small, large) = ids();
        for (our_id, peer, was_dialer) in [(small, large, true), (large, small, false)] {
            let mut node = node(our_id);
            node.admit(id(1), peer, endpoint(was_dialer)).unwrap();
            let since = node.current[&peer].since;
            let just_before = since + SIMULTANEOUS - Duration::from_millis(1);
            assert_eq!(node.check(&peer, &endpoint(!was_dialer), just_before), Err(Surplus::Connected));
            assert_eq!(node.check(&peer, &endpoint(!was_dialer), since + SIMULTANEOUS), Ok(()));
        }
    }

    #[test]
    fn limits_count_peers_and_never_refuse_one_that_returns() {
        let our_id = PeerId::random();
        let mut node = node(our_id);
        let peers: Vec<PeerId> = (0..LIMITS.inbound).map(|_| PeerId::random()).collect();
        for (number, peer) in peers.iter().enumerate() {
            node.admit(id(number), *peer, endpoint(false)).unwrap();
        }
        let now = Instant::now();
        assert_eq!(node.check(&PeerId::random(), &endpoint(false), now), Err(Surplus::TooMany));
        assert_eq!(node.check(&peers[0], &endpoint(false), now), Ok(()));
        // Some strangers that are turned away hear why, and no more at once.
        let admitted = (100..).map(|number| node.admit(id(number), PeerId::random(), endpoint(false)));
        assert_eq!(admitted.take_while(Result::is_ok).filter(|used| matches!(used, Ok(false))).count(), LEAVING_MAX);
        assert!(node.take_turned_away() && !node.take_turned_away());
        node.close_unused(now);
        assert!(node.replaced.is_empty() && node.is_unused(id(100)));
        node.close_unused(Instant::now() + LEAVE_TIME);
        assert_eq!(node.replaced.len(), LEAVING_MAX);
        node.admit(id(10), PeerId::random(), endpoint(true)).unwrap();
        assert_eq!(node.check(&PeerId::random(), &endpoint(true), now), Err(Surplus::TooMany), "four in total");
    }

    #[test]
    fn a_direct_connection_replaces_a_relayed_one_at_once_and_not_the_other_way_round() {
        let (small, large) = ids();
        for (our_id, peer) in [(small, large), (large, small)] {
            for (was_dialer, is_dialer) in [(true, true), (true, false), (false, true), (false, false)] {
                let mut node = node(our_id);
                assert!(node.admit(id(1), peer, relayed(was_dialer)).unwrap());
                assert!(node.admit(id(2), peer, endpoint(is_dialer)).unwrap());
                assert!(node.is_current(&peer, id(2)));
                assert_eq!(node.replaced, [(peer, id(1))]);
                let since = node.current[&peer].since;
                assert_eq!(node.check(&peer, &relayed(is_dialer), since), Err(Surplus::Connected));
                assert_eq!(node.check(&peer, &relayed(is_dialer), since + SIMULTANEOUS), Ok(()));
            }
        }
    }

    #[test]
    fn peers_that_relays_chose_are_few_even_if_they_are_connected_directly_later() {
        let mut node = node(PeerId::random());
        let (first, now) = (PeerId::random(), Instant::now());
        node.admit(id(1), first, relayed(false)).unwrap();
        assert_eq!(node.check(&PeerId::random(), &relayed(false), now), Err(Surplus::TooMany));
        node.admit(id(2), first, endpoint(true)).unwrap();
        assert_eq!(node.check(&PeerId::random(), &relayed(true), now), Err(Surplus::TooMany));
        assert_eq!(node.check(&PeerId::random(), &endpoint(true), now), Ok(()));
    }

    #[test]
    fn tests_of_reachability_replace_nothing_and_end() {
        let (our_id, peer) = (PeerId::random(), PeerId::random());
        let mut node = node(our_id);
        node.admit(id(1), peer, endpoint(true)).unwrap();
        let address: Multiaddr = "/ip4/192.0.2.1/tcp/9171".parse().unwrap();
        let from_new_port = ConnectedPoint::Dialer { address, role_override: Endpoint::Dialer, port_use: PortUse::New };
        assert!(!node.admit(id(2), peer, from_new_port).unwrap());
        assert!(node.is_current(&peer, id(1)) && node.is_unused(id(2)));
        let now = Instant::now();
        node.close_unused(now);
        assert!(node.replaced.is_empty());
        node.close_unused(now + TEST_TIMEOUT);
        assert_eq!(node.replaced, [(peer, id(2))]);

        // The test that this node has asked for, from that peer alone, until it has ended.
        node.expect_test(peer, now);
        assert!(!node.admit(id(3), peer, endpoint(false)).unwrap());
        assert!(!node.is_for_test(&peer, &endpoint(false), now), "there was one");
        node.expect_test(peer, now);
        assert!(node.admit(id(4), PeerId::random(), endpoint(false)).unwrap());
        assert!(!node.is_for_test(&peer, &endpoint(false), now + TEST_EXPECTED));
        node.end_test(true);
        assert!(node.is_for_test(&peer, &endpoint(false), now), "the response came first");
        node.end_test(false);
        assert!(!node.is_for_test(&peer, &endpoint(false), now));
        assert!(node.is_current(&peer, id(1)));
    }
}
