//! Gossip of shares and found blocks. A received message is relayed only after the chain thread's verdict.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bitcoin::block::Header;
use bitcoin::hashes::Hash as _;
use libp2p::gossipsub::{self, IdentTopic, Message, MessageAcceptance, MessageId, PublishError};
use libp2p::PeerId;
use log::{debug, warn};
use p2pool_core::metrics::GossipMetrics;
use p2pool_core::node::Event;
use p2pool_core::peer::{GossipId, GossipVerdict, PeerHandle};
use p2pool_core::share::Share;
use p2pool_core::units::Bits;
use p2pool_core::wire::{BlockAnnouncement, Frame as _, GossipShare, Misbehaviour, WireError};

use super::SwarmDriver;
use crate::gossip::{GossipEvent, GRAYLIST_SCORE, VERDICT_HEARTBEATS};
use crate::rate_limits::Action;

/// Shares that wait for a verdict: twice what the chain thread's inbox holds. GossipSub keeps 4 KB of each.
const SHARES_PENDING_MAX: usize = 512;
/// Block announcements that wait for a verdict: as many as wait and are reassembled at the chain thread, which decides what is
/// worth least. Each may have a megabyte, which is kept twice.
const BLOCKS_PENDING_MAX: usize = 16;
/// Time after which GossipSub drops a message without a verdict.
const VERDICT_TIMEOUT: Duration = Duration::from_secs(VERDICT_HEARTBEATS as u64);

/// The messages that wait for a verdict.
#[derive(Default)]
pub(super) struct PendingVerdicts {
    messages: HashMap<GossipId, PendingMessage>,
    next_serial: u64,
}

#[derive(Debug, PartialEq)]
struct PendingMessage {
    serial: u64,
    from: PeerId,
    until: Instant,
    is_block: bool,
}

impl PendingVerdicts {
    /// Adds a message. If too many of its kind wait, the oldest message of the peer with most of them is removed and
    /// returned, or the oldest of all if no peer has more: a peer that sends much that cannot be judged displaces only its own.
    fn add(&mut self, id: GossipId, from: PeerId, is_block: bool) -> Option<(GossipId, PeerId)> {
        let max = if is_block { BLOCKS_PENDING_MAX } else { SHARES_PENDING_MAX };
        let (serial, until) = (self.next_serial, Instant::now() + VERDICT_TIMEOUT);
        self.next_serial += 1;
        self.messages.insert(id, PendingMessage { serial, from, until, is_block });
        let mut of_kind: Vec<(PeerId, u64, GossipId)> = self
            .messages
            .iter()
            .filter(|(_, message)| message.is_block == is_block)
            .map(|(id, message)| (message.from, message.serial, *id))
            .collect();
        if of_kind.len() <= max {
            return None;
        }
        of_kind.sort_unstable();
        let most =
            of_kind.chunk_by(|one, other| one.0 == other.0).max_by_key(|chunk| (chunk.len(), Reverse(chunk[0].1)))?;
        let (from, _, oldest) = *most.first()?;
        self.messages.remove(&oldest);
        Some((oldest, from))
    }

    /// Drops messages that GossipSub has dropped.
    pub(super) fn expire(&mut self, now: Instant) {
        self.messages.retain(|_, message| message.until > now);
    }
}

/// Whether a header meets its own bits. Only the chain thread knows the bits that Bitcoin demands, but a megabyte without
/// any work does not get that far.
fn meets_own_bits(header: &Header) -> bool {
    let hash = header.block_hash().to_byte_array();
    Bits(header.bits.to_consensus()).target().is_ok_and(|target| target.is_met_by(&hash))
}

/// The event of a gossiped share; `None` if it is of newer rules and has a form that is unknown here.
fn share_event(peer: PeerHandle, message: &[u8]) -> Result<Option<Event>, Misbehaviour> {
    match GossipShare::decode(message) {
        Ok(GossipShare { share }) => Ok(Some(Event::ShareGossiped { peer, share })),
        Err(WireError::Malformed(_)) if GossipShare::has_newer_rules(message) => Ok(None),
        Err(error) => Err(Misbehaviour::from(&error)),
    }
}

fn block_event(peer: PeerHandle, gossip: GossipId, message: Vec<u8>) -> Result<Option<Event>, Misbehaviour> {
    match BlockAnnouncement::decode_header(&message) {
        Ok(header) if meets_own_bits(&header) => {
            Ok(Some(Event::BlockAnnounced { peer, gossip, header, announcement: message }))
        }
        Ok(_) => Err(Misbehaviour::FalseBlock),
        Err(error) => Err(Misbehaviour::from(&error)),
    }
}

