//! Decides which peers to remember, which to dial, and when to retry. Pure: time and randomness are arguments, and the caller
//! dials.
//!
//! What strangers say must not displace what this node has found out: peers that it has dialled (tried) and those it has
//! only heard of (new) are in tables of their own, in which the addresses of one network reach few buckets (`buckets`).
//! Connected peers are never displaced. Outbound connections go to one peer per group of addresses, and after a restart
//! first to the anchors. While there are enough, feelers find out which of the new peers can be reached.

mod choice;
mod failures;
mod file;
mod rank;

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use libp2p::{Multiaddr, PeerId};
use p2pool_core::netgroup::is_own_network;
use p2pool_core::units::UnixTime;

use crate::address::ip_of;
use crate::buckets::{group, Bucket, Group, HeardFrom, Key, BUCKET_LEN};

use file::{parse_line, Kind, SavedPeer};
use rank::Rank;

/// The last of the outbound connections, whose peers this node does not list in the DHT: others cannot find out which they
/// are, and so not attack them to isolate this node. Two as in bitcoind.
const UNLISTED_TARGET: usize = 2;
/// Outbound peers that are remembered across restarts as anchors, so that a restart alone gives no attacker all connections.
/// Unlisted ones if possible, as in bitcoind.
const ANCHORS: usize = 2;
/// Outbound peers that are enough to leave full ones to others: as many as a node that is not reachable wants as relays.
pub const OUTBOUND_KEPT: usize = 3;
/// Time between two dials of new peers that only find out whether they can be reached. As in bitcoind.
const FEELER_INTERVAL: Duration = Duration::from_secs(120);
/// Age of a connection from which its peer may be an anchor.
const ANCHOR_AGE: Duration = Duration::from_secs(60);
/// Peers of the local network; others are bounded by their buckets.
const LOCAL_MAX: usize = 500;
/// Lines of the file that are read: twice what the tables hold.
const LINES_MAX: usize = 8_192;
/// Consecutive failures after which a peer gives up its place to another one.
const FAILURES_BAD: u32 = 3;
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
/// Consecutive failures (about an hour and a half) after which a peer other than a bootnode is forgotten, while another one is
/// connected: otherwise this machine may be offline.
const FAILURES_MAX: u32 = 16;
/// An outbound connection that the peer closes sooner counts as a failed dial: the peer is full or has banned this node.
/// Longer than peers stay in a temporary slot, see `behaviour`.
const SHORT_CONNECTION: Duration = Duration::from_secs(30);
/// Longest wait before a full peer is retried: a slot may become free at any time.
const BACKOFF_FULL_MAX: Duration = Duration::from_secs(20);
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
    /// In one of the tables: dialled while there are too few outbound connections.
    Table(Bucket),
}

/// What an outbound connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Everything.
    Full,
    /// Everything, but the DHT does not list the peer.
    Unlisted,
    /// To find out whether the peer can be reached; it is disconnected at once.
    Feeler,
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
    /// The peer has said on the last connection that it is full.
    is_full: bool,
    /// Since when it is connected, and whether this node dialled.
    connected: Option<(Instant, bool)>,
    is_dialling: bool,
    /// It was an anchor of an earlier run, and has not been dialled since.
    was_anchor: bool,
    /// What the last dial was for.
    purpose: Purpose,
    /// The group that the last dial or the outbound connection leads to, if others may not.
    dialled: Group,
    /// Groups that were dialled in vain, or could not be for this node's own limits, since the last round through all of them.
    failed: Vec<Group>,
    /// Whether one of them was dialled in vain.
    is_in_vain: bool,
    /// How many of its addresses that only the DHT reports were dialled in vain: the last ones.
    heard_in_vain: usize,
}

impl KnownPeer {
    /// Returns the group of its best address.
    fn group(&self) -> Group {
        group(self.addresses.first().and_then(|(_, address)| ip_of(address)))
    }

    /// Returns the group of an address if there is to be one outbound connection at most to that: own networks and configured
    /// peers are exempt.
    fn exclusive_group(&self, address: &Multiaddr) -> Group {
        let ip = ip_of(address).filter(|ip| matches!(self.source, Source::Table(_)) && !is_own_network(*ip))?;
        group(Some(ip))
    }

