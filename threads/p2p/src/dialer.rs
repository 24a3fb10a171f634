//! Whom to dial, and when again. Pure: time is an argument, dialling is somebody else's.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use libp2p::{Multiaddr, PeerId};
use p2pool_core::netgroup::is_own_network;
use p2pool_core::units::UnixTime;

use crate::address::{ip_of, split_peer_id};

/// Connections of our own making that we want at least: whoever dials us must not be all we know. Eight as bitcoind.
pub const OUTBOUND_AIM: usize = 8;
/// Peers remembered: what one file of 50 KB holds, and more than a search through them needs.
const CANDIDATES_MAX: usize = 500;
/// Addresses remembered of one peer.
const ADDRESSES_MAX: usize = 4;
/// Dials begun at once: a full list of dead peers must not use up the limit of connections under way.
const DIALS_AT_ONCE: usize = 8;
/// After a failure the next try comes this much later, then after twice the time, and so on.
const BACKOFF_FIRST: Duration = Duration::from_secs(1);
/// A bootnode is tried at least this often, for ever: two halves of a network find together by it.
const BACKOFF_BOOTNODE_MAX: Duration = Duration::from_secs(60);
/// Any other peer is tried at least this often, until it is given up; and a full bootnode by who has enough others.
const BACKOFF_MAX: Duration = Duration::from_secs(600);
/// A peer that failed this often in a row (about an hour and a half) is forgotten; bootnodes are not.
const FAILURES_MAX: u32 = 16;
/// Who closes a connection of our making sooner than this did not want it, being full or having banned us: that was a
/// failed try, however well the handshake went. Longer than anybody lets a visitor stay, see `behaviour`.
const LASTING: Duration = Duration::from_secs(30);
/// That a peer is still connected is worth writing down after this many seconds: an SD card bears few writes.
const SEEN_STEP_S: u32 = 600;
/// Where known peers are at hand, bootnodes get their turn this much later: they have enough to do.
const BOOTNODES_WAIT: Duration = Duration::from_secs(2);

/// How we know of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The operator named it: always to be connected, unless it does not want us and we have enough others.
    Bootnode,
    /// It is on the local network: always to be connected.
    Local,
    /// We were connected once, or heard of it: dialled while we have too few.
    Known,
}

/// What an address is worth; those of least worth give way first. The peer may say anything of itself, so what is known
/// comes before what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    /// A bootnode's, as the operator gave it.
    Given,
    /// A dial led there, and no dial failed since.
    Reached,
    /// On the Internet.
    Public,
    /// On a network of our own, or behind a name.
    Own,
    /// This machine.
    Loopback,
}

impl Place {
    fn of(address: &Multiaddr) -> Self {
        match ip_of(address) {
            Some(ip) if ip.is_loopback() => Self::Loopback,
            Some(ip) if !is_own_network(ip) => Self::Public,
            _ => Self::Own,
        }
    }
}

#[derive(Clone, Debug)]
struct Candidate {
    kind: Kind,
    /// The best first.
    addresses: Vec<(Place, Multiaddr)>,
    /// When we were last connected; only then it is worth remembering over a restart.
    seen: Option<UnixTime>,
    next_try: Instant,
    /// Since the last connection that lasted.
    failures: u32,
    /// The last dial of ours led to a connection that did not last.
    shown_out: bool,
    /// Connected since, and whether by a dial of ours.
    connected: Option<(Instant, bool)>,
    /// A dial is under way.
    dialling: bool,
}

impl Candidate {
    /// Whether it may be tried now, with `outbound` connections of our own making in place. We leave a bootnode's few
    /// places to those who need it if we do not.
    fn is_due(&self, now: Instant, outbound: usize) -> bool {
        let is_left_alone = self.kind == Kind::Bootnode && self.shown_out && outbound >= OUTBOUND_AIM;
        let wait = if is_left_alone { BACKOFF_MAX } else { Duration::ZERO };
        self.next_try + wait <= now
    }
}

/// Whom to dial.
#[derive(Debug)]
pub struct Dialer {
    our_id: PeerId,
    candidates: HashMap<PeerId, Candidate>,
    changed: bool,
}

impl Dialer {
    /// With the operator's bootnodes and the peers of earlier, as [`Self::to_text`] wrote them.
    pub fn new(our_id: PeerId, bootnodes: Vec<(PeerId, Multiaddr)>, known: &str, now: Instant) -> Self {
        let mut dialer = Self { our_id, candidates: HashMap::new(), changed: false };
        let known: Vec<_> = known.lines().filter_map(parse_line).take(CANDIDATES_MAX * ADDRESSES_MAX).collect();
        // The last added comes first.
        for (seen, peer, address) in known.into_iter().rev() {
            dialer.add(peer, address, Kind::Known, now);
            if let Some(candidate) = dialer.candidates.get_mut(&peer) {
                candidate.seen = Some(seen);
            }
        }
        let wait = if dialer.candidates.is_empty() { Duration::ZERO } else { BOOTNODES_WAIT };
        for (peer, address) in bootnodes {
            dialer.add(peer, address, Kind::Bootnode, now + wait);
        }
        dialer.changed = false;
        dialer
    }

