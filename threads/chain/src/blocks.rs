//! Found Bitcoin blocks that travel: ours are announced, those of peers are put together again and handed to our
//! own bitcoind, so that a block is not lost with its finder's node.

use std::collections::VecDeque;
use std::sync::Arc;

use bitcoin::consensus::{deserialize, serialize};
use bitcoin::{Block, BlockHash};
use log::{debug, info, warn};
use p2pool_core::message::PeerToken;
use p2pool_core::share::ShareId;
use p2pool_core::units::{Bits, BlockHeight, UnixTime};
use p2pool_core::wire::{BlockAnnouncement, BlockError, Reassembly, Request, Response, TransactionBytes};
use p2pool_core::work::Template;

/// Blocks whose transactions are still given to peers: more than are found in one minute on any network that pays.
const SERVED_MAX: usize = 4;
/// Announced blocks that are put together at once. Each has Bitcoin's full proof of work, so there are never many.
const PARTIAL_MAX: usize = 4;

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
}

/// An announced block of which something is missing.
struct Partial {
    hash: BlockHash,
    /// Who announced it, then who is asked for what is missing.
    peer: PeerToken,
    reassembly: Reassembly,
    /// Places asked for; none while nobody is asked.
    asked: Vec<u16>,
    questions: usize,
    /// When the next peer may be asked.
    again_at: UnixTime,
}

impl Partial {
    fn new(peer: PeerToken, announcement: BlockAnnouncement, template: Option<&Template>) -> Result<Self, BlockError> {
        let hash = announcement.header.block_hash();
        let known = template.into_iter().flat_map(|template| template.transactions.iter());
        let reassembly = Reassembly::new(announcement, known.map(|tx| (tx.wtxid, &*tx.data)))?;
        Ok(Self { hash, peer, reassembly, asked: Vec::new(), questions: 0, again_at: UnixTime(0) })
    }

    fn ask(&mut self) -> Next {
        let places = self.reassembly.missing();
        self.asked = places.to_vec();
        self.questions += 1;
        Next::Ask(self.peer, Request::BlockTransactions { block: self.hash, places })
    }
}

/// What to do about an announced block.
#[derive(Debug)]
pub enum Next {
    /// Ask a peer who may have it.
    Ask(PeerToken, Request),
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

    /// Whether a block is known here already.
    pub fn knows(&self, hash: &BlockHash) -> bool {
        self.served.iter().any(|(served, _)| served == hash) || self.partial.iter().any(|partial| partial.hash == *hash)
    }

    /// Takes an announcement whose header must have `required` as target; transactions are taken from the template.
    ///
    /// # Errors
    /// The announcement is false.
    pub fn announced(
        &mut self,
        peer: PeerToken,
        announcement: &[u8],
        required: Bits,
        template: Option<&Template>,
    ) -> Result<Next, BlockError> {
        let announcement = BlockAnnouncement::check(announcement, required)?;
        info!("a peer found Bitcoin block {} of height {}", announcement.id(), announcement.height);
        let (next, rest) = step(Partial::new(peer, announcement, template)?)?;
        Ok(self.go_on(next, rest))
    }

    /// Takes the transactions that a peer gave for a block; none if it gave none, then another is asked soon.
    ///
    /// # Errors
    /// They are not those that were announced.
    pub fn answered(
        &mut self,
        hash: &BlockHash,
        given: Option<&[TransactionBytes]>,
        now: UnixTime,
    ) -> Result<Next, (PeerToken, BlockError)> {
        let Some(at) = self.partial.iter().position(|partial| partial.hash == *hash) else { return Ok(Next::Nothing) };
        let Some(mut partial) = self.partial.remove(at) else { return Ok(Next::Nothing) };
        let peer = partial.peer;
        let asked = std::mem::take(&mut partial.asked);
        let filled = match given.filter(|given| !given.is_empty()) {
            Some(given) => partial.reassembly.fill(&asked, given),
            None => {
                debug!("peer {} gives no transactions of block {hash}", peer.0);
                self.put_off(partial, now);
                return Ok(Next::Nothing);
            }
        };
        if let Err(error) = filled {
            self.put_off(partial, now);
            return Err((peer, error));
        }
        let (next, rest) = step(partial).map_err(|error| (peer, error))?;
        Ok(self.go_on(next, rest))
    }

    /// Asks the next peer for what is missing of a block, where the one asked before did not give it.
    pub fn tick(&mut self, peers: &[PeerToken], now: UnixTime) -> Vec<Next> {
        let idle = self.partial.iter_mut().filter(|partial| partial.asked.is_empty() && partial.again_at <= now);
        idle.filter_map(|partial| {
            // By turns: whoever passed it on has it sooner or later.
            partial.peer = *peers.get(partial.questions % peers.len().max(1))?;
            Some(partial.ask())
        })
        .collect()
    }

    fn put_off(&mut self, mut partial: Partial, now: UnixTime) {
        if partial.questions >= QUESTIONS_MAX {
            warn!("Bitcoin block {} of a peer cannot be put together: nobody gives what is missing", partial.hash);
            return;
        }
        partial.again_at = now.plus(AGAIN_S);
        self.partial.push_back(partial);
    }

    fn go_on(&mut self, next: Next, rest: Option<Partial>) -> Next {
        if let Next::Submit { block, .. } = &next {
            // What was put together can be given to others as well.
            if let Ok(block) = deserialize(block) {
                self.serve(block);
            }
        }
        self.partial.extend(rest);
        if self.partial.len() > PARTIAL_MAX {
            self.partial.pop_front();
        }
        next
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
