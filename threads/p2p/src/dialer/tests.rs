mod decoys;
mod rounds;

use super::*;

const TIME: UnixTime = UnixTime(1_700_000_000);
const KEY: Key = Key([7; 16]);
/// Outbound connections of which none is missing.
const ALL: usize = 10;
const OUTBOUND_TARGET: usize = ALL - UNLISTED_TARGET;

/// An address in a group of its own.
fn address(number: usize) -> Multiaddr {
    format!("/ip4/{}.{}.8.8/tcp/9171", 11 + number / 250, number % 250).parse().unwrap()
}

/// A node with this bootnode and file.
fn node(bootnodes: &[(PeerId, Multiaddr)], known: &str, now: Instant) -> Dialer {
    Dialer::new(PeerId::random(), KEY, ALL, bootnodes.to_vec(), known, now)
}

fn due(dialer: &mut Dialer, now: Instant, outbound: usize) -> Vec<PeerId> {
    dialer.due(now, outbound, || [9; 16], |_| false).into_iter().map(|(peer, _)| peer).collect()
}

/// A peer connects from its address and advertises it.
fn advertise(dialer: &mut Dialer, peer: PeerId, address: Multiaddr, now: Instant, time: UnixTime) {
    dialer.inbound_connected(&peer, now, time);
    dialer.add_advertised(peer, ip_of(&address), vec![address], now, time);
}

#[test]
fn bootnodes_are_retried_forever_at_least_every_minute() {
    let (start, boot) = (Instant::now(), PeerId::random());
    let mut dialer = node(&[(boot, address(1))], "", start);
    assert_eq!(due(&mut dialer, start, 0), [boot]);
    assert!(due(&mut dialer, start, 0).is_empty(), "it is being dialled");
    assert!(dialer.dial_failed(&boot, start), "the first failure is reported");
    let mut now = start;
    for _ in 0..200 {
        assert!(due(&mut dialer, now, 50).is_empty());
        now += BACKOFF_BOOTNODE_MAX;
        assert_eq!(due(&mut dialer, now, 50), [boot], "dialled however many outbound connections there are");
        assert!(!dialer.dial_failed(&boot, now));
    }
}

#[test]
fn a_full_bootnode_is_retried_rarely_while_there_are_enough_outbound_connections() {
    let (now, boot) = (Instant::now(), PeerId::random());
    let mut dialer = node(&[(boot, address(1))], "", now);
    assert_eq!(due(&mut dialer, now, 50), [boot]);
    dialer.outbound_connected(boot, &address(1), now, TIME);
    dialer.disconnected(&boot, now);
    assert!(dialer.peers[&boot].is_due(now + BACKOFF_MIN, 0, false));
    assert!(due(&mut dialer, now + BACKOFF_MAX, OUTBOUND_TARGET).is_empty());
    assert_eq!(due(&mut dialer, now + BACKOFF_MAX + BACKOFF_MIN, OUTBOUND_TARGET), [boot]);
}

/// Returns the waits in seconds between dials of a peer that accepts each connection and closes it after some time.
fn waits_after(stays: Duration, peer: PeerId, dialer: &mut Dialer, mut now: Instant) -> Vec<u64> {
    let mut waits = Vec::new();
    for _ in 0..9 {
        assert_eq!(due(dialer, now, 0), [peer]);
        dialer.outbound_connected(peer, &address(1), now, TIME);
        now += stays;
        dialer.disconnected(&peer, now);
        let seconds = (0..).find(|seconds| {
            let later = now + Duration::from_secs(*seconds);
            dialer.peers[&peer].is_due(later, 0, false)
        });
        waits.extend(seconds);
        now += Duration::from_secs(seconds.unwrap());
    }
    waits
}

