//! Requests and responses in both directions.

use std::collections::HashMap;
use std::time::Instant;

use libp2p::request_response::{
    self, InboundFailure, InboundRequestId, OutboundFailure, OutboundRequestId, ResponseChannel,
};
use libp2p::PeerId;
use log::debug;
use p2pool_core::node::Event;
use p2pool_core::peer::{InboundId, PeerHandle, RequestFailed, RequestId};
use p2pool_core::wire::{Frame as _, Misbehaviour, Request, Response, WireError};

use super::pacing::{is_long, Pacing, Waiting};
use super::request_slots::{self, RequestSlots};
use super::SwarmDriver;
use crate::codec::BadResponse;
use crate::rate_limits::Action;
use crate::upload::Uploads;

/// Requests of this node in flight per peer. More would only queue up on the peer's line.
pub const OUTBOUND_PER_PEER_MAX: usize = 8;

type DecodedRequest = Result<Request, WireError>;
type DecodedResponse = Result<Response, BadResponse>;
type Channel = ResponseChannel<DecodedResponse>;

/// The protocols of requests. The library numbers the requests of each by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Protocol {
    Sync,
    Envelopes,
}

impl Protocol {
    /// The protocol that a request belongs to.
    const fn of(request: &Request) -> Self {
        match request {
            Request::Envelopes { .. } => Self::Envelopes,
            _ => Self::Sync,
        }
    }
}

/// All requests in flight.
pub(super) struct Requests {
    outbound: HashMap<(Protocol, OutboundRequestId), OutboundRequest>,
    pacing: Pacing,
    inbound: HashMap<(Protocol, InboundRequestId), InboundRequest>,
    slots: RequestSlots,
    uploads: Uploads,
}

impl Requests {
    /// `upload_per_s`: bytes of responses per second.
    pub fn new(upload_per_s: u64, now: Instant) -> Self {
        Self {
            outbound: HashMap::new(),
            pacing: Pacing::default(),
            inbound: HashMap::new(),
            slots: RequestSlots::default(),
            uploads: Uploads::new(upload_per_s, now),
        }
    }
}

/// A request of this node.
struct OutboundRequest {
    to: PeerId,
    peer: PeerHandle,
    id: RequestId,
}

/// A peer's request. It ends when the response has been sent.
struct InboundRequest {
    from: PeerId,
    id: InboundId,
    /// Where the response goes; `None` once it has been given.
    channel: Option<Channel>,
}

impl SwarmDriver {
    /// Sends a request of this node.
    pub(super) fn send_request(&mut self, peer: PeerHandle, id: RequestId, request: Request) {
        let Some(to) = self.peers.id(peer) else { return self.finish(peer, id, Err(RequestFailed::Disconnected)) };
        let Requests { outbound, pacing, .. } = &mut self.requests;
        let in_flight = outbound.values().filter(|outbound| outbound.to == to).count();
        if in_flight + pacing.waiting(&to) >= OUTBOUND_PER_PEER_MAX {
            return self.finish(peer, id, Err(RequestFailed::TooMany));
        }
        let waiting = Waiting { peer, id, request };
        let next = if is_long(&waiting.request) { pacing.send(to, waiting, Instant::now()) } else { Some(waiting) };
        if let Some(next) = next {
            self.send_now(to, next);
        }
    }

    fn send_now(&mut self, to: PeerId, Waiting { peer, id, request }: Waiting) {
        let protocol = Protocol::of(&request);
        let protocols = &mut self.swarm.behaviour_mut().peers.inner;
        let number = match protocol {
            Protocol::Sync => protocols.sync.send_request(&to, Ok(request)),
            Protocol::Envelopes => protocols.envelopes.send_request(&to, Ok(request)),
        };
        self.requests.outbound.insert((protocol, number), OutboundRequest { to, peer, id });
    }

    /// Responds to a peer's request.
    pub(super) fn send_response(&mut self, to: InboundId, response: Response) {
        let inbound = self.requests.inbound.values_mut().find(|inbound| inbound.id == to);
        let Some((from, channel)) = inbound.and_then(|inbound| Some((inbound.from, inbound.channel.take()?))) else {
            return debug!("response dropped: the request is no longer in flight");
        };
        if let Some(peer) = self.peers.get(&from) {
            self.requests.uploads.charge(from, peer.origin, response.encode().len() as u64, Instant::now());
        }
        self.send_on(channel, response);
    }

    fn send_on(&mut self, channel: Channel, response: Response) {
        // An event reports whether it was sent. The channel leads to the request, whatever its protocol.
        drop(self.swarm.behaviour_mut().peers.inner.sync.send_response(channel, Ok(response)));
    }

    /// Gives the chain thread the outcome of a request of this node.
    fn finish(&mut self, peer: PeerHandle, id: RequestId, response: Result<Response, RequestFailed>) {
        self.outbox.send(Event::Response { peer, id, response });
    }

    /// The same of one that was sent. Others may have waited for it.
    fn finish_sent(&mut self, sent: OutboundRequest, response: Result<Response, RequestFailed>) {
        let OutboundRequest { to, peer, id } = sent;
        for next in self.requests.pacing.ended(&to, id, response.is_ok(), Instant::now()) {
            self.send_now(to, next);
        }
        self.finish(peer, id, response);
    }

