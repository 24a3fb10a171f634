//! Long requests of this node, one at a time to peers with a slow line. Pure: time is an argument.
//!
//! Responses that arrive together share the line. On one with 140 kbit/s, the two batches of shares and the list that the sync
//! planner requests together would each take longer than a request may.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use libp2p::PeerId;
use p2pool_core::peer::{PeerHandle, RequestId};
use p2pool_core::wire::Request;

/// A long response that takes less time has arrived on a fast line: a batch of shares at half a megabit per second.
const FAST: Duration = Duration::from_secs(3);
/// Requests for more shares have a long response.
const FEW_SHARES: usize = 8;

/// A request that waits or is in flight.
#[derive(Clone, Debug)]
pub struct Waiting {
    pub peer: PeerHandle,
    pub id: RequestId,
    pub request: Request,
}

/// Whether the response may be so long that others wait for it.
pub fn is_long(request: &Request) -> bool {
    match request {
        Request::Inventory { .. } | Request::Envelopes { .. } => true,
        Request::Shares { ids } => ids.len() > FEW_SHARES,
        // The transactions of a found block do not wait.
        Request::Status | Request::Headers { .. } | Request::BlockTransactions { .. } => false,
    }
}

#[derive(Debug, Default)]
struct Line {
    /// The last long response was fast.
    is_fast: bool,
    /// When the long requests in flight were sent.
    sent: HashMap<RequestId, Instant>,
    waiting: VecDeque<Waiting>,
}

/// The long requests to each peer.
#[derive(Debug, Default)]
pub struct Pacing(HashMap<PeerId, Line>);

impl Pacing {
    /// Takes a long request. Returns it if it is to be sent now; otherwise it waits.
    pub fn send(&mut self, to: PeerId, request: Waiting, now: Instant) -> Option<Waiting> {
        let line = self.0.entry(to).or_default();
        if line.is_fast || line.sent.is_empty() {
            line.sent.insert(request.id, now);
            return Some(request);
        }
        line.waiting.push_back(request);
        None
    }

    /// Notes that a request has ended, whether it was long or not. Returns those to be sent now.
    pub fn ended(&mut self, to: &PeerId, id: RequestId, has_response: bool, now: Instant) -> Vec<Waiting> {
        let Some(line) = self.0.get_mut(to) else { return Vec::new() };
        let Some(sent) = line.sent.remove(&id) else { return Vec::new() };
        line.is_fast = has_response && now.duration_since(sent) < FAST;
        let count = if line.is_fast { line.waiting.len() } else { usize::from(line.sent.is_empty()) };
        let next: Vec<Waiting> = line.waiting.drain(..count.min(line.waiting.len())).collect();
        line.sent.extend(next.iter().map(|request| (request.id, now)));
        next
    }

    /// Number of requests to a peer that wait.
    pub fn waiting(&self, to: &PeerId) -> usize {
        self.0.get(to).map_or(0, |line| line.waiting.len())
    }

    /// Forgets a peer that has disconnected. Returns the requests that waited.
    pub fn disconnected(&mut self, peer: &PeerId) -> VecDeque<Waiting> {
        self.0.remove(peer).map(|line| line.waiting).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use p2pool_core::wire::List;

    use super::*;

    fn list(id: u64) -> Waiting {
        let request = Request::Inventory { locator: List::default() };
        Waiting { peer: PeerHandle(1), id: RequestId(id), request }
    }

    fn ids(requests: Vec<Waiting>) -> Vec<u64> {
        requests.iter().map(|request| request.id.0).collect()
    }

    #[test]
    fn long_requests_go_one_by_one_until_a_response_was_fast() {
        let (mut pacing, to, start) = (Pacing::default(), PeerId::random(), Instant::now());
        let slow = start + FAST;
        assert!(pacing.send(to, list(1), start).is_some());
        assert!((2..5).all(|id| pacing.send(to, list(id), start).is_none()));
        assert!(pacing.send(PeerId::random(), list(9), start).is_some(), "another peer");
        assert_eq!(pacing.waiting(&to), 3);
        assert!(pacing.ended(&to, RequestId(7), true, start).is_empty(), "a short one");
        assert_eq!(ids(pacing.ended(&to, RequestId(1), true, slow)), [2]);
        assert_eq!(ids(pacing.ended(&to, RequestId(2), true, slow)), [3, 4]);
        assert!(pacing.send(to, list(5), slow).is_some());
        // A failure says that it is not fast.
        assert!(pacing.ended(&to, RequestId(3), false, slow).is_empty());
        assert!(pacing.send(to, list(6), slow).is_none());
        assert!(pacing.ended(&to, RequestId(4), false, slow).is_empty(), "one is in flight");
        assert_eq!(ids(pacing.ended(&to, RequestId(5), false, slow)), [6]);
        assert!(pacing.send(to, list(7), slow).is_none());
        assert_eq!(pacing.disconnected(&to).len(), 1);
        assert!(pacing.send(to, list(8), slow).is_some());
    }
}
