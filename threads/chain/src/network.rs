//! What other nodes say, and what they are told.
//!
//! The planner ([`Sync`]) decides what to ask, the sharechain judges what comes. Mail to the network thread is kept
//! until what it tells of has been written to disk, or the disk has refused it.

mod announcements;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use bitcoin::block::Header;
use bitcoin::BlockHash;
use log::{debug, info, warn};
use p2pool_core::message::{
    AskFailed, GossipToken, GossipVerdict, InboundToken, P2pSender, PeerToken, RequestToken, ToAnchor, ToP2p,
};
use p2pool_core::params::ChainParams;
use p2pool_core::share::Share;
use p2pool_core::sharechain::{Effect, Need, Source, Tree, Verdict};
use p2pool_core::sync::{serve, RequestId, Route, Sync, SyncAction, SyncState, ALONE_AFTER_S};
use p2pool_core::units::SteadyTime;
use p2pool_core::wire::limits::HEADERS_MAX;
use p2pool_core::wire::{Agent, List, Offence, Request, Response};

use crate::blocks::Blocks;
use crate::clock::now;
use crate::pending::Pending;
use crate::thread::Chain;
use announcements::Announced;

/// Numbers of questions that are not the planner's start here; the planner counts from one.
const OWN_REQUESTS_START: u64 = 1 << 63;
/// Bitcoin blocks of which is remembered who spoke of them.
const ANCHOR_SENDERS_MAX: usize = 1_024;
/// Peers remembered that spoke of one: the first may be one that has not got it, or does not say.
const SENDERS_PER_ANCHOR_MAX: usize = 8;
/// A peer that does not answer leaves the next one to be asked for a Bitcoin header after this long.
const HEADERS_AGAIN_S: u32 = 10;

/// The chain thread's knowledge of other nodes.
pub struct Network {
    pub sync: Sync,
    pub blocks: Blocks,
    /// Whether there is anybody to look for: who was connected once is looked for again.
    looks_for_peers: bool,
    out: P2pSender,
    mail: Vec<ToP2p>,
    /// What the planner knew at the last tick of the peers' clocks.
    pub clock_ahead_s: Option<i64>,
    actions: VecDeque<SyncAction>,
    gossip: Pending,
    /// Who sent shares built on a Bitcoin block.
    anchor_senders: HashMap<BlockHash, Senders>,
    asked: BTreeMap<RequestToken, What>,
    waiting: VecDeque<Announced>,
    next_request: u64,
}

/// Who can be asked for a Bitcoin header, the next one first, and when one may be asked.
#[derive(Default)]
struct Senders {
    peers: VecDeque<PeerToken>,
    again_at: SteadyTime,
}

/// What was asked beside the planner.
enum What {
    Headers(BlockHash),
    /// Of the block of this announcement.
    Transactions(GossipToken),
}

impl Network {
    /// Knows nobody. `looks_for_peers` is false for a node that has no way to find others: it mines at once.
    pub fn new(params: &ChainParams, out: P2pSender, looks_for_peers: bool, now: SteadyTime) -> Self {
        if looks_for_peers {
            info!("looking for other nodes: no work for miners before one is found, or {ALONE_AFTER_S} s without any");
        }
        Self {
            sync: if looks_for_peers { Sync::new(params, now) } else { Sync::lone(params, now) },
            looks_for_peers,
            blocks: Blocks::default(),
            out,
            mail: Vec::new(),
            clock_ahead_s: None,
            actions: VecDeque::new(),
            gossip: Pending::default(),
            anchor_senders: HashMap::new(),
            asked: BTreeMap::new(),
            waiting: VecDeque::new(),
            next_request: OWN_REQUESTS_START,
        }
    }

    /// Sends what waited; a message that finds no room is lost, and peers catch up by inventory. Gives the questions that
    /// were lost: nobody will answer them.
    pub fn send_mail(&mut self) -> Vec<(PeerToken, RequestToken)> {
        let mut lost = Vec::new();
        for message in self.mail.drain(..) {
            let question = match &message {
                ToP2p::Ask { peer, request, .. } => Some((*peer, *request)),
                _ => None,
            };
            if self.out.send(message).is_err() {
                debug!("a message to other nodes is lost");
                lost.extend(question);
            }
        }
        lost
    }

    fn ask(&mut self, peer: PeerToken, what: What, question: Request) {
        let request = RequestToken(self.next_request);
        self.next_request += 1;
        self.asked.insert(request, what);
        self.mail.push(ToP2p::Ask { peer, request, question });
    }

