//! Which inbound peer makes room for another, as in Bitcoin Core. Pure.
//!
//! An attacker cannot take all inbound slots, because each protection needs something else: addresses in other netgroups,
//! a short way, work, or time. Of the rest, the netgroup with the most peers loses its newest. Strangers that only come the same way
//! (Tor, relays) share a part of the slots: beyond it they make room for each other only.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use libp2p::PeerId;
use p2pool_core::netgroup::Netgroup;

use crate::buckets::Key;

/// Peers protected for their netgroup, chosen by a secret key, so that an attacker cannot aim at these netgroups.
const BY_NETGROUP: usize = 4;
/// Peers protected for the shortest round-trip time, which cannot be pretended.
const BY_LATENCY: usize = 8;
/// Peers protected for the latest share that was new here and accepted, which takes work.
const BY_SHARES: usize = 8;
/// Peers protected for the latest found block that was new here and accepted, which takes far more.
const BY_BLOCKS: usize = 4;

/// What is known of an inbound peer.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<T> {
    pub id: T,
    /// `None` on own networks, whose peers are not counted together.
    pub netgroup: Option<Netgroup>,
    pub latency: Option<Duration>,
    pub shared_at: Option<Instant>,
    pub found_at: Option<Instant>,
    pub since: Instant,
}

/// Removes the first peers by a key, those that deserve it most.
fn protect<T, K: Ord>(peers: &mut Vec<Candidate<T>>, count: usize, key: impl Fn(&Candidate<T>) -> Option<K>) {
    // Those without a key come last and are not protected.
    peers.sort_by_key(|peer| key(peer).map_or((true, None), |key| (false, Some(key))));
    let protected = peers.iter().take(count).take_while(|peer| key(peer).is_some()).count();
    peers.drain(..protected);
}

/// Removes the peers that are protected whatever the age of their connection.
fn protect_useful<T: Copy + Ord>(peers: &mut Vec<Candidate<T>>, key: &Key) {
    protect(peers, BY_NETGROUP, |peer| Some((key.hash(&[&netgroup_bytes(peer.netgroup?)]), peer.since, peer.id)));
    protect(peers, BY_LATENCY, |peer| Some((peer.latency?, peer.since, peer.id)));
    protect(peers, BY_SHARES, |peer| Some((Reverse(peer.shared_at?), peer.since, peer.id)));
    protect(peers, BY_BLOCKS, |peer| Some((Reverse(peer.found_at?), peer.since, peer.id)));
}

/// Removes the half that has been connected for longer.
fn protect_old<T: Copy + Ord>(peers: &mut Vec<Candidate<T>>) {
    let half = peers.len() / 2;
    protect(peers, half, |peer| Some((peer.since, peer.id)));
}

/// Returns the member of an anonymous netgroup to evict; `None` if it has none. Any of those that are not protected: neither the
/// newest, which attackers that came first would keep out, nor always the same, which attackers could drive out one by one.
pub fn choose_member(netgroup: Netgroup, mut peers: Vec<Candidate<PeerId>>, key: &Key, random: &Key) -> Option<PeerId> {
    let is_member = |peer: &Candidate<PeerId>| peer.netgroup == Some(netgroup);
    let newest =
        peers.iter().filter(|peer| is_member(peer)).max_by_key(|peer| (peer.since, peer.id)).map(|peer| peer.id);
    protect_useful(&mut peers, key);
    peers.retain(is_member);
    protect_old(&mut peers);
    peers.iter().map(|peer| peer.id).min_by_key(|id| random.hash(&[&id.to_bytes()])).or(newest)
}