impl SwarmDriver {
    pub(super) fn announce_share(&mut self, share: Arc<Share>) {
        let topic = self.names.shares.clone();
        self.publish_on(&topic, GossipShare { share }.encode(), false);
    }

    pub(super) fn announce_block(&mut self, block: &BlockAnnouncement) {
        let topic = self.names.blocks.clone();
        self.publish_on(&topic, block.encode(), true);
    }

    fn publish_on(&mut self, topic: &IdentTopic, bytes: Vec<u8>, is_block: bool) {
        match self.swarm.behaviour_mut().peers.inner.gossip.publish(topic, bytes) {
            Ok(()) => self.gossip_metrics(is_block).announced.inc(),
            // Without peers, or if all have the message already, there is nothing to do.
            Err(PublishError::NoPeersSubscribedToTopic | PublishError::Duplicate) => {}
            Err(error) => warn!("announcement on {topic} failed: {error}"),
        }
    }

    pub(super) fn on_verdict(&mut self, gossip: GossipId, verdict: GossipVerdict) {
        let Some(message) = self.pending_verdicts.messages.remove(&gossip) else {
            return debug!("verdict ignored: the message no longer waits for one");
        };
        let acceptance = match verdict {
            GossipVerdict::Accept => MessageAcceptance::Accept,
            GossipVerdict::Ignore => MessageAcceptance::Ignore,
            GossipVerdict::Reject => MessageAcceptance::Reject,
        };
        if verdict == GossipVerdict::Accept {
            if !message.is_block {
                self.swarm.behaviour_mut().peers.inner.gossip.give_back(&message.from, Action::Share);
            }
            if let Some(peer) = self.peers.get_mut(&message.from) {
                let useful = if message.is_block { &mut peer.found_at } else { &mut peer.shared_at };
                *useful = Some(Instant::now());
            }
        }
        self.report_verdict(gossip, &message.from, message.is_block, acceptance);
    }

    fn gossip_metrics(&self, is_block: bool) -> &GossipMetrics {
        if is_block {
            &self.metrics.block_gossip
        } else {
            &self.metrics.share_gossip
        }
    }

    fn report_verdict(&mut self, gossip: GossipId, from: &PeerId, is_block: bool, acceptance: MessageAcceptance) {
        let metrics = self.gossip_metrics(is_block);
        let counter = match acceptance {
            MessageAcceptance::Accept => &metrics.accepted,
            MessageAcceptance::Ignore => &metrics.ignored,
            MessageAcceptance::Reject => &metrics.rejected,
        };
        counter.inc();
        let id = MessageId::new(&gossip.0);
        self.swarm.behaviour_mut().peers.inner.gossip.inner.report_message_validation_result(&id, from, acceptance);
    }

    /// Penalises peers that GossipSub has graylisted for what only it sees, such as messages that it rejects as malformed.
    /// Its score includes the ban score that this node gave it, which is subtracted so that it does not count twice.
    pub(super) fn penalize_graylisted(&mut self) {
        let gossip = &self.swarm.behaviour().peers.inner.gossip.inner;
        let mut graylisted = Vec::new();
        for (id, peer) in self.peers.iter_mut().filter(|(_, peer)| !peer.is_graylisted) {
            let reported = f64::from(peer.reported_score.unwrap_or_default());
            if gossip.peer_score(id).is_some_and(|score| score + reported < GRAYLIST_SCORE) {
                peer.is_graylisted = true;
                graylisted.push(*id);
            }
        }
        for id in graylisted {
            self.penalize(&id, Misbehaviour::Malformed);
        }
    }

    /// Reports each peer's present ban score to GossipSub.
    pub(super) fn report_ban_scores(&mut self) {
        let time = self.time();
        let behaviour = self.swarm.behaviour_mut();
        for (id, peer) in self.peers.iter_mut() {
            let score = behaviour.gater.bans.score(*id, time);
            if peer.reported_score != Some(score) {
                peer.reported_score = Some(score);
                behaviour.peers.inner.gossip.inner.set_application_score(id, -f64::from(score));
            }
        }
    }

