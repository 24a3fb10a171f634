//! Requests and responses, with timeouts and limits.

use p2pool_core::node::Event;
use p2pool_core::peer::{InboundId, PeerHandle, RequestFailed, RequestId};
use p2pool_core::wire::{Frame as _, Misbehaviour, Request, Response};

use super::{Payload, OFFERED_MAX};
use crate::engine::{Action, Simulation};
use crate::invariants::PlantedBug;

/// A request without a response has failed after this long.
const REQUEST_TIMEOUT_MS: u64 = 30_000;
/// Requests of a node to one peer that may be in flight.
const REQUESTS_PER_PEER_MAX: usize = 8;
/// Requests of a peer that a node serves at once.
const SERVED_PER_PEER_MAX: usize = 8;

impl Simulation {
    pub(super) fn request(&mut self, host: usize, peer: PeerHandle, id: RequestId, request: &Request) {
        let Some(connection) = self.hosts[host].peers.connections.get(&peer).copied() else {
            let response = Err(RequestFailed::Disconnected);
            return self.push(host, Event::Response { peer, id, response });
        };
        if self.planted == Some(PlantedBug::SkipAnnouncements) && matches!(request, Request::Inventory { .. }) {
            return;
        }
        let now_ms = self.now_ms;
        let Some(end) = self.connections[connection].ends.iter_mut().find(|end| end.host == host) else { return };
        if end.requests.len() >= REQUESTS_PER_PEER_MAX {
            return self.push(host, Event::Response { peer, id, response: Err(RequestFailed::TooMany) });
        }
        end.requests.insert(id, now_ms);
        self.schedule(now_ms + REQUEST_TIMEOUT_MS, Action::RequestTimeout { connection, host, id });
        self.send(connection, host, Payload::Request(id, request.encode()));
    }

    pub(super) fn on_request(&mut self, connection: usize, end: usize, peer: PeerHandle, id: RequestId, bytes: &[u8]) {
        let host = self.connections[connection].ends[end].host;
        if self.hosts[host].node.is_none() {
            return;
        }
        let request = match Request::decode(bytes) {
            Ok(request) => request,
            Err(error) => return self.penalize(host, peer, Misbehaviour::from(&error)),
        };
        let is_busy = request != Request::Status
            && (self.connections[connection].ends[end].served >= SERVED_PER_PEER_MAX
                || self.hosts[host].inbox.len() >= OFFERED_MAX);
        if is_busy {
            return self.send(connection, host, Payload::Response(id, Response::Busy.encode()));
        }
        self.connections[connection].ends[end].served += 1;
        let peers = &mut self.hosts[host].peers;
        let inbound = InboundId(peers.next_inbound);
        peers.next_inbound += 1;
        peers.inbound.insert(inbound, (peer, id));
        self.push(host, Event::Request { peer, id: inbound, request });
    }

    pub(super) fn respond(&mut self, host: usize, peer: PeerHandle, id: RequestId, mut response: Response) {
        if let Response::BlockTransactions(given) = &response {
            self.checks.transactions_given += given.len();
            if self.planted == Some(PlantedBug::KeepTransactions) {
                response = Response::Unknown;
            }
        }
        let Some(connection) = self.hosts[host].peers.connections.get(&peer).copied() else { return };
        if let Some(end) = self.connections[connection].ends.iter_mut().find(|end| end.host == host) {
            end.served = end.served.saturating_sub(1);
        }
        let Some((bytes, after_ms)) = self.edit_response(host, response) else { return };
        match after_ms {
            0 => self.send(connection, host, Payload::Response(id, bytes)),
            _ => self.schedule(
                self.now_ms + after_ms,
                Action::SendLate { connection, host, payload: Payload::Response(id, bytes) },
            ),
        }
    }

    /// A response that was held back leaves.
    pub fn send_late(&mut self, connection: usize, host: usize, payload: Payload) {
        self.send(connection, host, payload);
    }

    /// The time for a response is over.
    pub fn request_timeout(&mut self, connection: usize, host: usize, id: RequestId) {
        let Some(end) = self.connections[connection].ends.iter_mut().find(|end| end.host == host) else { return };
        let peer = end.peer;
        if end.requests.remove(&id).is_some() {
            self.penalize(host, peer, Misbehaviour::Late);
            self.push(host, Event::Response { peer, id, response: Err(RequestFailed::TimedOut) });
        }
    }
}
