//! Peers of one /16 that advertise addresses elsewhere, where nothing has to respond.

use std::collections::HashSet;

use super::*;

/// The address of an attacker's peer.
fn own(number: usize) -> Multiaddr {
    format!("/ip4/66.6.{}.{}/tcp/1", number / 200, 1 + number % 200).parse().unwrap()
}

/// It between two others.
fn advertised(number: usize) -> Vec<Multiaddr> {
    let decoy = |host| format!("/ip4/{}.{}.1.{host}/tcp/1", 100 + number / 200, number % 200).parse().unwrap();
    vec![decoy(1), own(number), decoy(2)]
}

/// Dials for a while. Honest peers respond at once, an attacker's peer at its own address. Returns those that did.
fn dial(dialer: &mut Dialer, attackers: &HashSet<PeerId>, now: Instant) -> Vec<PeerId> {
    let mut outbound = Vec::new();
    for second in 10..30 {
        let now = now + Duration::from_secs(second);
        for (peer, addresses) in dialer.due(now, outbound.len(), || [9; 16], |_| false) {
            let is_attacker = attackers.contains(&peer);
            let responds = |address: &&Multiaddr| !is_attacker || address.to_string().starts_with("/ip4/66.6.");
            match addresses.iter().find(responds) {
                Some(address) => {
                    dialer.outbound_connected(peer, address, now, TIME);
                    outbound.push(peer);
                }
                None => drop(dialer.dial_failed(&peer, now)),
            }
        }
    }
    outbound
}

/// Of whom one at most may be the attacker's.
fn assert_few(outbound: &[PeerId], attackers: &HashSet<PeerId>) {
    let of_attacker = outbound.iter().filter(|peer| attackers.contains(*peer)).count();
    assert!(of_attacker <= 1 && outbound.len() > 5, "{of_attacker} of {} outbound connections", outbound.len());
}

#[test]
fn a_restarted_node_dials_one_peer_of_a_group_whatever_addresses_its_peers_invented() {
    let now = Instant::now();
    let mut dialer = node(&[], "", now);
    honest(&mut dialer, now);
    let attackers: HashSet<PeerId> = (0..2_000).map(|_| PeerId::random()).collect();
    for (number, peer) in attackers.iter().enumerate() {
        dialer.inbound_connected(peer, now, TIME);
        dialer.add_advertised(*peer, ip_of(&own(number)), advertised(number), now, TIME);
        dialer.disconnected(peer, now);
    }
    let mut restarted = node(&[], &dialer.to_text(), now);
    assert_few(&dial(&mut restarted, &attackers, now), &attackers);
}

#[test]
fn a_node_dials_one_peer_of_a_group_whatever_addresses_the_dht_names() {
    let now = Instant::now();
    let mut dialer = node(&[], "", now);
    for peer in honest(&mut dialer, now) {
        dialer.disconnected(&peer, now);
    }
    let attackers: HashSet<PeerId> = (0..4_000).map(|_| PeerId::random()).collect();
    for (number, peer) in attackers.iter().enumerate() {
        dialer.add_heard(*peer, advertised(number), now);
    }
    assert_few(&dial(&mut dialer, &attackers, now), &attackers);
}

#[test]
fn feelers_fill_few_buckets_of_the_tried_table_with_one_group() {
    let mut now = Instant::now();
    let mut dialer = node(&[], "", now);
    honest(&mut dialer, now);
    let mut attackers = HashSet::new();
    for number in 0..3_000 {
        let peer = PeerId::random();
        attackers.insert(peer);
        dialer.add_advertised(peer, ip_of(&own(number)), advertised(number), now, TIME);
        now += FEELER_INTERVAL;
        let random = || PeerId::random().to_bytes()[4..20].try_into().unwrap();
        for (peer, addresses) in dialer.due(now, ALL, random, |_| false) {
            match addresses.iter().find(|address| address.to_string().starts_with("/ip4/66.6.")) {
                Some(address) => {
                    dialer.outbound_connected(peer, address, now, TIME);
                    dialer.feeler_ended(&peer);
                }
                None => drop(dialer.dial_failed(&peer, now)),
            }
        }
    }
    let is_tried = |known: &KnownPeer| matches!(known.source, Source::Table(Bucket::Tried(_)));
    let tried = dialer.peers.iter().filter(|(peer, known)| attackers.contains(*peer) && is_tried(known)).count();
    assert!(tried <= 32, "{tried} of 512 tried peers are of one /16");
}
