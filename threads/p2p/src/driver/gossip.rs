//! Shares and found blocks, in and out. A message that came in goes on to nobody before the chain's verdict.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bitcoin::block::Header;
use bitcoin::hashes::Hash as _;
use libp2p::gossipsub::{self, IdentTopic, Message, MessageAcceptance, MessageId, PublishError};
use libp2p::PeerId;
use log::{debug, warn};
use p2pool_core::node::Event;
use p2pool_core::peer::{GossipId, GossipVerdict};
use p2pool_core::share::Share;
use p2pool_core::units::Bits;
use p2pool_core::wire::{BlockAnnouncement, Frame as _, GossipShare, Offence};

use super::Node;
use crate::gossip::{GossipEvent, DEAF_SCORE, VERDICT_BEATS};
use crate::peers::Acts;

/// Shares that wait for a verdict: twice what the chain thread's inbox holds. 4 KB each in GossipSub's memory.
const SHARES_WAITING_MAX: usize = 512;
/// Announced blocks that wait for a verdict: a megabyte each, twice.
const BLOCKS_WAITING_MAX: usize = 8;
/// GossipSub forgets a message after this time; a beat is a second.
const VERDICT_TIME: Duration = Duration::from_secs(VERDICT_BEATS as u64);

/// What waits for the chain's verdict.
#[derive(Default)]
pub(super) struct Verdicts {
    waiting: HashMap<GossipId, Waiting>,
    /// Messages noted so far: orders those that wait by age.
    noted: u64,
}

struct Waiting {
    number: u64,
    message: MessageId,
    from: PeerId,
    until: Instant,
    is_block: bool,
}

impl Verdicts {
    /// Notes a message. If too many wait already, one gives way: the oldest of the peer with most of them, so that who
    /// sends much that cannot be judged is in nobody's way but their own.
    fn add(&mut self, message: MessageId, from: PeerId, is_block: bool) -> Option<Waiting> {
        let max = if is_block { BLOCKS_WAITING_MAX } else { SHARES_WAITING_MAX };
        self.noted += 1;
        let (number, until) = (self.noted, Instant::now() + VERDICT_TIME);
        self.waiting.insert(gossip_id(&message), Waiting { number, message, from, until, is_block });
        let mut of_kind: Vec<(PeerId, u64, GossipId)> = self
            .waiting
            .iter()
            .filter(|(_, waiting)| waiting.is_block == is_block)
            .map(|(id, waiting)| (waiting.from, waiting.number, *id))
            .collect();
        if of_kind.len() <= max {
            return None;
        }
        of_kind.sort_unstable();
        let most = of_kind.chunk_by(|one, other| one.0 == other.0).max_by_key(|chunk| chunk.len());
        most.and_then(|chunk| chunk.first()).and_then(|(_, _, oldest)| self.waiting.remove(oldest))
    }
}

/// The message's name for the chain thread: this network's message ids are hashes, see `gossip`.
fn gossip_id(message: &MessageId) -> GossipId {
    GossipId(message.0.as_slice().try_into().unwrap_or_default())
}

/// Whether a header has the work that it claims itself. What Bitcoin asks of it only the chain thread knows; but
/// nobody gets a megabyte to it for nothing.
fn has_claimed_work(header: &Header) -> bool {
    let hash = header.block_hash().to_byte_array();
    Bits(header.bits.to_consensus()).target().is_ok_and(|target| target.is_met_by(&hash))
}

impl Node {
    pub(super) fn announce(&mut self, share: &std::sync::Arc<Share>) {
        let bytes = GossipShare { share: std::sync::Arc::clone(share) }.encode();
        let topic = self.names.shares.clone();
        self.publish_on(&topic, bytes);
    }

    pub(super) fn announce_block(&mut self, block: &BlockAnnouncement) {
        let topic = self.names.blocks.clone();
        self.publish_on(&topic, block.encode());
    }

    fn publish_on(&mut self, topic: &IdentTopic, bytes: Vec<u8>) {
        match self.swarm.behaviour_mut().gossip.inner.publish(topic.clone(), bytes) {
            Ok(_) => {}
            // Nobody there, or everybody has it.
            Err(PublishError::NoPeersSubscribedToTopic | PublishError::Duplicate) => {}
            Err(error) => warn!("nothing announced on {topic}: {error}"),
        }
    }

    pub(super) fn judge(&mut self, gossip: GossipId, verdict: GossipVerdict) {
        let Some(waiting) = self.verdicts.waiting.remove(&gossip) else {
            debug!("a verdict came too late");
            return;
        };
        let acceptance = match verdict {
            GossipVerdict::Accept => MessageAcceptance::Accept,
            GossipVerdict::Ignore => MessageAcceptance::Ignore,
            GossipVerdict::Reject => MessageAcceptance::Reject,
        };
        if verdict == GossipVerdict::Accept && !waiting.is_block {
            self.peers.give_back(&waiting.from, Acts::Share);
        }
        self.report(&waiting.message, &waiting.from, acceptance);
    }

    fn report(&mut self, message: &MessageId, from: &PeerId, acceptance: MessageAcceptance) {
        self.swarm.behaviour_mut().gossip.inner.report_message_validation_result(message, from, acceptance);
    }

    /// GossipSub has forgotten them by now.
    pub(super) fn verdicts_overdue(&mut self, now: Instant) {
        self.verdicts.waiting.retain(|_, waiting| waiting.until > now);
    }

