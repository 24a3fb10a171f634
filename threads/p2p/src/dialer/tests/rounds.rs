//! Which addresses are dialled again, and when a peer is given up.

use super::*;

/// A peer with addresses [dead, in a group that another outbound connection leads to].
#[test]
fn a_dead_peer_with_a_second_address_in_a_taken_group_is_not_dialled_for_ever() {
    let (start, friend, dead) = (Instant::now(), PeerId::random(), PeerId::random());
    let mut dialer = node(&[], "", start);
    advertise(&mut dialer, friend, address(2), start, TIME);
    dialer.outbound_connected(friend, &address(2), start, TIME);
    // The newest comes first.
    dialer.add_advertised(dead, ip_of(&address(7)), vec![address(2), address(1)], start, TIME);
    let (mut now, mut dials) = (start, 0);
    for _ in 0..24 * 3_600 {
        now += Duration::from_secs(1);
        for (peer, addresses) in dialer.due(now, 1, || [9; 16], |peer| *peer == friend) {
            assert_eq!((peer, addresses), (dead, vec![address(1)]));
            dials += 1;
            dialer.dial_failed(&dead, now);
        }
    }
    let failures = dialer.peers.get(&dead).map(|known| (known.failures, known.is_bad()));
    assert!(failures.is_none(), "{dials} dials of one address in a day, still known with {failures:?}");
}

#[test]
fn a_bootnode_on_the_local_network_does_not_show_that_this_machine_is_online() {
    let (mut now, boot, known) = (Instant::now(), PeerId::random(), PeerId::random());
    let at: Multiaddr = "/ip4/192.168.1.7/tcp/9171".parse().unwrap();
    let mut dialer = node(&[(boot, at.clone())], &format!("17 {}/p2p/{known}", address(2)), now);
    dialer.outbound_connected(boot, &at, now, TIME);
    for _ in 0..2 * FAILURES_MAX {
        now += BACKOFF_MAX;
        due(&mut dialer, now, 1);
        dialer.dial_failed(&known, now);
    }
    assert!(dialer.peers.contains_key(&known));
}

/// The line comes back while eight dials are under way, which began without it. One of them is retried by TCP in time.
#[test]
fn dials_that_began_offline_forget_no_peer_when_the_first_one_connects() {
    let mut now = Instant::now();
    let peers: Vec<PeerId> = (0..DIALS_MAX).map(|_| PeerId::random()).collect();
    let lines: Vec<String> =
        peers.iter().enumerate().map(|(number, peer)| format!("17 {}/p2p/{peer}", address(number))).collect();
    let mut dialer = node(&[], &lines.join("\n"), now);
    for _ in 0..2 * FAILURES_MAX {
        now += BACKOFF_MAX;
        due(&mut dialer, now, 0);
        for peer in &peers {
            dialer.dial_failed(peer, now);
        }
    }
    assert_eq!(dialer.peers.len(), DIALS_MAX);
    now += BACKOFF_MAX;
    assert_eq!(due(&mut dialer, now, 0).len(), DIALS_MAX);
    dialer.outbound_connected(peers[0], &address(0), now + Duration::from_secs(1), TIME);
    for peer in &peers[1..] {
        dialer.dial_failed(peer, now + Duration::from_secs(9));
    }
    assert_eq!(dialer.peers.len(), DIALS_MAX, "known after the outage");
}

/// Once a dial has failed, the address that the peer advertised last comes first.
#[test]
fn a_tried_peer_keeps_its_bucket_across_a_restart_whatever_it_advertises() {
    let now = Instant::now();
    let mut kept = 0;
    for number in 0..20 {
        let peer = PeerId::random();
        let mut dialer = node(&[], "", now);
        dialer.outbound_connected(peer, &address(3), now, TIME);
        dialer.disconnecting(&peer);
        due(&mut dialer, now + BACKOFF_MAX, 0);
        dialer.dial_failed(&peer, now + BACKOFF_MAX);
        dialer.add_advertised(peer, ip_of(&address(3)), vec![address(100 + number)], now, TIME);
        let restarted = node(&[], &dialer.to_text(), now);
        kept += usize::from(dialer.peers[&peer].source == restarted.peers[&peer].source);
    }
    assert_eq!(kept, 20);
}

