use super::*;
use crate::origin::TorAddresses;

#[test]
fn netgroups_have_different_numbers_of_24_bits() {
    let peers = Peers::default();
    let number = |text: &str| peers.netgroup_number(Netgroup::of(text.parse().unwrap()));
    assert_eq!(number("8.8.8.8"), number("8.8.8.9"));
    assert_eq!(number("10.0.0.1"), 0);
    assert_ne!(peers.netgroup_number(Some(Netgroup::Tor)), 0);
    let numbers: std::collections::HashSet<u32> = (0..100).map(|third| number(&format!("8.8.{third}.8"))).collect();
    assert!(numbers.len() > 95 && numbers.iter().all(|number| (1..1 << 24).contains(number)));
}

/// An inbound peer that connected at this time from this address.
fn inbound(id: PeerId, connection: usize, address: &str, at: Instant) -> Peer {
    let (address, connection) = (format!("{address}/tcp/1").parse().unwrap(), ConnectionId::new_unchecked(connection));
    let origin = Origin::at(&address, &TorAddresses::default());
    Peer::new(id, connection, &address, origin, Direction::Inbound, UnixTime(0), at)
}

fn connect(peers: &mut Peers, id: PeerId, address: &str, at: Instant) {
    peers.add(id, inbound(id, 1, address, at));
}

fn random() -> [u8; 16] {
    PeerId::random().to_bytes()[..16].try_into().unwrap()
}

#[test]
fn a_newcomer_evicts_a_stranger_of_a_crowded_netgroup_at_once_and_otherwise_has_its_time() {
    let (mut peers, start, key) = (Peers::default(), Instant::now(), Key([7; 16]));
    let slots = InboundSlots { permanent: 72, temporary: 8, temporary_for: Duration::from_secs(10) };
    let second = |number: u64| start + Duration::from_secs(number);
    let strangers: Vec<PeerId> = (0..72).map(|_| PeerId::random()).collect();
    for (number, id) in strangers.iter().enumerate() {
        connect(&mut peers, *id, &format!("/ip4/8.8.{}.8", number % 9), second(number as u64));
    }
    assert!(peers.to_evict(slots, &key, random, |_| None, second(100)).is_empty());
    for number in 0..20 {
        let newcomer = PeerId::random();
        connect(&mut peers, newcomer, &format!("/ip4/9.9.{number}.9"), second(100 + number));
        let evicted = peers.to_evict(slots, &key, random, |_| None, second(100 + number));
        assert!(evicted.len() == 1 && strangers.contains(&evicted[0]), "newcomer {number}");
        peers.remove(&evicted[0]);
    }
    // The same from as many netgroups as there are peers.
    let mut peers = Peers::default();
    for number in 0..73 {
        connect(&mut peers, PeerId::random(), &format!("/ip4/8.8.{number}.8"), second(number));
    }
    assert!(peers.to_evict(slots, &key, random, |_| None, second(72 + 9)).is_empty());
    assert_eq!(peers.to_evict(slots, &key, random, |_| None, second(72 + 10)).len(), 1);
}

#[test]
fn newcomers_that_know_other_nodes_leave_before_a_silent_one() {
    let (mut peers, start) = (Peers::default(), Instant::now());
    let second = |number: u64| start + Duration::from_secs(number);
    for number in 0..79 {
        let peer = inbound(PeerId::random(), number, &format!("/ip4/8.8.{number}.8"), second(number as u64));
        peers.add(PeerId::random(), peer);
    }
    let silent = ConnectionId::new_unchecked(78);
    let learnt_at = |connection| (connection != silent).then_some(second(80));
    let mut evicted_at = |at| {
        let evicted = peers.to_evict(SLOTS, &Key([7; 16]), random, learnt_at, at);
        let left: Vec<Peer> = evicted.iter().filter_map(|id| peers.remove(id)).collect();
        (left.len(), left.iter().any(|peer| peer.connection == silent))
    };
    assert_eq!(evicted_at(second(80)), (0, false), "the responses are on their way");
    assert_eq!(evicted_at(second(80) + LEARNT_AFTER), (6, false));
    assert_eq!(evicted_at(second(78 + 9)), (0, false));
    assert_eq!(evicted_at(second(78 + 10)), (1, true));
}

