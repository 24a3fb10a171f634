use super::*;

const TIME: UnixTime = UnixTime(1_700_000_000);

fn address(number: usize) -> Multiaddr {
    format!("/ip4/8.8.{}.{}/tcp/9171", number / 250, number % 250).parse().unwrap()
}

fn due(dialer: &mut Dialer, now: Instant, outbound: usize) -> Vec<PeerId> {
    dialer.due(now, outbound, |_| false).into_iter().map(|(peer, _)| peer).collect()
}

#[test]
fn bootnodes_are_retried_for_ever_at_least_every_minute() {
    let (start, boot) = (Instant::now(), PeerId::random());
    let mut dialer = Dialer::new(PeerId::random(), vec![(boot, address(1))], "", start);
    assert_eq!(due(&mut dialer, start, 0), [boot]);
    assert!(due(&mut dialer, start, 0).is_empty(), "a dial is under way");
    assert!(dialer.failed(&boot, start), "the first failure is news");
    let mut now = start;
    for _ in 0..200 {
        assert!(due(&mut dialer, now, 50).is_empty());
        now += BACKOFF_BOOTNODE_MAX;
        assert_eq!(due(&mut dialer, now, 50), [boot], "wanted however many others there are");
        assert!(!dialer.failed(&boot, now));
    }
}

#[test]
fn a_bootnode_that_is_full_is_left_to_those_who_need_it_but_not_for_ever() {
    let (now, boot) = (Instant::now(), PeerId::random());
    let mut dialer = Dialer::new(PeerId::random(), vec![(boot, address(1))], "", now);
    assert_eq!(due(&mut dialer, now, 50), [boot]);
    dialer.reached(boot, &address(1), now, TIME);
    dialer.disconnected(&boot, now);
    assert!(dialer.candidates[&boot].is_due(now + BACKOFF_FIRST, OUTBOUND_AIM - 1));
    assert!(due(&mut dialer, now + BACKOFF_MAX, OUTBOUND_AIM).is_empty());
    assert_eq!(due(&mut dialer, now + BACKOFF_MAX + BACKOFF_FIRST, OUTBOUND_AIM), [boot]);
}

/// Dialled, let in, and shown out after some time, again and again: the waits between, in seconds.
fn waits_after(stays: Duration, peer: PeerId, dialer: &mut Dialer, mut now: Instant) -> Vec<u64> {
    let mut waits = Vec::new();
    for _ in 0..9 {
        assert_eq!(due(dialer, now, 0), [peer]);
        dialer.reached(peer, &address(1), now, TIME);
        now += stays;
        dialer.disconnected(&peer, now);
        let seconds = (0..).find(|seconds| {
            let later = now + Duration::from_secs(*seconds);
            dialer.candidates[&peer].is_due(later, 0)
        });
        waits.extend(seconds);
        now += Duration::from_secs(seconds.unwrap());
    }
    waits
}

