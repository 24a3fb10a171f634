//! Who did what wrong, and who may not come back for now. Pure: time is an argument, the file is somebody else's.

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::hash::Hash;
use std::net::IpAddr;
use std::str::FromStr;

use libp2p::PeerId;
use p2pool_core::netgroup::{is_own_network, subscriber};
use p2pool_core::units::UnixTime;
use p2pool_core::wire::{Offence, BAN_POINTS};

/// A ban ends after a day, as bitcoind's do: addresses change hands, and software gets mended.
pub const BAN_S: u32 = 24 * 3_600;
/// One point is forgiven in this time: a slow line's occasional lateness (10 points) never adds up to a ban.
const FORGIVE_S: u32 = 30;
/// Bans kept; past that the one that ends first goes. 1,000 lines of a file, far more peers than connect in a day.
const BANS_MAX: usize = 1_000;
/// Parties with points kept; past that the one with the fewest goes.
const SUSPECTS_MAX: usize = 1_000;
/// Characters of a ban's reason that are kept.
const REASON_LEN_MAX: usize = 100;

/// Whom points and bans stick to. A peer id costs nothing to make, so its public address is held to account too;
/// not so addresses of our own network, behind which all of a site's nodes may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Party {
    /// A node.
    Peer(PeerId),
    /// An IPv4 address, or the /64 around an IPv6 address, which is what one customer gets.
    Address(IpAddr),
}

impl Party {
    /// The party behind a public address.
    pub fn at(address: IpAddr) -> Option<Self> {
        (!is_own_network(address)).then(|| Self::Address(subscriber(address)))
    }
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peer(peer) => peer.fmt(f),
            Self::Address(address) => address.fmt(f),
        }
    }
}

impl FromStr for Party {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        text.parse().map(Self::Address).or_else(|_| text.parse().map(Self::Peer)).map_err(|_| ())
    }
}

#[derive(Clone, Debug)]
struct Ban {
    until: UnixTime,
    reason: String,
}

#[derive(Clone, Copy, Debug)]
struct Points {
    points: u32,
    at: UnixTime,
}

impl Points {
    fn at(&self, now: UnixTime) -> u32 {
        self.points.saturating_sub(now.since(self.at) / FORGIVE_S)
    }
}

/// Points and bans.
#[derive(Debug, Default)]
pub struct Bans {
    suspects: HashMap<Party, Points>,
    banned: HashMap<Party, Ban>,
    changed: bool,
}

impl Bans {
    /// Reads what [`Self::to_text`] wrote; says how many lines made no sense.
    pub fn from_text(text: &str, now: UnixTime) -> (Self, usize) {
        let mut bans = Self::default();
        let mut bad = 0;
        for line in text.lines() {
            match parse_line(line) {
                Some((party, ban)) if ban.until > now && bans.banned.len() < BANS_MAX => {
                    bans.banned.insert(party, ban);
                }
                Some(_) => bans.changed = true,
                None => bad += 1,
            }
        }
        (bans, bad)
    }

    /// One line a ban: Unix time of its end, who, why.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for (party, ban) in &self.banned {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{} {party} {}", ban.until, ban.reason);
        }
        text
    }

    /// Whether the bans are others than at the last call.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// Notes an offence of a peer; true if it is banned now and was not before.
    pub fn penalize(&mut self, peer: PeerId, address: Option<IpAddr>, offence: Offence, now: UnixTime) -> bool {
        let parties = [Some(Party::Peer(peer)), address.and_then(Party::at)];
        let mut banned = false;
        for party in parties.into_iter().flatten() {
            if offence.points() > 0 && self.add_points(party, offence.points(), now) >= BAN_POINTS {
                banned |= self.ban(party, offence.to_string(), now);
            }
        }
        banned
    }

    /// Points of a peer.
    pub fn points(&self, peer: PeerId, now: UnixTime) -> u32 {
        self.suspects.get(&Party::Peer(peer)).map_or(0, |points| points.at(now))
    }

    /// Whether a party is banned.
    pub fn is_banned(&self, party: &Party, now: UnixTime) -> bool {
        self.banned.get(party).is_some_and(|ban| ban.until > now)
    }

    /// Whether an address is banned.
    pub fn is_banned_at(&self, address: IpAddr, now: UnixTime) -> bool {
        Party::at(address).is_some_and(|party| self.is_banned(&party, now))
    }

    /// Bans in force.
    pub fn len(&self) -> usize {
        self.banned.len()
    }

    /// Forgets what is over.
    pub fn expire(&mut self, now: UnixTime) {
        self.suspects.retain(|_, points| points.at(now) > 0);
        let before = self.banned.len();
        self.banned.retain(|_, ban| ban.until > now);
        self.changed |= self.banned.len() != before;
    }

    fn add_points(&mut self, party: Party, more: u32, now: UnixTime) -> u32 {
        let points = self.suspects.get(&party).map_or(0, |points| points.at(now)).saturating_add(more);
        make_room(&mut self.suspects, SUSPECTS_MAX, &party, |points| points.at(now));
        self.suspects.insert(party, Points { points, at: now });
        points
    }

    fn ban(&mut self, party: Party, reason: String, now: UnixTime) -> bool {
        let reason = reason.chars().filter(|char| !char.is_control()).take(REASON_LEN_MAX).collect();
        self.suspects.remove(&party);
        make_room(&mut self.banned, BANS_MAX, &party, |ban| ban.until.0);
        self.changed = true;
        self.banned.insert(party, Ban { until: now.plus(BAN_S), reason }).is_none_or(|before| before.until <= now)
    }
}