#[test]
fn short_connections_back_off_and_a_long_one_resets_the_wait() {
    let (now, boot, known) = (Instant::now(), PeerId::random(), PeerId::random());
    let mut dialer = node(&[(boot, address(1))], "", now);
    let short = SHORT_CONNECTION - Duration::from_millis(1);
    assert_eq!(waits_after(short, boot, &mut dialer, now), [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    let text = format!("17 {}/p2p/{known}", address(1));
    let mut dialer = node(&[], &text, now);
    assert_eq!(waits_after(Duration::ZERO, known, &mut dialer, now), [1, 2, 4, 8, 16, 32, 64, 128, 256]);
    let later = now + Duration::from_secs(3_600);
    assert_eq!(waits_after(SHORT_CONNECTION, known, &mut dialer, later), [1; 9]);
}

#[test]
fn the_first_eviction_by_a_bootnode_is_reported() {
    let (now, boot) = (Instant::now(), PeerId::random());
    let mut dialer = node(&[(boot, address(1))], "", now);
    let mut short_connection = || {
        dialer.outbound_connected(boot, &address(1), now, TIME);
        dialer.disconnected(&boot, now)
    };
    assert_eq!([short_connection(), short_connection(), short_connection()], [true, false, false]);
}

#[test]
fn short_inbound_connections_neither_count_as_failures_nor_reset_the_wait() {
    let (now, boot) = (Instant::now(), PeerId::random());
    let mut dialer = node(&[(boot, address(1))], "", now);
    for _ in 0..4 {
        dialer.dial_failed(&boot, now);
    }
    dialer.inbound_connected(&boot, now, TIME);
    dialer.disconnected(&boot, now);
    let known = &dialer.peers[&boot];
    assert_eq!((known.failures, known.next_try), (4, now + BACKOFF_MIN * 8));
}

#[test]
fn times_of_connected_peers_are_updated_rarely_and_all_at_once() {
    let (now, one, two) = (Instant::now(), PeerId::random(), PeerId::random());
    let mut dialer = node(&[], "", now);
    dialer.add_advertised(one, None, vec![address(1)], now, TIME);
    dialer.add_advertised(two, None, vec![address(2)], now, TIME.plus(300));
    assert!(dialer.take_changed());
    let peers = [one, two];
    let mut writes = Vec::new();
    for seconds in (330..7_200).step_by(30) {
        dialer.mark_still_connected(peers.iter(), TIME.plus(seconds), false);
        if dialer.take_changed() {
            writes.push(seconds);
        }
    }
    assert_eq!(writes, (600..7_200).step_by(600).collect::<Vec<u32>>());
    dialer.mark_still_connected(peers.iter(), TIME.plus(7_201), true);
    assert!(dialer.take_changed() && dialer.to_text().starts_with(&format!("new {}", TIME.plus(7_201))));
}

#[test]
fn known_peers_are_dialled_first_and_only_while_there_are_too_few_connections() {
    let (start, boot, known) = (Instant::now(), PeerId::random(), PeerId::random());
    let text = format!("17 {}/p2p/{known}\nnonsense\n", address(2));
    let mut dialer = node(&[(boot, address(1))], &text, start);
    assert!(due(&mut dialer, start, ALL).is_empty());
    assert_eq!(due(&mut dialer, start, 0), [known]);
    assert_eq!(due(&mut dialer, start + BOOTNODES_WAIT, 0), [boot]);
}

#[test]
fn a_peer_that_is_never_reached_is_forgotten_unless_this_machine_may_be_offline() {
    let (mut now, known) = (Instant::now(), PeerId::random());
    let mut dialer = node(&[], &format!("17 {}/p2p/{known}", address(2)), now);
    let (local, at): (_, Multiaddr) = (PeerId::random(), "/ip4/192.168.1.7/tcp/9171".parse().unwrap());
    dialer.add_local(local, at.clone(), now);
    dialer.outbound_connected(local, &at, now, TIME);
    for round in 0..2 * FAILURES_MAX {
        now += BACKOFF_MAX;
        assert!(due(&mut dialer, now, 0).contains(&known), "round {round}");
        dialer.dial_failed(&known, now);
    }
    dialer.outbound_connected(PeerId::random(), &address(4), now, TIME);
    for _ in 0..FAILURES_BAD {
        now += BACKOFF_MAX;
        assert!(due(&mut dialer, now, 0).contains(&known));
        dialer.dial_failed(&known, now);
    }
    assert!(!dialer.peers.contains_key(&known));
}

#[test]
fn peers_that_were_connected_are_saved_latest_first() {
    let (now, one, two) = (Instant::now(), PeerId::random(), PeerId::random());
    let mut dialer = node(&[], "", now);
    dialer.add_advertised(one, None, vec![address(1)], now, TIME);
    dialer.outbound_connected(two, &address(2), now, TIME.plus(1));
    dialer.add_local(PeerId::random(), address(3), now);
    assert!(dialer.take_changed() && !dialer.take_changed());
    let text = dialer.to_text();
    let lines = format!("tried {} {}/p2p/{two}\nnew {TIME} {}/p2p/{one}\n", TIME.plus(1), address(2), address(1));
    assert_eq!(text, lines);
    assert_eq!(node(&[], &text, now).to_text(), text);
}

#[test]
fn files_of_older_versions_are_read_as_new_peers() {
    let (now, one) = (Instant::now(), PeerId::random());
    let mut dialer = node(&[], &format!("17 {}/p2p/{one}\n", address(1)), now);
    assert_eq!(dialer.to_text(), format!("new 17 {}/p2p/{one}\n", address(1)));
    assert_eq!(due(&mut dialer, now, 0), [one]);
}

#[test]
fn peers_addresses_and_dials_are_bounded() {
    let (now, boot, one) = (Instant::now(), PeerId::random(), PeerId::random());
    let mut dialer = node(&[(boot, address(1))], "", now);
    dialer.add_advertised(one, None, vec![address(1)], now, TIME);
    for number in 0..3_000 {
        dialer.add_local(PeerId::random(), address(number), now);
        advertise(&mut dialer, PeerId::random(), address(number), now, TIME);
        dialer.outbound_connected(PeerId::random(), &address(number), now, TIME);
        dialer.add_advertised(one, None, vec![address(number)], now, TIME);
    }
    let of = |is_counted: fn(&Source) -> bool| dialer.peers.values().filter(|known| is_counted(&known.source)).count();
    assert_eq!(of(|source| *source == Source::Local), LOCAL_MAX);
    assert_eq!(of(|source| matches!(source, Source::Table(Bucket::Tried(_)))), 512);
    assert_eq!(of(|source| matches!(source, Source::Table(Bucket::New(_)))), 512);
    assert_eq!(dialer.peers[&one].addresses.len(), ADDRESSES_MAX);
    assert!(dialer.peers.contains_key(&boot));
    assert!(due(&mut dialer, now, 0).len() <= DIALS_MAX + 1);
}

#[test]
fn the_last_two_outbound_peers_are_unlisted_and_become_anchors() {
    let (now, boot) = (Instant::now(), PeerId::random());
    let file: String = (2..50).map(|number| format!("17 {}/p2p/{}\n", address(number), PeerId::random())).collect();
    let mut dialer = node(&[(boot, address(1))], &file, now);
    let mut purposes = Vec::new();
    for outbound in 0..ALL {
        let dialled = due(&mut dialer, now, outbound);
        // It dials as many as are missing, and one of the dials succeeds.
        for (number, peer) in dialled.iter().enumerate() {
            match number {
                0 => {
                    purposes.push(dialer.purpose(peer));
                    let address = dialer.peers[peer].addresses[0].1.clone();
                    dialer.outbound_connected(*peer, &address, now + Duration::from_secs(outbound as u64), TIME);
                }
                _ => dialer.dial_ended(peer, now - BACKOFF_MIN),
            }
        }
    }
    assert_eq!(purposes, [[Purpose::Full; OUTBOUND_TARGET].as_slice(), &[Purpose::Unlisted; UNLISTED_TARGET]].concat());
    assert!(dialer.update_anchors(now + 2 * ANCHOR_AGE));
    assert!(dialer.anchors.iter().all(|peer| dialer.purpose(peer) == Purpose::Unlisted));
    // After a restart they are dialled first, as unlisted ones again.
    let anchors: HashSet<PeerId> = dialer.anchors.iter().copied().collect();
    let mut restarted = node(&[], &dialer.to_text(), now);
    let dialled = due(&mut restarted, now, 0);
    assert_eq!(dialled[..ANCHORS].iter().copied().collect::<HashSet<_>>(), anchors);
    let unlisted = dialled.iter().filter(|peer| restarted.purpose(peer) == Purpose::Unlisted);
    assert_eq!(unlisted.copied().collect::<HashSet<_>>(), anchors);
}

#[test]
fn the_operator_limits_outbound_connections_but_not_those_to_bootnodes() {
    let (now, boot) = (Instant::now(), PeerId::random());
    let file: String = (2..50).map(|number| format!("17 {}/p2p/{}\n", address(number), PeerId::random())).collect();
    let limited = |target| Dialer::new(PeerId::random(), KEY, target, vec![(boot, address(1))], &file, now);
    assert_eq!(due(&mut limited(3), now, 0).len(), 3);
    assert_eq!(due(&mut limited(3), now, 2).len(), 1);
    assert_eq!(due(&mut limited(0), now + BOOTNODES_WAIT, 0), [boot]);
}

#[test]
fn feelers_dial_one_new_peer_at_a_time_while_no_connection_is_missing() {
    let (start, heard, tried) = (Instant::now(), PeerId::random(), PeerId::random());
    let mut dialer = node(&[], &format!("tried 17 {}/p2p/{tried}\n", address(2)), start);
    dialer.add_heard(heard, vec![address(1)], start);
    let mut now = start + FEELER_INTERVAL;
    assert!(due(&mut dialer, now - Duration::from_millis(1), ALL).is_empty());
    assert_eq!(due(&mut dialer, now, ALL), [heard]);
    assert_eq!(dialer.purpose(&heard), Purpose::Feeler);
    now += FEELER_INTERVAL;
    assert!(due(&mut dialer, now, ALL).is_empty(), "it is being dialled");
    dialer.dial_failed(&heard, now);
    now += FEELER_INTERVAL;
    assert_eq!(due(&mut dialer, now, ALL), [heard]);
    dialer.outbound_connected(heard, &address(1), now, TIME);
    dialer.feeler_ended(&heard);
    assert_eq!(dialer.peers[&heard].failures, 0, "it can be reached");
    now += FEELER_INTERVAL;
    assert!(due(&mut dialer, now, ALL).is_empty(), "it has been tried");
    assert!(dialer.to_text().contains(&format!("tried {TIME} {}/p2p/{heard}", address(1))));
}

/// Honest peers in groups of their own, which this node has dialled, and as many connected ones that it has only heard of.
fn honest(dialer: &mut Dialer, now: Instant) -> Vec<PeerId> {
    let peers: Vec<PeerId> = (0..20).map(|_| PeerId::random()).collect();
    for (number, peer) in peers.iter().enumerate() {
        if number < 10 {
            dialer.outbound_connected(*peer, &address(number), now, TIME);
        } else {
            advertise(dialer, *peer, address(number), now, TIME);
        }
    }
    peers
}

#[test]
fn throw_away_identities_of_one_group_displace_no_peer_and_get_few_dials_after_a_restart() {
    let now = Instant::now();
    let mut dialer = node(&[], "", now);
    let honest = honest(&mut dialer, now);
    for _ in 0..2_000 {
        let attacker = PeerId::random();
        advertise(&mut dialer, attacker, "/ip4/66.6.6.6/tcp/1".parse().unwrap(), now, TIME.plus(1_000));
        dialer.disconnected(&attacker, now);
    }
    assert!(honest.iter().all(|peer| dialer.peers.contains_key(peer)));
    let attackers = dialer.peers.len() - honest.len();
    assert!((1..=BUCKET_LEN).contains(&attackers), "{attackers} attackers are known");
    let text = dialer.to_text();
    let mut restarted = node(&[], &text, now);
    let dialled = due(&mut restarted, now, 0);
    let good = dialled.iter().filter(|peer| honest.contains(peer)).count();
    assert_eq!(dialled.len(), OUTBOUND_TARGET);
    assert!(good + 1 >= OUTBOUND_TARGET, "at most one dial goes to a group");
}

#[test]
fn nodes_that_the_dht_names_displace_no_peer() {
    let now = Instant::now();
    let mut dialer = node(&[], "", now);
    let honest = honest(&mut dialer, now);
    for number in 0..5_000 {
        dialer.add_heard(PeerId::random(), vec![address(100 + number)], now);
    }
    assert!(honest.iter().all(|peer| dialer.peers.contains_key(peer)));
    let heard = dialer.peers.len() - honest.len();
    assert!((BUCKET_LEN..=16 * BUCKET_LEN).contains(&heard), "{heard} of 512");
}

#[test]
fn a_full_bucket_takes_a_newcomer_for_a_peer_that_cannot_be_reached_but_not_for_a_connected_one() {
    let now = Instant::now();
    let mut dialer = node(&[], "", now);
    let at = |host: usize| format!("/ip4/66.6.6.{host}/tcp/1").parse::<Multiaddr>().unwrap();
    let peers: Vec<PeerId> = (0..=BUCKET_LEN).map(|_| PeerId::random()).collect();
    let newcomer = peers[BUCKET_LEN];
    let fill = |dialer: &mut Dialer, peer: usize| {
        dialer.add_advertised(peers[peer], ip_of(&at(peer)), vec![at(peer)], now, TIME);
    };
    (0..=BUCKET_LEN).for_each(|peer| fill(&mut dialer, peer));
    assert!(!dialer.peers.contains_key(&newcomer));
    for peer in [2, 3] {
        for _ in 0..FAILURES_BAD {
            dialer.dial_failed(&peers[peer], now);
        }
    }
    dialer.inbound_connected(&peers[2], now, TIME);
    fill(&mut dialer, BUCKET_LEN);
    assert!(dialer.peers.contains_key(&newcomer) && dialer.peers.contains_key(&peers[2]));
    assert!(!dialer.peers.contains_key(&peers[3]));
}

#[test]
fn one_outbound_connection_goes_to_a_group_but_own_networks_and_bootnodes_are_exempt() {
    let (now, boot) = (Instant::now(), PeerId::random());
    let at = |text: &str| text.parse::<Multiaddr>().unwrap();
    let file = |addresses: &[&str]| -> String {
        addresses.iter().map(|address| format!("17 {address}/p2p/{}\n", PeerId::random())).collect()
    };
    let public = file(&["/ip4/66.6.1.1/tcp/1", "/ip4/66.6.2.2/tcp/1", "/ip4/66.7.1.1/tcp/1"]);
    let mut dialer = node(&[], &public, now);
    assert_eq!(due(&mut dialer, now, 0).len(), 2);
    assert_eq!(due(&mut dialer, now, 0).len(), 0, "one of the group is being dialled");
    dialer.outbound_connected(PeerId::random(), &at("/ip4/66.6.3.3/tcp/1"), now, TIME);
    let mut own = node(&[], &file(&["/ip4/10.0.0.1/tcp/1", "/ip4/10.0.0.2/tcp/1", "/ip4/127.0.0.1/tcp/1"]), now);
    assert_eq!(due(&mut own, now, 0).len(), 3);
    let mut with_bootnode = node(&[(boot, at("/ip4/66.6.9.9/tcp/1"))], &public, now);
    assert_eq!(due(&mut with_bootnode, now + BOOTNODES_WAIT, 0).len(), 3);
}

#[test]
fn the_outbound_peers_with_the_longest_connections_are_dialled_first_after_a_restart() {
    let now = Instant::now();
    let mut dialer = node(&[], "", now);
    let peers: Vec<PeerId> = (0..100).map(|_| PeerId::random()).collect();
    for (number, peer) in peers.iter().enumerate() {
        let since = now + Duration::from_secs(number as u64);
        dialer.outbound_connected(*peer, &address(number), since, TIME);
    }
    assert!(!dialer.update_anchors(now + ANCHOR_AGE - Duration::from_millis(1)), "none is old enough");
    let later = now + ANCHOR_AGE * 3;
    assert!(dialer.update_anchors(later) && !dialer.update_anchors(later));
    let text = dialer.to_text();
    assert!(text.lines().take(2).all(|line| line.starts_with("anchor ")), "{text}");
    let restart = |text: &str| {
        let mut restarted = node(&[], text, now);
        due(&mut restarted, now, ALL - ANCHORS)
    };
    let first: HashSet<PeerId> = restart(&text).into_iter().collect();
    assert_eq!(first, HashSet::from([peers[0], peers[1]]));
    // A run that ends before a connection is old enough, as in a loop of crashes, keeps the anchors of the one before.
    let mut short = node(&[], &text, now);
    assert_eq!(due(&mut short, now, ALL - ANCHORS).into_iter().collect::<HashSet<_>>(), first);
    short.outbound_connected(peers[2], &address(2), now, TIME);
    assert!(!short.update_anchors(now + ANCHOR_AGE / 2));
    assert_eq!(restart(&short.to_text()).into_iter().collect::<HashSet<_>>(), first);
    // All connections end, as in an outage: the anchors stay.
    for peer in &peers {
        dialer.disconnected(peer, later);
    }
    assert!(!dialer.update_anchors(later));
    assert_eq!(restart(&dialer.to_text()).into_iter().collect::<HashSet<_>>(), first);
}

fn addresses(dialer: &Dialer, peer: &PeerId) -> Vec<String> {
    dialer.peers[peer].addresses.iter().map(|(_, address)| address.to_string()).collect()
}

#[test]
fn advertised_addresses_never_displace_better_ones() {
    let (now, one) = (Instant::now(), PeerId::random());
    let mut dialer = node(&[], "", now);
    let parsed = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<Multiaddr>>();
    dialer.add_advertised(one, None, vec![address(1), address(2)], now, TIME);
    let own = ["/ip4/10.0.0.7/tcp/1", "/ip4/127.0.0.1/tcp/1", "/ip4/127.0.0.1/tcp/2", "/ip6/::1/tcp/3"];
    dialer.add_advertised(one, None, parsed(&own), now, TIME);
    let (first, second) = (address(1).to_string(), address(2).to_string());
    assert_eq!(addresses(&dialer, &one), [second.as_str(), &first, "/ip4/10.0.0.7/tcp/1", "/ip6/::1/tcp/3"]);
    // It was dialled on an own network: that address ranks first, whatever the peer advertises.
    dialer.outbound_connected(one, &parsed(&own)[0], now, TIME);
    dialer.add_advertised(one, None, (10..20).map(address).collect(), now, TIME);
    let kept = addresses(&dialer, &one);
    assert_eq!((kept.len(), kept[0].as_str()), (ADDRESSES_MAX, own[0]));
    // The file preserves the order.
    let text = dialer.to_text();
    let loaded = node(&[], &text, now);
    assert_eq!(addresses(&loaded, &one)[..3], kept[1..]);
    dialer.dial_failed(&one, now);
    dialer.add_advertised(one, None, (20..30).map(address).collect(), now, TIME);
    assert!(!addresses(&dialer, &one).contains(&own[0].to_owned()), "the dial failed");
}

#[test]
fn the_configured_address_of_a_bootnode_stays_first() {
    let (now, boot) = (Instant::now(), PeerId::random());
    let configured: Multiaddr = "/ip4/127.0.0.1/tcp/9".parse().unwrap();
    let mut dialer = node(&[(boot, configured.clone())], "", now);
    dialer.add_advertised(boot, None, (0..9).map(address).collect(), now, TIME);
    dialer.outbound_connected(boot, &address(8), now, TIME);
    assert_eq!(addresses(&dialer, &boot)[..2], [configured.to_string(), address(8).to_string()]);
}

#[test]
fn this_node_and_connected_peers_are_not_dialled() {
    let (now, us, one) = (Instant::now(), PeerId::random(), PeerId::random());
    let mut dialer = Dialer::new(us, KEY, ALL, vec![(us, address(1))], "", now);
    dialer.add_advertised(one, None, vec![address(2)], now, TIME);
    assert!(dialer.due(now, 0, || [9; 16], |peer| *peer == one).is_empty());
    assert_eq!(due(&mut dialer, now, 0), [one]);
}

#[test]
fn a_dial_that_was_overtaken_by_another_connection_is_no_failure() {
    let (now, boot) = (Instant::now(), PeerId::random());
    let mut dialer = node(&[(boot, address(1))], "", now);
    assert_eq!(due(&mut dialer, now, 0), [boot]);
    dialer.dial_ended(&boot, now);
    let known = &dialer.peers[&boot];
    assert_eq!((known.failures, known.is_dialling, known.next_try), (0, false, now + BACKOFF_MIN));
    assert_eq!(due(&mut dialer, now + BACKOFF_MIN, 0), [boot]);
}

#[test]
fn the_end_of_a_connection_that_this_node_closes_is_no_eviction() {
    let (now, boot) = (Instant::now(), PeerId::random());
    let mut dialer = node(&[(boot, address(1))], "", now);
    dialer.outbound_connected(boot, &address(1), now, TIME);
    dialer.disconnecting(&boot);
    assert!(!dialer.disconnected(&boot, now), "nothing to report");
    let known = &dialer.peers[&boot];
    assert_eq!((known.failures, known.evicted_us, known.next_try), (0, false, now + BACKOFF_MIN));
}

#[test]
fn of_two_connections_the_later_one_counts() {
    let (now, boot) = (Instant::now(), PeerId::random());
    let mut dialer = node(&[(boot, address(1))], "", now);
    dialer.outbound_connected(boot, &address(1), now, TIME);
    let later = now + Duration::from_secs(1);
    dialer.inbound_connected(&boot, later, TIME);
    dialer.disconnected(&boot, later);
    assert!(!dialer.peers[&boot].evicted_us, "the outbound one was replaced, and the inbound one says nothing");
    dialer.inbound_connected(&boot, later, TIME);
    dialer.outbound_connected(boot, &address(1), later, TIME);
    dialer.disconnected(&boot, later);
    assert!(dialer.peers[&boot].evicted_us);
}

#[test]
fn what_the_dht_says_of_a_tried_peer_displaces_none_of_its_addresses() {
    let (now, tried) = (Instant::now(), PeerId::random());
    let mut dialer = node(&[], &format!("tried 17 {}/p2p/{tried}\n", address(2)), now);
    dialer.add_heard(tried, (0..4).map(|number| address(100 + number)).collect(), now);
    assert!(addresses(&dialer, &tried).contains(&address(2).to_string()), "{:?}", addresses(&dialer, &tried));
}

#[test]
fn dials_that_end_as_relayed_connections_make_room_for_others() {
    let mut now = Instant::now();
    let mut dialer = node(&[], "", now);
    for number in 0..40 {
        let peer = PeerId::random();
        advertise(&mut dialer, peer, address(number), now, TIME);
        dialer.disconnected(&peer, now);
    }
    let mut dials = 0;
    for _ in 0..10 {
        now += Duration::from_secs(3_600);
        let due = due(&mut dialer, now, 0);
        dials += due.len();
        due.iter().for_each(|peer| dialer.dial_ended(peer, now));
    }
    assert!(dials > 30, "{dials}");
}

#[test]
fn a_peer_that_the_operator_disconnects_is_left_alone_for_a_while() {
    let (now, boot) = (Instant::now(), PeerId::random());
    let mut dialer = node(&[(boot, address(1))], "", now);
    assert_eq!(due(&mut dialer, now, 0), [boot]);
    dialer.outbound_connected(boot, &address(1), now, TIME);
    dialer.leave_alone(&boot, now);
    assert!(!dialer.disconnected(&boot, now), "it is no failure of the bootnode");
    assert!(due(&mut dialer, now + BACKOFF_MAX - BACKOFF_MIN, 0).is_empty());
    assert_eq!(due(&mut dialer, now + BACKOFF_MAX, 0), [boot]);
}

#[test]
fn a_full_peer_is_retried_soon_and_never_forgotten_but_left_to_others_while_this_node_has_some() {
    let (mut now, full) = (Instant::now(), PeerId::random());
    let mut dialer = node(&[], &format!("tried 17 {}/p2p/{full}\n", address(1)), now);
    for round in 0..2 * FAILURES_MAX {
        assert_eq!(due(&mut dialer, now, 0), [full], "round {round}");
        dialer.outbound_connected(full, &address(1), now, TIME);
        assert_eq!(dialer.heard_full(&full), round == 0);
        dialer.disconnected(&full, now);
        assert!((dialer.full(), dialer.knows_only_full()) == (1, true));
        now += BACKOFF_FULL_MAX;
    }
    assert!(due(&mut dialer, now, OUTBOUND_KEPT).is_empty());
    assert_eq!(due(&mut dialer, now + BACKOFF_MAX, OUTBOUND_KEPT), [full]);
    dialer.outbound_connected(full, &address(1), now, TIME);
    now += SHORT_CONNECTION;
    dialer.disconnected(&full, now);
    assert!((dialer.full(), dialer.knows_only_full()) == (0, false));
    // What this node leaves to others it does not dial for a while.
    assert_eq!(due(&mut dialer, now + BACKOFF_MIN, 0), [full]);
    dialer.outbound_connected(full, &address(1), now, TIME);
    dialer.leaving(&full, now);
    dialer.disconnected(&full, now);
    assert!(due(&mut dialer, now + BACKOFF_MAX - BACKOFF_MIN, 0).is_empty());
    assert_eq!(due(&mut dialer, now + BACKOFF_MAX, 0), [full]);
}
