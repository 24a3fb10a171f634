//! Questions and answers, both ways.

use std::collections::HashMap;

use libp2p::request_response::{self, InboundRequestId, OutboundFailure, OutboundRequestId, ResponseChannel};
use libp2p::PeerId;
use log::debug;
use p2pool_core::message::{AskFailed, InboundToken, PeerToken, RequestToken, ToChain};
use p2pool_core::wire::{Offence, Request, Response, WireError};
use std::time::Instant;

use super::Node;
use crate::codec::BadResponse;
use crate::peers::Acts;

/// Questions of ours to one peer at once; more would only queue behind each other on its line.
pub const ASKED_PER_PEER_MAX: usize = 8;
/// Questions of one peer at once, until their answers have left.
pub const ASKING_PER_PEER_MAX: usize = 8;
/// Questions of all peers at once: each answer may hold a megabyte until a slow peer has read it.
const ASKING_MAX: usize = 64;

type Asked = Result<Request, WireError>;
type Answer = Result<Response, BadResponse>;

/// Questions under way.
#[derive(Default)]
pub(super) struct Questions {
    /// Ours.
    asked: HashMap<OutboundRequestId, (PeerId, PeerToken, RequestToken)>,
    /// Others', until the answer has left.
    asking: HashMap<InboundRequestId, (PeerId, InboundToken)>,
    /// Where answers go.
    channels: HashMap<InboundToken, ResponseChannel<Answer>>,
    next_token: u64,
}

impl Node {
    pub(super) fn ask(&mut self, token: PeerToken, request: RequestToken, question: Request) {
        let id = self.peers.id(token);
        let Some((id, peer)) = id.and_then(|id| Some((id, self.peers.get_mut(&id)?))) else {
            return self.answered(token, request, Err(AskFailed::Gone));
        };
        if peer.asked >= ASKED_PER_PEER_MAX {
            return self.answered(token, request, Err(AskFailed::TooMany));
        }
        peer.asked += 1;
        let number = self.swarm.behaviour_mut().sync.send_request(&id, Ok(question));
        self.questions.asked.insert(number, (id, token, request));
    }

    pub(super) fn answer(&mut self, to: InboundToken, response: Response) {
        match self.questions.channels.remove(&to) {
            // Whether it still can be sent is told by an event of its own.
            Some(channel) => drop(self.swarm.behaviour_mut().sync.send_response(channel, Ok(response))),
            None => debug!("an answer came too late"),
        }
    }

    fn answered(&mut self, peer: PeerToken, request: RequestToken, response: Result<Response, AskFailed>) {
        self.outbox.send(ToChain::Answered { peer, request, response });
    }

    pub(super) fn on_sync(&mut self, event: request_response::Event<Asked, Answer>) {
        match event {
            request_response::Event::Message { peer, message, .. } => match message {
                request_response::Message::Request { request_id, request, channel } => {
                    self.on_request(peer, request_id, request, channel);
                }
                request_response::Message::Response { request_id, response } => self.on_response(request_id, response),
            },
            request_response::Event::OutboundFailure { request_id, error, .. } => {
                self.on_ask_failed(request_id, &error);
            }
            request_response::Event::InboundFailure { peer, request_id, error, .. } => {
                // Nobody's offence: our answer came too late, or is read too slowly. (A question that is not all
                // there in time is not even told of; it held one of its connection's streams meanwhile.)
                debug!("a question of {peer} stays unanswered: {error}");
                self.end_of_request(request_id);
            }
            request_response::Event::ResponseSent { request_id, .. } => self.end_of_request(request_id),
        }
    }

    fn on_request(&mut self, from: PeerId, id: InboundRequestId, request: Asked, channel: ResponseChannel<Answer>) {
        let question = match request {
            Ok(question) => question,
            Err(error) => {
                debug!("{from} asked what is no question: {error}");
                return self.penalize(&from, Offence::from(&error));
            }
        };
        let under_way = self.questions.asking.len();
        let allowed = self.peers.take(&from, Acts::Request, Instant::now());
        let Some(peer) = self.peers.get_mut(&from) else { return };
        let peer_token = peer.token;
        if !allowed || peer.asking >= ASKING_PER_PEER_MAX || under_way >= ASKING_MAX {
            if !allowed {
                self.blame_for_rate(&from);
            }
            return self.busy(channel);
        }
        peer.asking += 1;
        let to = InboundToken(self.questions.next_token);
        self.questions.next_token += 1;
        self.questions.asking.insert(id, (from, to));
        if self.outbox.offer(ToChain::Asked { peer: peer_token, to, question }) {
            self.questions.channels.insert(to, channel);
        } else {
            self.busy(channel);
        }
    }

    fn busy(&mut self, channel: ResponseChannel<Answer>) {
        // Whether it still can be sent does not matter.
        drop(self.swarm.behaviour_mut().sync.send_response(channel, Ok(Response::Busy)));
    }

    fn end_of_request(&mut self, id: InboundRequestId) {
        let Some((from, to)) = self.questions.asking.remove(&id) else { return };
        self.questions.channels.remove(&to);
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.asking = peer.asking.saturating_sub(1);
        }
    }

    fn end_of_question(&mut self, id: OutboundRequestId) -> Option<(PeerId, PeerToken, RequestToken)> {
        let question = self.questions.asked.remove(&id)?;
        if let Some(peer) = self.peers.get_mut(&question.0) {
            peer.asked = peer.asked.saturating_sub(1);
        }
        Some(question)
    }

    fn on_response(&mut self, id: OutboundRequestId, response: Answer) {
        let Some((from, token, request)) = self.end_of_question(id) else { return };
        let response = match response {
            Ok(response) => Ok(response),
            Err(BadResponse::Empty) => Err(AskFailed::Refused),
            Err(BadResponse::Wire(error)) => {
                debug!("{from} answered what is no answer: {error}");
                self.penalize(&from, Offence::from(&error));
                Err(AskFailed::Malformed)
            }
        };
        self.answered(token, request, response);
    }

    fn on_ask_failed(&mut self, id: OutboundRequestId, error: &OutboundFailure) {
        let Some((from, token, request)) = self.end_of_question(id) else { return };
        debug!("{from} did not answer: {error}");
        let failed = match error {
            OutboundFailure::Timeout => {
                self.penalize(&from, Offence::Late);
                AskFailed::Late
            }
            OutboundFailure::ConnectionClosed | OutboundFailure::DialFailure => AskFailed::Gone,
            OutboundFailure::UnsupportedProtocols | OutboundFailure::Io(_) => AskFailed::Refused,
        };
        self.answered(token, request, Err(failed));
    }

    /// A peer is gone: all it was asked is answered with that, and its questions are forgotten.
    pub(super) fn questions_of_gone(&mut self, gone: &PeerId) {
        let asked: Vec<OutboundRequestId> =
            self.questions.asked.iter().filter(|(_, (peer, ..))| peer == gone).map(|(id, _)| *id).collect();
        for id in asked {
            if let Some((_, token, request)) = self.end_of_question(id) {
                self.answered(token, request, Err(AskFailed::Gone));
            }
        }
        let asking: Vec<InboundRequestId> =
            self.questions.asking.iter().filter(|(_, (peer, _))| peer == gone).map(|(id, _)| *id).collect();
        for id in asking {
            self.end_of_request(id);
        }
    }
}
