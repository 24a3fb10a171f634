//! Decides at the door who may connect: nobody who is banned, and not too many from one neighbourhood.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use libp2p::core::transport::PortUse;
use libp2p::core::Endpoint;
use libp2p::swarm::{
    dummy, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent,
    ToSwarm,
};
use libp2p::{Multiaddr, PeerId};
use p2pool_core::netgroup::Netgroup;
use p2pool_core::token_bucket::{Rate, TokenBucket};
use p2pool_core::units::UnixTime;
use thiserror::Error;

use crate::address::ip_of;
use crate::bans::{Bans, Party};

/// Connections with one neighbourhood (IPv4 /24, IPv6 /48), whoever dialled. A farm's few nodes behind one address
/// fit; to take a node's hundred places somebody needs thirteen neighbourhoods.
pub const CONNECTIONS_PER_PREFIX_MAX: usize = 8;

/// Connections that one neighbourhood may make how often: enough for its nodes to come back at once after an outage, some
/// of them twice. What GossipSub keeps of each who came is bounded by it, see `gossip`.
const ARRIVALS: Rate = Rate { burst: 4 * CONNECTIONS_PER_PREFIX_MAX as u32, interval: Duration::from_secs(5) };
/// Neighbourhoods whose arrivals are remembered; beyond that those are forgotten from which nobody came lately.
const REMEMBERED_MAX: usize = 1_024;

/// The system's clock, or a test's.
pub type Clock = Arc<dyn Fn() -> UnixTime + Send + Sync>;

/// Why somebody may not connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refused {
    /// It is banned.
    #[error("banned")]
    Banned,
    /// Its neighbourhood has as many connections as one may have.
    #[error("too many connections with its network")]
    Crowded,
    /// Its neighbourhood has connected too often of late.
    #[error("too many connections made from its network")]
    TooOften,
}

/// The door.
pub struct Doorkeeper {
    /// Who is banned.
    pub bans: Bans,
    clock: Clock,
    /// Connections, those under way included, that count against a neighbourhood.
    counted: HashMap<ConnectionId, Netgroup>,
    per_prefix: HashMap<Netgroup, usize>,
    arrivals: HashMap<Netgroup, TokenBucket<Instant>>,
}

impl Doorkeeper {
    /// With the bans of earlier.
    pub fn new(bans: Bans, clock: Clock) -> Self {
        Self { bans, clock, counted: HashMap::new(), per_prefix: HashMap::new(), arrivals: HashMap::new() }
    }

    /// Whether a peer is banned now.
    pub fn is_banned(&self, peer: &PeerId) -> bool {
        self.bans.is_banned(&Party::Peer(*peer), (self.clock)())
    }

    fn check_peer(&self, peer: &PeerId) -> Result<(), ConnectionDenied> {
        if self.is_banned(peer) {
            return Err(ConnectionDenied::new(Refused::Banned));
        }
        Ok(())
    }

    /// Checks a connection's other end and counts it.
    fn admit(&mut self, connection: ConnectionId, address: Option<IpAddr>) -> Result<(), ConnectionDenied> {
        let Some(address) = address else { return Ok(()) };
        if self.bans.is_banned_at(address, (self.clock)()) {
            return Err(ConnectionDenied::new(Refused::Banned));
        }
        let Some(prefix) = Netgroup::of(address) else { return Ok(()) };
        let count = self.per_prefix.entry(prefix).or_default();
        if *count >= CONNECTIONS_PER_PREFIX_MAX {
            return Err(ConnectionDenied::new(Refused::Crowded));
        }
        *count += 1;
        self.counted.insert(connection, prefix);
        Ok(())
    }

    /// Whether a neighbourhood may make one more connection.
    fn may_arrive(&mut self, address: Option<IpAddr>, now: Instant) -> Result<(), ConnectionDenied> {
        let Some(prefix) = address.and_then(Netgroup::of) else { return Ok(()) };
        if self.arrivals.len() >= REMEMBERED_MAX {
            self.arrivals.retain(|_, allowance| !allowance.is_full(now));
        }
        if !self.arrivals.entry(prefix).or_insert_with(|| TokenBucket::new(ARRIVALS, now)).take(now) {
            return Err(ConnectionDenied::new(Refused::TooOften));
        }
        Ok(())
    }

    fn dismiss(&mut self, connection: ConnectionId) {
        let Some(prefix) = self.counted.remove(&connection) else { return };
        if let Some(count) = self.per_prefix.get_mut(&prefix) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.per_prefix.remove(&prefix);
            }
        }
    }
}

