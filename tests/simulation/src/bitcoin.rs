//! A simulated Bitcoin: blocks, transactions, and bitcoinds that each know some of them.

use std::collections::{BTreeMap, BTreeSet};

use ::bitcoin::absolute::LockTime;
use ::bitcoin::block::{Header, Version};
use ::bitcoin::consensus::serialize;
use ::bitcoin::hashes::Hash as _;
use ::bitcoin::{
    transaction, Amount, Block, BlockHash, CompactTarget, OutPoint, ScriptBuf, Sequence, Transaction, TxIn,
    TxMerkleNode, TxOut, Txid, Witness,
};
use p2pool_core::node::AnchorResult;
use p2pool_core::params::Network;
use p2pool_core::sharechain::bitcoin_difficulty::PeriodStart;
use p2pool_core::sharechain::{meets_own_bits, subsidy, Anchor, BestChain, RecentTimes};
use p2pool_core::units::{Bits, BlockHeight, Sats, UnixTime};
use p2pool_core::work::{Template, TemplateTx, Transactions};

use crate::host::START;
use crate::random::Random;
use crate::scenario::BitcoinSettings;

/// Height of the first block: past the first halvings of regtest, and with a median time of its own.
const FIRST_HEIGHT: u32 = 1_000;
/// Blocks that exist before the simulation starts.
pub const BLOCKS_BEFORE: u32 = 12;
/// A bitcoind refuses a block that is more seconds ahead of its clock than this.
const AHEAD_MAX_S: u32 = 7_200;
/// Transactions in a template.
const TEMPLATE_TRANSACTIONS_MAX: usize = 200;

/// All blocks that exist somewhere.
pub struct Bitcoin {
    bits: Bits,
    network: Network,
    settings: BitcoinSettings,
    /// Transactions that exist, by number: one after the other at equal intervals.
    transactions: Vec<TemplateTx>,
    anchors: BTreeMap<BlockHash, Anchor>,
    others: usize,
}

impl Bitcoin {
    /// Some blocks, one every interval, that end at the start. Returns the last one as well.
    pub fn new(network: Network, bits: Bits, settings: BitcoinSettings) -> (Self, BlockHash) {
        let (transactions, anchors) = (Vec::new(), BTreeMap::new());
        let mut bitcoin = Self { bits, network, settings, transactions, anchors, others: 0 };
        let mut tip = BlockHash::all_zeros();
        for back in (0..BLOCKS_BEFORE).rev() {
            tip = bitcoin.add_other(tip, START.minus(back * settings.interval_s as u32), [back as u8; 32]);
        }
        (bitcoin, tip)
    }

    /// A block that exists.
    pub fn get(&self, hash: &BlockHash) -> Option<&Anchor> {
        self.anchors.get(hash)
    }

    /// Height of a block, 0 if it does not exist.
    pub fn height(&self, hash: &BlockHash) -> u32 {
        self.anchors.get(hash).map_or(0, |anchor| anchor.height.0)
    }

    /// Header time of a block.
    pub fn time(&self, hash: &BlockHash) -> UnixTime {
        self.anchors.get(hash).map_or(START, |anchor| UnixTime(anchor.header.time))
    }

    /// Number of blocks that the pool found and submitted.
    pub fn found_by_pool(&self) -> usize {
        self.anchors.len() - self.others
    }

    /// The block some blocks below another.
    pub fn ancestor(&self, of: BlockHash, depth: u32) -> BlockHash {
        let mut at = of;
        for _ in 0..depth {
            match self.anchors.get(&at).map(|anchor| anchor.header.prev_blockhash) {
                Some(parent) if self.anchors.contains_key(&parent) => at = parent,
                _ => break,
            }
        }
        at
    }

    /// Adds a block that others found.
    pub fn add_other(&mut self, parent: BlockHash, time: UnixTime, merkle_root: [u8; 32]) -> BlockHash {
        self.others += 1;
        let earliest = self.anchors.get(&parent).map_or(UnixTime(0), |anchor| anchor.median_time_past.plus(1));
        let mut header = Header {
            version: Version::from_consensus(0x2000_0000),
            prev_blockhash: parent,
            merkle_root: TxMerkleNode::from_byte_array(merkle_root),
            time: time.max(earliest).0,
            bits: CompactTarget::from_consensus(self.bits.0),
            nonce: 0,
        };
        // Nodes judge headers beside their bitcoind's best chain.
        while !meets_own_bits(&header) {
            header.nonce += 1;
        }
        self.add(header)
    }

