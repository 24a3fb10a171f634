//! Ban scores and bans. Pure: time is an argument, and the caller stores the text.

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use libp2p::PeerId;
use p2pool_core::netgroup::{is_own_network, subscriber, Netgroup};
use p2pool_core::status::{BanKind, BanStatus};
use p2pool_core::units::UnixTime;
use p2pool_core::wire::{Misbehaviour, BAN_THRESHOLD};

/// Length of a ban. It ends after a day, as bitcoind's do, because addresses change hands and software gets fixed.
pub const BAN_S: u32 = 24 * 3_600;
/// Score from which an address is banned. Many share one, behind the router of a provider or in a VPN, so one bad peer does
/// not ban the others at its address.
const ADDRESS_BAN_THRESHOLD: u32 = 2 * BAN_THRESHOLD;
/// Score from which an address is graylisted: it may have one connection. After the ban of one peer that lasts 25 minutes.
const GRAYLIST_THRESHOLD: u32 = BAN_THRESHOLD / 2;
/// Banned /64s from which the IPv6 /48 around them is banned: a site has 65,536 of them for nothing.
const SUBNETS_BANNED_MAX: usize = 4;
/// Time in which a ban score decays by one, so that the occasional timeouts of a slow line (10 each) never add up to a ban.
const SCORE_DECAY_S: u32 = 30;
/// Bans kept. Past that the one that ends first is dropped. 1,000 lines of a file, far more peers than connect in a day.
const BANS_MAX: usize = 1_000;
/// Ban scores kept. Past that the lowest is dropped.
const SCORES_MAX: usize = 1_000;
/// Characters of a ban's reason that are kept.
const REASON_LEN_MAX: usize = 100;

/// What ban scores and bans apply to. A peer id costs nothing to make, so they apply to its public address too; not to
/// addresses of own networks, behind which all nodes of a site may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BanSubject {
    /// A peer.
    Peer(PeerId),
    /// An IPv4 address, or the /64 of an IPv6 address.
    Address(IpAddr),
    /// An IPv6 /48.
    Site([u16; 3]),
}

impl BanSubject {
    /// Returns the subject of a public address.
    pub fn at(address: IpAddr) -> Option<Self> {
        (!is_own_network(address)).then(|| Self::Address(subscriber(address)))
    }

    /// Returns the site around an IPv6 address.
    fn site(&self) -> Option<Self> {
        let Self::Address(address) = self else { return None };
        match Netgroup::of(*address)? {
            Netgroup::V6(site) => Some(Self::Site(site)),
            Netgroup::V4(_) => None,
        }
    }

    const fn threshold(&self) -> u32 {
        match self {
            Self::Peer(_) => BAN_THRESHOLD,
            Self::Address(_) | Self::Site(_) => ADDRESS_BAN_THRESHOLD,
        }
    }
}

impl fmt::Display for BanSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peer(peer) => peer.fmt(f),
            Self::Address(IpAddr::V4(address)) => address.fmt(f),
            Self::Address(IpAddr::V6(subnet)) => write!(f, "{subnet}/64"),
            Self::Site([a, b, c]) => write!(f, "{}/48", Ipv6Addr::new(*a, *b, *c, 0, 0, 0, 0, 0)),
        }
    }
}

impl FromStr for BanSubject {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if let Some(site) = text.strip_suffix("/48") {
            let [a, b, c, ..] = site.parse::<Ipv6Addr>().map_err(|_| ())?.segments();
            return Ok(Self::Site([a, b, c]));
        }
        if let Some(subnet) = text.strip_suffix("/64") {
            return subnet.parse().map(|subnet: Ipv6Addr| Self::Address(subscriber(subnet.into()))).map_err(|_| ());
        }
        let address = text.parse().map(|address| Self::Address(subscriber(address)));
        address.or_else(|_| text.parse().map(Self::Peer)).map_err(|_| ())
    }
}

#[derive(Clone, Debug)]
struct Ban {
    until: UnixTime,
    reason: String,
}

impl Ban {
    /// Lets it last no longer than one that begins now. Returns whether that changes it.
    fn shorten(&mut self, now: UnixTime) -> bool {
        let latest = now.plus(BAN_S);
        let is_longer = self.until > latest;
        self.until = self.until.min(latest);
        is_longer
    }
}

