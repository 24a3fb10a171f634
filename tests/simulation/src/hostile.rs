//! Hostile peers: the attacks of consensus.md, section 8, and of `tests/hostile` that need no socket.
//!
//! Each follows the chain with a node of its own, so that what it sends is as plausible as can be, and misuses what it
//! knows. One that every honest node has banned comes back under another name.

use std::sync::Arc;

use ::bitcoin::block::Header;
use ::bitcoin::hashes::Hash as _;
use ::bitcoin::{BlockHash, CompactTarget, TxMerkleNode};
use p2pool_core::share::coinbase::{fold_merkle_branch, Coinbase};
use p2pool_core::share::{Share, ShareId};
use p2pool_core::units::{ShareHeight, Target, Work};
use p2pool_core::wire::{BlockAnnouncement, Frame as _, List, Response};
use p2pool_core::work::{Job, WorkUpdate};

use crate::engine::{Action, Simulation};
use crate::host::script;
use crate::miner::solve;
use crate::network::Gossip;
use crate::random::Random;

/// Nonces tried for a false share.
const NONCES_MAX: u32 = 1 << 18;
/// Shares that a flood sends per second while it lasts: more than a peer may.
const FLOOD_PER_S: usize = 40;
/// Floods last so many seconds, and come again after so many.
const FLOOD_S: u64 = 10;
const FLOOD_EVERY_S: u64 = 240;
/// A hostile peer without connections returns under another name after this long, on average.
const RETURN_MS: u64 = 120_000;
/// Invented shares behind a chain that is a bait fill up a batch, and the last of its shares are served drop by drop: so
/// something always arrives of what was requested.
const BAIT_LEN: usize = 256;
const DROPS: usize = 40;
/// Shares that are replayed later.
const REPLAYED_MAX: usize = 64;

/// How a hostile peer behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Manner {
    /// Never responds and relays nothing.
    Silent,
    /// Sends shares that break one rule after the other.
    BreaksRules,
    /// Sends shares whose parents do not exist.
    FloodsOrphans,
    /// Sends shares on old parents and genesis shares, with the least work.
    FloodsUnverified,
    /// Sends mutated copies of each share ahead of it.
    CopiesAhead,
    /// Claims a heavy chain and lists shares that do not exist.
    Boasts,
    /// Lists its shares and never gives them.
    WithholdsShares,
    /// Responds just before the timeout.
    Slow,
    /// Gives other shares than those requested.
    Substitutes,
    /// Changes the payee of each share it gives.
    Forges,
    /// Names Bitcoin blocks that do not exist, and gives false headers.
    FalseHeaders,
    /// Announces Bitcoin blocks that are none.
    FalseBlocks,
    /// Sends old shares again, and real Bitcoin headers as shares.
    Replays,
    /// Is always busy.
    Busy,
    /// Mines a chain of its own, which it serves, and takes no shares of others. Only chosen by worlds.
    Private,
    /// The same, but claims much more: it lists shares behind its chain that do not exist, and serves the last ones drop by
    /// drop. Only chosen by figures.
    Baits,
    /// Keeps its shares back to make others' work stale. Only chosen by figures.
    Selfish,
    /// Keeps found blocks to itself. Only chosen by figures.
    WithholdsBlocks,
}

impl Manner {
    /// Those that a scenario draws from.
    pub const ALL: [Self; 14] = [
        Self::Silent,
        Self::BreaksRules,
        Self::FloodsOrphans,
        Self::FloodsUnverified,
        Self::CopiesAhead,
        Self::Boasts,
        Self::WithholdsShares,
        Self::Slow,
        Self::Substitutes,
        Self::Forges,
        Self::FalseHeaders,
        Self::FalseBlocks,
        Self::Replays,
        Self::Busy,
    ];

    const fn is_miner(self) -> bool {
        matches!(self, Self::Private | Self::Baits | Self::Selfish | Self::WithholdsBlocks)
    }
}