    /// Adds a block whose parent exists, if any block has a parent.
    pub fn add(&mut self, header: Header) -> BlockHash {
        let hash = header.block_hash();
        let anchor = match self.anchors.get(&header.prev_blockhash) {
            Some(parent) => parent.extended(self.network, header),
            None => {
                let time = UnixTime(header.time);
                let period_start = PeriodStart { time, bits: self.bits };
                let times = RecentTimes::new([time]);
                Anchor::new(self.network, header, BlockHeight(FIRST_HEIGHT), times, period_start, self.bits)
            }
        };
        self.anchors.entry(hash).or_insert(anchor);
        hash
    }

    /// Whether a block is another one or below it.
    pub fn is_ancestor(&self, hash: &BlockHash, of: &BlockHash) -> bool {
        let depth = self.height(of).checked_sub(self.height(hash));
        depth.is_some_and(|depth| self.ancestor(*of, depth) == *hash)
    }

    /// What a bitcoind reports whose best chain ended with `before` and ends with `tip` now.
    pub fn report(&self, before: Option<BlockHash>, tip: BlockHash, is_settled: bool) -> BestChain {
        let mut headers = Vec::new();
        let mut at = tip;
        loop {
            if before.is_some_and(|before| self.is_ancestor(&at, &before)) {
                headers.reverse();
                return BestChain { is_settled, root: None, headers };
            }
            let anchor = &self.anchors[&at];
            if !self.anchors.contains_key(&anchor.header.prev_blockhash) {
                headers.reverse();
                return BestChain { is_settled, root: Some(Box::new(anchor.clone())), headers };
            }
            headers.push(anchor.header);
            at = anchor.header.prev_blockhash;
        }
    }

    /// Transactions that a bitcoind has and that came after its tip. Which ones it lacks follows from their numbers.
    fn mempool(&mut self, bitcoind: usize, tip: UnixTime, now: UnixTime) -> Vec<TemplateTx> {
        let BitcoinSettings { transactions_per_s, transactions_lacking, .. } = self.settings;
        let made_by = |time: UnixTime| (f64::from(time.since(START)) * transactions_per_s) as u64;
        let (from, to) = (made_by(tip), made_by(now));
        while (self.transactions.len() as u64) < to {
            self.transactions.push(make_transaction(self.transactions.len() as u64));
        }
        let has = |number: &u64| !Random::new(number << 8 | bitcoind as u64).chance(transactions_lacking);
        let numbers = (from..to).take(TEMPLATE_TRANSACTIONS_MAX).filter(has);
        numbers.map(|number| self.transactions[number as usize].clone()).collect()
    }

    /// What the bitcoind of this number, with this tip, proposes to mine.
    pub fn template(&mut self, bitcoind: usize, tip: &BlockHash, now: UnixTime, fees: u64) -> Template {
        let transactions = self.mempool(bitcoind, UnixTime(self.anchors[tip].header.time), now);
        let fees = fees + transactions.iter().map(|tx| tx.fee.0).sum::<u64>();
        let anchor = &self.anchors[tip];
        let height = BlockHeight(anchor.height.0 + 1);
        Template {
            version: 0x2000_0000,
            prev_block: *tip,
            height,
            bits: self.bits,
            min_time: anchor.median_time_past.plus(1),
            cur_time: now.max(anchor.median_time_past.plus(1)),
            response_s: 0,
            coinbase_value: Sats(subsidy(self.network, height).0 + fees),
            transactions: Transactions::new(transactions),
            weight_limit: 4_000_000,
            sigops_limit: 80_000,
        }
    }
}

/// A transaction that spends something and is like no other.
fn make_transaction(number: u64) -> TemplateTx {
    let mut random = Random::new(number ^ 0x7ab5_ac71);
    let witness: Vec<u8> = random.bytes().repeat(1 + random.below(6) as usize);
    let tx = Transaction {
        version: transaction::Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![TxIn {
            previous_output: OutPoint::new(Txid::from_byte_array(random.bytes()), 0),
            script_sig: ScriptBuf::new(),
            sequence: Sequence::MAX,
            witness: Witness::from_slice(&[witness]),
        }],
        output: vec![TxOut { value: Amount::from_sat(number), script_pubkey: ScriptBuf::from_bytes(vec![0x51]) }],
    };
    TemplateTx {
        data: serialize(&tx),
        txid: tx.compute_txid().to_byte_array(),
        wtxid: tx.compute_wtxid().to_byte_array(),
        fee: Sats(random.below(10_000)),
        weight: tx.weight().to_wu(),
        sigops_cost: 1,
    }
}