/// Drops the entry of least value if `key` is to be added to a full map.
fn make_room<K: Copy + Eq + Hash, V>(map: &mut HashMap<K, V>, max: usize, key: &K, value: impl Fn(&V) -> u32) {
    if map.len() < max || map.contains_key(key) {
        return;
    }
    let least = map.iter().min_by_key(|(_, entry)| value(entry)).map(|(key, _)| *key);
    if let Some(least) = least {
        map.remove(&least);
    }
}

fn parse_line(line: &str) -> Option<(Party, Ban)> {
    let mut words = line.splitn(3, ' ');
    let until = UnixTime(words.next()?.parse().ok()?);
    let party = words.next()?.parse().ok()?;
    let reason = words.next()?.chars().take(REASON_LEN_MAX).collect();
    Some((party, Ban { until, reason }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime(1_700_000_000);

    fn public() -> Option<IpAddr> {
        Some("8.8.8.8".parse().unwrap())
    }

    #[test]
    fn the_second_grave_offence_bans_peer_and_address() {
        let (mut bans, peer) = (Bans::default(), PeerId::random());
        assert!(!bans.penalize(peer, public(), Offence::Malformed, NOW));
        assert!(!bans.is_banned(&Party::Peer(peer), NOW));
        assert!(bans.penalize(peer, public(), Offence::Oversize, NOW));
        assert!(bans.is_banned(&Party::Peer(peer), NOW));
        assert!(bans.is_banned(&Party::at(public().unwrap()).unwrap(), NOW));
        assert!(!bans.penalize(peer, None, Offence::FalseChain, NOW), "banned already");
    }

    #[test]
    fn a_new_name_at_the_same_address_is_no_new_start() {
        let mut bans = Bans::default();
        assert!(!bans.penalize(PeerId::random(), public(), Offence::Malformed, NOW));
        assert!(bans.penalize(PeerId::random(), public(), Offence::Malformed, NOW));
        assert!(!bans.is_banned(&Party::Address("8.8.8.9".parse().unwrap()), NOW));
    }

    #[test]
    fn addresses_of_our_own_network_are_never_banned() {
        for own in ["127.0.0.1", "192.168.0.7", "fd00::1"] {
            assert_eq!(Party::at(own.parse().unwrap()), None);
        }
    }

    #[test]
    fn an_ipv6_customer_is_one_party() {
        assert_eq!(Party::at("2001:db8::1".parse().unwrap()), Party::at("2001:db8::ffff:1".parse().unwrap()));
        assert_ne!(Party::at("2001:db8::1".parse().unwrap()), Party::at("2001:db8:0:1::1".parse().unwrap()));
    }

    #[test]
    fn points_are_forgiven_and_bad_luck_costs_none() {
        let (mut bans, peer) = (Bans::default(), PeerId::random());
        bans.penalize(peer, None, Offence::Malformed, NOW);
        assert_eq!(bans.points(peer, NOW), 50);
        assert_eq!(bans.points(peer, NOW.plus(FORGIVE_S * 20)), 30);
        assert!(!bans.penalize(peer, None, Offence::Malformed, NOW.plus(FORGIVE_S)));
        bans.expire(NOW.plus(FORGIVE_S * 200));
        assert!(bans.suspects.is_empty());
        // Late once every five minutes for ever.
        for n in 0..1_000 {
            assert!(!bans.penalize(peer, None, Offence::Late, NOW.plus(n * 300)));
        }
    }

    #[test]
    fn bans_survive_a_restart_and_end() {
        let (mut bans, peer) = (Bans::default(), PeerId::random());
        bans.penalize(peer, public(), Offence::FalseChain, NOW);
        assert!(bans.take_changed() && !bans.take_changed());
        let (mut again, bad) = Bans::from_text(&bans.to_text(), NOW.plus(BAN_S - 1));
        assert_eq!((again.len(), bad), (2, 0));
        assert!(again.is_banned(&Party::Peer(peer), NOW.plus(BAN_S - 1)));
        assert!(!again.is_banned(&Party::Peer(peer), NOW.plus(BAN_S)));
        again.expire(NOW.plus(BAN_S));
        assert_eq!(again.len(), 0);
        assert!(again.take_changed());
        assert_eq!(Bans::from_text(&bans.to_text(), NOW.plus(BAN_S)).0.len(), 0);
    }

    #[test]
    fn lines_that_make_no_sense_are_counted_and_skipped() {
        let text = format!("nonsense\n99 \n{} 8.8.8.8 sent spam\n4000000000 somebody x\n", u32::MAX);
        let (bans, bad) = Bans::from_text(&text, NOW);
        assert_eq!((bans.len(), bad), (1, 3));
    }

    #[test]
    fn nothing_grows_without_bound() {
        let mut bans = Bans::default();
        for n in 0..2_000 {
            bans.penalize(PeerId::random(), None, Offence::FalseChain, NOW.plus(n / 100));
            bans.penalize(PeerId::random(), None, Offence::Late, NOW.plus(n / 100));
        }
        assert_eq!((bans.suspects.len(), bans.banned.len()), (SUSPECTS_MAX, BANS_MAX));
    }
}