/// What a hostile peer remembers.
#[derive(Default)]
pub struct Actor {
    round: u64,
    /// Shares that it saw, to be replayed.
    seen: Vec<Arc<Share>>,
    /// Own shares that it keeps back, lowest first.
    withheld: Vec<Arc<Share>>,
    /// The highest share of others that it saw.
    public_height: Option<ShareHeight>,
    /// It has published a branch that is as long as the others'.
    is_racing: bool,
}

impl Simulation {
    /// Whether a node relays nothing.
    pub fn is_silent(&self, host: usize) -> bool {
        self.hosts[host].settings.manner == Some(Manner::Silent)
    }

    /// Whether a node hears of its peers and of what they gossip.
    pub fn listens(&self, host: usize) -> bool {
        !matches!(self.hosts[host].settings.manner, Some(Manner::Private | Manner::Baits))
    }

    /// Whether a node gives the blocks that it finds to bitcoind.
    pub fn keeps_blocks(&self, host: usize) -> bool {
        self.hosts[host].settings.manner != Some(Manner::WithholdsBlocks)
    }

    /// What a node really sends as its response, and after how many milliseconds.
    pub fn edit_response(&mut self, host: usize, response: Response) -> Option<(Vec<u8>, u64)> {
        use Manner as M;
        let Some(manner) = self.hosts[host].settings.manner else { return Some((response.encode(), 0)) };
        let random = &mut self.random;
        let invented = |random: &mut Random| ShareId(random.bytes());
        let response = match (manner, response) {
            (M::Silent, _) | (M::WithholdsShares, Response::Shares(_)) => return None,
            (M::Slow, response) => return Some((response.encode(), 25_000 + random.below(8_000))),
            (M::Busy | M::Selfish, _) => Response::Busy,
            (M::Boasts | M::Baits, Response::Status(mut status)) => {
                status.tip = invented(random);
                status.chain_work.0 = status.chain_work.0.saturating_mul(1_000) + 1_000;
                Response::Status(status)
            }
            (M::Baits, Response::Inventory { after, start_height, ids, .. }) => {
                let behind = (ids.len()..BAIT_LEN).map(|_| invented(random));
                let ids = List::first_of(ids.iter().copied().chain(behind));
                Response::Inventory { after, start_height, ids, more: false }
            }
            (M::Baits, Response::Shares(shares)) if shares.is_empty() => Response::Busy,
            (M::Baits, Response::Shares(shares)) if shares.len() <= DROPS => {
                return Some((Response::Shares(List::first_of(shares.iter().take(1).cloned())).encode(), 25_000));
            }
            (M::Baits, Response::Shares(shares)) => {
                Response::Shares(List::first_of(shares.iter().take(shares.len() - DROPS).cloned()))
            }
            (M::Boasts, Response::Inventory { start_height, .. }) => Response::Inventory {
                after: ShareId::ZERO,
                start_height,
                ids: List::first_of((0..200).map(|_| invented(random))),
                more: random.chance(0.5),
            },
            (M::Substitutes, Response::Shares(shares)) => {
                let tree = self.hosts[host].node.as_ref().map(|node| node.tree());
                let other = tree.and_then(|tree| Some(Arc::clone(&tree.main_chain().first()?.share)));
                Response::Shares(other.map_or(shares, |other| List::first_of([other])))
            }
            (M::Forges, Response::Shares(shares)) => {
                Response::Shares(List::first_of(shares.iter().map(|share| mutant(share, random.below(1_000) as usize))))
            }
            (M::FalseHeaders, Response::Unknown | Response::Headers(_)) => {
                let parent = BlockHash::from_byte_array(random.bytes());
                Response::Headers(List::first_of([false_header(parent, random)]))
            }
            (_, response) => response,
        };
        Some((response.encode(), 0))
    }