/// Newcomers that got a slot and that were refused, one each second, while strangers that ask the DHT nothing take what they
/// can: of eight netgroups each once in five seconds, or through Tor.
fn newcomers_beside_silent_strangers(through_tor: bool) -> (usize, usize) {
    const LEAVE: Duration = Duration::from_secs(1);
    let (mut peers, start) = (Peers::default(), Instant::now());
    let ms = |number: u64| start + Duration::from_millis(number);
    for number in 0..72 {
        connect(&mut peers, PeerId::random(), &format!("/ip4/8.8.{number}.8"), ms(number));
    }
    let (mut admitted, mut refused) = (0, 0);
    let mut leaving: Vec<Instant> = Vec::new();
    let mut strangers_at = [0_u64; 8];
    for now in (100_000..400_000_u64).step_by(250) {
        leaving.retain(|since| ms(now).duration_since(*since) < LEAVE);
        let has_room = |peers: &Peers| peers.len() + leaving.len() < 80;
        let interval = if through_tor { 750 } else { 5_000 };
        let netgroups = if through_tor { 1 } else { strangers_at.len() };
        for (number, at) in strangers_at.iter_mut().enumerate().take(netgroups) {
            if now - *at >= interval && has_room(&peers) {
                *at = now;
                let mut peer = inbound(PeerId::random(), 1, &format!("/ip4/66.6.{number}.1"), ms(now));
                if through_tor {
                    peer.origin = Origin { ip: None, netgroup: Some(Netgroup::Tor) };
                }
                peers.add(PeerId::random(), peer);
            }
        }
        if now % 1_000 == 500 && now > 120_000 {
            if has_room(&peers) {
                admitted += 1;
                let address = format!("/ip4/77.{}.{}.1", now / 1_000 / 250, now / 1_000 % 250);
                // The DHT responds to it at once, known by its number.
                let peer = inbound(PeerId::random(), 1_000_000 + now as usize, &address, ms(now));
                peers.add(PeerId::random(), peer);
            } else {
                refused += 1;
            }
        }
        let learnt: HashMap<ConnectionId, Instant> = peers
            .iter()
            .filter(|(_, peer)| peer.connection > ConnectionId::new_unchecked(1_000_000))
            .map(|(_, peer)| (peer.connection, peer.connected_at + LEAVE))
            .collect();
        let learnt_at = |connection| learnt.get(&connection).copied().filter(|at| *at <= ms(now));
        for id in peers.to_evict(SLOTS, &Key([7; 16]), random, learnt_at, ms(now)) {
            peers.remove(&id);
            leaving.push(ms(now));
        }
    }
    (admitted, refused)
}

#[test]
fn silent_strangers_leave_temporary_slots_to_newcomers() {
    for through_tor in [false, true] {
        let (admitted, refused) = newcomers_beside_silent_strangers(through_tor);
        assert!(refused <= admitted, "{admitted} admitted, {refused} refused");
    }
}

#[test]
fn a_peer_that_connects_again_keeps_its_inbound_slot_and_gets_a_new_handle() {
    let (mut peers, start) = (Peers::default(), Instant::now());
    let ids: Vec<PeerId> = (0..3).map(|_| PeerId::random()).collect();
    let connect = |number: usize, at: Instant| inbound(ids[number % 3], number, "/ip4/8.8.8.8", at);
    let second = |number: usize| start + Duration::from_secs(number as u64);
    let handles: Vec<PeerHandle> = (0..3).map(|n| peers.add(ids[n], connect(n, second(n)))).collect();
    let mut again = connect(3, second(3));
    let old = peers.remove(&ids[0]).unwrap();
    again.keep_slot_of(&old);
    let handle = peers.add(ids[0], again);
    assert!(!handles.contains(&handle) && peers.id(handles[0]).is_none());
    let slots = InboundSlots { permanent: 2, temporary: 8, temporary_for: Duration::from_secs(10) };
    assert_eq!(peers.to_evict(slots, &Key([7; 16]), random, |_| None, second(20)), [ids[2]]);
}

const SLOTS: InboundSlots = InboundSlots { permanent: 72, temporary: 8, temporary_for: Duration::from_secs(10) };

