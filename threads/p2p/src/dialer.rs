//! Whom to dial, and when again. Pure: time is an argument, dialling is somebody else's.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};
use p2pool_core::units::UnixTime;

use crate::prefix::{ip_of, is_own_network};

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
/// A bootnode is tried at least this often, for ever, by a node that needs it.
const BACKOFF_BOOTNODE_MAX: Duration = Duration::from_secs(60);
/// Any other peer is tried at least this often, until it is given up; about so often a bootnode by who has enough others.
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
    /// Connected since, and whether by a dial of ours.
    connected: Option<(Instant, bool)>,
    /// A dial is under way.
    dialling: bool,
}

impl Candidate {
    /// Whether it may be tried now, with `outbound` connections of our own making in place. A bootnode that fails leaves
    /// its places to those who need them if we do not.
    fn is_due(&self, now: Instant, outbound: usize) -> bool {
        let is_needed = self.kind != Kind::Bootnode || self.failures == 0 || outbound < OUTBOUND_AIM;
        let wait = if is_needed { Duration::ZERO } else { BACKOFF_MAX };
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

/// Splits an address that ends in a peer's id.
pub fn split_peer(mut address: Multiaddr) -> Option<(PeerId, Multiaddr)> {
    match address.pop()? {
        Protocol::P2p(peer) if !address.is_empty() => Some((peer, address)),
        _ => None,
    }
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
            Some((since, _)) if now.duration_since(since) >= LASTING => candidate.failures = 0,
            Some((_, true)) => return self.back_off(peer, now),
            // It came and went as it liked: whether it wants us when we come is not known.
            Some((_, false)) | None => {}
        }
        false
    }

    /// A dial failed. True if this is news about a bootnode: it fails for the first time.
    pub fn failed(&mut self, peer: &PeerId, now: Instant) -> bool {
        let Some(candidate) = self.candidates.get_mut(peer) else { return false };
        candidate.dialling = false;
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
    let (peer, address) = split_peer(address.parse().ok()?)?;
    Some((UnixTime(seen.parse().ok()?), peer, address))
}

#[cfg(test)]
mod tests {
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
            assert!(due(&mut dialer, now, 0).is_empty());
            now += BACKOFF_BOOTNODE_MAX;
            assert_eq!(due(&mut dialer, now, OUTBOUND_AIM - 1), [boot]);
            assert!(!dialer.failed(&boot, now));
        }
    }

    #[test]
    fn a_bootnode_that_fails_is_left_to_those_who_need_it_but_not_for_ever() {
        let (now, boot) = (Instant::now(), PeerId::random());
        let mut dialer = Dialer::new(PeerId::random(), vec![(boot, address(1))], "", now);
        assert_eq!(due(&mut dialer, now, 50), [boot], "wanted however many others there are");
        dialer.failed(&boot, now);
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

    #[test]
    fn addresses_are_split_from_their_peer() {
        let peer = PeerId::random();
        let whole: Multiaddr = format!("{}/p2p/{peer}", address(1)).parse().unwrap();
        assert_eq!(split_peer(whole), Some((peer, address(1))));
        assert_eq!(split_peer(address(1)), None);
        assert_eq!(split_peer(format!("/p2p/{peer}").parse().unwrap()), None);
    }
}
