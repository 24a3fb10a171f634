//! Who serves a plan, and who leads it.

use std::cmp::Reverse;

use super::{Plan, Server, ServingRate, SteadyTime, TRIES_MAX};
use crate::peer::PeerHandle;

/// Seconds that are counted at once, at most: what is longer was a stop of our own, behind which responses wait to be read.
const COUNTED_MAX_S: u32 = 5;

impl Plan {
    /// Whether anybody is left to ask.
    pub fn has_servers(&self) -> bool {
        !self.servers.is_empty()
    }

    /// Whether this peer is asked for shares of the list.
    pub fn has_server(&self, peer: PeerHandle) -> bool {
        self.servers.contains_key(&peer)
    }

    /// Who is asked for shares of the list.
    pub fn servers(&self) -> impl Iterator<Item = PeerHandle> + '_ {
        self.servers.keys().copied()
    }

    /// Whether this peer gave the list.
    pub fn is_author(&self, peer: PeerHandle) -> bool {
        peer == self.leader && !self.leader_changed
    }

    /// Notes that a peer has the first `upto` of the list; the first of all takes over a list that nobody serves.
    pub fn add_server(&mut self, peer: PeerHandle, upto: usize) {
        let is_orphan = self.servers.is_empty();
        let server = self.servers.entry(peer).or_insert(Server::new());
        server.upto = upto.max(server.upto);
        if is_orphan {
            self.set_leader(peer);
        }
    }

    /// Forgets a peer; what it was asked for is asked of others, and another takes the lead if there is one.
    pub fn remove_server(&mut self, peer: PeerHandle) {
        self.servers.remove(&peer);
        self.release(peer);
        if self.leader == peer && !self.pass_lead() {
            // Only who gave the list knew how it goes on; the next status round finds it out.
            self.more = false;
        }
    }

    /// Whether the leader has failed to give a batch so often that there is no hope for it.
    pub fn is_hopeless(&self) -> bool {
        self.wanted.values().any(|wanted| wanted.tries >= TRIES_MAX)
    }

    /// Counts the time for which peers have kept us waiting: for shares, or (`paged`) the leader for the list's next page.
    pub fn count_waiting(&mut self, paged: bool, now: SteadyTime) {
        self.taken = self.delivered;
        let passed_s = now.since(self.counted);
        self.counted = self.counted.plus(passed_s);
        let passed_s = passed_s.min(COUNTED_MAX_S);
        for (peer, server) in &mut self.servers {
            let of_peer = self.wanted.values().filter_map(|wanted| wanted.asked_of).filter(|(asked, _)| asked == peer);
            let since = of_peer.map(|(_, since)| since).min().or((paged && *peer == self.leader).then_some(now));
            // Whoever responses with a drop just before it is counted has been asked again since.
            match since {
                Some(_) if server.owes => server.serving_rate.waited(passed_s),
                Some(since) => server.serving_rate.waited(now.since(since).min(passed_s)),
                None => {}
            }
            server.owes = since.is_some();
        }
    }

    /// The helpers that are too slow, or fail too often.
    pub fn slow_helpers(&self) -> Vec<PeerHandle> {
        let is_slow =
            |(peer, server): &(&PeerHandle, &Server)| **peer != self.leader && server.serving_rate.is_too_slow();
        self.servers.iter().filter(is_slow).map(|(peer, _)| *peer).collect()
    }

    /// Takes the lead from a leader that is too slow, if there is another; says who lost it. It helps on.
    ///
    /// It goes to who lost it least often: one that is fast keeps it, however many slow ones there are. Who has nothing
    /// more than what came already ends the list there; then all are asked for lists of their own.
    pub fn pass_slow_lead(&mut self) -> Option<PeerHandle> {
        let slow = self.leader;
        let demoted =
            self.servers.get(&slow).filter(|server| server.serving_rate.is_too_slow())?.demoted.saturating_add(1);
        let next = self.next_leader().filter(|(_, server)| server.demoted <= demoted);
        let next = next.map(|(next, _)| next)?;
        if let Some(server) = self.servers.get_mut(&slow) {
            server.demoted = demoted;
            server.serving_rate = ServingRate::new();
        }
        self.release(slow);
        self.set_leader(next);
        Some(slow)
    }

    /// Purpose a peer was asked for is to be asked for again.
    fn release(&mut self, peer: PeerHandle) {
        for wanted in self.wanted.values_mut().filter(|wanted| wanted.is_asked_of(peer)) {
            wanted.asked_of = None;
        }
    }

    /// Who would lead best beside the leader: not lost it before, has most of the list, is there longest.
    fn next_leader(&self) -> Option<(PeerHandle, &Server)> {
        let others = self.servers.iter().filter(|(peer, _)| **peer != self.leader);
        let best = others.min_by_key(|(peer, server)| (server.demoted, Reverse(server.upto), **peer));
        best.map(|(peer, server)| (*peer, server))
    }

    fn pass_lead(&mut self) -> bool {
        let next = self.next_leader().map(|(next, _)| next);
        next.map(|next| self.set_leader(next)).is_some()
    }

    /// Another leads now: it responses for what it has of the list, and for no more.
    fn set_leader(&mut self, peer: PeerHandle) {
        if self.leader == peer {
            return;
        }
        self.leader = peer;
        self.leader_changed = true;
        self.wanted.values_mut().for_each(|wanted| wanted.tries = 0);
        if let Some(server) = self.servers.get_mut(&peer) {
            server.serving_rate = ServingRate::new();
            let upto = server.upto;
            self.cut(upto.max(self.delivered));
        }
    }

    /// Forgets what comes behind the first `len` of the list.
    fn cut(&mut self, len: usize) {
        if len >= self.ids.len() {
            return;
        }
        for id in self.ids.drain(len..) {
            self.index.remove(&id);
        }
        self.more = false;
        self.next = self.next.min(len);
        self.servers.values_mut().for_each(|server| server.upto = server.upto.min(len));
        self.wanted.retain(|start, _| *start < len);
        self.got.retain(|start, _| *start < len);
        if let Some((start, wanted)) = self.wanted.last_entry().map(|last| (*last.key(), last.into_mut())) {
            if start + wanted.len > len {
                // Its answer would have more than that.
                wanted.len = len - start;
                wanted.asked_of = None;
            }
        }
        if let Some((start, (_, shares))) = self.got.last_entry().map(|last| (*last.key(), last.into_mut())) {
            shares.truncate(len - start);
        }
    }
}
