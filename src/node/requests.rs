//! Requests of peers, and the node's own requests with their outcomes, except the planner's.

use bitcoin::block::Header;
use bitcoin::BlockHash;

use super::effect::{BlockLookup, Effect, NetworkCommand};
use super::headers::NextStep;
use super::report::Report;
use super::time::Now;
use super::{headers, Node};
use crate::peer::{GossipId, InboundId, PeerHandle, RequestFailed, RequestId};
use crate::share::ShareId;
use crate::sharechain::{Branch, HeadersVerdict, Source};
use crate::sync::serve;
use crate::units::SteadyTime;
use crate::wire::{Agent, Misbehaviour, Request, Response};

/// Headers requested from one peer at once, which gives up to seven for each: half of the requests that the network thread sends it.
const HEADERS_PER_PEER_MAX: usize = 4;

/// What a request that is not the planner's is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The header of this Bitcoin block, from this peer.
    Header(BlockHash, PeerHandle),
    /// Missing transactions of this announcement's block.
    Transactions(GossipId),
    /// Envelopes of shares with newer rules.
    Envelopes,
}

impl Node {
    pub(super) fn respond(&mut self, to: InboundId, request: &Request, now: Now) {
        let tree = self.chain.tree();
        let response = match request {
            Request::Envelopes { above, after } => self.newer_rules.respond(self.chain.tree_mut(), *above, after),
            Request::Status => Response::Status(serve::status(tree, now.time, agent())),
            Request::Inventory { locator } => serve::inventory(tree, locator),
            Request::Shares { ids } => serve::shares(tree, ids),
            Request::Headers { last } => headers::respond(tree, last),
            Request::BlockTransactions { block, indexes } => self.relay.respond(block, indexes),
        };
        self.network(NetworkCommand::Respond { to, response });
    }

    pub(super) fn on_response(
        &mut self,
        peer: PeerHandle,
        id: RequestId,
        response: Result<Response, RequestFailed>,
        now: Now,
    ) {
        match self.requests.remove(&id) {
            Some(Purpose::Header(hash, _)) => self.on_headers(peer, hash, response, now),
            Some(Purpose::Envelopes) => self.on_envelopes(peer, response),
            Some(Purpose::Transactions(of)) => {
                let given = match &response {
                    Ok(Response::BlockTransactions(given)) => Some(&given[..]),
                    Ok(Response::Unknown | Response::Busy) | Err(_) => None,
                    Ok(_) => {
                        self.penalize(peer, Misbehaviour::Unrequested);
                        None
                    }
                };
                self.relay.response(of, given, now.steady);
            }
            None => match response {
                Ok(response) => self.sync.response(peer, id, response, now.steady, self.chain.tree()),
                // A peer that was not asked has not failed to respond.
                Err(RequestFailed::NotSent) => self.sync.request_not_sent(id),
                Err(_) => self.sync.request_failed(id, now.steady),
            },
        }
    }

    /// A peer responded to a request for envelopes, or does not speak their protocol.
    fn on_envelopes(&mut self, peer: PeerHandle, response: Result<Response, RequestFailed>) {
        match response {
            Ok(Response::Envelopes(envelopes)) => {
                if let Err(error) = self.newer_rules.receive(&envelopes, self.chain.tree()) {
                    self.report(Report::EnvelopeInvalid { peer, error });
                    self.penalize(peer, Misbehaviour::FalseEnvelope);
                }
            }
            Ok(Response::Unknown | Response::Busy) | Err(_) => {}
            Ok(_) => self.penalize(peer, Misbehaviour::Unrequested),
        }
    }