    fn verdict(&mut self, gossip: GossipToken, verdict: GossipVerdict) {
        self.mail.push(ToP2p::Verdict { gossip, verdict });
    }

    /// Tells the network thread what became of a gossiped share, and everybody of one of ours.
    fn on_verdict(&mut self, effect: &Effect, share: impl FnOnce() -> Option<Arc<Share>>) {
        let Effect::Verdict { digest, source, verdict, .. } = effect else { return };
        if *verdict == Verdict::Held {
            // Often only bitcoind's word is missing, which takes milliseconds.
            return;
        }
        let waiting = self.gossip.take(digest);
        let (told, offence) = match verdict {
            Verdict::Accepted => (GossipVerdict::Accept, None),
            Verdict::Rejected { rule, .. } if rule.proves_fault() => {
                (GossipVerdict::Reject, Some(Offence::BrokenRule(*rule)))
            }
            _ => (GossipVerdict::Ignore, None),
        };
        if let Some(gossip) = waiting {
            self.verdict(gossip, told);
        } else if *verdict == Verdict::Accepted && *source == Source::Local {
            self.mail.extend(share().map(ToP2p::Announce));
        }
        if let (Source::Peer(peer), Some(offence)) = (source, offence) {
            self.mail.push(ToP2p::Penalize { peer: PeerToken(*peer), offence });
        }
    }

    /// Remembers who can be asked for a Bitcoin header if our bitcoind does not know it.
    fn note_sender(&mut self, hash: BlockHash, source: Source) {
        let Source::Peer(peer) = source else { return };
        if self.anchor_senders.len() >= ANCHOR_SENDERS_MAX {
            self.anchor_senders.clear();
        }
        let senders = self.anchor_senders.entry(hash).or_default();
        if senders.peers.contains(&PeerToken(peer)) {
            return;
        }
        senders.peers.push_back(PeerToken(peer));
        if senders.peers.len() > SENDERS_PER_ANCHOR_MAX {
            senders.peers.pop_front();
        }
    }

    /// Somebody else may have a Bitcoin header, and is to be asked next: the first of these who is not to be asked already.
    fn note_other(&mut self, hash: BlockHash, peers: impl Iterator<Item = PeerToken>) {
        let senders = self.anchor_senders.entry(hash).or_default();
        let room = SENDERS_PER_ANCHOR_MAX.saturating_sub(senders.peers.len());
        let other = peers.filter(|peer| !senders.peers.contains(peer)).take(room).next();
        senders.peers.extend(other);
        if other.is_some() {
            senders.peers.rotate_right(1);
        }
    }

    /// bitcoind does not know a Bitcoin block: asks those who spoke of it for its header, one after the other.
    pub fn anchor_unknown(&mut self, hash: BlockHash, now: SteadyTime) {
        let Some(senders) = self.anchor_senders.get_mut(&hash) else { return };
        if now < senders.again_at {
            return;
        }
        let Some(peer) = senders.peers.pop_front() else { return };
        senders.peers.push_back(peer);
        senders.again_at = now.plus(HEADERS_AGAIN_S);
        self.ask(peer, What::Headers(hash), Request::Headers { of: hash });
    }

    /// A peer did not give a header: it is the next one's turn, as soon as bitcoind is asked again.
    fn no_headers(&mut self, hash: &BlockHash, peer: PeerToken) {
        if let Some(senders) = self.anchor_senders.get_mut(hash) {
            senders.peers.retain(|sender| *sender != peer);
            senders.again_at = SteadyTime(0);
        }
    }
}

impl Chain {
    /// Tells other nodes what there is to tell. A question that could not be sent has failed; those of the planner have
    /// their own end, for a peer that was not asked has not failed to answer.
    pub(crate) fn send_mail(&mut self) {
        for (peer, request) in self.network.send_mail() {
            if self.network.asked.contains_key(&request) {
                self.take_answer(peer, request, Err(AskFailed::NotSent));
            } else {
                self.network.sync.not_sent(RequestId(request.0));
            }
        }
    }

    pub(crate) fn peer_up(&mut self, peer: PeerToken, address: &str) {
        debug!("peer {} at {address} connected", peer.0);
        self.network.looks_for_peers = true;
        let actions = self.network.sync.peer_up(peer.0, self.clock.steady(), self.chain.tree());
        self.plan(actions);
    }

    pub(crate) fn peer_down(&mut self, peer: PeerToken) {
        let actions = self.network.sync.peer_down(peer.0, self.clock.steady(), self.chain.tree());
        self.plan(actions);
    }