/// A ban score as it was at some time; it decays.
#[derive(Clone, Copy, Debug)]
struct Score {
    value: u32,
    at: UnixTime,
}

impl Score {
    fn at(&self, now: UnixTime) -> u32 {
        self.value.saturating_sub(now.since(self.at) / SCORE_DECAY_S)
    }

    /// Returns when it falls below a threshold, unless it is below it.
    fn falls_below(&self, threshold: u32) -> Option<UnixTime> {
        let above = self.value.checked_sub(threshold)?;
        Some(self.at.plus(above.saturating_add(1).saturating_mul(SCORE_DECAY_S)))
    }
}

/// Ban scores and bans.
#[derive(Clone, Debug, Default)]
pub struct Bans {
    scores: HashMap<BanSubject, Score>,
    banned: HashMap<BanSubject, Ban>,
    changed: bool,
}

impl Bans {
    /// Reads what [`Self::to_text`] wrote. Returns the number of malformed lines as well.
    pub fn from_text(text: &str, now: UnixTime) -> (Self, usize) {
        let mut bans = Self::default();
        let mut malformed = 0;
        for line in text.lines() {
            match parse_line(line) {
                Some((subject, mut ban)) if ban.until > now && bans.banned.len() < BANS_MAX => {
                    bans.changed |= ban.shorten(now);
                    bans.banned.insert(subject, ban);
                }
                Some(_) => bans.changed = true,
                None => malformed += 1,
            }
        }
        (bans, malformed)
    }

    /// Writes one line per ban: the Unix time of its end, the subject, the reason.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for (subject, ban) in &self.banned {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{} {subject} {}", ban.until, ban.reason);
        }
        text
    }

    /// Whether the bans have changed since the last call.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// Adds to the ban scores of a peer and its address. Returns true if this banned one that was not banned before.
    pub fn penalize(
        &mut self,
        peer: PeerId,
        address: Option<IpAddr>,
        misbehaviour: Misbehaviour,
        now: UnixTime,
    ) -> bool {
        let mut banned = false;
        for subject in std::iter::once(BanSubject::Peer(peer)).chain(address.and_then(BanSubject::at)) {
            let score = misbehaviour.ban_score();
            if score > 0 && self.add_score(subject, score, now) >= subject.threshold() {
                banned |= self.ban(subject, misbehaviour.to_string(), now);
                self.ban_site(subject, now);
            }
        }
        banned
    }

    /// Returns the ban score of a peer.
    pub fn score(&self, peer: PeerId, now: UnixTime) -> u32 {
        self.scores.get(&BanSubject::Peer(peer)).map_or(0, |score| score.at(now))
    }

    /// Whether a peer or an address is banned.
    pub fn is_banned(&self, subject: &BanSubject, now: UnixTime) -> bool {
        self.banned.get(subject).is_some_and(|ban| ban.until > now)
    }

    /// Whether the subscriber behind an address, or the site around it, is banned.
    pub fn is_banned_at(&self, address: IpAddr, now: UnixTime) -> bool {
        let subject = BanSubject::at(address);
        let subjects = [subject, subject.and_then(|subject| subject.site())];
        subjects.iter().flatten().any(|subject| self.is_banned(subject, now))
    }

    /// Whether the subscriber behind an address may have one connection only.
    pub fn is_graylisted_at(&self, address: IpAddr, now: UnixTime) -> bool {
        let score = BanSubject::at(address).and_then(|subject| self.scores.get(&subject));
        score.is_some_and(|score| score.at(now) >= GRAYLIST_THRESHOLD)
    }

    /// Returns what is published: bans and graylisted addresses, those whose end is last first.
    pub fn statuses(&self, now: UnixTime) -> Vec<BanStatus> {
        let banned = self.banned.iter().filter(|(_, ban)| ban.until > now);
        let banned = banned.map(|(subject, Ban { until, reason })| (BanKind::Banned, subject, *until, reason.clone()));
        let graylisted = self.scores.iter().filter_map(|(subject, score)| {
            let until = score.falls_below(GRAYLIST_THRESHOLD)?;
            let is_graylisted = matches!(subject, BanSubject::Address(_)) && until > now;
            is_graylisted.then(|| (BanKind::Graylisted, subject, until, format!("ban score {}", score.at(now))))
        });
        let status = |(kind, subject, until, reason): (_, &BanSubject, _, _)| BanStatus {
            subject: subject.to_string(),
            kind,
            reason,
            until,
        };
        let mut all: Vec<BanStatus> = banned.chain(graylisted).map(status).collect();
        all.sort_unstable_by(|one, other| (other.until, &one.subject).cmp(&(one.until, &other.subject)));
        all
    }

    /// Drops bans that have ended and scores that have decayed. What was noted while the clock was ahead lasts from now on no
    /// longer than if it were noted now.
    pub fn expire(&mut self, now: UnixTime) {
        self.scores.values_mut().for_each(|score| score.at = score.at.min(now));
        self.scores.retain(|_, score| score.at(now) > 0);
        for ban in self.banned.values_mut() {
            self.changed |= ban.shorten(now);
        }
        let before = self.banned.len();
        self.banned.retain(|_, ban| ban.until > now);
        self.changed |= self.banned.len() != before;
    }

    fn add_score(&mut self, subject: BanSubject, more: u32, now: UnixTime) -> u32 {
        let value = self.scores.get(&subject).map_or(0, |score| score.at(now)).saturating_add(more);
        make_room(&mut self.scores, SCORES_MAX, &subject, |score| score.at(now));
        self.scores.insert(subject, Score { value, at: now });
        value
    }

    /// Bans the site around a banned address if too many of its addresses are.
    fn ban_site(&mut self, address: BanSubject, now: UnixTime) {
        let Some(site) = address.site() else { return };
        let of_site = |subject: &&BanSubject| subject.site() == Some(site) && self.is_banned(subject, now);
        if self.banned.keys().filter(of_site).count() >= SUBNETS_BANNED_MAX {
            self.ban(site, "many banned addresses".to_owned(), now);
        }
    }

    fn ban(&mut self, subject: BanSubject, reason: String, now: UnixTime) -> bool {
        let reason = reason.chars().filter(|char| !char.is_control()).take(REASON_LEN_MAX).collect();
        self.scores.remove(&subject);
        make_room(&mut self.banned, BANS_MAX, &subject, |ban| ban.until.0);
        self.changed = true;
        self.banned.insert(subject, Ban { until: now.plus(BAN_S), reason }).is_none_or(|before| before.until <= now)
    }
}