#[test]
fn who_is_shown_out_comes_back_later_each_time_and_soon_after_a_connection_that_lasted() {
    let (now, boot, known) = (Instant::now(), PeerId::random(), PeerId::random());
    let mut dialer = Dialer::new(PeerId::random(), vec![(boot, address(1))], "", now);
    let short = LASTING - Duration::from_millis(1);
    assert_eq!(waits_after(short, boot, &mut dialer, now), [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    let text = format!("17 {}/p2p/{known}", address(1));
    let mut dialer = Dialer::new(PeerId::random(), vec![], &text, now);
    assert_eq!(waits_after(Duration::ZERO, known, &mut dialer, now), [1, 2, 4, 8, 16, 32, 64, 128, 256]);
    let later = now + Duration::from_secs(3_600);
    assert_eq!(waits_after(LASTING, known, &mut dialer, later), [1; 9]);
}

#[test]
fn that_a_bootnode_shows_us_out_is_news_once() {
    let (now, boot) = (Instant::now(), PeerId::random());
    let mut dialer = Dialer::new(PeerId::random(), vec![(boot, address(1))], "", now);
    let mut visit = || {
        dialer.reached(boot, &address(1), now, TIME);
        dialer.disconnected(&boot, now)
    };
    assert_eq!([visit(), visit(), visit()], [true, false, false]);
}

#[test]
fn visits_of_others_neither_count_as_failures_nor_end_the_wait_after_ours() {
    let (now, boot) = (Instant::now(), PeerId::random());
    let mut dialer = Dialer::new(PeerId::random(), vec![(boot, address(1))], "", now);
    for _ in 0..4 {
        dialer.failed(&boot, now);
    }
    dialer.connected(&boot, false, now, TIME);
    dialer.disconnected(&boot, now);
    let candidate = &dialer.candidates[&boot];
    assert_eq!((candidate.failures, candidate.next_try), (4, now + BACKOFF_FIRST * 8));
}

#[test]
fn that_peers_are_still_there_is_written_down_rarely_and_for_all_at_once() {
    let (now, one, two) = (Instant::now(), PeerId::random(), PeerId::random());
    let mut dialer = Dialer::new(PeerId::random(), vec![], "", now);
    dialer.learn(one, vec![address(1)], now, TIME);
    dialer.learn(two, vec![address(2)], now, TIME.plus(300));
    assert!(dialer.take_changed());
    let peers = [one, two];
    let mut writes = Vec::new();
    for seconds in (330..7_200).step_by(30) {
        dialer.still_connected(peers.iter(), TIME.plus(seconds), false);
        if dialer.take_changed() {
            writes.push(seconds);
        }
    }
    assert_eq!(writes, (600..7_200).step_by(600).collect::<Vec<u32>>());
    dialer.still_connected(peers.iter(), TIME.plus(7_201), true);
    assert!(dialer.take_changed() && dialer.to_text().starts_with(&TIME.plus(7_201).to_string()));
}

#[test]
fn known_peers_are_tried_first_and_only_while_there_are_too_few() {
    let (start, boot, known) = (Instant::now(), PeerId::random(), PeerId::random());
    let text = format!("17 {}/p2p/{known}\nnonsense\n", address(2));
    let mut dialer = Dialer::new(PeerId::random(), vec![(boot, address(1))], &text, start);
    assert!(due(&mut dialer, start, OUTBOUND_AIM).is_empty());
    assert_eq!(due(&mut dialer, start, 0), [known]);
    assert_eq!(due(&mut dialer, start + BOOTNODES_WAIT, 0), [boot]);
}

#[test]
fn a_peer_that_never_answers_is_forgotten_in_the_end() {
    let (mut now, known) = (Instant::now(), PeerId::random());
    let mut dialer = Dialer::new(PeerId::random(), vec![], &format!("17 {}/p2p/{known}", address(2)), now);
    for _ in 0..FAILURES_MAX {
        now += BACKOFF_MAX;
        assert_eq!(due(&mut dialer, now, 0), [known]);
        dialer.failed(&known, now);
    }
    assert!(due(&mut dialer, now + BACKOFF_MAX, 0).is_empty());
    assert_eq!(dialer.to_text(), "");
}

#[test]
fn who_was_connected_is_remembered_latest_first() {
    let (now, one, two) = (Instant::now(), PeerId::random(), PeerId::random());
    let mut dialer = Dialer::new(PeerId::random(), vec![], "", now);
    dialer.learn(one, vec![address(1)], now, TIME);
    dialer.learn(two, vec![address(2)], now, TIME.plus(1));
    dialer.found_nearby(PeerId::random(), address(3), now);
    assert!(dialer.take_changed() && !dialer.take_changed());
    let text = dialer.to_text();
    assert_eq!(text, format!("{} {}/p2p/{two}\n{TIME} {}/p2p/{one}\n", TIME.plus(1), address(2), address(1)));
    assert_eq!(Dialer::new(PeerId::random(), vec![], &text, now).to_text(), text);
}

#[test]
fn neither_peers_nor_addresses_nor_dials_grow_without_bound() {
    let (now, boot, one) = (Instant::now(), PeerId::random(), PeerId::random());
    let mut dialer = Dialer::new(PeerId::random(), vec![(boot, address(1))], "", now);
    for number in 0..2 * CANDIDATES_MAX {
        dialer.found_nearby(PeerId::random(), address(number), now);
        dialer.learn(one, vec![address(number)], now, TIME);
    }
    assert_eq!(dialer.candidates.len(), CANDIDATES_MAX);
    assert_eq!(dialer.candidates[&one].addresses.len(), ADDRESSES_MAX);
    assert!(dialer.candidates.contains_key(&boot));
    assert!(due(&mut dialer, now, 0).len() <= DIALS_AT_ONCE + 1);
}

fn addresses(dialer: &Dialer, peer: &PeerId) -> Vec<String> {
    dialer.candidates[peer].addresses.iter().map(|(_, address)| address.to_string()).collect()
}

#[test]
fn loopback_and_own_networks_do_not_push_out_public_addresses_nor_these_where_a_dial_led() {
    let (now, one) = (Instant::now(), PeerId::random());
    let mut dialer = Dialer::new(PeerId::random(), vec![], "", now);
    let parsed = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<Multiaddr>>();
    dialer.learn(one, vec![address(1), address(2)], now, TIME);
    let own = ["/ip4/10.0.0.7/tcp/1", "/ip4/127.0.0.1/tcp/1", "/ip4/127.0.0.1/tcp/2", "/ip6/::1/tcp/3"];
    dialer.learn(one, parsed(&own), now, TIME);
    let (first, second) = (address(1).to_string(), address(2).to_string());
    assert_eq!(addresses(&dialer, &one), [second.as_str(), &first, "/ip4/10.0.0.7/tcp/1", "/ip6/::1/tcp/3"]);
    // It is on our own network: that is where it was reached, whatever else it says.
    dialer.reached(one, &parsed(&own)[0], now, TIME);
    dialer.learn(one, (10..20).map(address).collect(), now, TIME);
    let kept = addresses(&dialer, &one);
    assert_eq!((kept.len(), kept[0].as_str()), (ADDRESSES_MAX, own[0]));
    // The file keeps the order.
    let text = dialer.to_text();
    let again = Dialer::new(PeerId::random(), vec![], &text, now);
    assert_eq!(addresses(&again, &one)[..3], kept[1..]);
    dialer.failed(&one, now);
    dialer.learn(one, (20..30).map(address).collect(), now, TIME);
    assert!(!addresses(&dialer, &one).contains(&own[0].to_owned()), "nobody is there any more");
}

#[test]
fn a_bootnodes_address_stays_first_whatever_it_says() {
    let (now, boot) = (Instant::now(), PeerId::random());
    let given: Multiaddr = "/ip4/127.0.0.1/tcp/9".parse().unwrap();
    let mut dialer = Dialer::new(PeerId::random(), vec![(boot, given.clone())], "", now);
    dialer.learn(boot, (0..9).map(address).collect(), now, TIME);
    dialer.reached(boot, &address(8), now, TIME);
    assert_eq!(addresses(&dialer, &boot)[..2], [given.to_string(), address(8).to_string()]);
}

#[test]
fn we_never_dial_ourselves_nor_the_connected() {
    let (now, us, one) = (Instant::now(), PeerId::random(), PeerId::random());
    let mut dialer = Dialer::new(us, vec![(us, address(1))], "", now);
    dialer.learn(one, vec![address(2)], now, TIME);
    assert!(dialer.due(now, 0, |peer| *peer == one).is_empty());
    assert_eq!(due(&mut dialer, now, 0), [one]);
}