    pub(crate) fn take_gossip(&mut self, peer: PeerToken, gossip: GossipToken, share: &Arc<Share>) {
        debug!("peer {} passed on share {}", peer.0, share.id());
        let digest = share.digest();
        if self.network.gossip.contains(&digest) {
            // A second copy would take the first one's verdict from it.
            self.network.verdict(gossip, GossipVerdict::Ignore);
            return;
        }
        if let Some(given_up) = self.network.gossip.put(digest, peer, gossip) {
            self.network.verdict(given_up, GossipVerdict::Ignore);
        }
        let effects = self.chain.receive((**share).clone(), Source::Peer(peer.0), now());
        self.perform(effects);
    }

    pub(crate) fn answer_peer(&mut self, to: InboundToken, question: &Request) {
        let tree = self.chain.tree();
        let response = match question {
            Request::Status => Response::Status(serve::status(tree, now(), agent())),
            Request::Inventory { locator } => serve::inventory(tree, locator),
            Request::Shares { ids } => serve::shares(tree, ids),
            Request::Headers { of } => headers(tree, of),
            Request::BlockTransactions { block, places } => self.network.blocks.transactions(block, places),
        };
        self.network.mail.push(ToP2p::Answer { to, response });
    }

    pub(crate) fn take_answer(&mut self, peer: PeerToken, token: RequestToken, answer: Result<Response, AskFailed>) {
        match self.network.asked.remove(&token) {
            Some(What::Headers(hash)) => self.take_headers(peer, hash, answer),
            Some(What::Transactions(of)) => self.take_transactions(peer, of, answer),
            None => {
                let (id, tree) = (RequestId(token.0), self.chain.tree());
                let actions = match answer {
                    Ok(response) => self.network.sync.response(peer.0, id, response, self.clock.steady(), tree),
                    Err(_) => self.network.sync.failed(id, self.clock.steady(), tree),
                };
                self.plan(actions);
            }
        }
    }

    /// bitcoind checks them; what it takes becomes an anchor.
    fn take_headers(&mut self, peer: PeerToken, hash: BlockHash, answer: Result<Response, AskFailed>) {
        match answer {
            Ok(Response::Headers(headers)) if headers.last().is_some_and(|header| header.block_hash() == hash) => {
                if self.outs.anchor.try_send(ToAnchor::Give(headers.into_vec())).is_err() {
                    debug!("headers up to Bitcoin block {hash} wait");
                }
                return;
            }
            // It was not asked: its turn comes again.
            Err(AskFailed::NotSent) => return,
            Ok(Response::Unknown | Response::Busy) | Err(_) => {}
            Ok(_) => self.network.mail.push(ToP2p::Penalize { peer, offence: Offence::Unasked }),
        }
        self.network.no_headers(&hash, peer);
    }

    /// Queues what the planner wants and works it off.
    fn plan(&mut self, actions: Vec<SyncAction>) {
        self.network.actions.extend(actions);
        while let Some(action) = self.network.actions.pop_front() {
            self.act(action);
        }
    }

    fn act(&mut self, action: SyncAction) {
        match action {
            SyncAction::Ask { peer, id, request } => {
                let (peer, request, question) = (PeerToken(peer), RequestToken(id.0), request);
                self.network.mail.push(ToP2p::Ask { peer, request, question });
            }
            SyncAction::Open { apart, joined } => {
                let effects = self.chain.open_apart(apart, joined, now());
                self.perform(effects);
            }
            SyncAction::Deliver { route, peer, shares } => self.deliver(route, Source::Peer(peer), shares),
            SyncAction::Finish(apart) => {
                let effects = self.chain.finish_apart(apart, now());
                self.perform(effects);
            }
            SyncAction::Drop(apart) => self.chain.drop_apart(apart),
            SyncAction::Penalize { peer, offence } => {
                self.network.mail.push(ToP2p::Penalize { peer: PeerToken(peer), offence });
            }
            SyncAction::Progress(progress) => {
                let eta = progress.eta_s.map_or_else(|| "unknown".to_owned(), |eta_s| format!("{eta_s} s"));
                let (done, total, rate) = (progress.done, progress.total, progress.rate_per_s);
                info!("{done} of {total} shares fetched, {rate:.0} a second, left: {eta}");
                self.sync_progress = Some(p2pool_core::status::SyncProgress { have: done.into(), want: total.into() });
            }
            SyncAction::State(state) => self.sync_state(state),
        }
    }

