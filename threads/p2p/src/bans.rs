//! Ban scores and bans. Pure: time is an argument, and the caller stores the text.

mod subject;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::hash::Hash;
use std::net::IpAddr;

use libp2p::PeerId;
use p2pool_core::status::{BanKind, BanStatus};
use p2pool_core::units::UnixTime;
use p2pool_core::wire::{Misbehaviour, BAN_THRESHOLD};

pub use subject::BanSubject;

/// Length of a ban for misbehaviour. It ends after a day, as bitcoind's do, because addresses change hands and software gets fixed.
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
pub const BANS_MAX: usize = 1_000;
/// Ban scores kept. Past that the lowest is dropped.
const SCORES_MAX: usize = 1_000;
/// Reason of a ban by the operator.
pub const BY_OPERATOR: &str = "by the operator";
/// Characters of a ban's reason that are kept.
const REASON_LEN_MAX: usize = 100;

#[derive(Clone, Debug)]
struct Ban {
    until: UnixTime,
    /// Its whole length.
    length_s: u32,
    reason: String,
}

impl Ban {
    /// Lets it last no longer than one that begins now. Returns whether that changes it.
    fn shorten(&mut self, now: UnixTime) -> bool {
        let latest = now.plus(self.length_s);
        let is_longer = self.until > latest;
        self.until = self.until.min(latest);
        is_longer
    }

    /// Orders bans when there are too many, those to be dropped first: those by the operator are displaced by no others, and those
    /// of addresses not by those of peer ids, which cost nothing.
    fn rank(subject: &BanSubject, ban: &Self) -> (bool, bool, UnixTime) {
        (ban.reason == BY_OPERATOR, !matches!(subject, BanSubject::Peer(_)), ban.until)
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

    /// Writes one line per ban: the Unix time of its end, the subject, its length in seconds, the reason.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for (subject, ban) in &self.banned {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{} {subject} {} {}", ban.until, ban.length_s, ban.reason);
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
                banned |= self.ban(subject, misbehaviour.to_string(), BAN_S, now);
                self.ban_site(subject, now);
            }
        }
        banned
    }

    /// Bans because the operator wants it.
    pub fn ban_by_operator(&mut self, subject: BanSubject, length_s: u32, now: UnixTime) {
        self.ban(subject, BY_OPERATOR.to_owned(), length_s, now);
    }

    /// Lifts a ban, with that of a site those of its addresses, and forgets the ban score; `None` means all.
    pub fn lift(&mut self, subject: Option<BanSubject>) {
        let is_lifted =
            |other: &BanSubject| subject.is_none_or(|subject| *other == subject || other.site() == Some(subject));
        self.scores.retain(|other, _| !is_lifted(other));
        self.banned.retain(|other, _| !is_lifted(other));
        self.changed = true;
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
        let banned =
            banned.map(|(subject, Ban { until, reason, .. })| (BanKind::Banned, subject, *until, reason.clone()));
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
        make_room(&mut self.scores, SCORES_MAX, &subject, |_, score| score.at(now));
        self.scores.insert(subject, Score { value, at: now });
        value
    }

    /// Bans the site around a banned address if too many of its addresses are.
    fn ban_site(&mut self, address: BanSubject, now: UnixTime) {
        let Some(site) = address.site() else { return };
        let of_site = |subject: &&BanSubject| subject.site() == Some(site) && self.is_banned(subject, now);
        if self.banned.keys().filter(of_site).count() >= SUBNETS_BANNED_MAX {
            self.ban(site, "many banned addresses".to_owned(), BAN_S, now);
        }
    }

    fn ban(&mut self, subject: BanSubject, reason: String, length_s: u32, now: UnixTime) -> bool {
        let reason = reason.chars().filter(|char| !char.is_control()).take(REASON_LEN_MAX).collect();
        self.scores.remove(&subject);
        let is_longer = |before: &Ban| before.until > now.plus(length_s);
        if reason != BY_OPERATOR && self.banned.get(&subject).is_some_and(is_longer) {
            return false;
        }
        make_room(&mut self.banned, BANS_MAX, &subject, Ban::rank);
        self.changed = true;
        let ban = Ban { until: now.plus(length_s), length_s, reason };
        self.banned.insert(subject, ban).is_none_or(|before| before.until <= now)
    }
}

/// Drops the entry of least value if a new key is to be added to a full map.
fn make_room<K: Copy + Eq + Hash, V, T: Ord>(
    map: &mut HashMap<K, V>,
    max: usize,
    key: &K,
    value: impl Fn(&K, &V) -> T,
) {
    if map.len() < max || map.contains_key(key) {
        return;
    }
    let least = map.iter().min_by_key(|(key, entry)| value(key, entry)).map(|(key, _)| *key);
    if let Some(least) = least {
        map.remove(&least);
    }
}

