//! Which peers are dialled now.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::time::Instant;

use libp2p::{Multiaddr, PeerId};

use super::{Dialer, KnownPeer, Purpose, Source, DIALS_MAX, FEELER_INTERVAL, UNLISTED_TARGET};
use crate::buckets::{Bucket, Group, Key};

impl Dialer {
    /// Returns the peers to dial now, given the number of outbound connections, and marks them as being dialled. `random`
    /// decides between peers of the tables.
    pub fn due(
        &mut self,
        now: Instant,
        outbound: usize,
        random: impl FnOnce() -> [u8; 16],
        is_connected: impl Fn(&PeerId) -> bool,
    ) -> Vec<(PeerId, Vec<Multiaddr>)> {
        let has_enough = outbound + UNLISTED_TARGET >= self.outbound_target;
        let is_ready = |peer: &PeerId, known: &KnownPeer| {
            !known.is_dialling && known.is_due(now, outbound, has_enough) && !is_connected(peer)
        };
        let dialling = self.peers.values().filter(|known| known.is_dialling).count();
        let is_configured = |known: &KnownPeer| !matches!(known.source, Source::Table(_));
        let mut due: Vec<(PeerId, Purpose)> = Vec::new();
        let mut configured: Vec<_> =
            self.peers.iter().filter(|(peer, known)| is_configured(known) && is_ready(peer, known)).collect();
        configured.sort_by_key(|(_, known)| (known.failures, Reverse(known.seen)));
        for (peer, known) in configured {
            if known.source == Source::Bootnode || due.len() + dialling < DIALS_MAX {
                due.push((*peer, Purpose::Full));
            }
        }
        let room = DIALS_MAX.saturating_sub(due.len() + dialling);
        let count = |purpose| self.peers.values().filter(|known| known.is_outbound(purpose)).count();
        let (unlisted, feelers) = (count(Purpose::Unlisted), count(Purpose::Feeler));
        self.skip_taken_groups(now);
        let missing = self.outbound_target.saturating_sub(outbound + dialling).min(room);
        if missing > 0 {
            due.extend(self.choose(missing, unlisted, random(), is_ready));
        } else if feelers == 0 && room > 0 && self.feeler_at + FEELER_INTERVAL <= now {
            self.feeler_at = now;
            let is_new = |known: &KnownPeer| matches!(known.source, Source::Table(Bucket::New(_)));
            let is_ready = |peer: &PeerId, known: &KnownPeer| is_new(known) && is_ready(peer, known);
            let feeler = self.choose(1, UNLISTED_TARGET, random(), is_ready);
            due.extend(feeler.into_iter().map(|(peer, _)| (peer, Purpose::Feeler)));
        }
        due.into_iter()
            .filter_map(|(peer, purpose)| {
                let known = self.peers.get_mut(&peer)?;
                (known.is_dialling, known.purpose, known.dialled) = (true, purpose, known.next_group());
                // A peer may invent addresses in other groups. These are dialled one after the other.
                let known = &*known;
                let is_dialled = |address: &&Multiaddr| {
                    let group = known.exclusive_group(address);
                    group.is_none() || group == known.dialled
                };
                Some((peer, known.addresses.iter().map(|(_, address)| address).filter(is_dialled).cloned().collect()))
            })
            .collect()
    }

    /// Returns the groups that outbound connections and dials lead to. `None`, which exempts, is not among them.
    fn outbound_groups(&self) -> HashSet<Group> {
        let is_outbound = |known: &&KnownPeer| known.is_dialling || matches!(known.connected, Some((_, true)));
        self.peers.values().filter(is_outbound).map(|known| known.dialled).filter(Option::is_some).collect()
    }

    /// Ends the round of peers whose next group another outbound connection leads to by now, which may last.
    fn skip_taken_groups(&mut self, now: Instant) {
        let groups = self.outbound_groups();
        let is_taken = |known: &KnownPeer| {
            let is_between = !known.failed.is_empty() && !known.is_dialling && known.connected.is_none();
            is_between && groups.contains(&known.next_group())
        };
        let taken: Vec<PeerId> =
            self.peers.iter().filter(|(_, known)| is_taken(known)).map(|(peer, _)| *peer).collect();
        for peer in taken {
            self.end_round(&peer, now);
        }
    }

    /// Chooses peers of the tables: anchors first, then by turns from both tables, each time a random bucket and a random
    /// peer of it; so the number of an attacker's peers does not decide. One peer per group. Anchors, and the last ones, become
    /// unlisted, as long as there are too few of these.
    fn choose(
        &self,
        wanted: usize,
        mut unlisted: usize,
        random: [u8; 16],
        is_ready: impl Fn(&PeerId, &KnownPeer) -> bool,
    ) -> Vec<(PeerId, Purpose)> {
        let mut groups = self.outbound_groups();
        let mut ready: Vec<(Bucket, &PeerId, &KnownPeer)> = self
            .peers
            .iter()
            .filter_map(|(peer, known)| match known.source {
                Source::Table(bucket) if is_ready(peer, known) => Some((bucket, peer, known)),
                _ => None,
            })
            .collect();
        let mut chosen = Vec::new();
        let random = Key(random);
        for turn in 0..wanted {
            // `None`, which exempts, is in no set.
            ready.retain(|(_, _, known)| !groups.contains(&known.next_group()));
            let left = wanted - turn;
            let turn = turn.to_be_bytes();
            let is_new_first = random.hash(&[b"table", &turn]).is_multiple_of(2);
            // Within a bucket, one that has failed less often comes first.
            let order = |(bucket, peer, known): &&(Bucket, &PeerId, &KnownPeer)| {
                let (is_new, number) = match bucket {
                    Bucket::New(number) => (true, *number),
                    Bucket::Tried(number) => (false, *number),
                };
                let of_bucket = random.hash(&[b"bucket", &turn, &[number]]);
                let of_peer = random.hash(&[b"peer", &turn, &peer.to_bytes()]);
                (!known.was_anchor, is_new != is_new_first, of_bucket, known.failures, of_peer)
            };
            let Some(&(_, peer, known)) = ready.iter().min_by_key(order) else { break };
            let is_unlisted = unlisted < UNLISTED_TARGET && (known.was_anchor || left + unlisted <= UNLISTED_TARGET);
            unlisted += usize::from(is_unlisted);
            chosen.push((*peer, if is_unlisted { Purpose::Unlisted } else { Purpose::Full }));
            groups.extend(Some(known.next_group()).filter(Option::is_some));
            ready.retain(|(_, other, _)| *other != peer);
        }
        chosen
    }
}