impl NetworkBehaviour for Doorkeeper {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.may_arrive(ip_of(remote), Instant::now())?;
        self.admit(connection, ip_of(remote))
    }

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.check_peer(&peer)?;
        Ok(dummy::ConnectionHandler)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: Option<PeerId>,
        _: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        if let Some(peer) = peer {
            self.check_peer(&peer)?;
        }
        Ok(Vec::new())
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.check_peer(&peer)?;
        self.admit(connection, ip_of(address))?;
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionClosed(closed) => self.dismiss(closed.connection_id),
            FromSwarm::DialFailure(failure) => self.dismiss(failure.connection_id),
            FromSwarm::ListenFailure(failure) => self.dismiss(failure.connection_id),
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use p2pool_core::wire::Offence;

    const NOW: UnixTime = UnixTime(1_700_000_000);

    fn door() -> Doorkeeper {
        Doorkeeper::new(Bans::default(), Arc::new(|| NOW))
    }

    fn knock(door: &mut Doorkeeper, number: usize, from: &str) -> Option<Refused> {
        let local = "/ip4/192.0.2.1/tcp/9171".parse().unwrap();
        let remote = format!("{from}/tcp/{}", 1_000 + number).parse().unwrap();
        let id = ConnectionId::new_unchecked(number);
        let refused = door.handle_pending_inbound_connection(id, &local, &remote).err()?;
        Some(refused.downcast::<Refused>().unwrap())
    }

    #[test]
    fn a_neighbourhood_has_its_limit_and_others_have_their_own() {
        let mut door = door();
        for number in 0..CONNECTIONS_PER_PREFIX_MAX {
            assert_eq!(knock(&mut door, number, &format!("/ip4/8.8.8.{number}")), None);
        }
        assert_eq!(knock(&mut door, 100, "/ip4/8.8.8.99"), Some(Refused::Crowded));
        assert_eq!(knock(&mut door, 101, "/ip6/::ffff:8.8.8.99"), Some(Refused::Crowded));
        assert_eq!(knock(&mut door, 102, "/ip4/8.8.9.99"), None);
        door.dismiss(ConnectionId::new_unchecked(3));
        assert_eq!(knock(&mut door, 103, "/ip4/8.8.8.99"), None);
        assert_eq!(knock(&mut door, 104, "/ip4/8.8.8.99"), Some(Refused::Crowded));
        for number in 0..200 {
            door.dismiss(ConnectionId::new_unchecked(number));
        }
        assert!(door.per_prefix.is_empty() && door.counted.is_empty());
    }

    #[test]
    fn a_neighbourhood_that_comes_again_and_again_has_to_wait() {
        let (mut door, now) = (door(), Instant::now());
        for number in 0..ARRIVALS.burst as usize {
            assert_eq!(knock(&mut door, number, "/ip4/8.8.8.8"), None);
            door.dismiss(ConnectionId::new_unchecked(number));
        }
        assert_eq!(knock(&mut door, 100, "/ip4/8.8.8.99"), Some(Refused::TooOften));
        assert_eq!(knock(&mut door, 101, "/ip4/8.8.9.8"), None);
        let address = Some("8.8.8.8".parse().unwrap());
        let later = now + ARRIVALS.interval * 2;
        assert!(door.may_arrive(address, later).is_ok());
        // Whom we dial is no arrival.
        let admitted = door.admit(ConnectionId::new_unchecked(102), address);
        assert!(admitted.is_ok());
    }

    #[test]
    fn memory_of_arrivals_is_bounded() {
        let (mut door, now) = (door(), Instant::now());
        for number in 0..4 * REMEMBERED_MAX as u32 {
            let address = IpAddr::from((0x0800_0000 + number * 256).to_be_bytes());
            assert!(door.may_arrive(Some(address), now + ARRIVALS.interval * number).is_ok());
        }
        assert!(door.arrivals.len() <= REMEMBERED_MAX);
    }

    #[test]
    fn ipv6_neighbourhoods_are_48_bits_wide() {
        let mut door = door();
        for number in 0..CONNECTIONS_PER_PREFIX_MAX {
            assert_eq!(knock(&mut door, number, &format!("/ip6/2001:db8:1:{number}::1")), None);
        }
        assert_eq!(knock(&mut door, 100, "/ip6/2001:db8:1:ffff::1"), Some(Refused::Crowded));
        assert_eq!(knock(&mut door, 101, "/ip6/2001:db8:2::1"), None);
    }

    #[test]
    fn our_own_network_is_exempt() {
        let mut door = door();
        for number in 0..100 {
            assert_eq!(knock(&mut door, number, "/ip4/127.0.0.1"), None);
            assert_eq!(knock(&mut door, 1_000 + number, "/ip4/192.168.1.2"), None);
        }
    }

    #[test]
    fn the_banned_stay_outside_under_either_name() {
        let mut door = door();
        let peer = PeerId::random();
        assert!(door.bans.penalize(peer, ip_of(&"/ip4/8.8.8.8".parse().unwrap()), Offence::FalseChain, NOW));
        assert_eq!(knock(&mut door, 1, "/ip4/8.8.8.8"), Some(Refused::Banned));
        assert_eq!(knock(&mut door, 2, "/ip4/8.8.8.9"), None);
        assert!(door.check_peer(&peer).is_err());
        assert!(door.check_peer(&PeerId::random()).is_ok());
    }
}
