//! Budgets for responses: how many bytes this node uploads to a peer, to a netgroup and in all. Pure: time is an argument.
//!
//! A request of some bytes draws a response of up to a megabyte, and most nodes are at home behind a line whose upload is its
//! narrow side. A budget may be overdrawn by the response that it is used up with; until it has recovered, requests get the
//! response "busy", and the peer turns to other nodes.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

use libp2p::PeerId;
use p2pool_core::netgroup::{is_own_network, Netgroup};

use crate::origin::Origin;

/// Bytes at once to one peer: a newcomer's sync of 17,280 shares takes 12 MB.
const PEER_BURST: u64 = 16 << 20;
/// Bytes at once to one netgroup, and in all.
const NETGROUP_BURST: u64 = 2 * PEER_BURST;
const TOTAL_BURST: u64 = 4 * PEER_BURST;
/// Parts of the upload that one peer and one netgroup get in the long run.
const PEER_PART: u64 = 4;
const NETGROUP_PART: u64 = 2;
/// Peers and netgroups that are remembered. Past that, those whose budgets are full are forgotten.
const REMEMBERED_MAX: usize = 1_024;

/// A budget of bytes that recovers with time. The time at which it is full again is all it stores.
#[derive(Clone, Copy, Debug)]
struct Budget {
    per_s: u64,
    burst: u64,
    full_at: Instant,
}

impl Budget {
    fn new(per_s: u64, burst: u64, now: Instant) -> Self {
        Self { per_s, burst, full_at: now }
    }

    fn time(&self, bytes: u64) -> Duration {
        // The settings allow no smaller rate than a kilobyte a second.
        Duration::from_micros(bytes.saturating_mul(1_000_000) / self.per_s.max(1))
    }

    fn has_room(&self, now: Instant) -> bool {
        self.full_at <= now + self.time(self.burst)
    }

    fn charge(&mut self, bytes: u64, now: Instant) {
        self.full_at = self.full_at.max(now) + self.time(bytes);
    }
}

/// Budgets by peer or netgroup.
type Budgets<K> = HashMap<K, Budget>;

/// All budgets.
#[derive(Debug)]
pub struct Uploads {
    per_s: u64,
    total: Budget,
    netgroups: Budgets<Netgroup>,
    peers: Budgets<PeerId>,
}

impl Uploads {
    /// Full budgets that recover by so many bytes per second in all.
    pub fn new(per_s: u64, now: Instant) -> Self {
        let total = Budget::new(per_s, TOTAL_BURST, now);
        Self { per_s, total, netgroups: HashMap::new(), peers: HashMap::new() }
    }

    /// Whether a request of a peer may get a response. Peers on own networks do not use the line.
    pub fn has_room(&self, peer: &PeerId, origin: Origin, now: Instant) -> bool {
        if origin.ip.is_some_and(is_own_network) {
            return true;
        }
        let netgroup = origin.netgroup.and_then(|netgroup| self.netgroups.get(&netgroup));
        let budgets = [self.peers.get(peer), netgroup, Some(&self.total)];
        budgets.into_iter().flatten().all(|budget| budget.has_room(now))
    }

    /// Charges a response.
    pub fn charge(&mut self, peer: PeerId, origin: Origin, bytes: u64, now: Instant) {
        if origin.ip.is_some_and(is_own_network) {
            return;
        }
        charge(&mut self.peers, peer, Budget::new(self.per_s / PEER_PART, PEER_BURST, now), bytes, now);
        if let Some(netgroup) = origin.netgroup {
            let fresh = Budget::new(self.per_s / NETGROUP_PART, NETGROUP_BURST, now);
            charge(&mut self.netgroups, netgroup, fresh, bytes, now);
        }
        self.total.charge(bytes, now);
    }
}

fn charge<K: Eq + Hash>(budgets: &mut Budgets<K>, key: K, fresh: Budget, bytes: u64, now: Instant) {
    if budgets.len() >= REMEMBERED_MAX && !budgets.contains_key(&key) {
        budgets.retain(|_, budget| budget.full_at > now);
    }
    budgets.entry(key).or_insert(fresh).charge(bytes, now);
}

#[cfg(test)]
mod tests {
    use super::*;

    const PER_S: u64 = 600_000;
    const RESPONSE: u64 = 170_000;

    fn at(text: &str) -> Origin {
        let ip = text.parse().unwrap();
        Origin { ip: Some(ip), netgroup: Netgroup::of(ip) }
    }

    /// Requests until it is refused; returns the bytes of the responses.
    fn drain(uploads: &mut Uploads, peer: PeerId, from: &str, now: Instant) -> u64 {
        let mut bytes = 0;
        while uploads.has_room(&peer, at(from), now) {
            uploads.charge(peer, at(from), RESPONSE, now);
            bytes += RESPONSE;
        }
        bytes
    }

    #[test]
    fn a_peer_gets_a_sync_at_once_and_then_its_part_of_the_line() {
        let (start, peer) = (Instant::now(), PeerId::random());
        let mut uploads = Uploads::new(PER_S, start);
        let first = drain(&mut uploads, peer, "8.8.8.8", start);
        assert!((PEER_BURST..PEER_BURST + 2 * RESPONSE).contains(&first), "{first}");
        let minute = start + Duration::from_secs(60);
        let more = drain(&mut uploads, peer, "8.8.8.8", minute);
        assert!(more.abs_diff(60 * PER_S / PEER_PART) <= 2 * RESPONSE, "{more}");
    }

    #[test]
    fn many_peers_of_a_netgroup_and_many_netgroups_get_no_more_than_their_bounds() {
        let now = Instant::now();
        let mut uploads = Uploads::new(PER_S, now);
        let mut drain_new = |from: String| drain(&mut uploads, PeerId::random(), &from, now);
        let of_netgroup: u64 = (0..50).map(|host| drain_new(format!("8.8.8.{host}"))).sum();
        assert!((NETGROUP_BURST..NETGROUP_BURST + 2 * RESPONSE).contains(&of_netgroup), "{of_netgroup}");
        let others: u64 = (0..50).map(|third| drain_new(format!("9.9.{third}.9"))).sum();
        assert!((of_netgroup + others).abs_diff(TOTAL_BURST) <= 4 * RESPONSE, "{others}");
        assert!(uploads.has_room(&PeerId::random(), at("192.168.1.7"), now), "own networks are not limited");
    }

    #[test]
    fn full_budgets_are_forgotten() {
        let start = Instant::now();
        let mut uploads = Uploads::new(PER_S, start);
        for number in 0..3 * REMEMBERED_MAX as u32 {
            let (now, [a, b, c, _]) =
                (start + Duration::from_secs(1) * number, (0x0800_0000 + number * 256).to_be_bytes());
            uploads.charge(PeerId::random(), at(&format!("{a}.{b}.{c}.1")), 1_000, now);
        }
        assert!(uploads.netgroups.len() <= REMEMBERED_MAX && uploads.peers.len() <= REMEMBERED_MAX);
    }
}
