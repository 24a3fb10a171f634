//! Others' questions under way: how many, and whose.

use std::collections::HashMap;

use libp2p::PeerId;
use p2pool_core::netgroup::Netgroup;
use p2pool_core::peer::InboundId;

/// Questions of one peer at once, until their answers have left.
pub const PER_PEER_MAX: usize = 8;
/// Questions of one neighbourhood at once: two peers' worth. To take all places somebody needs four neighbourhoods.
const PER_PREFIX_MAX: usize = 16;
/// Questions of all peers at once: each answer may hold a megabyte until a slow peer has read it.
const IN_ALL_MAX: usize = 64;

/// The places that questions take while they are under way.
#[derive(Debug, Default)]
pub struct Asking {
    taken: HashMap<InboundId, (PeerId, Option<Netgroup>)>,
    next_token: u64,
}

impl Asking {
    /// A number for a question that needs no place, its answer being small.
    pub fn small(&mut self) -> InboundId {
        let token = InboundId(self.next_token);
        self.next_token += 1;
        token
    }

    /// A place for a question of a peer; none if the peer, its neighbourhood or all together have theirs. Our own network
    /// is no neighbourhood.
    pub fn take(&mut self, from: PeerId, prefix: Option<Netgroup>) -> Option<InboundId> {
        let of_peer = self.taken.values().filter(|(peer, _)| *peer == from).count();
        let of_prefix = self.taken.values().filter(|(_, other)| prefix.is_some() && *other == prefix).count();
        if of_peer >= PER_PEER_MAX || of_prefix >= PER_PREFIX_MAX || self.taken.len() >= IN_ALL_MAX {
            return None;
        }
        let token = self.small();
        self.taken.insert(token, (from, prefix));
        Some(token)
    }

    /// A question is no longer under way.
    pub fn free(&mut self, token: InboundId) {
        self.taken.remove(&token);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(third: u8) -> Option<Netgroup> {
        Netgroup::of([8, 8, third, 8].into())
    }

    /// Peers of a neighbourhood ask as much as they may.
    fn fill(asking: &mut Asking, peers: usize, prefix: Option<Netgroup>) -> Vec<InboundId> {
        let ids: Vec<PeerId> = (0..peers).map(|_| PeerId::random()).collect();
        ids.into_iter().flat_map(|id| std::iter::from_fn(|| asking.take(id, prefix)).collect::<Vec<_>>()).collect()
    }

    #[test]
    fn a_neighbourhood_leaves_places_to_others() {
        let mut asking = Asking::default();
        assert_eq!(fill(&mut asking, 1, prefix(1)).len(), PER_PEER_MAX);
        assert_eq!(fill(&mut asking, 8, prefix(1)).len(), PER_PREFIX_MAX - PER_PEER_MAX);
        assert_eq!(fill(&mut asking, 1, prefix(2)).len(), PER_PEER_MAX);
    }

    #[test]
    fn our_own_network_is_counted_by_peer_and_in_all_only() {
        let mut asking = Asking::default();
        let taken = fill(&mut asking, 100, None);
        assert_eq!(taken.len(), IN_ALL_MAX);
        assert_eq!(asking.take(PeerId::random(), prefix(1)), None);
        asking.free(taken[7]);
        assert!(asking.take(PeerId::random(), prefix(1)).is_some_and(|token| !taken.contains(&token)));
        assert_eq!(asking.taken.len(), IN_ALL_MAX);
    }
}
