//! The peers that serve a plan, and which one leads it.

use std::cmp::Reverse;

use super::{Plan, Server, ServingRate, SteadyTime, LEADER_TRIES_MAX};
use crate::peer::PeerHandle;

/// Seconds of waiting counted at once, at most. A longer pause between ticks was this node's own, and responses may wait
/// behind it.
const COUNTED_MAX_S: u32 = 5;

impl Plan {
    /// Whether any peer serves it.
    pub fn has_servers(&self) -> bool {
        !self.servers.is_empty()
    }

    /// Whether a peer other than the leader serves it.
    pub fn has_helpers(&self) -> bool {
        self.servers.keys().any(|peer| *peer != self.leader)
    }

    /// Whether this peer serves it.
    pub fn has_server(&self, peer: PeerHandle) -> bool {
        self.servers.contains_key(&peer)
    }

    /// The peers that serve it.
    pub fn servers(&self) -> impl Iterator<Item = PeerHandle> + '_ {
        self.servers.keys().copied()
    }

    /// Whether this peer gave the list and has led it all the time.
    pub fn is_author(&self, peer: PeerHandle) -> bool {
        peer == self.leader && !self.leader_changed
    }

    /// Notes that a peer has the first `up_to` shares of the list. It takes the lead if no peer serves the list.
    pub fn add_server(&mut self, peer: PeerHandle, up_to: usize) {
        let is_orphaned = self.servers.is_empty();
        let server = self.servers.entry(peer).or_insert(Server::new());
        server.up_to = up_to.max(server.up_to);
        if is_orphaned {
            self.set_leader(peer);
        }
    }

    /// Removes a peer. Others are asked for its batches, and one takes over its lead if there is one.
    pub fn remove_server(&mut self, peer: PeerHandle) {
        self.servers.remove(&peer);
        self.release_batches(peer);
        if self.leader == peer {
            match self.next_leader() {
                Some((next, _)) => self.set_leader(next),
                // Only the leader knew how the list continues. The next round of statuses will show it.
                None => self.has_more = false,
            }
        }
    }

    /// Removes the helpers that are too slow or fail too often, and returns them.
    pub fn remove_slow_helpers(&mut self) -> Vec<PeerHandle> {
        let leader = self.leader;
        let is_slow = |(peer, server): &(&PeerHandle, &Server)| **peer != leader && server.rate.is_too_slow();
        let slow: Vec<PeerHandle> = self.servers.iter().filter(is_slow).map(|(peer, _)| *peer).collect();
        slow.iter().for_each(|peer| self.remove_server(*peer));
        slow
    }

    /// Whether the leader has failed to give a batch too often.
    pub fn has_leader_failed(&self) -> bool {
        self.pending.values().any(|batch| batch.leader_tries >= LEADER_TRIES_MAX)
    }

    /// Counts the time for which peers were awaited: for batches, and the leader for the list's next page
    /// (`is_page_awaited`).
    pub fn count_waiting(&mut self, is_page_awaited: bool, now: SteadyTime) {
        let passed_s = now.since(self.waiting_counted_at);
        self.waiting_counted_at = self.waiting_counted_at.plus(passed_s);
        let passed_s = passed_s.min(COUNTED_MAX_S);
        for (peer, server) in &mut self.servers {
            let requested = self.pending.values().filter_map(|batch| batch.requested);
            let oldest = requested.filter(|(requested_from, _)| requested_from == peer).map(|(_, since)| since).min();
            let since = oldest.or((is_page_awaited && *peer == self.leader).then_some(now));
            match since {
                // All the time counts, even if the oldest request is new: a peer could respond with single shares just
                // before each tick.
                Some(_) if server.was_awaited => server.rate.waited(passed_s),
                Some(since) => server.rate.waited(now.since(since).min(passed_s)),
                None => {}
            }
            server.was_awaited = since.is_some();
        }
    }

    /// Replaces a leader that has failed or is too slow, if another peer can lead; a slow one stays as a helper. Returns
    /// whether the leader was replaced.
    pub fn replace_leader(&mut self) -> bool {
        if self.has_leader_failed() {
            self.remove_server(self.leader);
            return true;
        }
        self.demote_slow_leader()
    }

    /// Passes the lead of a slow leader to the peer that lost it least often, so that among many slow peers a fast one
    /// keeps it. If that peer has no more than what was delivered, the list ends there, and all peers are then asked for
    /// lists of their own.
    fn demote_slow_leader(&mut self) -> bool {
        let slow = self.leader;
        let Some(server) = self.servers.get(&slow).filter(|server| server.rate.is_too_slow()) else { return false };
        let demoted = server.demoted.saturating_add(1);
        let next = self.next_leader().filter(|(_, server)| server.demoted <= demoted);
        let Some((next, _)) = next else { return false };
        let server = self.server_mut(slow);
        server.demoted = demoted;
        server.rate = ServingRate::new();
        self.release_batches(slow);
        self.set_leader(next);
        true
    }

    /// Marks the batches that a peer was to give as to be requested again.
    fn release_batches(&mut self, peer: PeerHandle) {
        for batch in self.pending.values_mut().filter(|batch| batch.is_requested_from(peer)) {
            batch.requested = None;
        }
    }

    /// The best leader beside the current one: it lost the lead least often, has most of the list, has been here longest.
    fn next_leader(&self) -> Option<(PeerHandle, &Server)> {
        let others = self.servers.iter().filter(|(peer, _)| **peer != self.leader);
        let best = others.min_by_key(|(peer, server)| (server.demoted, Reverse(server.up_to), **peer));
        best.map(|(peer, server)| (*peer, server))
    }

    /// Gives the lead to a peer. It is responsible for what it has of the list, so the rest is cut off.
    fn set_leader(&mut self, peer: PeerHandle) {
        if self.leader == peer {
            return;
        }
        self.leader = peer;
        self.leader_changed = true;
        self.pending.values_mut().for_each(|batch| batch.leader_tries = 0);
        let server = self.server_mut(peer);
        server.rate = ServingRate::new();
        let up_to = server.up_to;
        self.cut(up_to.max(self.delivered));
    }

    /// Cuts the list to its first `len` shares.
    fn cut(&mut self, len: usize) {
        debug_assert!(len >= self.delivered, "what was delivered stays on the list");
        if len >= self.ids.len() {
            return;
        }
        for id in self.ids.drain(len..) {
            self.index.remove(&id);
        }
        self.has_more = false;
        self.next = self.next.min(len);
        self.servers.values_mut().for_each(|server| server.up_to = server.up_to.min(len));
        self.pending.retain(|start, _| *start < len);
        self.received.retain(|start, _| *start < len);
        if let Some(mut last) = self.pending.last_entry() {
            let (start, batch) = (*last.key(), last.get_mut());
            if start + batch.len > len {
                // The response to the request in flight would have more shares than that.
                batch.len = len - start;
                batch.requested = None;
            }
        }
        if let Some(mut last) = self.received.last_entry() {
            let start = *last.key();
            last.get_mut().1.truncate(len - start);
        }
        self.debug_check();
    }
}
