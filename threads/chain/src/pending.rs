//! Gossiped shares whose verdict the network thread waits for.

use std::collections::HashMap;

use p2pool_core::message::{GossipToken, PeerToken};
use p2pool_core::share::ShareDigest;

/// Shares of all peers at once: more than the network thread keeps in mind, which forgets them after two minutes.
const PENDING_MAX: usize = 4_096;

/// Who waits for the verdict on which share.
#[derive(Debug, Default)]
pub struct Pending {
    by_share: HashMap<ShareDigest, (PeerToken, GossipToken)>,
}

impl Pending {
    /// Whether somebody's copy of this share waits already.
    pub fn contains(&self, share: &ShareDigest) -> bool {
        self.by_share.contains_key(share)
    }

    /// Notes a share. If too many wait, one gives way: the oldest of the peer with most of them, so that who sends much
    /// that cannot be judged is in nobody's way but their own.
    pub fn put(&mut self, share: ShareDigest, peer: PeerToken, gossip: GossipToken) -> Option<GossipToken> {
        self.by_share.insert(share, (peer, gossip));
        if self.by_share.len() <= PENDING_MAX {
            return None;
        }
        let mut all: Vec<(PeerToken, GossipToken, ShareDigest)> =
            self.by_share.iter().map(|(share, (peer, gossip))| (*peer, *gossip, *share)).collect();
        all.sort_unstable();
        let most = all.chunk_by(|one, other| one.0 == other.0).max_by_key(|chunk| chunk.len())?;
        let (_, oldest, share) = most.first()?;
        self.by_share.remove(share);
        Some(*oldest)
    }

    /// The verdict has come.
    pub fn take(&mut self, share: &ShareDigest) -> Option<GossipToken> {
        self.by_share.remove(share).map(|(_, gossip)| gossip)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(number: u64) -> ShareDigest {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        ShareDigest(bytes)
    }

    #[test]
    fn a_flood_makes_nobody_elses_share_forgotten() {
        let (mut pending, honest, attacker) = (Pending::default(), PeerToken(1), PeerToken(2));
        (0..10).for_each(|number| assert_eq!(pending.put(digest(number), honest, GossipToken(number)), None));
        let max = PENDING_MAX as u64;
        for number in 10..max + 50 {
            let gives_way = pending.put(digest(number), attacker, GossipToken(number));
            assert_eq!(gives_way, (number >= max).then(|| GossipToken(number - max + 10)), "the attacker's oldest");
        }
        assert_eq!(pending.by_share.len(), PENDING_MAX);
        let latest = digest(max + 50);
        assert!(pending.put(latest, honest, GossipToken(max + 50)).is_some_and(|gossip| gossip.0 >= 10));
        for number in 0..10 {
            assert!(pending.contains(&digest(number)));
            assert_eq!(pending.take(&digest(number)), Some(GossipToken(number)));
        }
        assert_eq!(pending.take(&latest), Some(GossipToken(max + 50)));
        assert_eq!(pending.take(&latest), None);
    }
}