/// Such as that the address is banned, or its netgroup full.
#[test]
fn a_dial_that_own_limits_end_leaves_the_turn_to_the_peers_other_addresses() {
    let (mut now, peer) = (Instant::now(), PeerId::random());
    let mut dialer = node(&[], "", now);
    dialer.add_advertised(peer, None, vec![address(1), address(2)], now, TIME);
    let mut dialled = HashSet::new();
    for _ in 0..1_000 {
        now += BACKOFF_MIN;
        for (peer, addresses) in dialer.due(now, 0, || [9; 16], |_| false) {
            dialled.extend(addresses);
            dialer.dial_denied(&peer, now);
        }
    }
    assert_eq!(dialled.len(), 2, "{dialled:?}");
}

/// Other peers of its netgroup have taken all its connections.
#[test]
fn a_bootnode_that_own_limits_keep_out_is_dialled_once_a_minute() {
    let (start, boot) = (Instant::now(), PeerId::random());
    let mut dialer = node(&[(boot, address(1))], "", start);
    let mut dials = 0;
    for second in 0..600 {
        let now = start + Duration::from_secs(second);
        for (peer, _) in dialer.due(now, 0, || [9; 16], |_| false) {
            dials += 1;
            dialer.dial_denied(&peer, now);
        }
    }
    assert_eq!(dials, 10);
}

#[test]
fn decoys_of_an_unknown_peer_do_not_keep_its_true_address_out_for_ever() {
    let (mut now, peer) = (Instant::now(), PeerId::random());
    let mut dialer = node(&[], "", now);
    dialer.outbound_connected(PeerId::random(), &address(50), now, TIME);
    dialer.add_heard(peer, (10..14).map(address).collect(), now);
    for second in 0..3_600 {
        now += BACKOFF_MIN;
        // Its true address comes before others each time, which is the worst place.
        let decoys = (0..4).map(|number| address(20 + (second * 4 + number) % 400));
        dialer.add_heard(peer, std::iter::once(address(1)).chain(decoys).collect(), now);
        for (peer, addresses) in dialer.due(now, 1, || [9; 16], |_| false) {
            if addresses.contains(&address(1)) {
                return;
            }
            dialer.dial_failed(&peer, now);
        }
    }
    panic!("an hour of dials of decoys alone");
}

/// A round ends like that of a peer whose last group was dialled in vain.
#[test]
fn a_round_that_own_limits_end_is_a_failure_of_a_dead_peer_and_of_no_connected_one() {
    let (mut now, peer, friend) = (Instant::now(), PeerId::random(), PeerId::random());
    let mut dialer = node(&[], &format!("anchor 17 {}/p2p/{peer}", address(1)), now);
    dialer.add_advertised(peer, ip_of(&address(1)), vec![address(2)], now, TIME);
    let known = dialer.peers.get_mut(&peer).unwrap();
    (known.is_full, known.failures) = (true, FAILURES_BAD);
    due(&mut dialer, now, 0);
    dialer.dial_failed(&peer, now);
    now += BACKOFF_MIN;
    due(&mut dialer, now, 0);
    dialer.dial_denied(&peer, now);
    let known = &dialer.peers[&peer];
    assert_eq!((known.was_anchor, known.is_full, known.failures), (false, false, FAILURES_BAD + 1));
    // The other group is taken, and the peer connects before its turn.
    now += BACKOFF_MAX;
    due(&mut dialer, now, 0);
    dialer.dial_failed(&peer, now);
    let next = dialer.peers[&peer].next_group();
    let taken = [address(1), address(2)].into_iter().find(|address| group(ip_of(address)) == next).unwrap();
    dialer.outbound_connected(friend, &taken, now, TIME);
    dialer.inbound_connected(&peer, now, TIME);
    due(&mut dialer, now + BACKOFF_MIN, 1);
    assert_eq!(dialer.peers[&peer].failures, FAILURES_BAD + 1);
}