    /// Returns the group to dial next: that of its best address outside those that have failed.
    fn next_group(&self) -> Group {
        let groups = self.addresses.iter().map(|(_, address)| self.exclusive_group(address));
        groups.filter(Option::is_some).find(|group| !self.failed.contains(group)).flatten()
    }

    /// Whether there are groups left to dial in this round. A peer may advertise new addresses meanwhile.
    fn has_next_group(&self) -> bool {
        (1..ADDRESSES_MAX).contains(&self.failed.len()) && self.next_group().is_some()
    }

    /// Whether this node dialled it or is dialling it, for this purpose.
    fn is_outbound(&self, purpose: Purpose) -> bool {
        self.purpose == purpose && (self.is_dialling || matches!(self.connected, Some((_, true))))
    }

    /// Whether it may be displaced by another peer of its bucket.
    const fn is_bad(&self) -> bool {
        self.failures >= FAILURES_BAD && self.connected.is_none() && !self.is_dialling
    }

    /// Whether it may be dialled now, given the number of outbound connections and whether that is enough. The slots of a full
    /// peer are left to nodes that need them more while this one has some, those of a bootnode while it has enough.
    fn is_due(&self, now: Instant, outbound: usize, has_enough: bool) -> bool {
        let is_spared = self.source == Source::Bootnode && self.evicted_us && has_enough;
        let is_spared = is_spared || (self.is_full && outbound >= OUTBOUND_KEPT);
        let wait = if is_spared { BACKOFF_MAX } else { Duration::ZERO };
        self.next_try + wait <= now
    }
}

/// The known peers and when to dial them.
#[derive(Debug)]
pub struct Dialer {
    our_id: PeerId,
    key: Key,
    /// Outbound connections that this node wants, so that inbound peers are never all it knows.
    outbound_target: usize,
    peers: HashMap<PeerId, KnownPeer>,
    changed: bool,
    /// The anchors that were written last, perhaps by an earlier run.
    anchors: Vec<PeerId>,
    feeler_at: Instant,
}

impl Dialer {
    /// Starts with the configured bootnodes and the peers that [`Self::to_text`] wrote in an earlier run.
    pub fn new(
        our_id: PeerId,
        key: Key,
        outbound_target: usize,
        bootnodes: Vec<(PeerId, Multiaddr)>,
        known: &str,
        now: Instant,
    ) -> Self {
        let mut dialer = Self {
            our_id,
            key,
            outbound_target,
            peers: HashMap::new(),
            changed: false,
            anchors: Vec::new(),
            feeler_at: now,
        };
        let known: Vec<_> = known.lines().filter_map(parse_line).take(LINES_MAX).collect();
        // The bucket of a tried peer is that of its best address, which comes first.
        let mut groups = HashMap::new();
        for SavedPeer { peer, address, .. } in &known {
            groups.entry(*peer).or_insert_with(|| group(ip_of(address)));
        }
        // An address that is added later ranks higher.
        for SavedPeer { kind, seen, peer, address } in known.into_iter().rev() {
            if kind != Kind::New {
                dialer.add_tried(peer, address.clone(), groups.get(&peer).copied().flatten(), now);
            }
            let from = HeardFrom::Peer(group(ip_of(&address)));
            dialer.add_new(peer, address, from, now);
            if let Some(known) = dialer.peers.get_mut(&peer) {
                (known.seen, known.was_anchor) = (Some(seen), kind == Kind::Anchor);
            }
            // They stay anchors until others are old enough: this run may be a short one.
            if kind == Kind::Anchor && dialer.anchors.len() < ANCHORS && !dialer.anchors.contains(&peer) {
                dialer.anchors.push(peer);
            }
        }
        let wait = if dialer.peers.is_empty() { Duration::ZERO } else { BOOTNODES_WAIT };
        for (peer, address) in bootnodes {
            let is_first = dialer.peers.get(&peer).is_none_or(|known| known.addresses.is_empty());
            let rank = if is_first { Rank::Configured } else { Rank::of(&address) };
            dialer.add(peer, address, rank, Source::Bootnode, now + wait);
        }
        dialer.changed = false;
        dialer
    }