    /// A hostile peer has received a share.
    pub fn hostile_saw(&mut self, host: usize, share: &Arc<Share>) {
        let Some(actor) = &mut self.hosts[host].actor else { return };
        if actor.seen.len() < REPLAYED_MAX {
            actor.seen.push(Arc::clone(share));
        }
        actor.public_height = actor.public_height.max(Some(share.info.share_height));
        if self.hosts[host].settings.manner == Some(Manner::CopiesAhead) && !self.is_quiet {
            for number in 0..5 {
                let copy = mutant(share, 1_000 + number);
                self.publish(host, Gossip::share(&copy));
            }
        }
    }

    /// A hostile peer's turn.
    pub fn attack(&mut self, host: usize, boot: u32) {
        if self.hosts[host].boot != boot || self.hosts[host].node.is_none() || self.is_quiet {
            return;
        }
        let Some(manner) = self.hosts[host].settings.manner.filter(|manner| !manner.is_miner()) else { return };
        self.schedule_about(self.now_ms + 900, 200, Action::Attack { host, boot });
        let round = match &mut self.hosts[host].actor {
            Some(actor) => {
                actor.round += 1;
                actor.round
            }
            None => return,
        };
        if self.hosts[host].peers.connections.is_empty() {
            if self.random.chance(1_000.0 / RETURN_MS as f64) {
                self.take_new_name(host);
            }
            return;
        }
        match manner {
            Manner::BreaksRules if round.is_multiple_of(8) => self.break_a_rule(host, round / 8),
            Manner::FloodsOrphans if round % FLOOD_EVERY_S < FLOOD_S => {
                for _ in 0..FLOOD_PER_S {
                    let parent = ShareId(self.random.bytes());
                    self.send_false(host, |share, _| share.info.parent = parent);
                }
            }
            Manner::FloodsUnverified if round % FLOOD_EVERY_S < FLOOD_S => {
                for _ in 0..FLOOD_PER_S {
                    self.send_unverified(host);
                }
            }
            Manner::FalseHeaders if round.is_multiple_of(5) => {
                let block = BlockHash::from_byte_array(self.random.bytes());
                self.send_false(host, |share, _| share.header.prev_blockhash = block);
            }
            Manner::FalseBlocks if round.is_multiple_of(10) => self.send_false_block(host, round / 10),
            Manner::Replays if round.is_multiple_of(5) => self.replay(host),
            _ => {}
        }
    }

    /// No node knows it any more.
    fn take_new_name(&mut self, host: usize) {
        for other in &mut self.hosts {
            other.peers.forget(host);
        }
    }

    fn job(&self, host: usize) -> Option<Arc<Job>> {
        match &self.hosts[host].work {
            Some(WorkUpdate::Job(job)) => Some(Arc::clone(job)),
            _ => None,
        }
    }

    /// A share on the current job, with other facts, committed to and with the work that it claims.
    fn craft(&mut self, host: usize, edit: impl FnOnce(&mut Share, &Simulation)) -> Option<Share> {
        let job = self.job(host)?;
        let mut extranonce = [0xee; 12];
        extranonce[..8].copy_from_slice(&self.random.bits().to_le_bytes());
        let found = solve(&job, extranonce);
        let mut share = Share {
            header: ::bitcoin::consensus::deserialize(&found.header).expect("eighty bytes are a header"),
            info: job.info.clone(),
            extranonce,
            merkle_branch: job.merkle_branch.clone(),
        };
        edit(&mut share, self);
        let coinbase = Coinbase::new(&self.params.chain_id(), &share.info, &job.payouts);
        let root = fold_merkle_branch(coinbase.txid(&extranonce), &share.merkle_branch);
        share.header.merkle_root = TxMerkleNode::from_byte_array(root);
        let target = share.info.share_bits.target().unwrap_or(Target::MAX);
        share.header = ground(share.header, target);
        Some(share)
    }

    fn send_false(&mut self, host: usize, edit: impl FnOnce(&mut Share, &Simulation)) {
        if let Some(share) = self.craft(host, edit) {
            self.publish(host, Gossip::share(&Arc::new(share)));
        }
    }