    /// GossipSub judges a peer by what we cannot see, such as messages in a form that it refuses, and by the points that
    /// we told it of: these are no second offence.
    pub(super) fn note_deafness(&mut self) {
        let gossip = &self.swarm.behaviour().gossip.inner;
        let is_deaf = |id, told: Option<u32>| {
            gossip.peer_score(id).is_some_and(|score| score + f64::from(told.unwrap_or_default()) < DEAF_SCORE)
        };
        let newly: Vec<PeerId> = self
            .peers
            .iter_mut()
            .filter(|(id, peer)| !peer.deaf && is_deaf(id, peer.told))
            .map(|(id, peer)| {
                peer.deaf = true;
                *id
            })
            .collect();
        for id in newly {
            self.penalize(&id, Offence::Malformed);
        }
    }

    /// Has GossipSub know each peer's points, the forgiven ones no longer.
    pub(super) fn tell_points(&mut self) {
        let time = self.time();
        let behaviour = self.swarm.behaviour_mut();
        for (id, peer) in self.peers.iter_mut() {
            let points = behaviour.door.bans.points(*id, time);
            if peer.told != Some(points) {
                peer.told = Some(points);
                behaviour.gossip.inner.set_application_score(id, -f64::from(points));
            }
        }
    }

    pub(super) fn on_gossip(&mut self, event: GossipEvent) {
        match event {
            GossipEvent::Inner(gossipsub::Event::Message { propagation_source, message_id, message }) => {
                self.on_message(propagation_source, message_id, message);
            }
            GossipEvent::Inner(gossipsub::Event::SlowPeer { peer_id, .. }) => debug!("{peer_id} reads too slowly"),
            GossipEvent::Inner(_) => {}
            GossipEvent::BrokenStreams(peer) => self.penalize(&peer, Offence::Malformed),
        }
    }

    fn on_message(&mut self, from: PeerId, id: MessageId, message: Message) {
        let acceptance = if message.topic == self.names.shares.hash() {
            self.on_share(from, &id, &message.data)
        } else {
            self.on_block(from, &id, message.data)
        };
        // Without one the chain thread gives it.
        if let Some(acceptance) = acceptance {
            self.report(&id, &from, acceptance);
        }
    }

    fn on_share(&mut self, from: PeerId, id: &MessageId, data: &[u8]) -> Option<MessageAcceptance> {
        let Some(token) = self.peers.get(&from).map(|peer| peer.token) else { return Some(MessageAcceptance::Ignore) };
        if !self.peers.take(&from, Acts::Share, Instant::now()) {
            return Some(self.too_many(from));
        }
        match GossipShare::decode(data) {
            Ok(GossipShare { share }) => self.offer(from, id, false, Event::ShareGossiped { peer: token, share }),
            Err(error) => {
                debug!("{from} passed on what is no share: {error}");
                self.penalize(&from, Offence::from(&error));
                Some(MessageAcceptance::Reject)
            }
        }
    }

    fn on_block(&mut self, from: PeerId, id: &MessageId, data: Vec<u8>) -> Option<MessageAcceptance> {
        let Some(token) = self.peers.get(&from).map(|peer| peer.token) else { return Some(MessageAcceptance::Ignore) };
        if !self.peers.take(&from, Acts::Block, Instant::now()) {
            return Some(self.too_many(from));
        }
        match BlockAnnouncement::peek(&data) {
            Ok(header) if has_claimed_work(&header) => {
                let gossip = gossip_id(id);
                self.offer(from, id, true, Event::BlockAnnounced { peer: token, gossip, header, announcement: data })
            }
            Ok(_) => {
                self.penalize(&from, Offence::FalseBlock);
                Some(MessageAcceptance::Reject)
            }
            Err(error) => {
                debug!("{from} passed on what is no block: {error}");
                self.penalize(&from, Offence::from(&error));
                Some(MessageAcceptance::Reject)
            }
        }
    }

    /// Hands a message to the chain thread if there is room.
    fn offer(&mut self, from: PeerId, id: &MessageId, is_block: bool, event: Event) -> Option<MessageAcceptance> {
        if let Some(Waiting { message, from, .. }) = self.verdicts.add(id.clone(), from, is_block) {
            self.report(&message, &from, MessageAcceptance::Ignore);
        }
        if self.outbox.offer(event) {
            return None;
        }
        debug!("the chain thread has no room for what {from} passed on");
        self.verdicts.waiting.remove(&gossip_id(id));
        Some(MessageAcceptance::Ignore)
    }

    fn too_many(&mut self, from: PeerId) -> MessageAcceptance {
        self.blame_for_rate(&from);
        MessageAcceptance::Ignore
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_sends_too_much_is_in_nobodys_way_but_their_own() {
        let (mut verdicts, honest, attacker) = (Verdicts::default(), PeerId::random(), PeerId::random());
        let id = |number: u16| MessageId::new(&[number.to_le_bytes(); 16].concat());
        assert!(verdicts.add(id(0), honest, false).is_none());
        let given_up: Vec<Waiting> =
            (1..=2_000).filter_map(|number| verdicts.add(id(number), attacker, false)).collect();
        assert_eq!(verdicts.waiting.len(), SHARES_WAITING_MAX);
        assert!(verdicts.waiting.contains_key(&gossip_id(&id(0))));
        assert!(given_up.iter().all(|waiting| waiting.from == attacker));
        assert_eq!(given_up[0].message, id(1), "the oldest first");
        // Blocks are counted by themselves.
        assert!(verdicts.add(id(3_000), honest, true).is_none());
        assert!(verdicts.add(id(3_001), honest, false).is_some_and(|waiting| waiting.from == attacker));
    }
}
