//! Found Bitcoin blocks that travel: ours are announced, those of peers are put together again and handed to our
//! own bitcoind, so that a block is not lost with its finder's node.

use std::collections::VecDeque;
use std::sync::Arc;

use bitcoin::consensus::{deserialize, serialize};
use bitcoin::{Block, BlockHash};
use log::{debug, info, warn};
use p2pool_core::message::{GossipToken, GossipVerdict, PeerToken};
use p2pool_core::share::ShareId;
use p2pool_core::units::{Bits, BlockHeight, SteadyTime};
use p2pool_core::wire::{BlockAnnouncement, BlockError, Reassembly, Request, Response, TransactionBytes};
use p2pool_core::work::Template;

/// Blocks whose transactions are still given to peers: more than are found in one minute on any network that pays.
const SERVED_MAX: usize = 4;
/// Announced blocks that are put together at once, and of one announcer. Each has Bitcoin's full proof of work; but
/// anybody can put other parts beside a header, an old block's for one, and must not take the place of what is true.
const PARTIAL_MAX: usize = 8;
const PARTIAL_PER_PEER_MAX: usize = 2;

/// Seconds from a question for transactions that led nowhere to the next: a peer who passed an announcement on may
/// still be fetching them itself.
const AGAIN_S: u32 = 2;
/// Questions for one block at most, that is for a minute: then somebody's bitcoind has it, or nobody's.
const QUESTIONS_MAX: usize = 30;

/// The blocks.
#[derive(Default)]
pub struct Blocks {
    served: VecDeque<(BlockHash, Block)>,
    partial: VecDeque<Partial>,
    verdicts: Vec<(GossipToken, GossipVerdict)>,
}

/// An announced block of which something is missing.
struct Partial {
    hash: BlockHash,
    gossip: GossipToken,
    announcer: PeerToken,
    /// Who is asked for what is missing: first the announcer.
    peer: PeerToken,
    reassembly: Reassembly,
    /// Places asked for; none while nobody is asked.
    asked: Vec<u16>,
    questions: usize,
    /// When the next peer may be asked.
    again_at: SteadyTime,
}

impl Partial {
    fn new(
        announcer: PeerToken,
        gossip: GossipToken,
        announcement: BlockAnnouncement,
        template: Option<&Template>,
    ) -> Result<Self, BlockError> {
        let hash = announcement.header.block_hash();
        let known = template.into_iter().flat_map(|template| template.transactions.iter());
        let reassembly = Reassembly::new(announcement, known.map(|tx| (tx.wtxid, &*tx.data)))?;
        let (peer, again_at) = (announcer, SteadyTime(0));
        Ok(Self { hash, gossip, announcer, peer, reassembly, asked: Vec::new(), questions: 0, again_at })
    }

    fn ask(&mut self) -> Next {
        let places = self.reassembly.missing();
        self.asked = places.to_vec();
        self.questions += 1;
        Next::Ask(self.peer, self.gossip, Request::BlockTransactions { block: self.hash, places })
    }
}

/// What to do about an announced block.
#[derive(Debug)]
pub enum Next {
    /// Ask a peer who may have it, for the block of this announcement.
    Ask(PeerToken, GossipToken, Request),
    /// It is whole: hand it to bitcoind.
    Submit {
        /// Its hash.
        id: ShareId,
        /// Its height.
        height: BlockHeight,
        /// What `submitblock` takes.
        block: Vec<u8>,
    },
    /// There is nothing more to do.
    Nothing,
}

impl Blocks {
    /// Notes a block of ours and gives its announcement.
    pub fn announce(&mut self, height: BlockHeight, block: &[u8]) -> Option<Arc<BlockAnnouncement>> {
        let block: Block = deserialize(block).ok()?;
        let announcement = BlockAnnouncement::of(&block, height);
        self.serve(block);
        announcement
            .map(Arc::new)
            .map_err(|error| warn!("the found block of height {height} cannot be announced: {error}"))
            .ok()
    }

    /// Gives transactions of a block that was announced by us, or put together here.
    pub fn transactions(&self, hash: &BlockHash, places: &[u16]) -> Response {
        let Some((_, block)) = self.served.iter().find(|(served, _)| served == hash) else { return Response::Unknown };
        let asked: Vec<Vec<u8>> =
            places.iter().map_while(|place| block.txdata.get(usize::from(*place))).map(serialize).collect();
        Response::block_transactions(asked.iter().map(Vec::as_slice))
    }

    /// Whether a block is known here already, or is being put together by what this peer says of it. What others say
    /// of it may be false.
    pub fn knows(&self, hash: &BlockHash, peer: PeerToken) -> bool {
        self.served.iter().any(|(served, _)| served == hash)
            || self.partial.iter().any(|partial| partial.hash == *hash && partial.announcer == peer)
    }

    /// What became of announcements since the last call. They go on to others only when they proved whole: one proof
    /// of work can stand before any number of false ones, and whoever passes one on has what others will ask for.
    pub fn take_verdicts(&mut self) -> Vec<(GossipToken, GossipVerdict)> {
        std::mem::take(&mut self.verdicts)
    }