    /// Writes one line per address: which table the peer is in, the Unix time of the last connection, the address with the
    /// peer id. Anchors first, then the latest.
    pub fn to_text(&self) -> String {
        let kind = |peer: &PeerId, known: &KnownPeer| match known.source {
            _ if self.anchors.contains(peer) => Kind::Anchor,
            Source::Table(Bucket::New(_)) => Kind::New,
            _ => Kind::Tried,
        };
        let seen = self.peers.iter().filter_map(|(peer, known)| Some((kind(peer, known), known.seen?, peer, known)));
        let mut seen: Vec<_> = seen.collect();
        seen.sort_by_key(|(kind, seen, peer, _)| (*kind != Kind::Anchor, Reverse(*seen), **peer));
        let mut text = String::new();
        for (kind, seen, peer, known) in seen {
            // What the DHT alone reports would come back as the peer's own word.
            let own = known.addresses.iter().filter(|(rank, _)| *rank != Rank::Heard);
            let mut own: Vec<&Multiaddr> = own.map(|(_, address)| address).collect();
            // The first one decides the bucket of a tried peer when they are read.
            let bucket = |address| Source::Table(self.key.tried_bucket(group(ip_of(address)), &peer.to_bytes()));
            own.sort_by_key(|address| bucket(address) != known.source);
            for address in own {
                // Writing to a string does not fail.
                let _ = writeln!(text, "{} {seen} {address}/p2p/{peer}", kind.name());
            }
        }
        text
    }

    /// Notes the anchors: the outbound peers with the longest connections, of different groups, unlisted ones first. True if
    /// they have changed, which is to be written at once: the next restart may be a crash.
    pub fn update_anchors(&mut self, now: Instant) -> bool {
        let mut outbound: Vec<_> = self
            .peers
            .iter()
            .filter(|(_, known)| matches!(known.source, Source::Table(_)))
            .filter_map(|(peer, known)| match known.connected {
                Some((since, true)) if now.duration_since(since) >= ANCHOR_AGE => {
                    Some((known.purpose != Purpose::Unlisted, since, peer, known.group()))
                }
                _ => None,
            })
            .collect();
        outbound.sort_unstable();
        let mut groups = HashSet::new();
        let longest = outbound.into_iter().filter(|(_, _, _, group)| groups.insert(*group));
        let anchors: Vec<PeerId> = longest.map(|(_, _, peer, _)| *peer).take(ANCHORS).collect();
        // While none is old enough, as after an outage, the last ones stay.
        if anchors.is_empty() || anchors == self.anchors {
            return false;
        }
        self.anchors = anchors;
        self.changed = true;
        true
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
        let rank = Rank::of(&address);
        self.add(peer, address, rank, Source::Local, now);
    }

    /// Adds addresses that a peer, connected from `ip`, advertises for itself.
    pub fn add_advertised(
        &mut self,
        peer: PeerId,
        ip: Option<IpAddr>,
        addresses: Vec<Multiaddr>,
        now: Instant,
        time: UnixTime,
    ) {
        for address in addresses {
            self.add_new(peer, address, HeardFrom::Peer(group(ip)), now);
        }
        self.mark_seen(&peer, time);
    }

    /// Adds addresses of a peer that the DHT knows.
    pub fn add_heard(&mut self, peer: PeerId, addresses: Vec<Multiaddr>, now: Instant) {
        for address in addresses {
            // What others say of a peer displaces only what others said that was dialled in vain.
            if let Some(known) = self.peers.get_mut(&peer).filter(|known| known.addresses.len() >= ADDRESSES_MAX) {
                let is_known = known.addresses.iter().any(|(_, known_address)| *known_address == address);
                let is_heard = known.addresses.last().is_some_and(|(rank, _)| *rank == Rank::Heard);
                if is_known || !is_heard || known.heard_in_vain == 0 {
                    continue;
                }
                known.heard_in_vain -= 1;
                known.addresses.pop();
            }
            self.add_new(peer, address, HeardFrom::Dht, now);
        }
    }

