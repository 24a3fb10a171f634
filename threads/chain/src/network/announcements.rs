//! Found Bitcoin blocks: announced to other nodes, and taken from them.

use bitcoin::block::Header;
use log::{debug, warn};
use p2pool_core::message::{AskFailed, GossipToken, GossipVerdict, PeerToken, ToP2p, ToSubmit};
use p2pool_core::sharechain::Source;
use p2pool_core::units::{BlockHeight, SteadyTime, UnixTime};
use p2pool_core::wire::{BlockError, Offence, Response};

use super::{What, HEADERS_AGAIN_S};
use crate::blocks::Next;
use crate::thread::Chain;

/// Announced blocks that wait for bitcoind to know the block they are built on.
const BLOCKS_WAITING_MAX: usize = 4;
/// Seconds that one waits: the network thread keeps its gossip in mind no longer, and a found block is everywhere by then.
pub(super) const WAITING_MAX_S: u32 = 120;

/// An announced block whose parent bitcoind has not spoken of yet.
pub struct Announced {
    peer: PeerToken,
    gossip: GossipToken,
    header: Header,
    announcement: Vec<u8>,
    since: SteadyTime,
    /// Others who were noted as ones to ask for the block it is built on, and when the next one is.
    others: usize,
    other_at: SteadyTime,
}

impl Chain {
    /// Announces a block that this node found.
    pub(crate) fn announce_block(&mut self, height: BlockHeight, block: &[u8]) {
        let announcement = self.network.blocks.announce(height, block);
        self.network.mail.extend(announcement.map(ToP2p::AnnounceBlock));
    }

    pub(super) fn take_transactions(&mut self, peer: PeerToken, of: GossipToken, answer: Result<Response, AskFailed>) {
        let given = match &answer {
            Ok(Response::BlockTransactions(given)) => Some(&given[..]),
            Ok(Response::Unknown | Response::Busy) | Err(_) => None,
            Ok(_) => {
                self.network.mail.push(ToP2p::Penalize { peer, offence: Offence::Unasked });
                None
            }
        };
        let answered = self.network.blocks.answered(of, given, self.clock.steady());
        self.judge_block(answered);
    }

    /// A peer announced a found Bitcoin block.
    pub(crate) fn take_announcement(&mut self, peer: PeerToken, gossip: GossipToken, header: Header, bytes: Vec<u8>) {
        let hash = header.block_hash();
        if self.network.blocks.knows(&hash, peer) {
            self.network.verdict(gossip, GossipVerdict::Ignore);
            return;
        }
        let since = self.clock.steady();
        let other_at = since.plus(HEADERS_AGAIN_S);
        let announced = Announced { peer, gossip, header, announcement: bytes, since, others: 0, other_at };
        if self.chain.tree().anchor(&header.prev_blockhash).is_none() {
            self.network.note_sender(header.prev_blockhash, Source::Peer(peer.0));
            self.ask(header.prev_blockhash);
            // Nobody fills the places of others.
            self.network.waiting.retain(|announced| announced.peer != peer);
            self.network.waiting.push_back(announced);
            if self.network.waiting.len() > BLOCKS_WAITING_MAX {
                self.network.waiting.pop_front();
            }
            return;
        }
        self.check_announcement(announced);
    }

    /// Time passes: bitcoind is asked again for the blocks that announcements wait for, and for its word that one is unknown
    /// one more peer is asked every [`HEADERS_AGAIN_S`]: who announced it need not have it, and questions get lost.
    pub(super) fn ask_for_announced(&mut self, peers: &[PeerToken], now: SteadyTime) {
        let waiting = std::mem::take(&mut self.network.waiting);
        for mut announced in waiting {
            if now.since(announced.since) >= WAITING_MAX_S {
                debug!("Bitcoin block {} of a peer is built on one that is unknown", announced.header.block_hash());
                self.network.verdict(announced.gossip, GossipVerdict::Ignore);
                continue;
            }
            let missing = announced.header.prev_blockhash;
            if now >= announced.other_at {
                announced.other_at = now.plus(HEADERS_AGAIN_S);
                // By turns: those who were asked before are not asked first again.
                let from = announced.others % peers.len().max(1);
                let others = peers.iter().cycle().skip(from).take(peers.len()).copied();
                self.network.note_other(missing, others);
                announced.others += 1;
            }
            self.ask(missing);
            self.network.waiting.push_back(announced);
        }
    }

    /// A Bitcoin block became known: announcements may have waited for it.
    pub(crate) fn retry_announcements(&mut self) {
        for announced in std::mem::take(&mut self.network.waiting) {
            if self.chain.tree().anchor(&announced.header.prev_blockhash).is_some() {
                self.check_announcement(announced);
            } else {
                self.network.waiting.push_back(announced);
            }
        }
    }

    fn check_announcement(&mut self, announced: Announced) {
        let Announced { peer, gossip, header, announcement, .. } = announced;
        let Some(anchor) = self.chain.tree().anchor(&header.prev_blockhash) else { return };
        let required = anchor.required_bits(UnixTime(header.time));
        let template = self.template.as_deref();
        let announced = self.network.blocks.announced(peer, gossip, &announcement, required, template);
        self.judge_block(announced.map_err(|error| (peer, error)));
    }

    fn judge_block(&mut self, judged: Result<Next, (PeerToken, BlockError)>) {
        for (gossip, verdict) in self.network.blocks.take_verdicts() {
            self.network.verdict(gossip, verdict);
        }
        match judged {
            Ok(next) => self.go_on_with_block(next),
            Err((peer, error)) => self.false_block(peer, &error),
        }
    }

    fn false_block(&mut self, peer: PeerToken, error: &BlockError) {
        debug!("peer {} announced a Bitcoin block that is none: {error}", peer.0);
        self.network.mail.push(ToP2p::Penalize { peer, offence: Offence::FalseBlock });
    }

    pub(super) fn go_on_with_block(&mut self, next: Next) {
        match next {
            Next::Ask(peer, of, question) => self.network.ask(peer, What::Transactions(of), question),
            Next::Submit { id, height, block } => {
                if self.outs.submit.try_send(ToSubmit::PeersBlock { id, height, block }).is_err() {
                    warn!("a peer's Bitcoin block {id} is not handed to bitcoind: too many blocks wait");
                }
            }
            Next::Nothing => {}
        }
    }
}