    /// Takes an announcement whose header must have `required` as target; transactions are taken from the template.
    ///
    /// # Errors
    /// The announcement is false.
    pub fn announced(
        &mut self,
        peer: PeerToken,
        gossip: GossipToken,
        announcement: &[u8],
        required: Bits,
        template: Option<&Template>,
    ) -> Result<Next, BlockError> {
        let announcement = BlockAnnouncement::check(announcement, required);
        let partial = announcement.and_then(|announcement| Partial::new(peer, gossip, announcement, template));
        let stepped = partial.and_then(step).inspect_err(|_| self.verdicts.push((gossip, GossipVerdict::Reject)))?;
        Ok(self.go_on(gossip, stepped))
    }

    /// Takes the transactions that a peer gave for a block; none if it gave none, then another is asked soon.
    ///
    /// # Errors
    /// The announcement is false, and its sender to blame. Whoever else gives other transactions than were announced may
    /// well have the true block.
    pub fn answered(
        &mut self,
        of: GossipToken,
        given: Option<&[TransactionBytes]>,
        now: SteadyTime,
    ) -> Result<Next, (PeerToken, BlockError)> {
        let Some(at) = self.partial.iter().position(|partial| partial.gossip == of) else { return Ok(Next::Nothing) };
        let Some(mut partial) = self.partial.remove(at) else { return Ok(Next::Nothing) };
        let (peer, announcer) = (partial.peer, partial.announcer);
        let asked = std::mem::take(&mut partial.asked);
        let filled = match given.filter(|given| !given.is_empty()) {
            Some(given) => partial.reassembly.fill(&asked, given),
            None => {
                debug!("peer {} gives no transactions of block {}", peer.0, partial.hash);
                self.put_off(partial, now);
                return Ok(Next::Nothing);
            }
        };
        if let Err(error) = filled {
            self.put_off(partial, now);
            return if peer == announcer { Err((peer, error)) } else { Ok(Next::Nothing) };
        }
        let stepped = step(partial).inspect_err(|_| self.verdicts.push((of, GossipVerdict::Reject)));
        let stepped = stepped.map_err(|error| (announcer, error))?;
        Ok(self.go_on(of, stepped))
    }

    /// Asks the next peer for what is missing of a block, where the one asked before did not give it.
    pub fn tick(&mut self, peers: &[PeerToken], now: SteadyTime) -> Vec<Next> {
        let idle = self.partial.iter_mut().filter(|partial| partial.asked.is_empty() && partial.again_at <= now);
        idle.filter_map(|partial| {
            // By turns: whoever passed it on has it sooner or later.
            partial.peer = *peers.get(partial.questions % peers.len().max(1))?;
            Some(partial.ask())
        })
        .collect()
    }

    fn put_off(&mut self, mut partial: Partial, now: SteadyTime) {
        if partial.questions >= QUESTIONS_MAX {
            debug!("Bitcoin block {} of a peer cannot be put together: nobody gives what is missing", partial.hash);
            self.verdicts.push((partial.gossip, GossipVerdict::Ignore));
            return;
        }
        partial.again_at = now.plus(AGAIN_S);
        self.partial.push_back(partial);
    }

    fn go_on(&mut self, gossip: GossipToken, (next, rest): (Next, Option<Partial>)) -> Next {
        if let Next::Submit { id, height, block } = &next {
            info!("a peer found Bitcoin block {id} of height {height}");
            self.verdicts.push((gossip, GossipVerdict::Accept));
            // What was put together can be given to others as well.
            if let Ok(block) = deserialize::<Block>(block) {
                let hash = block.block_hash();
                self.give_up_where(|partial| partial.hash == hash);
                self.serve(block);
            }
        }
        if let Some(partial) = rest {
            self.keep(partial);
        }
        next
    }

    /// Keeps a block of which something is missing; its announcer's oldest goes for it, or the oldest of all.
    fn keep(&mut self, partial: Partial) {
        let announcer = partial.announcer;
        self.partial.push_back(partial);
        let of_announcer = |partial: &&Partial| partial.announcer == announcer;
        let is_greedy = self.partial.iter().filter(of_announcer).count() > PARTIAL_PER_PEER_MAX;
        let is_full = self.partial.len() > PARTIAL_MAX;
        let oldest = match is_greedy {
            true => self.partial.iter().find(of_announcer),
            false => self.partial.front().filter(|_| is_full),
        };
        if let Some(oldest) = oldest.map(|oldest| oldest.gossip) {
            self.give_up_where(|partial| partial.gossip == oldest);
        }
    }

    fn give_up_where(&mut self, is_over: impl Fn(&Partial) -> bool) {
        let over = self.partial.iter().filter(|partial| is_over(partial));
        self.verdicts.extend(over.map(|partial| (partial.gossip, GossipVerdict::Ignore)));
        self.partial.retain(|partial| !is_over(partial));
    }

    fn serve(&mut self, block: Block) {
        self.served.push_back((block.block_hash(), block));
        if self.served.len() > SERVED_MAX {
            self.served.pop_front();
        }
    }
}

/// Finishes a block, or asks for what it lacks.
fn step(mut partial: Partial) -> Result<(Next, Option<Partial>), BlockError> {
    let (id, height) = (partial.reassembly.announcement().id(), partial.reassembly.announcement().height);
    if let Some(block) = partial.reassembly.block()? {
        return Ok((Next::Submit { id, height, block }, None));
    }
    let ask = partial.ask();
    Ok((ask, Some(partial)))
}

#[cfg(test)]
mod tests;