    fn deliver(&mut self, route: Route, source: Source, shares: Vec<Arc<Share>>) {
        debug!("{} shares fetched from {source:?}", shares.len());
        for share in shares {
            let effects = match route {
                Route::Chain => self.chain.receive((*share).clone(), source, now()),
                Route::Apart(apart) => self.chain.receive_apart(apart, share, source, now()),
            };
            self.perform(effects);
        }
    }

    fn sync_state(&mut self, state: SyncState<SteadyTime>) {
        match state {
            SyncState::Alone { .. } => {
                let work = if self.template.is_some() { "" } else { ", once bitcoind gives work," };
                if self.network.looks_for_peers {
                    warn!(
                        "no other node is reachable: mining alone{work} until one is; a block found meanwhile pays \
                         those whose shares this node holds"
                    );
                } else {
                    info!("this node looks for no others: mining alone{work} until one comes by itself");
                }
            }
            SyncState::Syncing => {
                info!("comparing the sharechain with those of other nodes, and fetching what is missing")
            }
            SyncState::Synced => info!("level with the other nodes"),
            SyncState::NoPeers { level: true, .. } => warn!("the last other node that answered is gone; miners go on"),
            SyncState::NoPeers { level: false, .. } => {
                warn!("no other node answers: no work for miners before one does, or {ALONE_AFTER_S} s without any");
            }
        }
        if state != SyncState::Syncing {
            self.sync_progress = None;
        }
        self.job_due = true;
    }

    pub(crate) fn tick_network(&mut self) {
        let (steady, clock) = (self.clock.steady(), now());
        let actions = self.network.sync.tick(steady, self.chain.tree());
        self.network.clock_ahead_s = self.network.sync.clock_ahead_s(steady, clock);
        if let Some(ahead_s) = self.network.sync.clock_report(steady, clock) {
            warn!("this machine's clock is off: other nodes agree on a time {ahead_s} s from it; set it (NTP)");
        }
        self.plan(actions);
        let peers: Vec<PeerToken> = self.network.sync.peers().map(PeerToken).collect();
        for next in self.network.blocks.tick(&peers, steady) {
            self.go_on_with_block(next);
        }
        self.ask_for_announced(&peers, steady);
    }

    /// What an effect of the sharechain means to other nodes.
    pub(crate) fn tell_network(&mut self, effect: &Effect) {
        let actions = match effect {
            Effect::Verdict { id, source, verdict, .. } => {
                let tree = self.chain.tree();
                self.network.on_verdict(effect, || tree.node(id).map(|node| Arc::clone(&node.share)));
                match verdict {
                    Verdict::Rejected { .. } => {
                        self.network.sync.refused(id, *source, self.clock.steady(), self.chain.tree())
                    }
                    _ => return,
                }
            }
            Effect::Ask { need: Need::Share(id), source } => {
                self.network.sync.need(*id, *source, self.clock.steady(), self.chain.tree())
            }
            Effect::Ask { need: Need::Anchor(hash), source } => {
                self.network.note_sender(*hash, *source);
                return;
            }
            Effect::Linked(id) => {
                self.network.sync.linked(id);
                return;
            }
            Effect::Apart { id, outcome } => {
                info!("a chain offered by other nodes was judged: {outcome:?}");
                self.network.sync.judged(*id, outcome, self.clock.steady(), self.chain.tree())
            }
            Effect::Unlinked(_) | Effect::NewTip(_) => return,
        };
        // Worked off by whoever is at it already, or by the caller's next turn.
        self.network.actions.extend(actions);
    }

    /// Works off what effects have queued.
    pub(crate) fn settle(&mut self) {
        self.plan(Vec::new());
    }
}

/// A header and up to six before it, oldest first, as far as they are known here.
fn headers(tree: &Tree, of: &BlockHash) -> Response {
    let newest_first = std::iter::successors(tree.anchor(of), |anchor| tree.anchor(&anchor.header.prev_blockhash));
    let mut headers: Vec<Header> = newest_first.take(HEADERS_MAX).map(|anchor| anchor.header).collect();
    headers.reverse();
    match headers.is_empty() {
        true => Response::Unknown,
        false => Response::Headers(List::first_of(headers)),
    }
}

/// What this node says it runs.
fn agent() -> Agent {
    Agent::new(concat!("p2pool/", env!("CARGO_PKG_VERSION"))).unwrap_or_default()
}

#[cfg(test)]
pub(crate) mod tests;
