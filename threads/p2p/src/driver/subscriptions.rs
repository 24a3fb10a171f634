//! Peers that do not subscribe to gossip are connected again.
//!
//! Nodes of older versions announce their subscriptions only on the first of several connections, and may still hold one
//! that is dead. Without a subscription this node sends a peer nothing: shares would reach it only when it asks.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use libp2p::PeerId;
use log::info;

use super::SwarmDriver;

/// Time in which a peer announces its subscriptions; it does so in its first packets. It doubles with each reconnect.
const SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest such time.
const SUBSCRIBE_TIMEOUT_MAX: Duration = Duration::from_secs(600);
/// Peers whose reconnects are remembered: more than may be connected.
const REMEMBERED_MAX: usize = 256;

/// How often peers were connected again.
#[derive(Debug, Default)]
pub(super) struct Reconnects {
    counts: HashMap<PeerId, u32>,
}

impl Reconnects {
    /// Whether a peer has had its time to subscribe.
    fn is_due(&self, peer: &PeerId, connected_for: Duration) -> bool {
        let count = self.counts.get(peer).copied().unwrap_or_default();
        connected_for >= (SUBSCRIBE_TIMEOUT * (1 << count.min(16))).min(SUBSCRIBE_TIMEOUT_MAX)
    }

    fn reconnected(&mut self, peer: PeerId) {
        if self.counts.len() >= REMEMBERED_MAX && !self.counts.contains_key(&peer) {
            self.counts.clear();
        }
        *self.counts.entry(peer).or_default() += 1;
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
            } else if self.reconnects.is_due(id, now.duration_since(peer.connected_at)) {
                silent.push(*id);
            }
        }
        for id in silent {
            self.reconnects.reconnected(id);
            self.metrics.peer_reconnects.inc();
            info!("peer {id} connected again: it has not subscribed to shares");
            self.dialer.disconnecting(&id);
            self.disconnect(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_never_subscribes_is_reconnected_ever_more_rarely_and_others_at_once() {
        let (mut reconnects, silent, other) = (Reconnects::default(), PeerId::random(), PeerId::random());
        let wait_s = |reconnects: &Reconnects, peer: &PeerId| {
            (0..).find(|seconds| reconnects.is_due(peer, Duration::from_secs(*seconds))).unwrap()
        };
        let mut waits_s = Vec::new();
        for _ in 0..9 {
            waits_s.push(wait_s(&reconnects, &silent));
            reconnects.reconnected(silent);
        }
        assert_eq!(waits_s, [10, 20, 40, 80, 160, 320, 600, 600, 600]);
        assert_eq!(wait_s(&reconnects, &other), 10);
        reconnects.subscribed(&silent);
        assert_eq!(wait_s(&reconnects, &silent), 10);
    }

    #[test]
    fn remembered_reconnects_are_bounded() {
        let mut reconnects = Reconnects::default();
        for _ in 0..2 * REMEMBERED_MAX {
            reconnects.reconnected(PeerId::random());
        }
        assert!(reconnects.counts.len() <= REMEMBERED_MAX);
    }
}