    pub(super) fn on_request_event(
        &mut self,
        protocol: Protocol,
        event: request_response::Event<DecodedRequest, DecodedResponse>,
    ) {
        match event {
            request_response::Event::Message { peer, message, .. } => match message {
                request_response::Message::Request { request_id, request, channel } => {
                    self.on_request(peer, (protocol, request_id), request, channel);
                }
                request_response::Message::Response { request_id, response } => {
                    self.on_response((protocol, request_id), response);
                }
            },
            request_response::Event::OutboundFailure { request_id, error, .. } => {
                self.on_request_failed((protocol, request_id), &error);
            }
            // There is no event for a request that does not arrive completely within the timeout. Until then it holds one
            // of the connection's streams.
            request_response::Event::InboundFailure { peer, request_id, error, .. } => {
                debug!("request of peer {peer} failed: {error}");
                let has_response = self.end_inbound((protocol, request_id));
                if has_response && matches!(error, InboundFailure::Timeout) {
                    self.penalize_unread(&peer);
                }
            }
            request_response::Event::ResponseSent { request_id, .. } => {
                self.end_inbound((protocol, request_id));
            }
        }
    }

    fn on_request(
        &mut self,
        from: PeerId,
        number: (Protocol, InboundRequestId),
        request: DecodedRequest,
        channel: Channel,
    ) {
        let request = match request {
            Ok(request) if Protocol::of(&request) == number.0 => request,
            Ok(_) => return self.penalize(&from, Misbehaviour::Malformed),
            Err(error) => {
                debug!("invalid request of peer {from}: {error}");
                return self.penalize(&from, Misbehaviour::from(&error));
            }
        };
        if !self.may(&from, Action::Request) {
            return self.send_on(channel, Response::Busy);
        }
        let Some(peer) = self.peers.get(&from) else { return };
        let (peer, origin) = (peer.handle, peer.origin);
        if request != Request::Status && !self.requests.uploads.has_room(&from, origin, Instant::now()) {
            return self.send_on(channel, Response::Busy);
        }
        let (netgroup, slots) = (origin.netgroup, &mut self.requests.slots);
        let id = match request {
            // Every peer's first request. Its response takes no memory, and the limits above and those of the connection
            // bound their number.
            Request::Status => Some(slots.without_slot()),
            Request::BlockTransactions { .. } => slots.take(from, netgroup, request_slots::LONG),
            _ => slots.take(from, netgroup, 1),
        };
        let Some(id) = id else { return self.send_on(channel, Response::Busy) };
        let channel = if self.outbox.offer(Event::Request { peer, id, request }) {
            Some(channel)
        } else {
            self.send_on(channel, Response::Busy);
            None
        };
        self.requests.inbound.insert(number, InboundRequest { from, id, channel });
    }

    /// Forgets a peer's request that is no longer in flight. Returns whether it had a response.
    fn end_inbound(&mut self, number: (Protocol, InboundRequestId)) -> bool {
        let Some(inbound) = self.requests.inbound.remove(&number) else { return false };
        self.requests.slots.free(inbound.id);
        inbound.channel.is_none()
    }

    fn on_response(&mut self, number: (Protocol, OutboundRequestId), response: DecodedResponse) {
        let Some(sent) = self.requests.outbound.remove(&number) else { return };
        let to = sent.to;
        let response = response.map_err(|error| match error {
            BadResponse::Empty => RequestFailed::Refused,
            BadResponse::Wire(error) => {
                debug!("invalid response of peer {to}: {error}");
                self.penalize(&to, Misbehaviour::from(&error));
                RequestFailed::Malformed
            }
        });
        self.finish_sent(sent, response);
    }

    fn on_request_failed(&mut self, number: (Protocol, OutboundRequestId), error: &OutboundFailure) {
        let Some(sent) = self.requests.outbound.remove(&number) else { return };
        let to = sent.to;
        debug!("request to peer {to} failed: {error}");
        let failed = match error {
            OutboundFailure::Timeout => {
                self.penalize(&to, Misbehaviour::Late);
                RequestFailed::TimedOut
            }
            OutboundFailure::ConnectionClosed | OutboundFailure::DialFailure => RequestFailed::Disconnected,
            OutboundFailure::UnsupportedProtocols | OutboundFailure::Io(_) => RequestFailed::Refused,
        };
        self.finish_sent(sent, Err(failed));
    }

    /// Fails the requests to a peer that has disconnected and forgets its own.
    pub(super) fn end_requests_of(&mut self, disconnected: &PeerId) {
        for Waiting { peer, id, .. } in self.requests.pacing.disconnected(disconnected) {
            self.finish(peer, id, Err(RequestFailed::Disconnected));
        }
        let failed: Vec<OutboundRequest> = self
            .requests
            .outbound
            .extract_if(|_, outbound| outbound.to == *disconnected)
            .map(|(_, outbound)| outbound)
            .collect();
        for OutboundRequest { peer, id, .. } in failed {
            self.finish(peer, id, Err(RequestFailed::Disconnected));
        }
        let Requests { inbound, slots, .. } = &mut self.requests;
        for (_, inbound) in inbound.extract_if(|_, inbound| inbound.from == *disconnected) {
            slots.free(inbound.id);
        }
    }
}
