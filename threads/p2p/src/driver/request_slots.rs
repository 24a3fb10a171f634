//! Limits on requests of peers that are in flight.

use std::collections::HashMap;

use libp2p::PeerId;
use p2pool_core::netgroup::Netgroup;
use p2pool_core::peer::InboundId;

/// Requests in flight per peer, until their responses have been sent.
const PER_PEER_MAX: usize = 8;
/// Requests in flight per netgroup: as much as two peers. To take all slots, an attacker needs four netgroups.
const PER_NETGROUP_MAX: usize = 16;
/// The same of an anonymous netgroup: half of all.
const PER_ANONYMOUS_MAX: usize = TOTAL_MAX / 2;
/// Requests in flight in total. Each response may hold 280 KB until a slow peer has read it.
const TOTAL_MAX: usize = 64;
/// Slots that a request takes whose response may have a megabyte.
pub const LONG: usize = 4;

/// What a request in flight takes.
#[derive(Debug)]
struct Taken {
    from: PeerId,
    netgroup: Option<Netgroup>,
    slots: usize,
}

/// Slots that requests of peers take while they are in flight.
#[derive(Debug, Default)]
pub struct RequestSlots {
    taken: HashMap<InboundId, Taken>,
    next_id: u64,
}

impl RequestSlots {
    /// Returns an id for a request that takes no slot.
    pub fn without_slot(&mut self) -> InboundId {
        let id = InboundId(self.next_id);
        self.next_id += 1;
        id
    }

    /// Takes slots for a request; `None` if the peer, its netgroup or all peers together have too many.
    pub fn take(&mut self, from: PeerId, netgroup: Option<Netgroup>, slots: usize) -> Option<InboundId> {
        let taken = |is_counted: &dyn Fn(&Taken) -> bool| -> usize {
            slots + self.taken.values().filter(|taken| is_counted(taken)).map(|taken| taken.slots).sum::<usize>()
        };
        let of_netgroup = taken(&|taken| netgroup.is_some() && taken.netgroup == netgroup);
        let is_anonymous = netgroup.is_some_and(Netgroup::is_anonymous);
        let of_netgroup_max = if is_anonymous { PER_ANONYMOUS_MAX } else { PER_NETGROUP_MAX };
        if taken(&|taken| taken.from == from) > PER_PEER_MAX
            || of_netgroup > of_netgroup_max
            || taken(&|_| true) > TOTAL_MAX
        {
            return None;
        }
        let id = self.without_slot();
        self.taken.insert(id, Taken { from, netgroup, slots });
        Some(id)
    }

    /// Frees the slots of a request that is no longer in flight, if it has any.
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
        ids.into_iter().flat_map(|id| std::iter::from_fn(|| slots.take(id, netgroup, 1)).collect::<Vec<_>>()).collect()
    }

    #[test]
    fn a_netgroup_leaves_slots_to_others() {
        let mut slots = RequestSlots::default();
        assert_eq!(fill(&mut slots, 1, netgroup(1)).len(), PER_PEER_MAX);
        assert_eq!(fill(&mut slots, 8, netgroup(1)).len(), PER_NETGROUP_MAX - PER_PEER_MAX);
        assert_eq!(fill(&mut slots, 1, netgroup(2)).len(), PER_PEER_MAX);
        assert_eq!(fill(&mut slots, 100, Some(Netgroup::Tor)).len(), PER_ANONYMOUS_MAX);
        assert_eq!(fill(&mut slots, 1, netgroup(3)).len(), PER_PEER_MAX);
    }

    #[test]
    fn peers_on_own_networks_are_limited_per_peer_and_in_total() {
        let mut slots = RequestSlots::default();
        let taken = fill(&mut slots, 100, None);
        assert_eq!(taken.len(), TOTAL_MAX);
        assert_eq!(slots.take(PeerId::random(), netgroup(1), 1), None);
        slots.free(taken[7]);
        assert!(slots.take(PeerId::random(), netgroup(1), 1).is_some_and(|id| !taken.contains(&id)));
        assert_eq!(slots.taken.len(), TOTAL_MAX);
    }
    #[test]
    fn long_responses_take_the_slots_of_several() {
        let (mut slots, peer) = (RequestSlots::default(), PeerId::random());
        assert!(slots.take(peer, None, LONG).is_some() && slots.take(peer, None, LONG).is_some());
        assert_eq!(slots.take(peer, None, 1), None);
        let long = std::iter::from_fn(|| slots.take(PeerId::random(), None, LONG)).count();
        assert_eq!(2 + long, TOTAL_MAX / LONG);
    }
}
