//! Gossip: messages that are relayed after a verdict and known by digest, and how many a peer may send.

use std::cell::OnceCell;
use std::rc::Rc;
use std::sync::Arc;

use ::bitcoin::block::Header;
use ::bitcoin::hashes::{sha256, Hash as _};
use p2pool_core::node::Event;
use p2pool_core::peer::{GossipId, PeerHandle};
use p2pool_core::share::Share;
use p2pool_core::sharechain::AHEAD_MAX_S;
use p2pool_core::units::Bits;
use p2pool_core::wire::{BlockAnnouncement, Frame as _, GossipShare, Misbehaviour};

use super::{Payload, Waiting, OFFERED_MAX};
use crate::engine::Simulation;
use crate::invariants::PlantedBug;

/// A message is kept this long for its verdict.
const VERDICT_MS: u64 = (AHEAD_MAX_S as u64 + 10) * 1_000;
/// The same message is not looked at again within this time.
const REMEMBERED_MS: u64 = VERDICT_MS + 30_000;
/// Messages that wait for a verdict.
pub const WAITING_MAX: usize = 512;
/// Shares that a peer may send at once, and milliseconds in which one more is allowed.
const SHARES_BURST: u64 = 100;
const SHARES_INTERVAL_MS: u64 = 50;
/// A peer is blamed for too many messages once per this time.
const BLAME_INTERVAL_MS: u64 = 1_000;

/// A gossiped message.
pub struct Gossip {
    /// Names it: a share's digest, or the hash of an announcement.
    pub id: GossipId,
    pub(super) bytes: Vec<u8>,
    is_block: bool,
    /// Decoded by the first that receives it: the same bytes give the same share.
    share: OnceCell<Option<Arc<Share>>>,
}

impl Gossip {
    /// A share in its real encoding.
    pub fn share(share: &Arc<Share>) -> Self {
        let bytes = GossipShare { share: Arc::clone(share) }.encode();
        Self { id: GossipId(share.digest().0), bytes, is_block: false, share: OnceCell::new() }
    }

    /// The announcement of a block, or bytes that claim to be one.
    pub fn block(bytes: Vec<u8>) -> Self {
        let id = GossipId(sha256::Hash::hash(&bytes).to_byte_array());
        Self { id, bytes, is_block: true, share: OnceCell::new() }
    }

    /// Bytes that claim to be a share.
    pub fn malformed(bytes: Vec<u8>) -> Self {
        Self { is_block: false, ..Self::block(bytes) }
    }

    fn decode(&self) -> Option<Arc<Share>> {
        self.share.get_or_init(|| GossipShare::decode(&self.bytes).ok().map(|gossip| gossip.share)).clone()
    }
}

impl Simulation {
    /// Sends a message of this node to all its peers.
    pub fn publish(&mut self, host: usize, gossip: Gossip) {
        if self.planted == Some(PlantedBug::SkipAnnouncements) {
            return;
        }
        let gossip = Rc::new(gossip);
        self.hosts[host].peers.seen.insert(gossip.id, self.now_ms + REMEMBERED_MS);
        let connections: Vec<usize> = self.hosts[host].peers.connections.values().copied().collect();
        for connection in connections {
            self.send(connection, host, Payload::Gossip(Rc::clone(&gossip)));
        }
    }

    /// Passes a message on: to some at once, to the others that it is there.
    pub(super) fn relay(&mut self, host: usize, gossip: &Rc<Gossip>, from: Option<PeerHandle>) {
        if self.is_silent(host) {
            return;
        }
        let others: Vec<usize> = self.hosts[host]
            .peers
            .connections
            .iter()
            .filter(|(peer, _)| Some(**peer) != from)
            .map(|(_, connection)| *connection)
            .collect();
        for connection in others {
            let payload = match self.connections[connection].is_mesh {
                true => Payload::Gossip(Rc::clone(gossip)),
                false => Payload::Have(Rc::clone(gossip)),
            };
            self.send(connection, host, payload);
        }
    }

    pub(super) fn has_seen(&self, host: usize, id: &GossipId) -> bool {
        self.hosts[host].peers.seen.get(id).is_some_and(|until| *until > self.now_ms)
    }