    /// Notes an outbound connection.
    pub fn outbound_connected(&mut self, peer: PeerId, address: &Multiaddr, now: Instant, time: UnixTime) {
        self.add_tried(peer, address.clone(), group(ip_of(address)), now);
        self.add_new(peer, address.clone(), HeardFrom::Peer(group(ip_of(address))), now);
        if let Some(known) = self.peers.get_mut(&peer) {
            let before = known.addresses.clone();
            for (rank, known_address) in &mut known.addresses {
                if known_address == address && *rank != Rank::Configured {
                    *rank = Rank::Dialled;
                }
            }
            known.addresses.sort_by_key(|(rank, _)| *rank);
            self.changed |= known.addresses != before;
            known.dialled = known.exclusive_group(address);
            known.failed.clear();
            known.is_in_vain = false;
        }
        self.connected(&peer, true, now, time);
    }

    /// Returns what an outbound connection of a peer is for.
    pub fn purpose(&self, peer: &PeerId) -> Purpose {
        self.peers.get(peer).map_or(Purpose::Full, |known| known.purpose)
    }

    /// Notes an inbound connection.
    pub fn inbound_connected(&mut self, peer: &PeerId, now: Instant, time: UnixTime) {
        self.connected(peer, false, now, time);
    }

    /// A connection replaces the one before, which says no more about the peer.
    fn connected(&mut self, peer: &PeerId, is_dialer: bool, now: Instant, time: UnixTime) {
        if let Some(known) = self.peers.get_mut(peer) {
            (known.is_dialling, known.was_anchor) = (false, false);
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

    /// Notes that a peer, which this node dialled, says that it is full. Returns true if it is new.
    pub fn heard_full(&mut self, peer: &PeerId) -> bool {
        self.peers.get_mut(peer).is_some_and(|known| !std::mem::replace(&mut known.is_full, true))
    }

    /// Number of peers that turned this node away because they are full.
    pub fn full(&self) -> usize {
        self.peers.values().filter(|known| known.is_full && known.connected.is_none()).count()
    }

    /// Whether all peers that are known to exist are full: those that have never been connected may not.
    pub fn knows_only_full(&self) -> bool {
        let mut seen = self.peers.values().filter(|known| known.seen.is_some()).peekable();
        seen.peek().is_some() && seen.all(|known| known.is_full)
    }

    /// Notes that this node is about to leave a full peer to others, for a while.
    pub fn leaving(&mut self, peer: &PeerId, now: Instant) {
        self.disconnecting(peer);
        if let Some(known) = self.peers.get_mut(peer) {
            known.next_try = now + BACKOFF_MAX;
        }
    }

    /// Notes that a feeler has reached a peer, and is about to close the connection.
    pub fn feeler_ended(&mut self, peer: &PeerId) {
        if let Some(known) = self.peers.get_mut(peer) {
            (known.failures, known.evicted_us, known.is_full) = (0, false, false);
        }
        self.disconnecting(peer);
    }

    /// Notes that this node is about to close a peer's connection, whose end then says nothing about the peer.
    pub fn disconnecting(&mut self, peer: &PeerId) {
        if let Some(known) = self.peers.get_mut(peer) {
            known.connected = None;
        }
    }

    /// Leaves a peer alone for a while, because the operator has it disconnected.
    pub fn leave_alone(&mut self, peer: &PeerId, now: Instant) {
        if let Some(known) = self.peers.get_mut(peer) {
            (known.connected, known.next_try) = (None, now + BACKOFF_MAX);
        }
    }

    /// Notes that a peer's connection has closed. Returns true if a bootnode has evicted this node for the first time and
    /// did not say why.
    pub fn disconnected(&mut self, peer: &PeerId, now: Instant) -> bool {
        let Some(known) = self.peers.get_mut(peer) else { return false };
        known.next_try = known.next_try.max(now + BACKOFF_MIN);
        match known.connected.take() {
            Some((since, _)) if now.duration_since(since) >= SHORT_CONNECTION => {
                (known.failures, known.evicted_us, known.is_full) = (0, false, false);
            }
            Some((_, true)) => {
                known.evicted_us = true;
                let is_full = known.is_full;
                return self.back_off(peer, now) && !is_full;
            }
            // An inbound connection does not show whether the peer would accept an outbound one.
            Some((_, false)) | None => {}
        }
        false
    }

    /// Removes a peer unless it is a bootnode.
    pub fn forget(&mut self, peer: &PeerId) {
        if self.peers.get(peer).is_some_and(|known| known.source != Source::Bootnode) {
            self.peers.remove(peer);
            self.changed = true;
        }
    }

    /// Adds an address of a peer, and the peer to the new table if it is not known and its bucket has room.
    fn add_new(&mut self, peer: PeerId, address: Multiaddr, from: HeardFrom, now: Instant) {
        let bucket = self.key.new_bucket(group(ip_of(&address)), from);
        let rank = if from == HeardFrom::Dht { Rank::Heard } else { Rank::of(&address) };
        if self.peers.contains_key(&peer) || self.make_room(bucket) {
            self.add(peer, address, rank, Source::Table(bucket), now);
        }
    }

    /// Adds a peer that was dialled in this group to the tried table, or moves it there, if its bucket has room.
    fn add_tried(&mut self, peer: PeerId, address: Multiaddr, at: Group, now: Instant) {
        let bucket = self.key.tried_bucket(at, &peer.to_bytes());
        let is_tried = |known: &KnownPeer| !matches!(known.source, Source::Table(Bucket::New(_)));
        if self.peers.get(&peer).is_some_and(is_tried) || !self.make_room(bucket) {
            return;
        }
        match self.peers.get_mut(&peer) {
            Some(known) => {
                known.source = Source::Table(bucket);
                self.changed = true;
            }
            None => {
                let rank = Rank::of(&address);
                self.add(peer, address, rank, Source::Table(bucket), now);
            }
        }
    }

    fn add(&mut self, peer: PeerId, address: Multiaddr, rank: Rank, source: Source, next_try: Instant) {
        if peer == self.our_id {
            return;
        }
        if source == Source::Local && !self.peers.contains_key(&peer) {
            self.make_room_for_local();
        }
        let known = self.peers.entry(peer).or_insert(KnownPeer {
            source,
            addresses: Vec::new(),
            seen: None,
            next_try,
            failures: 0,
            evicted_us: false,
            is_full: false,
            connected: None,
            is_dialling: false,
            was_anchor: false,
            purpose: Purpose::Full,
            dialled: None,
            failed: Vec::new(),
            is_in_vain: false,
            heard_in_vain: 0,
        });
        if matches!((known.source, source), (Source::Table(_), Source::Bootnode | Source::Local)) {
            known.source = source;
        }
        let is_confirmed = |known_rank| known_rank == Rank::Heard && rank != Rank::Heard;
        if known.addresses.iter().all(|(rank, known_address)| *known_address != address || is_confirmed(*rank)) {
            known.addresses.retain(|(_, known_address)| *known_address != address);
            // The sort is stable: within a rank the newest address comes first.
            known.addresses.insert(0, (rank, address));
            known.addresses.sort_by_key(|(rank, _)| *rank);
            known.addresses.truncate(ADDRESSES_MAX);
            // The others are not saved.
            self.changed |= rank != Rank::Heard;
        }
    }

    /// Whether a bucket has room, perhaps after the peer with the most failures has left it. Good peers stay: a newcomer
    /// has shown nothing yet.
    fn make_room(&mut self, bucket: Bucket) -> bool {
        let source = Source::Table(bucket);
        let members = || self.peers.iter().filter(|(_, known)| known.source == source);
        if members().count() < BUCKET_LEN {
            return true;
        }
        let worst = members().filter(|(_, known)| known.is_bad()).max_by_key(|(_, known)| known.failures);
        let Some(worst) = worst.map(|(peer, _)| *peer) else { return false };
        self.peers.remove(&worst);
        true
    }

    /// Forgets the local peer that has not been connected for the longest time if there are too many.
    fn make_room_for_local(&mut self) {
        let local = || self.peers.iter().filter(|(_, known)| known.source == Source::Local);
        if local().count() < LOCAL_MAX {
            return;
        }
        let idle = local().filter(|(_, known)| known.connected.is_none());
        if let Some(oldest) = idle.min_by_key(|(_, known)| known.seen).map(|(peer, _)| *peer) {
            self.peers.remove(&oldest);
        }
    }
}

/// Whether the time has moved enough to note it. It moves back when a clock that was ahead is set.
const fn is_step(seen: UnixTime, time: UnixTime) -> bool {
    time.0.abs_diff(seen.0) >= SEEN_STEP_S
}

#[cfg(test)]
mod tests;