    pub(super) fn on_gossip(&mut self, event: GossipEvent) {
        match event {
            GossipEvent::Inner(gossipsub::Event::Message { propagation_source, message_id, message }) => {
                let gossip = gossip_id(&message_id);
                let is_block = message.topic != self.names.shares.hash();
                self.gossip_metrics(is_block).received.inc();
                // Without an acceptance the chain thread gives a verdict.
                if let Some(acceptance) = self.on_gossip_message(propagation_source, gossip, is_block, message) {
                    self.report_verdict(gossip, &propagation_source, is_block, acceptance);
                }
            }
            GossipEvent::Inner(gossipsub::Event::SlowPeer { peer_id, .. }) => {
                debug!("peer {peer_id} reads gossip too slowly");
            }
            GossipEvent::Inner(_) => {}
            GossipEvent::BrokenStreams(peer) => self.penalize(&peer, Misbehaviour::Malformed),
            GossipEvent::Beyond { peer, action, is_own } => {
                let metrics = self.gossip_metrics(action == Action::Block);
                metrics.received.inc();
                metrics.ignored.inc();
                if is_own {
                    self.penalize_excess(&peer);
                }
            }
        }
    }

    fn on_gossip_message(
        &mut self,
        from: PeerId,
        gossip: GossipId,
        is_block: bool,
        message: Message,
    ) -> Option<MessageAcceptance> {
        let Some(peer) = self.peers.get(&from).map(|peer| peer.handle) else { return Some(MessageAcceptance::Ignore) };
        let event = if is_block { block_event(peer, gossip, message.data) } else { share_event(peer, &message.data) };
        match event {
            Ok(Some(event)) => self.offer(from, gossip, is_block, event),
            Ok(None) => Some(MessageAcceptance::Ignore),
            Err(misbehaviour) => {
                self.penalize(&from, misbehaviour);
                Some(MessageAcceptance::Reject)
            }
        }
    }

    /// Hands a message to the chain thread if it has room.
    fn offer(&mut self, from: PeerId, gossip: GossipId, is_block: bool, event: Event) -> Option<MessageAcceptance> {
        if let Some((displaced, from)) = self.pending_verdicts.add(gossip, from, is_block) {
            self.report_verdict(displaced, &from, is_block, MessageAcceptance::Ignore);
        }
        if self.outbox.offer(event) {
            return None;
        }
        debug!("gossip of peer {from} ignored: the chain thread's inbox is full");
        self.pending_verdicts.messages.remove(&gossip);
        Some(MessageAcceptance::Ignore)
    }
}

/// Returns the chain thread's id of a message, which is the same hash.
fn gossip_id(message: &MessageId) -> GossipId {
    GossipId(message.0.as_slice().try_into().expect("message ids are 32-byte hashes, see `gossip`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_with_too_many_pending_messages_displaces_its_own() {
        let (mut pending, honest, attacker) = (PendingVerdicts::default(), PeerId::random(), PeerId::random());
        let id = |number: u16| {
            let mut id = [0; 32];
            id[..2].copy_from_slice(&number.to_le_bytes());
            GossipId(id)
        };
        assert_eq!(pending.add(id(0), honest, false), None);
        let displaced: Vec<_> = (1..=2_000).filter_map(|number| pending.add(id(number), attacker, false)).collect();
        assert_eq!(pending.messages.len(), SHARES_PENDING_MAX);
        assert!(pending.messages.contains_key(&id(0)));
        assert!(displaced.iter().all(|(_, from)| *from == attacker));
        assert_eq!(displaced[0].0, id(1), "the oldest first");
        // Blocks are counted separately.
        assert_eq!(pending.add(id(3_000), honest, true), None);
        assert!(pending.add(id(3_001), honest, false).is_some_and(|(_, from)| from == attacker));
    }

    #[test]
    fn peers_with_one_pending_block_each_do_not_displace_the_newest() {
        let mut peers: Vec<PeerId> = (0..=BLOCKS_PENDING_MAX).map(|_| PeerId::random()).collect();
        peers.sort_unstable();
        for is_last in [true, false] {
            let mut pending = PendingVerdicts::default();
            let honest = peers[if is_last { BLOCKS_PENDING_MAX } else { 0 }];
            for (number, attacker) in (1..).zip(peers.iter().filter(|peer| **peer != honest)) {
                assert_eq!(pending.add(GossipId([number; 32]), *attacker, true), None);
            }
            assert!(pending.add(GossipId([0; 32]), honest, true).is_some_and(|(_, from)| from != honest));
        }
    }
}
