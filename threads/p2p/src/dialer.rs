//! Decides which peers to dial and when to retry. Pure: time is an argument, and the caller dials.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use libp2p::{Multiaddr, PeerId};
use p2pool_core::netgroup::is_own_network;
use p2pool_core::units::UnixTime;

use crate::address::{ip_of, split_peer_id};

/// Outbound connections that this node wants, so that inbound peers are never all it knows. Eight as in bitcoind.
pub const OUTBOUND_TARGET: usize = 8;
/// Known peers: a file of 50 KB.
const PEERS_MAX: usize = 500;
/// Addresses remembered per peer.
const ADDRESSES_MAX: usize = 4;
/// Concurrent dials, so that a list of dead peers does not use up the limit of pending connections.
const DIALS_MAX: usize = 8;
/// Wait after the first failure. It doubles with each further failure.
const BACKOFF_MIN: Duration = Duration::from_secs(1);
/// Longest wait before a bootnode is retried. It is retried forever, because it can rejoin two halves of a network.
const BACKOFF_BOOTNODE_MAX: Duration = Duration::from_secs(60);
/// Longest wait before any other peer is retried, and additional wait for a full bootnode while this node has enough other
/// peers.
const BACKOFF_MAX: Duration = Duration::from_secs(600);
/// Consecutive failures (about an hour and a half) after which a peer other than a bootnode is forgotten.
const FAILURES_MAX: u32 = 16;
/// An outbound connection that the peer closes sooner counts as a failed dial: the peer is full or has banned this node.
/// Longer than peers stay in a temporary slot, see `behaviour`.
const SHORT_CONNECTION: Duration = Duration::from_secs(30);
/// Seconds after which it is worth a write to the disk (perhaps an SD card) that a peer is still connected.
const SEEN_STEP_S: u32 = 600;
/// Wait before bootnodes are dialled if other peers are known, to spare the bootnodes.
const BOOTNODES_WAIT: Duration = Duration::from_secs(2);

/// How a peer became known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// Configured by the operator: always dialled, unless it evicts this node and there are enough other peers.
    Bootnode,
    /// Found on the local network: always dialled.
    Local,
    /// Connected before, or advertised: dialled while there are too few outbound connections.
    Learned,
}

/// How good an address is; the worst are dropped first. A peer may advertise anything, so what this node has found out
/// itself ranks first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// Configured for a bootnode.
    Configured,
    /// The last dial of it succeeded.
    Dialled,
    /// On the Internet.
    Public,
    /// On an own network, or a DNS name.
    Own,
    /// On this machine.
    Loopback,
}

impl Rank {
    fn of(address: &Multiaddr) -> Self {
        match ip_of(address) {
            Some(ip) if ip.is_loopback() => Self::Loopback,
            Some(ip) if !is_own_network(ip) => Self::Public,
            _ => Self::Own,
        }
    }
}

#[derive(Clone, Debug)]
struct KnownPeer {
    source: Source,
    /// Best first.
    addresses: Vec<(Rank, Multiaddr)>,
    /// When it was last connected. Only peers that have been are saved.
    seen: Option<UnixTime>,
    next_try: Instant,
    /// Consecutive failures since the last connection that was not short.
    failures: u32,
    /// The peer closed the last outbound connection early.
    evicted_us: bool,
    /// Since when it is connected, and whether this node dialled.
    connected: Option<(Instant, bool)>,
    is_dialling: bool,
}

impl KnownPeer {
    /// Whether it may be dialled now. A full bootnode's slots are left to nodes that need them more while this one has
    /// enough outbound connections.
    fn is_due(&self, now: Instant, outbound: usize) -> bool {
        let is_spared = self.source == Source::Bootnode && self.evicted_us && outbound >= OUTBOUND_TARGET;
        let wait = if is_spared { BACKOFF_MAX } else { Duration::ZERO };
        self.next_try + wait <= now
    }
}

/// The known peers and when to dial them.
#[derive(Debug)]
pub struct Dialer {
    our_id: PeerId,
    peers: HashMap<PeerId, KnownPeer>,
    changed: bool,
}

impl Dialer {
    /// Starts with the configured bootnodes and the peers that [`Self::to_text`] wrote in an earlier run.
    pub fn new(our_id: PeerId, bootnodes: Vec<(PeerId, Multiaddr)>, known: &str, now: Instant) -> Self {
        let mut dialer = Self { our_id, peers: HashMap::new(), changed: false };
        let known: Vec<_> = known.lines().filter_map(parse_line).take(PEERS_MAX * ADDRESSES_MAX).collect();
        // An address that is added later ranks higher.
        for (seen, peer, address) in known.into_iter().rev() {
            dialer.add(peer, address, Source::Learned, now);
            if let Some(known) = dialer.peers.get_mut(&peer) {
                known.seen = Some(seen);
            }
        }
        let wait = if dialer.peers.is_empty() { Duration::ZERO } else { BOOTNODES_WAIT };
        for (peer, address) in bootnodes {
            dialer.add(peer, address, Source::Bootnode, now + wait);
        }
        dialer.changed = false;
        dialer
    }