    /// One line an address: Unix time when we were last connected, the address with the peer's id. Latest first.
    pub fn to_text(&self) -> String {
        let mut seen: Vec<_> =
            self.candidates.iter().filter_map(|(peer, candidate)| Some((candidate.seen?, peer, candidate))).collect();
        seen.sort_by_key(|(seen, peer, _)| (std::cmp::Reverse(*seen), **peer));
        let mut text = String::new();
        for (seen, peer, candidate) in seen {
            for (_, address) in &candidate.addresses {
                // Writing to a string does not fail.
                let _ = writeln!(text, "{seen} {address}/p2p/{peer}");
            }
        }
        text
    }

    /// Whether what [`Self::to_text`] says changed since the last call.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// Whether there is anybody to dial beside bootnodes.
    pub fn knows_others(&self) -> bool {
        self.candidates.values().any(|candidate| candidate.kind != Kind::Bootnode)
    }

    /// A peer answered on the local network.
    pub fn found_nearby(&mut self, peer: PeerId, address: Multiaddr, now: Instant) {
        self.add(peer, address, Kind::Local, now);
    }

    /// A connected peer can be dialled at these addresses.
    pub fn learn(&mut self, peer: PeerId, addresses: Vec<Multiaddr>, now: Instant, time: UnixTime) {
        for address in addresses {
            self.add(peer, address, Kind::Known, now);
        }
        self.saw(&peer, time);
    }

    /// A dial led to a peer.
    pub fn reached(&mut self, peer: PeerId, address: &Multiaddr, now: Instant, time: UnixTime) {
        self.add(peer, address.clone(), Kind::Known, now);
        if let Some(candidate) = self.candidates.get_mut(&peer) {
            let before = candidate.addresses.clone();
            for (place, known) in &mut candidate.addresses {
                if known == address && *place != Place::Given {
                    *place = Place::Reached;
                }
            }
            candidate.addresses.sort_by_key(|(place, _)| *place);
            self.changed |= candidate.addresses != before;
        }
        self.connected(&peer, true, now, time);
    }

    /// A peer is connected, perhaps once more, by a dial of ours or of its own.
    pub fn connected(&mut self, peer: &PeerId, is_dialer: bool, now: Instant, time: UnixTime) {
        if let Some(candidate) = self.candidates.get_mut(peer) {
            candidate.dialling = false;
            candidate.connected.get_or_insert((now, false)).1 |= is_dialer;
        }
        self.saw(peer, time);
    }

