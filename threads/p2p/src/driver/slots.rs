//! Inbound slots of this node and of others: who has to leave, and who leaves by itself.

use std::time::{Duration, Instant};

use libp2p::PeerId;
use log::{debug, info, log, warn, Level};
use p2pool_core::status::{Direction, Route};
use p2pool_core::token_bucket::{Rate, TokenBucket};

use super::SwarmDriver;
use crate::dialer::{Purpose, OUTBOUND_KEPT};
use crate::full::{FullEvent, FullReport};
use crate::identity;
use crate::one_connection::LEAVE_TIME;
use crate::peers::Peer;

/// Peers in all that are enough to leave one.
pub const PEERS_ENOUGH: usize = 5;
/// Age of a connection from which the word says that others are turned away, not this node.
pub const SETTLED: Duration = Duration::from_secs(30);
/// Time between two words to connected peers while others are turned away, and how many hear each: in a network whose slots are
/// short, all that have more than they need have heard it after half a minute.
pub const HINT_INTERVAL: Duration = Duration::from_secs(1);
pub const HINTED: usize = 8;
/// Log lines about full peers.
const LOGGED: Rate = Rate { burst: 10, interval: Duration::from_secs(60) };

/// What is remembered about full slots.
#[derive(Debug)]
pub(super) struct FullSlots {
    /// A peer was evicted or refused, and no connected peer has heard of it yet.
    turned_away: bool,
    hinted_at: Instant,
    logged: TokenBucket<Instant>,
    /// All known peers are full, and the log says so.
    is_reported: bool,
}

impl FullSlots {
    /// Level of lines on short connections to full peers, which repeat.
    pub(super) const fn level(&self) -> Level {
        if self.is_reported {
            Level::Debug
        } else {
            Level::Info
        }
    }

    pub(super) fn new(now: Instant) -> Self {
        Self { turned_away: false, hinted_at: now, logged: TokenBucket::new(LOGGED, now), is_reported: false }
    }
}

/// Whether a node that hears on a connection of this age that the peer is full may leave it to others. `before` is the number of
/// outbound peers that are unlisted, or older if this one is not unlisted or they are. Honest nodes are full sooner than an attacker's, which never say so: if the oldest
/// connections could be left too, those that stay would be the attacker's.
pub fn may_leave(connected_for: Duration, before: usize, peers: usize) -> bool {
    connected_for >= SETTLED && before >= OUTBOUND_KEPT && peers >= PEERS_ENOUGH
}

impl SwarmDriver {
    /// Evicts inbound peers while there are more than may stay. They hear why, and are disconnected then.
    pub(super) fn evict(&mut self, now: Instant) {
        let dht = &self.swarm.behaviour().peers.inner.dht;
        let learnt_at = |connection| dht.responded_at(connection);
        for id in self.peers.to_evict(self.slots, &self.eviction_key, identity::random, learnt_at, now) {
            let Some(peer) = self.peers.get_mut(&id) else { continue };
            peer.leaving_since = Some(now);
            self.metrics.peer_evictions.inc();
            debug!("peer {id} evicted: inbound slots full");
            self.swarm.behaviour_mut().peers.inner.full.say(id);
            // Strangers through Tor that have only used up their part do not make others leave.
            self.full_slots.turned_away |= self.peers.are_slots_full(self.slots);
        }
    }

    /// Disconnects evicted peers that have had time to hear why, and has others hear that slots are short.
    pub(super) fn tick_slots(&mut self, now: Instant) {
        self.evict(now);
        let is_due = |peer: &Peer| peer.leaving_since.is_some_and(|since| now.duration_since(since) >= LEAVE_TIME);
        let due: Vec<PeerId> = self.peers.iter().filter(|(_, peer)| is_due(peer)).map(|(id, _)| *id).collect();
        due.into_iter().for_each(|id| self.disconnect(id));
        self.full_slots.turned_away |= self.swarm.behaviour_mut().peers.take_turned_away();
        if self.full_slots.turned_away && now.duration_since(self.full_slots.hinted_at) >= HINT_INTERVAL {
            (self.full_slots.turned_away, self.full_slots.hinted_at) = (false, now);
            for id in self.peers.any_settled(HINTED, identity::random(), SETTLED, now) {
                self.swarm.behaviour_mut().peers.inner.full.say(id);
            }
        }
        self.report_full(now);
    }

    /// Reports when all known peers are full, once until one has let this node stay.
    fn report_full(&mut self, now: Instant) {
        let has_settled = self.peers.iter().any(|(_, peer)| now.duration_since(peer.connected_at) >= SETTLED);
        let is_only_full = self.peers.len() == 0 && self.dialer.knows_only_full();
        if is_only_full && !self.full_slots.is_reported {
            warn!("no peer: all known peers are full ({}), retrying", self.dialer.full());
        }
        if self.full_slots.is_reported && has_settled {
            info!("a peer has room again: {} connected", self.peers.len());
        }
        self.full_slots.is_reported = (self.full_slots.is_reported || is_only_full) && !has_settled;
    }

    pub(super) fn on_full(&mut self, event: FullEvent) {
        let FullEvent { peer: id, report } = event;
        let Some(peer) = self.peers.get(&id) else { return };
        match report {
            FullReport::Said if peer.leaving_since.is_some() => self.disconnect(id),
            FullReport::Said => {}
            FullReport::Heard => self.on_heard_full(id),
        }
    }

    /// Number of outbound peers that are kept before this one: unlisted ones, then the oldest.
    fn kept_before(&self, id: &PeerId, peer: &Peer) -> usize {
        let rank = |id: &PeerId, peer: &Peer| (self.dialer.purpose(id) != Purpose::Unlisted, peer.order());
        let own = rank(id, peer);
        self.peers.chosen().filter(|(other, peer)| rank(other, peer) < own).count()
    }

    fn on_heard_full(&mut self, id: PeerId) {
        let now = Instant::now();
        // Not limited: it costs no more than the stream, and a node with few inbound peers says it to each of them often.
        let Some(peer) = self.peers.get(&id) else { return };
        if (peer.direction, peer.route) != (Direction::Outbound, Route::Direct) {
            return;
        }
        let connected_for = now.duration_since(peer.connected_at);
        if may_leave(connected_for, self.kept_before(&id, peer), self.peers.len()) && !self.added.contains(&id) {
            debug!("peer {id} is full: leaving it to others");
            self.dialer.leaving(&id, now);
            return self.disconnect(id);
        }
        if connected_for < SETTLED && self.dialer.heard_full(&id) {
            let level = if self.full_slots.logged.take(now) { Level::Info } else { Level::Debug };
            log!(level, "turned away by peer {id}: full, trying others");
            self.status_changed = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_leaves_none_of_its_oldest_or_last_peers_and_none_that_turns_it_away() {
        let just_before = SETTLED - Duration::from_millis(1);
        assert!(may_leave(SETTLED, OUTBOUND_KEPT, PEERS_ENOUGH));
        assert!(!may_leave(just_before, OUTBOUND_KEPT, PEERS_ENOUGH));
        assert!(!may_leave(SETTLED, OUTBOUND_KEPT - 1, 100));
        assert!(!may_leave(SETTLED, OUTBOUND_KEPT, PEERS_ENOUGH - 1));
    }
}