    fn break_a_rule(&mut self, host: usize, round: u64) {
        let easiest = self.params.easiest_bits;
        match round % 12 {
            0 => {
                let bytes = self.random.bytes().repeat(10);
                self.publish(host, Gossip::malformed(bytes));
            }
            1 => self.send_false(host, |share, _| share.header.version = ::bitcoin::block::Version::from_consensus(3)),
            2 => {
                // A header without work.
                if let Some(mut share) = self.craft(host, |_, _| ()) {
                    let target = share.info.share_bits.target().unwrap_or(Target::MAX);
                    while target.is_met_by(&share.header.block_hash().to_byte_array()) {
                        share.header.nonce += 1;
                    }
                    self.publish(host, Gossip::share(&Arc::new(share)));
                }
            }
            3 => self.send_false(host, |share, _| share.info.share_height.0 += 1),
            4 => self.send_false(host, |share, _| share.info.chain_work = Work(share.info.chain_work.0 * 2)),
            5 => self.send_false(host, |share, _| share.info.share_bits = easiest),
            6 => self.send_false(host, |share, _| share.header.time -= 3_600),
            7 => self.send_false(host, |share, _| share.info.block_height.0 += 1),
            8 => self.send_false(host, |share, _| {
                share.header.bits = CompactTarget::from_consensus(0x207f_ffff);
            }),
            9 => self.send_false(host, |share, _| share.info.uncles = vec![share.info.parent]),
            10 => self.send_false(host, |share, _| share.info.coinbase_value.0 += 1),
            _ => self.send_false(host, |share, _| share.info.payout_script = script(999)),
        }
    }

    /// A share on an old parent, or a genesis share, that costs next to nothing.
    fn send_unverified(&mut self, host: usize) {
        let easiest = self.params.easiest_bits;
        let back = 4 + self.random.below(60) as usize;
        let claims = self.random.below(3);
        self.send_false(host, |share, simulation| {
            let tree = simulation.hosts[host].node.as_ref().map(|node| node.tree());
            let parent = tree.and_then(|tree| {
                let main = tree.main_chain();
                main.get(main.len().checked_sub(back)?)
            });
            let own = easiest.target().ok().and_then(|target| target.work()).unwrap_or(Work(1));
            share.info.share_bits = easiest;
            share.info.uncles.clear();
            match parent.filter(|_| claims != 0) {
                Some(parent) => {
                    share.info.parent = parent.id;
                    share.info.share_height = ShareHeight(parent.share.info.share_height.0 + 1);
                    let work = parent.share.info.chain_work.0 + own.0;
                    // What it claims is false in a third of the cases.
                    share.info.chain_work = Work(if claims == 1 { work } else { work * 2 });
                }
                None => {
                    share.info.parent = ShareId::ZERO;
                    share.info.share_height = ShareHeight(0);
                    share.info.chain_work = own;
                }
            }
        });
    }

    fn send_false_block(&mut self, host: usize, round: u64) {
        let Some(job) = self.job(host) else { return };
        let found = solve(&job, [0xbb; 12]);
        let bytes = job.unchecked_block(&found.header, &found.extranonce);
        let mut block: ::bitcoin::Block = ::bitcoin::consensus::deserialize(&bytes).expect("a block");
        let mut height = job.template.height;
        match round % 4 {
            // Without the work.
            0 => {}
            // On a block that does not exist, with a target of its own.
            1 => {
                block.header.prev_blockhash = BlockHash::from_byte_array(self.random.bytes());
                block.header.bits = CompactTarget::from_consensus(0x207f_ffff);
                block.header = ground(block.header, self.params.easiest_bits.target().unwrap_or(Target::MAX));
            }
            // With the work, and a coinbase that it does not cover.
            2 => {
                block.header = ground(block.header, job.block_target);
                block.txdata[0].output.pop();
            }
            // Of another height.
            _ => {
                block.header = ground(block.header, job.block_target);
                height.0 += 1;
            }
        }
        if let Ok(announcement) = BlockAnnouncement::from_block(&block, height) {
            self.publish(host, Gossip::block(announcement.encode()));
        }
    }