/// Whether a bitcoind whose clock is right takes a block whose parent it has.
pub fn is_valid(block: &Block, now: UnixTime) -> bool {
    block.header.time <= now.plus(AHEAD_MAX_S).0 && block.check_merkle_root() && block.check_witness_commitment()
}

/// One bitcoind: what it knows, and whether it responds.
pub struct Bitcoind {
    /// Blocks that it has, with all below them.
    blocks: BTreeSet<BlockHash>,
    /// Blocks that arrived while it was down.
    missed: Vec<BlockHash>,
    /// The highest block that it has; the first of several.
    pub tip: BlockHash,
    /// Since when it does not respond.
    pub down_since_ms: Option<u64>,
    /// It is in initial download.
    pub is_syncing: bool,
    /// It takes a block only when so many have arrived after it.
    pub lag: usize,
    up_since_ms: u64,
}

impl Bitcoind {
    /// One that has a block and all below it.
    pub fn new(bitcoin: &Bitcoin, tip: BlockHash) -> Self {
        let mut bitcoind = Self {
            blocks: BTreeSet::new(),
            missed: Vec::new(),
            tip,
            down_since_ms: None,
            is_syncing: false,
            lag: 0,
            up_since_ms: 0,
        };
        bitcoind.take(bitcoin, tip);
        bitcoind
    }

    /// Whether it gives templates and takes blocks.
    pub const fn is_up(&self) -> bool {
        self.down_since_ms.is_none()
    }

    /// For how long it has responded.
    pub fn up_for_ms(&self, now_ms: u64) -> u64 {
        if self.is_up() {
            now_ms - self.up_since_ms
        } else {
            0
        }
    }

    /// Whether it has a block.
    pub fn has(&self, block: &BlockHash) -> bool {
        self.blocks.contains(block)
    }

    /// Takes a block, and those below that it lacks. Returns whether its tip changed.
    pub fn take(&mut self, bitcoin: &Bitcoin, block: BlockHash) -> bool {
        if !self.is_up() {
            self.missed.push(block);
            return false;
        }
        if self.lag > 0 {
            self.missed.push(block);
            let due = self.missed.len().saturating_sub(self.lag);
            let due: Vec<BlockHash> = self.missed.drain(..due).collect();
            let before = self.tip;
            due.into_iter().for_each(|block| {
                self.take_now(bitcoin, block);
            });
            return self.tip != before;
        }
        self.take_now(bitcoin, block)
    }

    fn take_now(&mut self, bitcoin: &Bitcoin, block: BlockHash) -> bool {
        let mut at = block;
        while let Some(anchor) = bitcoin.get(&at).filter(|_| self.blocks.insert(at)) {
            at = anchor.header.prev_blockhash;
        }
        let is_higher = bitcoin.height(&block) > bitcoin.height(&self.tip);
        if is_higher {
            self.tip = block;
        }
        is_higher
    }

    /// It responds again, or lags no more, and catches up with what it missed.
    pub fn come_back(&mut self, bitcoin: &Bitcoin, now_ms: u64) {
        self.down_since_ms = None;
        self.is_syncing = false;
        self.lag = 0;
        self.up_since_ms = now_ms;
        for block in std::mem::take(&mut self.missed) {
            self.take(bitcoin, block);
        }
    }

    /// What it says about a block.
    pub fn look_up(&self, bitcoin: &Bitcoin, hash: &BlockHash) -> AnchorResult {
        match bitcoin.get(hash) {
            _ if !self.is_up() && !self.is_syncing => AnchorResult::Unavailable,
            Some(anchor) if bitcoin.is_ancestor(hash, &self.tip) => AnchorResult::Known(Box::new(anchor.clone())),
            _ => AnchorResult::Unknown,
        }
    }

    /// Whether it has caught up with the network; `None` if it does not respond.
    pub const fn is_settled(&self) -> Option<bool> {
        if self.is_up() {
            Some(true)
        } else if self.is_syncing {
            Some(false)
        } else {
            None
        }
    }
}
