//! Peers that do not subscribe to gossip are connected again.
//!
//! Nodes of older versions announce their subscriptions only on the first of several connections, and may still hold one
//! that is dead. Without a subscription this node sends a peer nothing: shares would reach it only when it asks.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use libp2p::swarm::ConnectionId;
use libp2p::PeerId;
use log::{log, Level};
use p2pool_core::token_bucket::{Rate, TokenBucket};

use super::SwarmDriver;

/// Time in which a peer announces its subscriptions; it does so in its first packets. It doubles with each reconnect.
const SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest such time.
const SUBSCRIBE_TIMEOUT_MAX: Duration = Duration::from_secs(600);
/// Peers whose reconnects are remembered: more than may be connected.
const REMEMBERED_MAX: usize = 256;

/// Log lines about them: any stranger may connect and not subscribe.
const LOGGED: Rate = Rate { burst: 10, interval: Duration::from_secs(60) };

/// How often peers were connected again.
#[derive(Debug)]
pub(super) struct Reconnects {
    /// With the last connection that was closed for it, which may take its time.
    counts: HashMap<PeerId, (u32, ConnectionId)>,
    logged: TokenBucket<Instant>,
}

impl Reconnects {
    pub(super) fn new(now: Instant) -> Self {
        Self { counts: HashMap::new(), logged: TokenBucket::new(LOGGED, now) }
    }

    /// Whether a peer has had its time to subscribe on a connection that is not being closed yet.
    fn is_due(&self, peer: &PeerId, connection: ConnectionId, connected_for: Duration) -> bool {
        let count = match self.counts.get(peer) {
            Some((_, closed)) if *closed == connection => return false,
            Some((count, _)) => *count,
            None => 0,
        };
        connected_for >= (SUBSCRIBE_TIMEOUT * (1 << count.min(16))).min(SUBSCRIBE_TIMEOUT_MAX)
    }

    fn reconnected(&mut self, peer: PeerId, connection: ConnectionId) {
        if self.counts.len() >= REMEMBERED_MAX && !self.counts.contains_key(&peer) {
            self.counts.clear();
        }
        let (count, closed) = self.counts.entry(peer).or_insert((0, connection));
        (*count, *closed) = (count.saturating_add(1), connection);
    }

    fn subscribed(&mut self, peer: &PeerId) {
        self.counts.remove(peer);
    }
}

impl SwarmDriver {
    /// Disconnects peers that speak GossipSub and have not subscribed to shares; one of the two nodes dials again.
    pub(super) fn reconnect_unsubscribed(&mut self, now: Instant) {
        let gossip = &self.swarm.behaviour().peers.inner.gossip;
        let mut silent = Vec::new();
        for (id, is_subscribed) in gossip.speakers(&self.names.shares.hash()) {
            let Some(peer) = self.peers.get(id) else { continue };
            if is_subscribed {
                self.reconnects.subscribed(id);
            } else if self.reconnects.is_due(id, peer.connection, now.duration_since(peer.connected_at)) {
                silent.push((*id, peer.connection));
            }
        }
        for (id, connection) in silent {
            self.reconnects.reconnected(id, connection);
            self.metrics.peer_reconnects.inc();
            let level = if self.reconnects.logged.take(now) { Level::Info } else { Level::Debug };
            log!(level, "peer {id} connected again: it has not subscribed to shares");
            self.dialer.disconnecting(&id);
            self.disconnect(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: usize) -> ConnectionId {
        ConnectionId::new_unchecked(number)
    }

    #[test]
    fn a_peer_that_never_subscribes_is_reconnected_ever_more_rarely_and_others_at_once() {
        let (mut reconnects, silent, other) = (Reconnects::new(Instant::now()), PeerId::random(), PeerId::random());
        let wait_s = |reconnects: &Reconnects, peer: &PeerId, connection: usize| {
            (0..).find(|seconds| reconnects.is_due(peer, id(connection), Duration::from_secs(*seconds))).unwrap()
        };
        let mut waits_s = Vec::new();
        for connection in 0..9 {
            waits_s.push(wait_s(&reconnects, &silent, connection));
            reconnects.reconnected(silent, id(connection));
        }
        assert_eq!(waits_s, [10, 20, 40, 80, 160, 320, 600, 600, 600]);
        assert_eq!(wait_s(&reconnects, &other, 9), 10);
        reconnects.subscribed(&silent);
        assert_eq!(wait_s(&reconnects, &silent, 10), 10);
    }

    #[test]
    fn a_connection_that_takes_hours_to_close_is_closed_once() {
        let (mut reconnects, silent) = (Reconnects::new(Instant::now()), PeerId::random());
        let hours = Duration::from_secs(36_000);
        for connection in 0..9 {
            assert!(reconnects.is_due(&silent, id(connection), hours));
            reconnects.reconnected(silent, id(connection));
            assert!(!reconnects.is_due(&silent, id(connection), hours));
        }
    }

    #[test]
    fn remembered_reconnects_are_bounded() {
        let mut reconnects = Reconnects::new(Instant::now());
        for connection in 0..2 * REMEMBERED_MAX {
            reconnects.reconnected(PeerId::random(), id(connection));
        }
        assert!(reconnects.counts.len() <= REMEMBERED_MAX);
    }
}