/// Adds an idle stranger of a netgroup at this time, evicts, and returns who went.
fn arrive(peers: &mut Peers, netgroup: Option<Netgroup>, at: Instant) -> (PeerId, Vec<PeerId>) {
    let id = PeerId::random();
    let mut peer = inbound(id, 1, "/ip4/8.8.8.8", at);
    peer.origin = Origin { ip: None, netgroup };
    peers.add(id, peer);
    let evicted = peers.to_evict(SLOTS, &Key([7; 16]), random, |_| None, at);
    for id in &evicted {
        peers.remove(id);
    }
    (id, evicted)
}

fn members(peers: &Peers, netgroup: Netgroup) -> usize {
    peers.iter().filter(|(_, peer)| peer.origin.netgroup == Some(netgroup)).count()
}

#[test]
fn strangers_through_tor_take_a_third_of_the_slots_and_make_room_for_each_other_alone() {
    let (mut peers, start) = (Peers::default(), Instant::now());
    let second = |number: u64| start + Duration::from_secs(number);
    // A node whose slots are full, and no netgroup of which is crowded.
    let clearnet = |number: u8| Netgroup::of([8, 8, number, 8].into());
    let others: Vec<PeerId> =
        (0..48).map(|number| arrive(&mut peers, clearnet(number), second(number.into())).0).collect();
    for number in 0..200 {
        let (_, evicted) = arrive(&mut peers, Some(Netgroup::Tor), second(100 + number));
        assert!(evicted.iter().all(|id| !others.contains(id)), "{number}");
    }
    assert_eq!(members(&peers, Netgroup::Tor), 24);
    assert_eq!(peers.len(), 72);
    assert!(peers.are_slots_full(SLOTS));
    peers.remove(&others[0]);
    arrive(&mut peers, Some(Netgroup::Tor), second(400));
    assert!(!peers.are_slots_full(SLOTS), "one is free, although one through Tor was evicted");
    // They neither keep an honest newcomer through Tor out, nor drive it out before long.
    let mut kept = 0;
    for number in 0..100 {
        let (honest, _) = arrive(&mut peers, Some(Netgroup::Tor), second(1_000 + number));
        kept += usize::from(peers.get(&honest).is_some());
    }
    assert!(kept > 60, "{kept} of 100 stayed at first");
    // One that has sent a share stays, however many come after it.
    let useful = arrive_until_kept(&mut peers, second(2_000));
    peers.get_mut(&useful).unwrap().shared_at = Some(second(2_002));
    for number in 0..500 {
        arrive(&mut peers, Some(Netgroup::Tor), second(3_000 + number));
    }
    assert!(peers.get(&useful).is_some());
}

/// Strangers arrive through Tor until one is not evicted at once.
fn arrive_until_kept(peers: &mut Peers, at: Instant) -> PeerId {
    loop {
        let (id, _) = arrive(peers, Some(Netgroup::Tor), at);
        if peers.get(&id).is_some() {
            return id;
        }
    }
}

#[test]
fn strangers_through_tor_within_their_part_are_no_crowd() {
    let (mut peers, start) = (Peers::default(), Instant::now());
    let second = |number: u64| start + Duration::from_secs(number);
    for number in 0..60 {
        arrive(&mut peers, Netgroup::of([8, 8, (number % 9) as u8, 8].into()), second(number));
    }
    for number in 0..20 {
        arrive(&mut peers, Some(Netgroup::Tor), second(100 + number));
    }
    // The strangers of nine netgroups went, and not those through Tor.
    assert_eq!((members(&peers, Netgroup::Tor), peers.len()), (20, 72));
}

#[test]
fn what_others_of_a_netgroup_did_is_not_the_peers_fault() {
    let (mut peers, now) = (Peers::default(), Instant::now());
    let ids: Vec<PeerId> = (0..5).map(|_| PeerId::random()).collect();
    ids.iter().for_each(|id| connect(&mut peers, *id, "/ip4/8.8.8.8", now));
    for id in &ids[..4] {
        assert!((0..100).all(|_| peers.take(id, Action::Request, now).is_ok()));
    }
    assert_eq!(peers.take(&ids[4], Action::Request, now), Err(OverLimit::Netgroup));
    assert_eq!(peers.take(&ids[0], Action::Request, now), Err(OverLimit::Peer));
}