    /// These are still connected, which is noted for all at once when it is worth it for one, or `at_last`.
    pub fn still_connected<'a>(&mut self, peers: impl Iterator<Item = &'a PeerId>, time: UnixTime, at_last: bool) {
        let peers: Vec<&PeerId> = peers.collect();
        let seen = |peer: &&PeerId| self.candidates.get(*peer).and_then(|candidate| candidate.seen);
        let is_worth_it = |seen| time.since(seen) >= SEEN_STEP_S;
        if !at_last && !peers.iter().filter_map(seen).any(is_worth_it) {
            return;
        }
        for peer in peers {
            let Some(candidate) = self.candidates.get_mut(peer) else { continue };
            self.changed |= candidate.seen != Some(time);
            candidate.seen = Some(time);
        }
    }

    fn saw(&mut self, peer: &PeerId, time: UnixTime) {
        let Some(candidate) = self.candidates.get_mut(peer) else { return };
        if candidate.seen.is_none_or(|seen| time.since(seen) >= SEEN_STEP_S) {
            candidate.seen = Some(time);
            self.changed = true;
        }
    }

    /// The last connection of a peer is gone. After one that lasted it is worth another try soon. True if this is news
    /// about a bootnode: it does not want us.
    pub fn disconnected(&mut self, peer: &PeerId, now: Instant) -> bool {
        let Some(candidate) = self.candidates.get_mut(peer) else { return false };
        candidate.next_try = candidate.next_try.max(now + BACKOFF_FIRST);
        match candidate.connected.take() {
            Some((since, _)) if now.duration_since(since) >= LASTING => {
                (candidate.failures, candidate.shown_out) = (0, false);
            }
            Some((_, true)) => {
                candidate.shown_out = true;
                return self.back_off(peer, now);
            }
            // It came and went as it liked: whether it wants us when we come is not known.
            Some((_, false)) | None => {}
        }
        false
    }

    /// A dial failed. True if this is news about a bootnode: it fails for the first time.
    pub fn failed(&mut self, peer: &PeerId, now: Instant) -> bool {
        let Some(candidate) = self.candidates.get_mut(peer) else { return false };
        (candidate.dialling, candidate.shown_out) = (false, false);
        for (place, address) in candidate.addresses.iter_mut().filter(|(place, _)| *place == Place::Reached) {
            *place = Place::of(address);
        }
        self.back_off(peer, now)
    }

    fn back_off(&mut self, peer: &PeerId, now: Instant) -> bool {
        let Some(candidate) = self.candidates.get_mut(peer) else { return false };
        candidate.failures = candidate.failures.saturating_add(1);
        let max = if candidate.kind == Kind::Bootnode { BACKOFF_BOOTNODE_MAX } else { BACKOFF_MAX };
        let doublings = candidate.failures.saturating_sub(1).min(16);
        candidate.next_try = now + (BACKOFF_FIRST * (1 << doublings)).min(max);
        let (is_bootnode, failures) = (candidate.kind == Kind::Bootnode, candidate.failures);
        if !is_bootnode && failures >= FAILURES_MAX {
            self.forget(peer);
        }
        is_bootnode && failures == 1
    }

    /// A peer is banned, or is ourselves: not to be dialled any more, unless the operator named it.
    pub fn forget(&mut self, peer: &PeerId) {
        if self.candidates.get(peer).is_some_and(|candidate| candidate.kind != Kind::Bootnode) {
            self.candidates.remove(peer);
            self.changed = true;
        }
    }

    /// Whom to dial now, with `outbound` connections of our own making in place.
    pub fn due(
        &mut self,
        now: Instant,
        outbound: usize,
        is_connected: impl Fn(&PeerId) -> bool,
    ) -> Vec<(PeerId, Vec<Multiaddr>)> {
        let under_way = self.candidates.values().filter(|candidate| candidate.dialling).count();
        let mut wanted = OUTBOUND_AIM.saturating_sub(outbound + under_way);
        let mut ready: Vec<_> = self
            .candidates
            .iter_mut()
            .filter(|(peer, candidate)| !candidate.dialling && candidate.is_due(now, outbound) && !is_connected(peer))
            .collect();
        // Those that failed least and were seen last first.
        ready.sort_by_key(|(_, candidate)| (candidate.failures, std::cmp::Reverse(candidate.seen)));
        let mut due = Vec::new();
        for (peer, candidate) in ready {
            if due.len() + under_way >= DIALS_AT_ONCE && candidate.kind != Kind::Bootnode {
                continue;
            }
            if candidate.kind == Kind::Known {
                if wanted == 0 {
                    continue;
                }
                wanted -= 1;
            }
            candidate.dialling = true;
            due.push((*peer, candidate.addresses.iter().map(|(_, address)| address.clone()).collect()));
        }
        due
    }

    fn add(&mut self, peer: PeerId, address: Multiaddr, kind: Kind, next_try: Instant) {
        if peer == self.our_id {
            return;
        }
        if !self.candidates.contains_key(&peer) && kind != Kind::Bootnode {
            self.make_room();
        }
        let candidate = self.candidates.entry(peer).or_insert(Candidate {
            kind,
            addresses: Vec::new(),
            seen: None,
            next_try,
            failures: 0,
            shown_out: false,
            connected: None,
            dialling: false,
        });
        if candidate.kind == Kind::Known {
            candidate.kind = kind;
        }
        if candidate.addresses.iter().all(|(_, known)| *known != address) {
            let is_given = kind == Kind::Bootnode && candidate.addresses.is_empty();
            let place = if is_given { Place::Given } else { Place::of(&address) };
            // Of equal ones the newest comes first: the sort is stable.
            candidate.addresses.insert(0, (place, address));
            candidate.addresses.sort_by_key(|(place, _)| *place);
            candidate.addresses.truncate(ADDRESSES_MAX);
            self.changed = true;
        }
    }

    /// Forgets whom we have not been connected to for longest if there are too many.
    fn make_room(&mut self) {
        if self.candidates.len() < CANDIDATES_MAX {
            return;
        }
        let others = self.candidates.iter().filter(|(_, candidate)| candidate.kind != Kind::Bootnode);
        if let Some(oldest) = others.min_by_key(|(_, candidate)| candidate.seen).map(|(peer, _)| *peer) {
            self.candidates.remove(&oldest);
        }
    }
}

fn parse_line(line: &str) -> Option<(UnixTime, PeerId, Multiaddr)> {
    let (seen, address) = line.split_once(' ')?;
    let (peer, address) = split_peer_id(address.parse().ok()?)?;
    Some((UnixTime(seen.parse().ok()?), peer, address))
}

#[cfg(test)]
mod tests;
