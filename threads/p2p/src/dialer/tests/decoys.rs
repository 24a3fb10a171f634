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

/// Dials a peer's addresses until a failure counts, a second after the last dial each time. Returns what was dialled, dial by dial.
fn dial_in_vain(dialer: &mut Dialer, peer: &PeerId, now: &mut Instant) -> Vec<Vec<String>> {
    let (before, mut dialled) = (dialer.peers[peer].failures, Vec::new());
    while dialer.peers[peer].failures == before {
        *now += BACKOFF_MIN;
        let due = dialer.due(*now, 0, || [9; 16], |_| false);
        assert_eq!(due.len(), 1, "{dialled:?}");
        dialled.push(due[0].1.iter().map(ToString::to_string).collect());
        dialer.dial_failed(peer, *now);
    }
    dialled
}

#[test]
fn decoys_that_the_dht_reports_come_after_a_peers_own_address_and_cost_it_no_failure() {
    let (mut now, known, tried) = (Instant::now(), PeerId::random(), PeerId::random());
    let own = [address(1).to_string()];
    let decoys: Vec<Multiaddr> = (10..14).map(address).collect();
    // Before and after the peer itself is heard, and after a restart.
    let mut dialer = node(&[], "", now);
    dialer.add_heard(known, decoys[..2].to_vec(), now);
    advertise(&mut dialer, known, address(1), now, TIME);
    dialer.disconnected(&known, now);
    dialer.add_heard(known, decoys.clone(), now);
    assert_eq!(dialer.to_text(), format!("new {TIME} {}/p2p/{known}\n", own[0]));
    for mut dialer in [node(&[], &dialer.to_text(), now), dialer] {
        dialer.add_heard(known, decoys.clone(), now);
        let dialled = dial_in_vain(&mut dialer, &known, &mut now);
        assert_eq!(dialled[0], own, "then the others");
        assert_eq!(dialled.len(), ADDRESSES_MAX);
        assert_eq!((dialer.peers[&known].failures, dialer.peers[&known].is_bad()), (1, false));
        assert_eq!(dial_in_vain(&mut dialer, &known, &mut now)[0], own);
    }
    // One that was dialled, and is down for a moment.
    let mut dialer = node(&[], "", now);
    dialer.outbound_connected(tried, &address(1), now, TIME);
    dialer.disconnecting(&tried);
    dialer.add_heard(tried, decoys, now);
    assert_eq!(dial_in_vain(&mut dialer, &tried, &mut now)[0], own);
    assert_eq!(dial_in_vain(&mut dialer, &tried, &mut now)[0], own);
}

#[test]
fn what_the_dht_reports_is_the_peers_own_address_once_the_peer_or_a_dial_confirms_it() {
    let (now, one, two) = (Instant::now(), PeerId::random(), PeerId::random());
    let mut dialer = node(&[], "", now);
    for peer in [one, two] {
        dialer.add_heard(peer, (1..5).map(address).collect(), now);
    }
    dialer.add_advertised(one, None, vec![address(2)], now, TIME);
    dialer.outbound_connected(two, &address(2), now, TIME);
    for peer in [one, two] {
        assert_eq!(addresses(&dialer, &peer).len(), ADDRESSES_MAX);
        assert_eq!(addresses(&dialer, &peer)[0], address(2).to_string());
    }
    assert_eq!(dialer.to_text().lines().count(), 2);
}

/// Otherwise one group of addresses would reach more buckets with each restart.
#[test]
fn a_tried_peer_has_the_bucket_of_its_best_address_after_a_restart() {
    let now = Instant::now();
    for _ in 0..20 {
        let peer = PeerId::random();
        let mut dialer = node(&[], "", now);
        dialer.add_advertised(peer, None, (1..5).map(address).collect(), now, TIME);
        dialer.outbound_connected(peer, &address(3), now, TIME);
        let restarted = node(&[], &dialer.to_text(), now);
        let bucket = KEY.tried_bucket(group(ip_of(&address(3))), &peer.to_bytes());
        assert_eq!([dialer, restarted].map(|dialer| dialer.peers[&peer].source), [Source::Table(bucket); 2]);
    }
}

#[test]
fn an_address_that_this_machine_has_no_route_to_costs_a_peer_no_failure() {
    let (mut now, peer) = (Instant::now(), PeerId::random());
    let v6: Multiaddr = "/ip6/2a00:1::1/tcp/1".parse().unwrap();
    let mut dialer = node(&[], "", now);
    dialer.add_advertised(peer, None, vec![address(1), v6.clone()], now, TIME);
    for expected in [v6, address(1)] {
        now += BACKOFF_MIN;
        assert_eq!(dialer.due(now, 0, || [9; 16], |_| false), [(peer, vec![expected.clone()])]);
        match expected == address(1) {
            true => dialer.outbound_connected(peer, &expected, now, TIME),
            false => assert!(!dialer.dial_failed(&peer, now)),
        }
        assert_eq!(dialer.peers[&peer].failures, 0);
    }
    dialer.disconnecting(&peer);
    let dialled = dialer.due(now + BACKOFF_MIN, 0, || [9; 16], |_| false);
    assert_eq!(dialled, [(peer, vec![address(1)])], "what can be reached is first from then on");
}

#[test]
fn a_decoy_in_a_group_with_a_connection_keeps_no_peer_from_being_dialled_again() {
    let (now, known, attacker) = (Instant::now(), PeerId::random(), PeerId::random());
    let mut dialer = node(&[], "", now);
    advertise(&mut dialer, known, address(1), now, TIME);
    dialer.disconnected(&known, now);
    dialer.add_heard(known, vec![address(2)], now);
    let now = now + BACKOFF_MIN;
    assert_eq!(due(&mut dialer, now, 0), [known]);
    dialer.dial_failed(&known, now);
    dialer.outbound_connected(attacker, &address(2), now, TIME);
    let later = now + BACKOFF_MIN;
    assert!(due(&mut dialer, later, 1).is_empty());
    let dialled = dialer.due(later + BACKOFF_BOOTNODE_MAX, 1, || [9; 16], |_| false);
    assert_eq!(dialled, [(known, vec![address(1)])]);
    assert_eq!(dialer.peers[&known].failures, 1, "as without the decoy");
}
