//! The way to the chain thread, whose inbox may be full: what may be lost is, what may not waits in order.

use std::collections::VecDeque;

use crossbeam_channel::{Sender, TrySendError};
use p2pool_channels::ToChain;
use p2pool_core::node::Event;
use p2pool_core::peer::PeerHandle;

/// The inbox is shared with the miners' thread. While this many messages wait in it, whoever they are from, nothing of
/// peers is added that may be lost: what strangers send never takes the room of this node's own shares.
const OFFERS_UP_TO: usize = 256;

/// Sends to the chain thread without ever blocking.
///
/// A full inbox means that the chain has more to check than it can: shares, blocks and questions of peers are then
/// refused at once (the gossip says "ignored", the asker is told "busy") and peers catch up by inventory. Comings,
/// goings and answers to questions of ours wait here. They are bounded: a peer has one coming and one going, each
/// question of ours one answer, and what concerns a peer that came and went meanwhile is struck out.
pub struct Outbox {
    to_chain: Sender<ToChain>,
    waiting: VecDeque<Event>,
}

/// The chain thread has ended.
#[derive(Debug, PartialEq, Eq)]
pub struct ChainGone;

impl Outbox {
    /// To the chain thread.
    pub fn new(to_chain: Sender<ToChain>) -> Self {
        Self { to_chain, waiting: VecDeque::new() }
    }

    /// Sends what may be lost; false if it was.
    pub fn offer(&mut self, event: Event) -> bool {
        let has_room = self.waiting.is_empty() && self.to_chain.len() < OFFERS_UP_TO;
        has_room && self.to_chain.try_send(event.into()).is_ok()
    }

    /// Sends what may not be lost, now or later.
    pub fn send(&mut self, event: Event) {
        match &event {
            Event::PeerDisconnected { peer } if self.strike_out(*peer) => {}
            _ => self.waiting.push_back(event),
        }
        // That the chain is gone is found at the next turn of the loop as well.
        let _ = self.flush();
    }

    /// Whether something waits.
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Sends what waits, as far as there is room.
    ///
    /// # Errors
    /// Nobody is there to send to.
    pub fn flush(&mut self) -> Result<(), ChainGone> {
        while let Some(event) = self.waiting.pop_front() {
            match self.to_chain.try_send(event.into()) {
                Ok(()) => {}
                Err(TrySendError::Full(message)) => {
                    if let ToChain::Event(event) = message {
                        self.waiting.push_front(event);
                    }
                    break;
                }
                Err(TrySendError::Disconnected(_)) => return Err(ChainGone),
            }
        }
        Ok(())
    }

    /// Forgets all that waits of a peer if its coming does: the chain never hears of it.
    fn strike_out(&mut self, gone: PeerHandle) -> bool {
        let unseen =
            self.waiting.iter().any(|message| matches!(message, Event::PeerConnected { peer } if *peer == gone));
        if unseen {
            self.waiting.retain(|message| {
                !matches!(message, Event::PeerConnected { peer } | Event::Response { peer, .. } if *peer == gone)
            });
        }
        unseen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn up(peer: u64) -> Event {
        Event::PeerConnected { peer: PeerHandle(peer) }
    }

    fn down(peer: u64) -> Event {
        Event::PeerDisconnected { peer: PeerHandle(peer) }
    }

    fn texts(receiver: &crossbeam_channel::Receiver<ToChain>) -> Vec<String> {
        receiver
            .try_iter()
            .map(|message| match message {
                ToChain::Event(Event::PeerConnected { peer }) => format!("up {}", peer.0),
                ToChain::Event(Event::PeerDisconnected { peer }) => format!("down {}", peer.0),
                other => format!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn what_may_not_be_lost_waits_in_order_and_holds_the_rest_back() {
        let (sender, receiver) = crossbeam_channel::bounded(1);
        let mut outbox = Outbox::new(sender);
        outbox.send(up(1));
        outbox.send(up(2));
        assert!(outbox.is_waiting());
        assert_eq!(texts(&receiver), ["up 1"]);
        // There is room again, but nothing overtakes.
        assert!(!outbox.offer(down(9)));
        outbox.flush().unwrap();
        assert_eq!(texts(&receiver), ["up 2"]);
        assert!(outbox.offer(down(1)));
    }

    #[test]
    fn offers_leave_room_for_others() {
        let (sender, receiver) = crossbeam_channel::bounded(4 * OFFERS_UP_TO);
        let mut outbox = Outbox::new(sender.clone());
        assert!((0..OFFERS_UP_TO).all(|_| outbox.offer(down(1))));
        assert!(!outbox.offer(down(1)));
        assert_eq!(receiver.len(), OFFERS_UP_TO);
        outbox.send(up(2));
        assert_eq!((receiver.len(), outbox.is_waiting()), (OFFERS_UP_TO + 1, false));
        receiver.try_iter().count();
        assert!(outbox.offer(down(1)));
    }

    #[test]
    fn peers_that_flap_while_the_chain_is_stuck_leave_nothing() {
        let (sender, receiver) = crossbeam_channel::bounded(1);
        let mut outbox = Outbox::new(sender);
        outbox.send(up(1));
        for peer in 2..1_000 {
            outbox.send(up(peer));
            outbox.send(down(peer));
        }
        outbox.send(down(1));
        assert_eq!(outbox.waiting.len(), 1);
        assert_eq!(texts(&receiver), ["up 1"]);
        outbox.flush().unwrap();
        assert_eq!(texts(&receiver), ["down 1"]);
    }

    #[test]
    fn a_chain_that_ended_is_noticed() {
        let (sender, receiver) = crossbeam_channel::bounded(1);
        let mut outbox = Outbox::new(sender);
        drop(receiver);
        outbox.waiting.push_back(up(1));
        assert_eq!(outbox.flush(), Err(ChainGone));
    }
}