    /// Judges the headers of a branch. Returns false if the peer gave an invalid one.
    pub(super) fn take_headers(&mut self, peer: PeerHandle, headers: Vec<Header>, branch: Branch, now: Now) -> bool {
        let was_known = self.knows_template_block();
        let (effects, verdict) = self.chain.receive_headers(&headers, peer, branch, now.time);
        self.on_new_headers(was_known, effects, now);
        match verdict {
            // What is beyond a limit may be held later.
            HeadersVerdict::Held | HeadersVerdict::Beyond => {}
            HeadersVerdict::Unlinked => {
                if branch == Branch::Fetched {
                    if let Some(next) = self.headers.keep(peer, headers, now.steady) {
                        self.look_up(next, Some((peer, branch)), now.steady);
                    }
                }
            }
            HeadersVerdict::Faulty(fault) => {
                self.report(Report::HeaderInvalid { peer, fault });
                self.penalize(peer, Misbehaviour::FalseHeader);
                return false;
            }
        }
        true
    }

    /// A peer responded to a request for a Bitcoin header.
    fn on_headers(&mut self, peer: PeerHandle, hash: BlockHash, response: Result<Response, RequestFailed>, now: Now) {
        match response {
            Ok(Response::Headers(headers)) if headers::is_branch_to(&headers, &hash) => {
                let branch = self.headers.branch(&hash);
                let headers = self.headers.join(peer, &hash, headers.into_vec());
                if self.take_headers(peer, headers, branch, now) {
                    return;
                }
            }
            // It got no request, or did not look: its turn comes again.
            Ok(Response::Busy) | Err(RequestFailed::NotSent | RequestFailed::TooMany) => return,
            Ok(Response::Unknown) | Err(_) => {}
            Ok(_) => self.penalize(peer, Misbehaviour::Unrequested),
        }
        self.headers.remove(&hash, peer);
    }

    pub(super) fn request(&mut self, peer: PeerHandle, purpose: Purpose, request: Request) {
        let id = RequestId(self.next_request);
        self.next_request += 1;
        self.requests.insert(id, purpose);
        self.network(NetworkCommand::Request { peer, id, request });
    }

    /// Looks a block up at bitcoind, unless that was done just now, or too often. The peer that named it, if there is one, can be
    /// asked for its header while it is connected.
    pub(super) fn look_up(&mut self, hash: BlockHash, from: Option<(PeerHandle, Branch)>, now: SteadyTime) {
        if let Some((peer, branch)) = from {
            self.headers.add(hash, branch, Some(peer).filter(|peer| self.sync.is_connected(*peer)));
        }
        match self.headers.next_step(&hash, from.map(|(peer, _)| peer), now) {
            NextStep::LookUp { may_be_old } => self.effects.push(Effect::LookUp(BlockLookup { hash, may_be_old })),
            NextStep::AskPeer => self.request_header(hash, now),
            NextStep::Wait => {}
        }
    }

    /// Looks up the block that a share names. The peers on whose lists that share is can be asked for its header as well.
    pub(super) fn look_up_anchor(&mut self, hash: BlockHash, share: &ShareId, source: Source, now: SteadyTime) {
        let from = match source {
            Source::Local => None,
            Source::Gossip(peer) => Some((peer, Branch::Gossiped)),
            Source::Fetch(peer) => {
                self.headers.add(hash, Branch::Fetched, self.sync.leaders_with(share));
                Some((peer, Branch::Fetched))
            }
        };
        self.look_up(hash, from, now);
    }

    /// Requests a header from the next peer that named it and of which few others are requested.
    pub(super) fn request_header(&mut self, hash: BlockHash, now: SteadyTime) {
        let may_ask = |peer: PeerHandle| {
            let is_from_it = |purpose: &&Purpose| matches!(purpose, Purpose::Header(_, from) if *from == peer);
            self.requests.values().filter(is_from_it).count() < HEADERS_PER_PEER_MAX
        };
        if let Some(peer) = self.headers.next(&hash, may_ask, now) {
            self.request(peer, Purpose::Header(hash, peer), Request::Headers { last: hash });
        }
    }
}

/// The software that this node reports to peers.
fn agent() -> Agent {
    Agent::new(concat!("p2pool/", env!("CARGO_PKG_VERSION"))).unwrap_or_default()
}