    /// Writes one line per address: the Unix time of the last connection, the address with the peer id. Latest first.
    pub fn to_text(&self) -> String {
        let mut seen: Vec<_> = self.peers.iter().filter_map(|(peer, known)| Some((known.seen?, peer, known))).collect();
        seen.sort_by_key(|(seen, peer, _)| (Reverse(*seen), **peer));
        let mut text = String::new();
        for (seen, peer, known) in seen {
            for (_, address) in &known.addresses {
                // Writing to a string does not fail.
                let _ = writeln!(text, "{seen} {address}/p2p/{peer}");
            }
        }
        text
    }

    /// Whether the result of [`Self::to_text`] has changed since the last call.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// Whether any peers other than bootnodes are known.
    pub fn knows_other_peers(&self) -> bool {
        self.peers.values().any(|known| known.source != Source::Bootnode)
    }

    /// Adds a peer that was found on the local network.
    pub fn add_local(&mut self, peer: PeerId, address: Multiaddr, now: Instant) {
        self.add(peer, address, Source::Local, now);
    }

    /// Adds addresses that a connected peer advertises for itself.
    pub fn add_advertised(&mut self, peer: PeerId, addresses: Vec<Multiaddr>, now: Instant, time: UnixTime) {
        for address in addresses {
            self.add(peer, address, Source::Learned, now);
        }
        self.mark_seen(&peer, time);
    }

    /// Notes an outbound connection.
    pub fn outbound_connected(&mut self, peer: PeerId, address: &Multiaddr, now: Instant, time: UnixTime) {
        self.add(peer, address.clone(), Source::Learned, now);
        if let Some(known) = self.peers.get_mut(&peer) {
            let before = known.addresses.clone();
            for (rank, known_address) in &mut known.addresses {
                if known_address == address && *rank != Rank::Configured {
                    *rank = Rank::Dialled;
                }
            }
            known.addresses.sort_by_key(|(rank, _)| *rank);
            self.changed |= known.addresses != before;
        }
        self.connected(&peer, true, now, time);
    }

    /// Notes an inbound connection.
    pub fn inbound_connected(&mut self, peer: &PeerId, now: Instant, time: UnixTime) {
        self.connected(peer, false, now, time);
    }

    /// A connection replaces the one before, which says no more about the peer.
    fn connected(&mut self, peer: &PeerId, is_dialer: bool, now: Instant, time: UnixTime) {
        if let Some(known) = self.peers.get_mut(peer) {
            known.is_dialling = false;
            known.connected = Some((now, is_dialer));
        }
        self.mark_seen(peer, time);
    }