    pub(super) fn on_gossip(&mut self, connection: usize, end: usize, gossip: Rc<Gossip>) {
        let (host, peer) = (self.connections[connection].ends[end].host, self.connections[connection].ends[end].peer);
        if self.hosts[host].node.is_none() || !self.listens(host) {
            return;
        }
        self.hosts[host].peers.seen.insert(gossip.id, self.now_ms + REMEMBERED_MS);
        if !self.take_allowance(connection, end) {
            return;
        }
        let event = match gossip.is_block {
            false => match gossip.decode() {
                Some(share) => {
                    self.hostile_saw(host, &share);
                    Event::ShareGossiped { peer, share }
                }
                None => return self.penalize(host, peer, Misbehaviour::Malformed),
            },
            true => match BlockAnnouncement::decode_header(&gossip.bytes) {
                Ok(header) if has_claimed_work(&header) => {
                    Event::BlockAnnounced { peer, gossip: gossip.id, header, announcement: gossip.bytes.clone() }
                }
                Ok(_) => return self.penalize(host, peer, Misbehaviour::FalseBlock),
                Err(error) => return self.penalize(host, peer, Misbehaviour::from(&error)),
            },
        };
        if self.planted == Some(PlantedBug::RelayBeforeVerdict) {
            self.relay(host, &gossip, Some(peer));
        }
        if self.hosts[host].inbox.len() >= OFFERED_MAX {
            return;
        }
        if let Event::BlockAnnounced { header, .. } = &event {
            self.block_arrived(host, header);
        }
        let waiting = &mut self.hosts[host].peers.waiting;
        if waiting.len() >= WAITING_MAX && self.planted != Some(PlantedBug::KeepWaiting) {
            let oldest = waiting.iter().min_by_key(|(_, waiting)| waiting.until_ms).map(|(id, _)| *id);
            oldest.and_then(|oldest| waiting.remove(&oldest));
        }
        waiting.insert(gossip.id, Waiting { gossip, from: peer, until_ms: self.now_ms + VERDICT_MS });
        if self.planted == Some(PlantedBug::RepeatGossip) {
            if let Event::ShareGossiped { share, .. } = &event {
                let again: Vec<Event> =
                    (0..8_000).map(|_| Event::ShareGossiped { peer, share: Arc::clone(share) }).collect();
                self.hosts[host].inbox.extend(again);
            }
        }
        self.push(host, event);
    }

    /// Takes one of the shares that a peer may send; blames it if there is none.
    fn take_allowance(&mut self, connection: usize, end: usize) -> bool {
        let now_ms = self.now_ms;
        let account = &mut self.connections[connection].ends[end];
        let full_at = account.shares_full_at_ms.max(now_ms) + SHARES_INTERVAL_MS;
        if full_at - now_ms <= SHARES_INTERVAL_MS * SHARES_BURST {
            account.shares_full_at_ms = full_at;
            return true;
        }
        let (host, peer) = (account.host, account.peer);
        if now_ms >= account.blamed_at_ms {
            account.blamed_at_ms = now_ms + BLAME_INTERVAL_MS;
            self.penalize(host, peer, Misbehaviour::TooManyRequests);
        }
        false
    }

    pub(super) fn allow_again(&mut self, host: usize, peer: PeerHandle) {
        let Some(connection) = self.hosts[host].peers.connections.get(&peer) else { return };
        let ends = &mut self.connections[*connection].ends;
        if let Some(end) = ends.iter_mut().find(|end| end.host == host) {
            end.shares_full_at_ms = end.shares_full_at_ms.saturating_sub(SHARES_INTERVAL_MS);
        }
    }

    /// Forgets messages whose time is over.
    pub fn forget_gossip(&mut self, host: usize) {
        let now_ms = self.now_ms;
        let forgets_verdicts = self.planted != Some(PlantedBug::KeepWaiting);
        let peers = &mut self.hosts[host].peers;
        peers.seen.retain(|_, until| *until > now_ms);
        if forgets_verdicts {
            peers.waiting.retain(|_, waiting| waiting.until_ms > now_ms);
        }
    }
}

/// Whether a header has the work that it claims itself.
fn has_claimed_work(header: &Header) -> bool {
    let hash = header.block_hash().to_byte_array();
    Bits(header.bits.to_consensus()).target().is_ok_and(|target| target.is_met_by(&hash))
}
