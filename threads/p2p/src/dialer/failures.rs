//! What dials in vain say about a peer: when it is dialled again, and when it is forgotten.

use std::time::Instant;

use libp2p::PeerId;
use p2pool_core::netgroup::is_own_network;

use super::{
    Dialer, KnownPeer, Rank, Source, BACKOFF_BOOTNODE_MAX, BACKOFF_FULL_MAX, BACKOFF_MAX, BACKOFF_MIN, FAILURES_BAD,
    FAILURES_MAX,
};
use crate::address::ip_of;

impl Dialer {
    /// Notes the end of a dial that says nothing about the peer.
    pub fn dial_ended(&mut self, peer: &PeerId, now: Instant) {
        let Some(known) = self.peers.get_mut(peer) else { return };
        known.is_dialling = false;
        known.next_try = known.next_try.max(now + BACKOFF_MIN);
    }

    /// Notes that this node's own limits kept it from dialling. Other groups of the peer's addresses may be within them.
    pub fn dial_denied(&mut self, peer: &PeerId, now: Instant) {
        let Some(known) = self.peers.get_mut(peer) else { return };
        known.is_dialling = false;
        let Some(group) = known.dialled.take() else {
            // Such as a bootnode, which shakes hands before this node can see its address.
            known.next_try = known.next_try.max(now + BACKOFF_BOOTNODE_MAX);
            return;
        };
        known.failed.push(Some(group));
        if known.has_next_group() {
            known.next_try = now + BACKOFF_MIN;
        } else {
            self.end_round(peer, now);
        }
    }

    /// Notes that all groups of a peer's addresses that can be dialled were: a failure of the peer if one was dialled in vain. Returns
    /// true if it is the first failure of a bootnode.
    pub(super) fn end_round(&mut self, peer: &PeerId, now: Instant) -> bool {
        let Some(known) = self.peers.get_mut(peer) else { return false };
        known.failed.clear();
        if std::mem::take(&mut known.is_in_vain) {
            (known.was_anchor, known.evicted_us, known.is_full) = (false, false, false);
            known.heard_in_vain = known.addresses.iter().filter(|(rank, _)| *rank == Rank::Heard).count();
            return self.back_off(peer, now);
        }
        known.next_try = now + BACKOFF_BOOTNODE_MAX;
        false
    }

    /// Notes a failed dial, a failure of the peer once all groups of its addresses have been dialled in vain. Returns true if
    /// it is the first failure of a bootnode.
    pub fn dial_failed(&mut self, peer: &PeerId, now: Instant) -> bool {
        let Some(known) = self.peers.get_mut(peer) else { return false };
        known.is_dialling = false;
        for (rank, address) in known.addresses.iter_mut().filter(|(rank, _)| *rank == Rank::Dialled) {
            *rank = Rank::of(address);
        }
        known.addresses.sort_by_key(|(rank, _)| *rank);
        known.failed.extend(known.dialled.take().map(Some));
        known.is_in_vain = true;
        if known.has_next_group() {
            known.next_try = now + BACKOFF_MIN;
            return false;
        }
        self.end_round(peer, now)
    }

    pub(super) fn back_off(&mut self, peer: &PeerId, now: Instant) -> bool {
        // Dials that began offline may end after the first connection.
        let failures_max = if self.is_online() { u32::MAX } else { FAILURES_MAX - FAILURES_BAD };
        let Some(known) = self.peers.get_mut(peer) else { return false };
        known.failures = known.failures.saturating_add(1).min(failures_max);
        let is_bootnode = known.source == Source::Bootnode;
        let max = match (known.is_full, is_bootnode) {
            (true, _) => BACKOFF_FULL_MAX,
            (false, true) => BACKOFF_BOOTNODE_MAX,
            (false, false) => BACKOFF_MAX,
        };
        let doublings = known.failures.saturating_sub(1).min(16);
        known.next_try = now + (BACKOFF_MIN * (1 << doublings)).min(max);
        // A peer that is full is a good one.
        let (failures, is_full) = (known.failures, known.is_full);
        if failures >= FAILURES_MAX && !is_full {
            self.forget(peer);
        }
        is_bootnode && failures == 1
    }

    /// Whether a peer outside own networks is connected.
    fn is_online(&self) -> bool {
        let best = |known: &KnownPeer| known.addresses.first().and_then(|(_, address)| ip_of(address));
        let is_outside = |known: &&KnownPeer| known.source != Source::Local && !best(known).is_some_and(is_own_network);
        self.peers.values().filter(is_outside).any(|known| known.connected.is_some())
    }
}