fn parse_line(line: &str) -> Option<(BanSubject, Ban)> {
    let mut words = line.splitn(3, ' ');
    let until = UnixTime(words.next()?.parse().ok()?);
    let subject = words.next()?.parse().ok()?;
    let rest = words.next()?;
    // Up to version 0.2.0 all bans had the same length, and lines had none.
    let with_length = rest.split_once(' ').and_then(|(length, reason)| Some((length.parse().ok()?, reason)));
    let (length_s, reason) = with_length.unwrap_or((BAN_S, rest));
    Some((subject, Ban { until, length_s, reason: reason.chars().take(REASON_LEN_MAX).collect() }))
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
    fn a_ban_by_the_operator_is_as_long_as_wanted_survives_a_restart_and_is_not_displaced() {
        let (mut bans, peer) = (Bans::default(), PeerId::random());
        let subject = BanSubject::Peer(peer);
        bans.ban_by_operator(subject, 2 * BAN_S, NOW);
        bans.ban_by_operator(BanSubject::at(public().unwrap()).unwrap(), 30 * BAN_S, NOW);
        for _ in 0..2 * BANS_MAX {
            bans.penalize(PeerId::random(), None, Misbehaviour::FalseChain, NOW);
        }
        for _ in 0..2 {
            bans.penalize(peer, public(), Misbehaviour::FalseChain, NOW);
        }
        let (mut loaded, malformed) = Bans::from_text(&bans.to_text(), NOW.plus(1));
        loaded.expire(NOW.plus(1));
        assert_eq!((loaded.banned.len(), malformed), (BANS_MAX, 0));
        assert!(
            loaded.is_banned(&subject, NOW.plus(2 * BAN_S - 1)) && !loaded.is_banned(&subject, NOW.plus(2 * BAN_S))
        );
        assert!(loaded.is_banned_at(public().unwrap(), NOW.plus(30 * BAN_S - 1)), "more than a day");
        assert_eq!(loaded.statuses(NOW.plus(1))[0].reason, BY_OPERATOR);
    }

    #[test]
    fn a_lifted_ban_takes_the_score_and_that_of_a_site_the_bans_of_its_addresses_with_it() {
        let mut bans = Bans::default();
        let at = |subnet: u16| format!("2001:db8:7:{subnet:x}::1").parse().unwrap();
        for subnet in 0..SUBNETS_BANNED_MAX as u16 {
            for _ in 0..2 {
                bans.penalize(PeerId::random(), Some(at(subnet)), Misbehaviour::FalseChain, NOW);
            }
        }
        bans.penalize(PeerId::random(), public(), Misbehaviour::FalseChain, NOW);
        bans.lift("2001:db8:7:1::/64".parse().ok());
        assert!(bans.is_banned_at(at(1), NOW), "by the site's ban");
        bans.lift("2001:db8:7::/48".parse().ok());
        assert!((0..10).all(|subnet| !bans.is_banned_at(at(subnet), NOW)));
        assert!(bans.is_graylisted_at(public().unwrap(), NOW));
        bans.lift(BanSubject::at(public().unwrap()));
        assert!(!bans.is_graylisted_at(public().unwrap(), NOW));
        assert!(!bans.banned.is_empty() && bans.take_changed());
        bans.lift(None);
        assert!(bans.banned.is_empty() && bans.scores.is_empty());
    }

    #[test]
    fn malformed_lines_are_counted_and_skipped() {
        let text = format!("nonsense\n99 \n{} 8.8.8.8 86400 sent spam\n4000000000 somebody 1 x\n", u32::MAX);
        let (bans, malformed) = Bans::from_text(&text, NOW);
        assert_eq!((bans.banned.len(), malformed), (1, 3));
        let (old, malformed) = Bans::from_text(&format!("{} 8.8.8.8 sent spam\n", NOW.plus(BAN_S)), NOW);
        assert_eq!((&*old.statuses(NOW)[0].reason, malformed), ("sent spam", 0));
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

    #[test]
    fn bans_of_peer_ids_displace_none_of_an_address() {
        let mut bans = Bans::default();
        for _ in 0..2 {
            bans.penalize(PeerId::random(), public(), Misbehaviour::FalseChain, NOW);
        }
        // As strangers through Tor, who have as many ids as they want.
        for _ in 0..2 * BANS_MAX {
            bans.penalize(PeerId::random(), None, Misbehaviour::OtherChain, NOW.plus(1));
        }
        assert!(bans.is_banned_at(public().unwrap(), NOW.plus(1)));
    }
}