/// Returns the peer to evict, and the number of unprotected peers of its netgroup, with itself; `None` if all are protected.
/// Strangers that only come the same way are not counted together.
pub fn choose<T: Copy + Ord>(mut peers: Vec<Candidate<T>>, key: &Key) -> Option<(Candidate<T>, usize)> {
    protect_useful(&mut peers, key);
    protect_old(&mut peers);
    let crowded = |peer: &Candidate<T>| peer.netgroup.filter(|netgroup| !netgroup.is_anonymous());
    let mut crowds: HashMap<Netgroup, usize> = HashMap::new();
    peers.iter().filter_map(crowded).for_each(|netgroup| *crowds.entry(netgroup).or_default() += 1);
    let crowd =
        |peer: &Candidate<T>| crowded(peer).and_then(|netgroup| crowds.get(&netgroup)).map_or(1, |crowd| *crowd);
    // Of two netgroups with as many peers, the one with the newest.
    let evicted = peers.iter().max_by_key(|peer| (crowd(peer), peer.since, peer.id))?;
    Some((*evicted, crowd(evicted)))
}

fn netgroup_bytes(netgroup: Netgroup) -> Vec<u8> {
    match netgroup {
        Netgroup::V4(bytes) => bytes.to_vec(),
        Netgroup::V6(parts) => parts.iter().flat_map(|part| part.to_be_bytes()).collect(),
        Netgroup::Tor => b"tor".to_vec(),
        Netgroup::Onion => b"onion".to_vec(),
        Netgroup::Relayed => b"relayed".to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = Key([7; 16]);

    /// An idle peer of this netgroup that connected at this second.
    fn peer(start: Instant, third: u8, second: u32) -> Candidate<u32> {
        Candidate {
            id: second,
            netgroup: Netgroup::of([8, 8, third, 1].into()),
            latency: Some(Duration::from_millis(50)),
            shared_at: None,
            found_at: None,
            since: start + Duration::from_secs(second.into()),
        }
    }

    #[test]
    fn few_peers_are_all_protected() {
        let start = Instant::now();
        let peers: Vec<_> = (0..12).map(|second| peer(start, second as u8, second)).collect();
        assert!(choose(peers, &KEY).is_none());
        assert!(choose::<u32>(Vec::new(), &KEY).is_none());
    }

    #[test]
    fn the_newest_of_the_most_crowded_netgroup_is_evicted() {
        let start = Instant::now();
        // Netgroup 1 has peers all the time, the others have one each.
        let third = |second: u32| if second.is_multiple_of(3) { 1 } else { 100 + second as u8 };
        let peers: Vec<_> = (0..60).map(|second| peer(start, third(second), second)).collect();
        let (evicted, crowd) = choose(peers, &KEY).unwrap();
        assert_eq!((evicted.id, crowd > 1), (57, true));
    }

    #[test]
    fn short_ways_work_and_age_protect() {
        let start = Instant::now();
        // All in one netgroup, so that only the netgroup's first four are protected for it.
        let mut peers: Vec<_> = (0..80).map(|second| peer(start, 1, second)).collect();
        for near in &mut peers[70..78] {
            near.latency = Some(Duration::from_millis(2));
        }
        peers[78].shared_at = Some(start);
        peers[79].found_at = Some(start);
        let mut order = Vec::new();
        while let Some((evicted, _)) = choose(peers.clone(), &KEY) {
            peers.retain(|peer| peer.id != evicted.id);
            order.push(evicted.id);
        }
        assert_eq!(order[..10], [69, 68, 67, 66, 65, 64, 63, 62, 61, 60]);
        assert!((70..80).all(|id| !order.contains(&id)) && !order.contains(&0));
    }

    #[test]
    fn idle_strangers_of_nine_netgroups_never_keep_anybody_out() {
        let start = Instant::now();
        let mut peers: Vec<_> = (0..72).map(|second| peer(start, (second % 9) as u8, second)).collect();
        // Newcomers of netgroups of their own, each far away.
        for newcomer in 0..20_u32 {
            let id = 100 + newcomer;
            let mut candidate = peer(start, 50 + newcomer as u8, id);
            candidate.latency = Some(Duration::from_millis(400));
            peers.push(candidate);
            let (evicted, crowd) = choose(peers.clone(), &KEY).unwrap();
            assert!(evicted.id < 72 && crowd > 1, "newcomer {newcomer}: {evicted:?}");
            peers.retain(|peer| peer.id != evicted.id);
        }
        assert_eq!(peers.iter().filter(|peer| peer.id >= 100).count(), 20);
    }
}
