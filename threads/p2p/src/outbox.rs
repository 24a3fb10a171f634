//! Events for the chain thread, whose inbox may be full: some are dropped then, the others wait in order.

use std::collections::VecDeque;

use crossbeam_channel::{Sender, TrySendError};
use p2pool_channels::ToChain;
use p2pool_core::node::Event;
use p2pool_core::peer::PeerHandle;

/// The stratum thread uses the same inbox. While this many messages wait in it, no matter whose, nothing from peers that
/// may be dropped is added: what peers send never takes the room of this node's own shares.
const OFFERS_UP_TO: usize = 256;

/// Sends to the chain thread without ever blocking.
///
/// A full inbox means that peers send more than the chain thread can check. Their shares, blocks and requests are then
/// refused at once (gossip is ignored, requests get the response "busy"), and peers catch up by inventory. Connects,
/// disconnects and responses to this node's requests wait here. Their number is bounded: a peer has one connect and one
/// disconnect, each request one response, and all of them are dropped for a peer that connected and disconnected while
/// waiting.
pub struct Outbox {
    to_chain: Sender<ToChain>,
    waiting: VecDeque<Event>,
}

/// Room in the chain thread's inbox for what may be dropped.
pub struct Room(Sender<ToChain>);

impl Room {
    /// Number of such messages that the inbox takes now.
    pub fn left(&self) -> usize {
        self.0.capacity().map_or(OFFERS_UP_TO, |capacity| capacity.min(OFFERS_UP_TO)).saturating_sub(self.0.len())
    }
}

/// The chain thread has ended.
#[derive(Debug, PartialEq, Eq)]
pub struct ChainEnded;

impl Outbox {
    pub fn new(to_chain: Sender<ToChain>) -> Self {
        Self { to_chain, waiting: VecDeque::new() }
    }

    /// Returns the room that the inbox has at any time.
    pub fn room(&self) -> Room {
        Room(self.to_chain.clone())
    }

    /// Sends an event that may be dropped; false if it was.
    pub fn offer(&mut self, event: Event) -> bool {
        let has_room = self.waiting.is_empty() && self.to_chain.len() < OFFERS_UP_TO;
        has_room && self.to_chain.try_send(event.into()).is_ok()
    }

    /// Sends an event that must not be dropped, now or later.
    pub fn send(&mut self, event: Event) {
        match &event {
            Event::PeerDisconnected { peer } if self.forget_unseen(*peer) => {}
            _ => self.waiting.push_back(event),
        }
        // The event loop notices itself if the chain thread has ended.
        let _ = self.flush();
    }

    /// Whether events wait.
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Sends as many waiting events as there is room for.
    ///
    /// # Errors
    /// The chain thread has ended.
    pub fn flush(&mut self) -> Result<(), ChainEnded> {
        while let Some(event) = self.waiting.pop_front() {
            match self.to_chain.try_send(event.into()) {
                Ok(()) => {}
                Err(TrySendError::Full(message)) => {
                    if let ToChain::Event(event) = message {
                        self.waiting.push_front(event);
                    }
                    break;
                }
                Err(TrySendError::Disconnected(_)) => return Err(ChainEnded),
            }
        }
        Ok(())
    }

    /// Drops all waiting events of a peer if its connect is among them. Returns whether it was: then the chain thread need
    /// not learn of the disconnect either.
    fn forget_unseen(&mut self, disconnected: PeerHandle) -> bool {
        let is_unseen =
            self.waiting.iter().any(|event| matches!(event, Event::PeerConnected { peer } if *peer == disconnected));
        if is_unseen {
            self.waiting.retain(|event| {
                !matches!(event, Event::PeerConnected { peer } | Event::Response { peer, .. } if *peer == disconnected)
            });
        }
        is_unseen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connected(peer: u64) -> Event {
        Event::PeerConnected { peer: PeerHandle(peer) }
    }

    fn disconnected(peer: u64) -> Event {
        Event::PeerDisconnected { peer: PeerHandle(peer) }
    }

    fn texts(receiver: &crossbeam_channel::Receiver<ToChain>) -> Vec<String> {
        receiver
            .try_iter()
            .map(|message| match message {
                ToChain::Event(Event::PeerConnected { peer }) => format!("connected {}", peer.0),
                ToChain::Event(Event::PeerDisconnected { peer }) => format!("disconnected {}", peer.0),
                other => format!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn waiting_events_keep_their_order_and_hold_back_offers() {
        let (sender, receiver) = crossbeam_channel::bounded(1);
        let mut outbox = Outbox::new(sender);
        outbox.send(connected(1));
        outbox.send(connected(2));
        assert!(outbox.is_waiting());
        assert_eq!(texts(&receiver), ["connected 1"]);
        // There is room again, but an offer must not overtake.
        assert!(!outbox.offer(disconnected(9)));
        outbox.flush().unwrap();
        assert_eq!(texts(&receiver), ["connected 2"]);
        assert!(outbox.offer(disconnected(1)));
    }

    #[test]
    fn offers_leave_room_for_other_threads() {
        let (sender, receiver) = crossbeam_channel::bounded(4 * OFFERS_UP_TO);
        let mut outbox = Outbox::new(sender.clone());
        assert!((0..OFFERS_UP_TO).all(|_| outbox.offer(disconnected(1))));
        assert!(!outbox.offer(disconnected(1)));
        assert_eq!(receiver.len(), OFFERS_UP_TO);
        outbox.send(connected(2));
        assert_eq!((receiver.len(), outbox.is_waiting()), (OFFERS_UP_TO + 1, false));
        receiver.try_iter().count();
        assert!(outbox.offer(disconnected(1)));
    }

    #[test]
    fn peers_that_connect_and_disconnect_while_the_inbox_is_full_leave_nothing() {
        let (sender, receiver) = crossbeam_channel::bounded(1);
        let mut outbox = Outbox::new(sender);
        outbox.send(connected(1));
        for peer in 2..1_000 {
            outbox.send(connected(peer));
            outbox.send(disconnected(peer));
        }
        outbox.send(disconnected(1));
        assert_eq!(outbox.waiting.len(), 1);
        assert_eq!(texts(&receiver), ["connected 1"]);
        outbox.flush().unwrap();
        assert_eq!(texts(&receiver), ["disconnected 1"]);
    }

    #[test]
    fn the_end_of_the_chain_thread_is_noticed() {
        let (sender, receiver) = crossbeam_channel::bounded(1);
        let mut outbox = Outbox::new(sender);
        drop(receiver);
        outbox.waiting.push_back(connected(1));
        assert_eq!(outbox.flush(), Err(ChainEnded));
    }
}