    fn replay(&mut self, host: usize) {
        let Some(actor) = &self.hosts[host].actor else { return };
        let at = self.random.below(actor.seen.len() as u64 + 1) as usize;
        match actor.seen.get(at).cloned() {
            Some(share) => self.publish(host, Gossip::share(&share)),
            None => {
                // A real Bitcoin header as a share.
                let bitcoind = self.hosts[host].settings.bitcoind;
                let header = self.bitcoin.get(&self.bitcoinds[bitcoind].tip).map(|anchor| anchor.header);
                let (Some(header), Some(job)) = (header, self.job(host)) else { return };
                let share = Share {
                    header,
                    info: job.info.clone(),
                    extranonce: [0; 12],
                    merkle_branch: job.merkle_branch.clone(),
                };
                self.publish(host, Gossip::share(&Arc::new(share)));
            }
        }
    }

    // The selfish miner (Eyal and Sirer, "Majority is not enough").

    /// Takes a share that a selfish node's miners found, instead of announcing it.
    pub fn withhold(&mut self, host: usize, share: &Arc<Share>) -> bool {
        if self.hosts[host].settings.manner != Some(Manner::Selfish) || self.is_quiet {
            return false;
        }
        if let Some(actor) = &mut self.hosts[host].actor {
            actor.withheld.push(Arc::clone(share));
        }
        true
    }

    /// A selfish node decides what to publish.
    pub fn be_selfish(&mut self, host: usize) {
        if self.hosts[host].settings.manner != Some(Manner::Selfish) {
            return;
        }
        let Some(tip) = self.hosts[host].node.as_ref().and_then(|node| node.tree().tip()) else { return };
        let (tip, tip_height) = (tip.id, tip.share.info.share_height);
        let Some(actor) = &mut self.hosts[host].actor else { return };
        let Some(last) = actor.withheld.last() else { return };
        let public = actor.public_height;
        let is_ahead = last.id() == tip;
        let lead = public.map_or(0, |public| i64::from(tip_height.0) - i64::from(public.0));
        let count = if self.is_quiet || !is_ahead || public.is_none() || actor.is_racing {
            // The others are ahead, and what is left may be an uncle; or this share wins the race.
            actor.is_racing = false;
            actor.withheld.len()
        } else if lead <= 1 && actor.withheld.first().map(|first| first.info.share_height) <= public {
            // The others have come near: publish all. With a lead of nothing it is a race.
            actor.is_racing = lead == 0;
            actor.withheld.len()
        } else {
            // As long as the others' branch: they lose time with it.
            actor.withheld.iter().take_while(|share| Some(share.info.share_height) <= public).count()
        };
        let published: Vec<Arc<Share>> = actor.withheld.drain(..count).collect();
        for share in published {
            self.publish(host, Gossip::share(&share));
        }
    }
}

/// A copy of a share with another payee: the same header, another message.
fn mutant(share: &Share, number: usize) -> Arc<Share> {
    let mut copy = share.clone();
    copy.info.payout_script = script(10_000 + number);
    Arc::new(copy)
}

fn false_header(parent: BlockHash, random: &mut Random) -> Header {
    Header {
        version: ::bitcoin::block::Version::from_consensus(0x2000_0000),
        prev_blockhash: parent,
        merkle_root: TxMerkleNode::from_byte_array(random.bytes()),
        time: 1_700_000_000,
        bits: CompactTarget::from_consensus(0x207f_ffff),
        nonce: 0,
    }
}

/// A header with a nonce that meets a target, if one is found soon.
fn ground(mut header: Header, target: Target) -> Header {
    for nonce in 0..NONCES_MAX {
        header.nonce = nonce;
        if target.is_met_by(&header.block_hash().to_byte_array()) {
            break;
        }
    }
    header
}
