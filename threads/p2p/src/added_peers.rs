//! The peers that the operator added by address, without a peer id: always connected, never banned. Pure: time is an argument.

use std::time::{Duration, Instant};

use libp2p::swarm::ConnectionId;
use libp2p::{Multiaddr, PeerId};

/// Wait after the first failure. It doubles with each further failure.
const RETRY_MIN: Duration = Duration::from_secs(1);
/// Longest wait: an added peer is retried forever.
const RETRY_MAX: Duration = Duration::from_secs(60);
/// A connection that ends sooner counts as a failure.
const SHORT_CONNECTION: Duration = Duration::from_secs(30);

#[derive(Debug)]
struct Added {
    address: Multiaddr,
    /// The peer that was last found there.
    id: Option<PeerId>,
    /// The dial that is under way, or the connection that came of it.
    connection: Option<ConnectionId>,
    connected_at: Option<Instant>,
    next_try: Instant,
    failures: u32,
}

impl Added {
    fn back_off(&mut self, now: Instant) {
        (self.connection, self.connected_at) = (None, None);
        self.next_try = now + (RETRY_MIN * (1 << self.failures.min(16))).min(RETRY_MAX);
        self.failures = self.failures.saturating_add(1);
    }
}

/// All added peers.
#[derive(Debug)]
pub struct AddedPeers(Vec<Added>);

impl AddedPeers {
    pub fn new(addresses: Vec<Multiaddr>, now: Instant) -> Self {
        let added =
            |address| Added { address, id: None, connection: None, connected_at: None, next_try: now, failures: 0 };
        Self(addresses.into_iter().map(added).collect())
    }

    /// Whether a peer is one of them.
    pub fn contains(&self, id: &PeerId) -> bool {
        self.0.iter().any(|added| added.id == Some(*id))
    }

    /// Returns the addresses to dial now, and marks them as being dialled by the connections that `dial` returns.
    pub fn dial_due(
        &mut self,
        now: Instant,
        is_connected: impl Fn(&PeerId) -> bool,
        mut dial: impl FnMut(&Multiaddr) -> ConnectionId,
    ) {
        for added in &mut self.0 {
            let is_due = added.connection.is_none() && added.next_try <= now;
            if is_due && !added.id.is_some_and(|id| is_connected(&id)) {
                added.connection = Some(dial(&added.address));
            }
        }
    }

    /// Notes a connection. Returns whether it is to an added peer.
    pub fn connected(&mut self, id: PeerId, connection: ConnectionId, now: Instant) -> bool {
        let Some(added) = self.0.iter_mut().find(|added| added.connection == Some(connection)) else { return false };
        (added.id, added.connected_at) = (Some(id), Some(now));
        true
    }

    /// Notes the end of a dial or a connection. Returns the address if it is the first failure since a good connection.
    pub fn ended(&mut self, connection: ConnectionId, now: Instant) -> Option<&Multiaddr> {
        let added = self.0.iter_mut().find(|added| added.connection == Some(connection))?;
        if added.connected_at.is_some_and(|at| now.duration_since(at) >= SHORT_CONNECTION) {
            added.failures = 0;
        }
        added.back_off(now);
        (added.failures == 1).then_some(&added.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: usize) -> ConnectionId {
        ConnectionId::new_unchecked(number)
    }

    #[test]
    fn an_added_peer_is_retried_forever_and_known_once_it_was_connected() {
        let (start, peer) = (Instant::now(), PeerId::random());
        let mut added = AddedPeers::new(vec!["/ip4/8.8.8.8/tcp/1".parse().unwrap()], start);
        let (mut now, mut waits_s) = (start, Vec::new());
        for number in 0..9 {
            let mut dials = 0;
            added.dial_due(
                now,
                |_| false,
                |_| {
                    dials += 1;
                    id(number)
                },
            );
            added.dial_due(now, |_| false, |_| unreachable!("it is being dialled"));
            assert_eq!(dials, 1);
            assert_eq!(added.ended(id(number), now).is_some(), number == 0, "the first failure is reported");
            waits_s.push(added.0[0].next_try.duration_since(now).as_secs());
            now = added.0[0].next_try;
        }
        assert_eq!(waits_s, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        added.dial_due(now, |_| false, |_| id(10));
        assert!(!added.contains(&peer));
        assert!(!added.connected(peer, id(11), now) && added.connected(peer, id(10), now));
        assert!(added.contains(&peer));
        now += SHORT_CONNECTION;
        assert!(added.ended(id(10), now).is_some());
        assert_eq!(added.0[0].next_try, now + RETRY_MIN);
        added.dial_due(now + RETRY_MIN, |other| *other == peer, |_| unreachable!("it has connected by itself"));
    }
}