/// Drops the entry of least value if a new key is to be added to a full map.
fn make_room<K: Copy + Eq + Hash, V>(map: &mut HashMap<K, V>, max: usize, key: &K, value: impl Fn(&V) -> u32) {
    if map.len() < max || map.contains_key(key) {
        return;
    }
    let least = map.iter().min_by_key(|(_, entry)| value(entry)).map(|(key, _)| *key);
    if let Some(least) = least {
        map.remove(&least);
    }
}

fn parse_line(line: &str) -> Option<(BanSubject, Ban)> {
    let mut words = line.splitn(3, ' ');
    let until = UnixTime(words.next()?.parse().ok()?);
    let subject = words.next()?.parse().ok()?;
    let reason = words.next()?.chars().take(REASON_LEN_MAX).collect();
    Some((subject, Ban { until, reason }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime(1_700_000_000);

    fn public() -> Option<IpAddr> {
        Some("8.8.8.8".parse().unwrap())
    }

    #[test]
    fn two_serious_misbehaviours_ban_the_peer_and_graylist_its_address() {
        let (mut bans, peer) = (Bans::default(), PeerId::random());
        assert!(!bans.is_graylisted_at(public().unwrap(), NOW));
        assert!(!bans.penalize(peer, public(), Misbehaviour::Malformed, NOW));
        assert!(!bans.is_banned(&BanSubject::Peer(peer), NOW));
        assert!(bans.penalize(peer, public(), Misbehaviour::Oversize, NOW));
        assert!(bans.is_banned(&BanSubject::Peer(peer), NOW));
        assert!(bans.is_graylisted_at(public().unwrap(), NOW) && !bans.is_banned_at(public().unwrap(), NOW));
        let ends = NOW.plus(SCORE_DECAY_S * (GRAYLIST_THRESHOLD + 1));
        assert!(!bans.is_graylisted_at(public().unwrap(), ends), "it decays");
        assert!(!bans.penalize(peer, None, Misbehaviour::FalseChain, NOW), "already banned");
    }

    #[test]
    fn scores_of_an_address_add_up_across_peer_ids() {
        let mut bans = Bans::default();
        let mut misbehave = || bans.penalize(PeerId::random(), public(), Misbehaviour::Malformed, NOW);
        assert_eq!([misbehave(), misbehave(), misbehave(), misbehave()], [false, false, false, true]);
        assert!(bans.is_banned_at(public().unwrap(), NOW));
        assert!(!bans.is_banned(&BanSubject::Address("8.8.8.9".parse().unwrap()), NOW));
    }

    #[test]
    fn a_site_whose_addresses_are_banned_one_after_the_other_is_banned() {
        let mut bans = Bans::default();
        let at = |subnet: u16| Some(format!("2001:db8:7:{subnet:x}::1").parse().unwrap());
        let mut ban = |subnet| {
            for _ in 0..2 {
                bans.penalize(PeerId::random(), at(subnet), Misbehaviour::FalseChain, NOW);
            }
            bans.is_banned_at(at(0xffff).unwrap(), NOW)
        };
        assert_eq!((0..SUBNETS_BANNED_MAX as u16).map(&mut ban).collect::<Vec<_>>(), [false, false, false, true]);
        assert!(!bans.is_banned_at("2001:db8:8::1".parse().unwrap(), NOW));
        let (loaded, malformed) = Bans::from_text(&bans.to_text(), NOW);
        assert!(loaded.is_banned_at(at(0xfffe).unwrap(), NOW) && malformed == 0);
    }

    #[test]
    fn what_is_published_has_subject_reason_and_end_of_bans_and_graylisted_addresses() {
        let (mut bans, peer) = (Bans::default(), PeerId::random());
        let subnet: IpAddr = "2001:db8:7:1::5".parse().unwrap();
        bans.penalize(PeerId::random(), Some(subnet), Misbehaviour::Malformed, NOW);
        bans.penalize(peer, None, Misbehaviour::FalseChain, NOW.plus(1));
        let later = NOW.plus(SCORE_DECAY_S / 2);
        let status = |subject: String, kind, reason: String, until| BanStatus { subject, kind, reason, until };
        let ban = status(peer.to_string(), BanKind::Banned, Misbehaviour::FalseChain.to_string(), NOW.plus(1 + BAN_S));
        let grey = status(
            "2001:db8:7:1::/64".to_owned(),
            BanKind::Graylisted,
            "ban score 50".to_owned(),
            NOW.plus(SCORE_DECAY_S),
        );
        assert_eq!(bans.statuses(later), [ban.clone(), grey]);
        assert!(bans.is_graylisted_at(subnet, NOW.plus(SCORE_DECAY_S - 1)));
        assert!(!bans.is_graylisted_at(subnet, NOW.plus(SCORE_DECAY_S)));
        assert_eq!(bans.statuses(NOW.plus(SCORE_DECAY_S)), [ban]);
        assert_eq!(bans.statuses(NOW.plus(1 + BAN_S)), []);
    }

    #[test]
    fn a_subject_is_read_as_it_is_written() {
        let peer = PeerId::random().to_string();
        for (text, written) in [
            ("8.8.8.8", "8.8.8.8"),
            ("::ffff:8.8.8.8", "8.8.8.8"),
            ("2001:db8::5", "2001:db8::/64"),
            ("2001:db8::/64", "2001:db8::/64"),
            ("2001:db8:7::/48", "2001:db8:7::/48"),
            (&peer, &peer),
        ] {
            assert_eq!(text.parse::<BanSubject>().unwrap().to_string(), written);
        }
        for wrong in ["", "8.8.8.8/64", "2001:db8::/65", "somebody", "12D3KooW"] {
            assert!(wrong.parse::<BanSubject>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn addresses_of_own_networks_are_never_banned() {
        for own in ["127.0.0.1", "192.168.0.7", "fd00::1"] {
            assert_eq!(BanSubject::at(own.parse().unwrap()), None);
        }
    }

    #[test]
    fn an_ipv6_subscriber_is_one_subject() {
        assert_eq!(BanSubject::at("2001:db8::1".parse().unwrap()), BanSubject::at("2001:db8::ffff:1".parse().unwrap()));
        assert_ne!(BanSubject::at("2001:db8::1".parse().unwrap()), BanSubject::at("2001:db8:0:1::1".parse().unwrap()));
    }

    #[test]
    fn scores_decay_and_occasional_timeouts_never_ban() {
        let (mut bans, peer) = (Bans::default(), PeerId::random());
        bans.penalize(peer, None, Misbehaviour::Malformed, NOW);
        assert_eq!(bans.score(peer, NOW), 50);
        assert_eq!(bans.score(peer, NOW.plus(SCORE_DECAY_S * 20)), 30);
        assert!(!bans.penalize(peer, None, Misbehaviour::Malformed, NOW.plus(SCORE_DECAY_S)));
        bans.expire(NOW.plus(SCORE_DECAY_S * 200));
        assert!(bans.scores.is_empty());
        // A timeout every five minutes.
        for n in 0..1_000 {
            assert!(!bans.penalize(peer, None, Misbehaviour::Late, NOW.plus(n * 300)));
        }
    }

    #[test]
    fn bans_survive_a_restart_and_end() {
        let (mut bans, peer) = (Bans::default(), PeerId::random());
        bans.penalize(peer, public(), Misbehaviour::FalseChain, NOW);
        bans.penalize(peer, public(), Misbehaviour::FalseChain, NOW);
        assert!(bans.take_changed() && !bans.take_changed());
        let (mut loaded, malformed) = Bans::from_text(&bans.to_text(), NOW.plus(BAN_S - 1));
        assert_eq!((loaded.banned.len(), malformed), (2, 0));
        assert!(loaded.is_banned(&BanSubject::Peer(peer), NOW.plus(BAN_S - 1)));
        assert!(!loaded.is_banned(&BanSubject::Peer(peer), NOW.plus(BAN_S)));
        loaded.expire(NOW.plus(BAN_S));
        assert_eq!(loaded.banned.len(), 0);
        assert!(loaded.take_changed());
        assert_eq!(Bans::from_text(&bans.to_text(), NOW.plus(BAN_S)).0.banned.len(), 0);
    }

    #[test]
    fn a_clock_that_was_ahead_prolongs_neither_bans_nor_scores() {
        let (ahead, mut bans) = (NOW.plus(30 * BAN_S), Bans::default());
        let (banned, scored) = (PeerId::random(), PeerId::random());
        bans.penalize(banned, None, Misbehaviour::FalseChain, ahead);
        bans.penalize(scored, None, Misbehaviour::Malformed, ahead);
        let text = bans.to_text();
        bans.expire(NOW);
        for (mut bans, what) in [(bans.clone(), "while running"), (Bans::from_text(&text, NOW).0, "at the start")] {
            assert!(bans.take_changed(), "{what}");
            assert!(bans.is_banned(&BanSubject::Peer(banned), NOW.plus(BAN_S - 1)), "{what}");
            assert!(!bans.is_banned(&BanSubject::Peer(banned), NOW.plus(BAN_S)), "{what}");
        }
        assert_eq!(bans.score(scored, NOW.plus(20 * SCORE_DECAY_S)), 30, "it decays from now on");
    }

    #[test]
    fn malformed_lines_are_counted_and_skipped() {
        let text = format!("nonsense\n99 \n{} 8.8.8.8 sent spam\n4000000000 somebody x\n", u32::MAX);
        let (bans, malformed) = Bans::from_text(&text, NOW);
        assert_eq!((bans.banned.len(), malformed), (1, 3));
    }

    #[test]
    fn scores_and_bans_are_bounded() {
        let mut bans = Bans::default();
        for n in 0..2_000 {
            bans.penalize(PeerId::random(), None, Misbehaviour::FalseChain, NOW.plus(n / 100));
            bans.penalize(PeerId::random(), None, Misbehaviour::Late, NOW.plus(n / 100));
        }
        assert_eq!((bans.scores.len(), bans.banned.len()), (SCORES_MAX, BANS_MAX));
    }
}