    /// Notes that peers are still connected: for all at once as soon as it is worth a write for one, or with `force`.
    pub fn mark_still_connected<'a>(&mut self, peers: impl Iterator<Item = &'a PeerId>, time: UnixTime, force: bool) {
        let peers: Vec<&PeerId> = peers.collect();
        let seen = |peer: &&PeerId| self.peers.get(*peer).and_then(|known| known.seen);
        if !force && !peers.iter().filter_map(seen).any(|seen| is_step(seen, time)) {
            return;
        }
        for peer in peers {
            let Some(known) = self.peers.get_mut(peer) else { continue };
            self.changed |= known.seen != Some(time);
            known.seen = Some(time);
        }
    }

    fn mark_seen(&mut self, peer: &PeerId, time: UnixTime) {
        let Some(known) = self.peers.get_mut(peer) else { return };
        if known.seen.is_none_or(|seen| is_step(seen, time)) {
            known.seen = Some(time);
            self.changed = true;
        }
    }

    /// Notes that this node is about to close a peer's connection, whose end then says nothing about the peer.
    pub fn disconnecting(&mut self, peer: &PeerId) {
        if let Some(known) = self.peers.get_mut(peer) {
            known.connected = None;
        }
    }

    /// Notes that a peer's connection has closed. Returns true if a bootnode has evicted this node for the first time.
    pub fn disconnected(&mut self, peer: &PeerId, now: Instant) -> bool {
        let Some(known) = self.peers.get_mut(peer) else { return false };
        known.next_try = known.next_try.max(now + BACKOFF_MIN);
        match known.connected.take() {
            Some((since, _)) if now.duration_since(since) >= SHORT_CONNECTION => {
                (known.failures, known.evicted_us) = (0, false);
            }
            Some((_, true)) => {
                known.evicted_us = true;
                return self.back_off(peer, now);
            }
            // An inbound connection does not show whether the peer would accept an outbound one.
            Some((_, false)) | None => {}
        }
        false
    }

    /// Notes the end of a dial that says nothing about the peer.
    pub fn dial_ended(&mut self, peer: &PeerId, now: Instant) {
        let Some(known) = self.peers.get_mut(peer) else { return };
        known.is_dialling = false;
        known.next_try = known.next_try.max(now + BACKOFF_MIN);
    }

    /// Notes a failed dial. Returns true if it is the first failure of a bootnode.
    pub fn dial_failed(&mut self, peer: &PeerId, now: Instant) -> bool {
        let Some(known) = self.peers.get_mut(peer) else { return false };
        (known.is_dialling, known.evicted_us) = (false, false);
        for (rank, address) in known.addresses.iter_mut().filter(|(rank, _)| *rank == Rank::Dialled) {
            *rank = Rank::of(address);
        }
        self.back_off(peer, now)
    }

    fn back_off(&mut self, peer: &PeerId, now: Instant) -> bool {
        let Some(known) = self.peers.get_mut(peer) else { return false };
        known.failures = known.failures.saturating_add(1);
        let is_bootnode = known.source == Source::Bootnode;
        let max = if is_bootnode { BACKOFF_BOOTNODE_MAX } else { BACKOFF_MAX };
        let doublings = known.failures.saturating_sub(1).min(16);
        known.next_try = now + (BACKOFF_MIN * (1 << doublings)).min(max);
        let failures = known.failures;
        if failures >= FAILURES_MAX {
            self.forget(peer);
        }
        is_bootnode && failures == 1
    }

    /// Removes a peer unless it is a bootnode.
    pub fn forget(&mut self, peer: &PeerId) {
        if self.peers.get(peer).is_some_and(|known| known.source != Source::Bootnode) {
            self.peers.remove(peer);
            self.changed = true;
        }
    }

    /// Returns the peers to dial now, given the number of outbound connections, and marks them as being dialled.
    pub fn due(
        &mut self,
        now: Instant,
        outbound: usize,
        is_connected: impl Fn(&PeerId) -> bool,
    ) -> Vec<(PeerId, Vec<Multiaddr>)> {
        let dialling = self.peers.values().filter(|known| known.is_dialling).count();
        let mut wanted = OUTBOUND_TARGET.saturating_sub(outbound + dialling);
        let mut ready: Vec<_> = self
            .peers
            .iter_mut()
            .filter(|(peer, known)| !known.is_dialling && known.is_due(now, outbound) && !is_connected(peer))
            .collect();
        ready.sort_by_key(|(_, known)| (known.failures, Reverse(known.seen)));
        let mut due = Vec::new();
        for (peer, known) in ready {
            if due.len() + dialling >= DIALS_MAX && known.source != Source::Bootnode {
                continue;
            }
            if known.source == Source::Learned {
                if wanted == 0 {
                    continue;
                }
                wanted -= 1;
            }
            known.is_dialling = true;
            due.push((*peer, known.addresses.iter().map(|(_, address)| address.clone()).collect()));
        }
        due
    }

    fn add(&mut self, peer: PeerId, address: Multiaddr, source: Source, next_try: Instant) {
        if peer == self.our_id {
            return;
        }
        if !self.peers.contains_key(&peer) && source != Source::Bootnode {
            self.make_room();
        }
        let known = self.peers.entry(peer).or_insert(KnownPeer {
            source,
            addresses: Vec::new(),
            seen: None,
            next_try,
            failures: 0,
            evicted_us: false,
            connected: None,
            is_dialling: false,
        });
        if known.source == Source::Learned {
            known.source = source;
        }
        if known.addresses.iter().all(|(_, known_address)| *known_address != address) {
            let is_configured = source == Source::Bootnode && known.addresses.is_empty();
            let rank = if is_configured { Rank::Configured } else { Rank::of(&address) };
            // The sort is stable: within a rank the newest address comes first.
            known.addresses.insert(0, (rank, address));
            known.addresses.sort_by_key(|(rank, _)| *rank);
            known.addresses.truncate(ADDRESSES_MAX);
            self.changed = true;
        }
    }

    /// Forgets the peer that has not been connected for the longest time if there are too many.
    fn make_room(&mut self) {
        if self.peers.len() < PEERS_MAX {
            return;
        }
        let others = self.peers.iter().filter(|(_, known)| known.source != Source::Bootnode);
        if let Some(oldest) = others.min_by_key(|(_, known)| known.seen).map(|(peer, _)| *peer) {
            self.peers.remove(&oldest);
        }
    }
}

/// Whether the time has moved enough to note it. It moves back when a clock that was ahead is set.
const fn is_step(seen: UnixTime, time: UnixTime) -> bool {
    time.0.abs_diff(seen.0) >= SEEN_STEP_S
}

fn parse_line(line: &str) -> Option<(UnixTime, PeerId, Multiaddr)> {
    let (seen, address) = line.split_once(' ')?;
    let (peer, address) = split_peer_id(address.parse().ok()?)?;
    Some((UnixTime(seen.parse().ok()?), peer, address))
}

#[cfg(test)]
mod tests;
