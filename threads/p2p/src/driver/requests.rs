//! Questions and answers, both ways.

use std::collections::HashMap;

use libp2p::request_response::{
    self, InboundFailure, InboundRequestId, OutboundFailure, OutboundRequestId, ResponseChannel,
};
use libp2p::PeerId;
use log::debug;
use p2pool_core::netgroup::Netgroup;
use p2pool_core::node::Event;
use p2pool_core::peer::{InboundId, PeerHandle, RequestFailed, RequestId};
use p2pool_core::wire::{Offence, Request, Response, WireError};
use std::time::Instant;

use super::request_slots::Asking;
use super::Node;
use crate::codec::BadResponse;
use crate::peers::Acts;

/// Questions of ours to one peer at once; more would only queue behind each other on its line.
pub const ASKED_PER_PEER_MAX: usize = 8;

type Asked = Result<Request, WireError>;
type Answer = Result<Response, BadResponse>;

/// Questions under way.
#[derive(Default)]
pub(super) struct Questions {
    /// Ours.
    asked: HashMap<OutboundRequestId, (PeerId, PeerHandle, RequestId)>,
    /// Others', until the answer has left.
    others: HashMap<InboundRequestId, (PeerId, InboundId)>,
    /// The places these take.
    asking: Asking,
    /// Where answers go that have not been given.
    channels: HashMap<InboundId, ResponseChannel<Answer>>,
}

impl Node {
    pub(super) fn ask(&mut self, token: PeerHandle, request: RequestId, question: Request) {
        let id = self.peers.id(token);
        let Some((id, peer)) = id.and_then(|id| Some((id, self.peers.get_mut(&id)?))) else {
            return self.answered(token, request, Err(RequestFailed::Disconnected));
        };
        if peer.asked >= ASKED_PER_PEER_MAX {
            return self.answered(token, request, Err(RequestFailed::TooMany));
        }
        peer.asked += 1;
        let number = self.swarm.behaviour_mut().sync.send_request(&id, Ok(question));
        self.questions.asked.insert(number, (id, token, request));
    }

    pub(super) fn answer(&mut self, to: InboundId, response: Response) {
        match self.questions.channels.remove(&to) {
            // Whether it still can be sent is told by an event of its own.
            Some(channel) => drop(self.swarm.behaviour_mut().sync.send_response(channel, Ok(response))),
            None => debug!("an answer came too late"),
        }
    }

    fn answered(&mut self, peer: PeerHandle, request: RequestId, response: Result<Response, RequestFailed>) {
        self.outbox.send(Event::Response { peer, id: request, response });
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
                // (A question that is not all there in time is not even told of; it held one of its connection's streams
                // meanwhile.)
                debug!("a question of {peer} stays unanswered: {error}");
                let was_answered = self.end_of_request(request_id);
                if was_answered && matches!(error, InboundFailure::Timeout) {
                    self.blame_for_unread(&peer);
                }
            }
            request_response::Event::ResponseSent { request_id, .. } => {
                self.end_of_request(request_id);
            }
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
        if !self.peers.take(&from, Acts::Request, Instant::now()) {
            self.blame_for_rate(&from);
            return self.busy(channel);
        }
        let Some(peer) = self.peers.get(&from) else { return };
        let (peer_token, asking) = (peer.token, &mut self.questions.asking);
        let to = match question {
            // Everybody's first question. Its answer takes no memory, and who asks for many is met by the limits above
            // and by those of its connection.
            Request::Status => Some(asking.small()),
            _ => asking.take(from, peer.ip.and_then(Netgroup::of)),
        };
        let Some(to) = to else { return self.busy(channel) };
        self.questions.others.insert(id, (from, to));
        if self.outbox.offer(Event::Request { peer: peer_token, id: to, request: question }) {
            self.questions.channels.insert(to, channel);
        } else {
            self.busy(channel);
        }
    }

    fn busy(&mut self, channel: ResponseChannel<Answer>) {
        // Whether it still can be sent does not matter.
        drop(self.swarm.behaviour_mut().sync.send_response(channel, Ok(Response::Busy)));
    }

    /// A question is no longer under way; whether we had answered it.
    fn end_of_request(&mut self, id: InboundRequestId) -> bool {
        let Some((_, to)) = self.questions.others.remove(&id) else { return false };
        self.questions.asking.free(to);
        self.questions.channels.remove(&to).is_none()
    }

    fn end_of_question(&mut self, id: OutboundRequestId) -> Option<(PeerId, PeerHandle, RequestId)> {
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
            Err(BadResponse::Empty) => Err(RequestFailed::Refused),
            Err(BadResponse::Wire(error)) => {
                debug!("{from} answered what is no answer: {error}");
                self.penalize(&from, Offence::from(&error));
                Err(RequestFailed::Malformed)
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
                RequestFailed::TimedOut
            }
            OutboundFailure::ConnectionClosed | OutboundFailure::DialFailure => RequestFailed::Disconnected,
            OutboundFailure::UnsupportedProtocols | OutboundFailure::Io(_) => RequestFailed::Refused,
        };
        self.answered(token, request, Err(failed));
    }

    /// A peer is gone: all it was asked is answered with that, and its questions are forgotten.
    pub(super) fn questions_of_gone(&mut self, gone: &PeerId) {
        let asked: Vec<OutboundRequestId> =
            self.questions.asked.iter().filter(|(_, (peer, ..))| peer == gone).map(|(id, _)| *id).collect();
        for id in asked {
            if let Some((_, token, request)) = self.end_of_question(id) {
                self.answered(token, request, Err(RequestFailed::Disconnected));
            }
        }
        let asking: Vec<InboundRequestId> =
            self.questions.others.iter().filter(|(_, (peer, _))| peer == gone).map(|(id, _)| *id).collect();
        for id in asking {
            self.end_of_request(id);
        }
    }
}
