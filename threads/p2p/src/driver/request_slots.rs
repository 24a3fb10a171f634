//! Limits on requests of peers that are in flight.

use std::collections::HashMap;

use libp2p::PeerId;
use p2pool_core::netgroup::Netgroup;
use p2pool_core::peer::InboundId;

/// Requests in flight per peer, until their responses have been sent.
const PER_PEER_MAX: usize = 8;
/// Requests in flight per netgroup: as much as two peers. To take all slots, an attacker needs four netgroups.
const PER_NETGROUP_MAX: usize = 16;
/// Requests in flight in total. Each response may hold a megabyte until a slow peer has read it.
const TOTAL_MAX: usize = 64;

/// Slots that requests of peers take while they are in flight.
#[derive(Debug, Default)]
pub struct RequestSlots {
    taken: HashMap<InboundId, (PeerId, Option<Netgroup>)>,
    next_id: u64,
}

impl RequestSlots {
    /// Returns an id for a request that takes no slot.
    pub fn without_slot(&mut self) -> InboundId {
        let id = InboundId(self.next_id);
        self.next_id += 1;
        id
    }

    /// Takes a slot for a request; `None` if the peer, its netgroup or all peers together have too many. Peers on own
    /// networks have no netgroup.
    pub fn take(&mut self, from: PeerId, netgroup: Option<Netgroup>) -> Option<InboundId> {
        let of_peer = self.taken.values().filter(|(peer, _)| *peer == from).count();
        let of_netgroup = self.taken.values().filter(|(_, other)| netgroup.is_some() && *other == netgroup).count();
        if of_peer >= PER_PEER_MAX || of_netgroup >= PER_NETGROUP_MAX || self.taken.len() >= TOTAL_MAX {
            return None;
        }
        let id = self.without_slot();
        self.taken.insert(id, (from, netgroup));
        Some(id)
    }

    /// Frees the slot of a request that is no longer in flight, if it has one.
    pub fn free(&mut self, id: InboundId) {
        self.taken.remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn netgroup(third: u8) -> Option<Netgroup> {
        Netgroup::of([8, 8, third, 8].into())
    }

    /// Takes as many slots as peers of a netgroup get.
    fn fill(slots: &mut RequestSlots, peers: usize, netgroup: Option<Netgroup>) -> Vec<InboundId> {
        let ids: Vec<PeerId> = (0..peers).map(|_| PeerId::random()).collect();
        ids.into_iter().flat_map(|id| std::iter::from_fn(|| slots.take(id, netgroup)).collect::<Vec<_>>()).collect()
    }

    #[test]
    fn a_netgroup_leaves_slots_to_others() {
        let mut slots = RequestSlots::default();
        assert_eq!(fill(&mut slots, 1, netgroup(1)).len(), PER_PEER_MAX);
        assert_eq!(fill(&mut slots, 8, netgroup(1)).len(), PER_NETGROUP_MAX - PER_PEER_MAX);
        assert_eq!(fill(&mut slots, 1, netgroup(2)).len(), PER_PEER_MAX);
    }

    #[test]
    fn peers_on_own_networks_are_limited_per_peer_and_in_total() {
        let mut slots = RequestSlots::default();
        let taken = fill(&mut slots, 100, None);
        assert_eq!(taken.len(), TOTAL_MAX);
        assert_eq!(slots.take(PeerId::random(), netgroup(1)), None);
        slots.free(taken[7]);
        assert!(slots.take(PeerId::random(), netgroup(1)).is_some_and(|id| !taken.contains(&id)));
        assert_eq!(slots.taken.len(), TOTAL_MAX);
    }
}
