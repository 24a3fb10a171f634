use bitcoin::block::Version;
use bitcoin::hashes::Hash as _;
use bitcoin::{CompactTarget, TxMerkleNode};

use super::*;
use crate::sharechain::bitcoin_difficulty::PeriodStart;
use crate::sharechain::RecentTimes;

const BITS: u32 = 0x207f_ffff;
const START: u32 = 1_700_000_000;
const NOW: UnixTime = UnixTime(1_800_000_000);
const PEER: PeerHandle = PeerHandle(1);

/// A header on another. The number makes it differ from its siblings; its work is not searched for.
fn plain(parent: &Header, number: u32) -> Header {
    let mut root = [0; 32];
    root[..4].copy_from_slice(&number.to_le_bytes());
    Header {
        version: Version::from_consensus(4),
        prev_blockhash: parent.block_hash(),
        merkle_root: TxMerkleNode::from_byte_array(root),
        time: parent.time + 600,
        bits: CompactTarget::from_consensus(BITS),
        nonce: 0,
    }
}

fn ground(mut header: Header) -> Header {
    while !meets_own_bits(&header) {
        header.nonce += 1;
    }
    header
}

/// A branch on a header, with work.
fn branch(parent: &Header, len: usize, number: u32) -> Vec<Header> {
    let mut headers: Vec<Header> = Vec::new();
    for _ in 0..len {
        let header = ground(plain(headers.last().unwrap_or(parent), number));
        headers.push(header);
    }
    headers
}

fn root() -> Anchor {
    let header = Header {
        prev_blockhash: BlockHash::all_zeros(),
        ..plain(&bitcoin::constants::genesis_block(bitcoin::Network::Regtest).header, 0)
    };
    let header = Header { time: START, ..header };
    let (time, bits) = (UnixTime(START), Bits(BITS));
    Anchor::new(
        Network::Regtest,
        header,
        BlockHeight(10_000),
        RecentTimes::new([time; 11]),
        PeriodStart { time, bits },
        bits,
    )
}

/// An index whose best chain has so many blocks above its root, and that best chain.
fn index_with(blocks: usize) -> (HeaderIndex, Vec<Header>) {
    let mut index = HeaderIndex::new(Network::Regtest);
    let mut chain = vec![root().header];
    for _ in 0..blocks {
        chain.push(plain(chain.last().unwrap(), 0));
    }
    let report = BestChain { is_settled: true, root: Some(Box::new(root())), headers: chain[1..].to_vec() };
    assert!(index.follow(report));
    (index, chain)
}

fn extend(headers: Vec<Header>) -> BestChain {
    BestChain { is_settled: true, root: None, headers }
}

fn holds(index: &HeaderIndex, header: &Header) -> bool {
    index.get(&header.block_hash()).is_some()
}

#[test]
fn the_best_chain_is_held_from_1152_blocks_below_its_tip() {
    let (mut index, chain) = index_with(BEST_CHAIN_DEPTH as usize);
    assert_eq!(index.len(), BEST_CHAIN_DEPTH as usize + 1);
    index.name(&chain[3].block_hash());
    let more = branch(chain.last().unwrap(), 10, 0);
    assert!(index.follow(extend(more.clone())));
    assert_eq!(index.best().unwrap().header, more[9]);
    assert_eq!(index.best().unwrap().height.0, 10_000 + BEST_CHAIN_DEPTH + 10);
    assert_eq!(index.len(), BEST_CHAIN_DEPTH as usize + 2, "and what a share names");
    assert!(holds(&index, &chain[3]) && !holds(&index, &chain[4]) && holds(&index, &chain[10]));
}

#[test]
fn a_report_that_does_not_fit_changes_nothing_but_the_state_of_bitcoind() {
    let (mut index, chain) = index_with(3);
    let report = BestChain { is_settled: false, ..extend(branch(&plain(&chain[3], 8), 2, 1)) };
    assert!(!index.follow(report));
    assert_eq!((index.best().unwrap().header, index.len(), index.is_settled()), (chain[3], 4, false));
}

#[test]
fn headers_with_a_fault_are_refused() {
    let (mut index, chain) = index_with(20);
    let tip = chain[20];
    let past = index.best().unwrap().median_time_past.0;
    let good = plain(&tip, 1);
    let mut weak = good;
    while meets_own_bits(&weak) {
        weak.nonce += 1;
    }
    let other_bits = Header { bits: CompactTarget::from_consensus(0x207f_fffe), ..good };
    for (header, fault) in [
        (weak, HeaderFault::Hash),
        (ground(other_bits), HeaderFault::Bits),
        (ground(Header { time: past, ..good }), HeaderFault::Time),
        (ground(Header { version: Version::from_consensus(3), ..good }), HeaderFault::Version),
    ] {
        let mut unsettled = index.clone();
        unsettled.follow(BestChain { is_settled: false, root: None, headers: Vec::new() });
        assert_eq!(unsettled.receive(&[header], PEER, Branch::Gossiped, NOW), HeadersVerdict::Beyond, "not judged yet");
        assert_eq!(index.receive(&[header], PEER, Branch::Gossiped, NOW), HeadersVerdict::Faulty(fault));
        assert!(!holds(&index, &header));
    }
    let just_after = ground(Header { time: past + 1, ..good });
    assert_eq!(index.receive(&[just_after], PEER, Branch::Gossiped, NOW), HeadersVerdict::Held);
    // What is above a bad header is not held either, what is below it is.
    let below = ground(good);
    let bad = ground(Header { prev_blockhash: below.block_hash(), ..other_bits });
    let above = ground(plain(&bad, 1));
    assert_eq!(
        index.receive(&[below, bad, above], PEER, Branch::Gossiped, NOW),
        HeadersVerdict::Faulty(HeaderFault::Bits)
    );
    assert_eq!([below, bad, above].map(|header| holds(&index, &header)), [true, false, false]);
}

#[test]
fn headers_ahead_of_the_clock_are_not_held_yet() {
    let (mut index, chain) = index_with(2);
    let header = branch(&chain[2], 1, 1)[0];
    let due = UnixTime(header.time - 7_200);
    assert_eq!(index.receive(&[header], PEER, Branch::Gossiped, due.minus(1)), HeadersVerdict::Beyond);
    assert_eq!(index.receive(&[header], PEER, Branch::Gossiped, due), HeadersVerdict::Held);
}

#[test]
fn unlinked_headers_are_not_held() {
    let (mut index, chain) = index_with(2);
    let side = branch(&chain[1], 3, 1);
    assert_eq!(index.receive(&side[1..], PEER, Branch::Gossiped, NOW), HeadersVerdict::Unlinked);
    assert_eq!(index.len(), 3);
    assert_eq!(index.receive(&side, PEER, Branch::Gossiped, NOW), HeadersVerdict::Held);
    // Headers before those that are held do not matter.
    let older = [plain(&chain[0], 77), side[1], branch(&side[1], 1, 2)[0]].map(ground);
    assert_eq!(index.receive(&older, PEER, Branch::Gossiped, NOW), HeadersVerdict::Held);
}

#[test]
fn gossiped_branches_have_up_to_six_headers_and_leave_the_best_chain_up_to_1008_blocks_below_its_tip() {
    let (mut index, chain) = index_with(1_100);
    for (depth, is_held) in [(0, true), (1, true), (1_007, true), (1_008, true), (1_009, false), (1_050, false)] {
        let side = branch(&chain[1_100 - depth], 7, depth as u32 + 1);
        assert_eq!(index.receive(&side[..6], PEER, Branch::Gossiped, NOW) == HeadersVerdict::Held, is_held, "{depth}");
        assert_eq!(index.receive(&side, PEER, Branch::Gossiped, NOW), HeadersVerdict::Beyond, "{depth}");
        assert_eq!(side.iter().filter(|header| holds(&index, header)).count(), if is_held { 6 } else { 0 });
    }
}

#[test]
fn fetched_branches_have_up_to_144_headers_and_leave_the_best_chain_at_any_depth() {
    let (mut index, chain) = index_with(1_140);
    for depth in [0, 1, 1_009, 1_140] {
        let side = branch(&chain[1_140 - depth], 145, depth as u32 + 1);
        assert_eq!(index.receive(&side[..144], PEER, Branch::Fetched, NOW), HeadersVerdict::Held, "{depth}");
        assert_eq!(index.receive(&side, PEER, Branch::Fetched, NOW), HeadersVerdict::Beyond, "{depth}");
    }
    // Below what is held without gaps: the block that the branch leaves is looked up at bitcoind.
    let older = Anchor { height: BlockHeight(5_000), ..root() };
    let older = Anchor { header: plain(&older.header, 500), ..older };
    let side = branch(&older.header, 20, 1);
    assert_eq!(index.receive(&side, PEER, Branch::Fetched, NOW), HeadersVerdict::Unlinked);
    index.add_best_below(older);
    assert_eq!(index.receive(&side, PEER, Branch::Gossiped, NOW), HeadersVerdict::Beyond);
    assert_eq!(index.receive(&side, PEER, Branch::Fetched, NOW), HeadersVerdict::Held);
}

/// The best chain's blocks above the fork have 8, then 9 hashes of work; a side header of regtest has 2.
#[test]
fn fetched_headers_have_a_quarter_of_the_work_of_the_best_chains_block_at_their_height() {
    for (bits, is_held) in [(0x201f_ffff, true), (0x201c_0000, false)] {
        let (mut index, chain) = index_with(3);
        let hard = Header { bits: CompactTarget::from_consensus(bits), ..plain(&chain[3], 0) };
        let hard = [hard, Header { bits: CompactTarget::from_consensus(bits), ..plain(&hard, 0) }];
        assert!(index.follow(extend(hard.to_vec())));
        let side = branch(&chain[3], 4, 1);
        let verdict = index.receive(&side, PEER, Branch::Fetched, NOW);
        assert_eq!(verdict == HeadersVerdict::Held, is_held, "{bits:x}");
        assert_eq!(holds(&index, &side[0]), is_held);
    }
}

/// Below what is held without gaps the least work of all times is enough, and the headers claim any time.
#[test]
fn a_fetched_branch_on_an_old_easy_block_needs_work_of_today() {
    let hard = Bits(0x1d00_ffff);
    let header = Header { bits: CompactTarget::from_consensus(hard.0), ..root().header };
    let times = RecentTimes::new([UnixTime(START); 11]);
    let root = Anchor::new(
        Network::Regtest,
        header,
        BlockHeight(10_000),
        times,
        PeriodStart { time: UnixTime(START), bits: hard },
        hard,
    );
    let mut index = HeaderIndex::new(Network::Regtest);
    assert!(index.follow(BestChain { is_settled: true, root: Some(Box::new(root)), headers: Vec::new() }));
    let old = Anchor { height: BlockHeight(100), ..self::root() };
    let mut parent = old.header;
    index.add_best_below(old);
    let side: Vec<Header> = (0..12)
        .map(|number| {
            parent = ground(Header { time: NOW.0 - 60 + number, ..plain(&parent, 1) });
            parent
        })
        .collect();
    let verdict = index.receive(&side, PEER, Branch::Fetched, NOW);
    let dated = index.get(&side[11].block_hash()).map(|anchor| anchor.median_time_past);
    assert_eq!((verdict, dated), (HeadersVerdict::Beyond, None));
}

#[test]
fn a_peer_has_32_side_headers_and_all_have_256() {
    let (mut index, chain) = index_with(300);
    let first = branch(&chain[299], 1, 9_000)[0];
    let named = branch(&chain[298], 3, 9_001);
    assert_eq!(index.receive(&[first], PEER, Branch::Gossiped, NOW), HeadersVerdict::Held);
    assert_eq!(index.receive(&named, PEER, Branch::Gossiped, NOW), HeadersVerdict::Held);
    index.name(&named[2].block_hash());
    let mut count = index.len();
    for number in 0..40 {
        let side = branch(&chain[250 + number], 1, 1)[0];
        assert_eq!(index.receive(&[side], PEER, Branch::Gossiped, NOW), HeadersVerdict::Held);
        assert!(holds(&index, &side));
        count += usize::from(number < 31);
        assert_eq!(index.len(), count, "{number}");
    }
    assert!(!holds(&index, &first), "the oldest goes first");
    for peer in 2..=9 {
        for parent in &chain[..32] {
            let side = branch(parent, 1, 100 + peer)[0];
            assert_eq!(
                index.receive(&[side], PeerHandle(u64::from(peer)), Branch::Gossiped, NOW),
                HeadersVerdict::Held
            );
        }
    }
    assert_eq!(index.len(), 301 + 256 + 3);
    assert!(named.iter().all(|header| holds(&index, header)), "what a share names is never evicted");
}

#[test]
fn a_header_is_evicted_after_those_that_build_on_it() {
    let (mut index, chain) = index_with(60);
    let old = branch(&chain[60], 6, 1);
    index.receive(&old, PEER, Branch::Gossiped, NOW);
    for parent in &chain[..30] {
        let side = branch(parent, 1, 2);
        index.receive(&side, PEER, Branch::Gossiped, NOW);
    }
    let held: Vec<bool> = old.iter().map(|header| holds(&index, header)).collect();
    assert_eq!(held, [true, true, false, false, false, false]);
}

#[test]
fn what_shares_name_stays_with_the_side_headers_below_it() {
    let (mut index, chain) = index_with(20);
    let side = branch(&chain[10], 6, 1);
    let other = branch(&chain[10], 1, 2)[0];
    index.receive(&side, PEER, Branch::Gossiped, NOW);
    index.receive(&[other], PEER, Branch::Gossiped, NOW);
    index.name(&side[3].block_hash());
    let named = |index: &HeaderIndex| index.named().map(|(hash, _)| *hash).collect::<BTreeSet<BlockHash>>();
    assert_eq!(named(&index), side[..4].iter().map(Header::block_hash).collect());
    // A week later the others are gone.
    let more: Vec<Header> = (0..1_100)
        .scan(chain[20], |tip, _| {
            *tip = plain(tip, 0);
            Some(*tip)
        })
        .collect();
    assert!(index.follow(extend(more)));
    index.prune(&HashSet::from([side[3].block_hash()]));
    assert!(side[..4].iter().all(|header| holds(&index, header)));
    assert!(!holds(&index, &side[4]) && !holds(&index, &other));
    index.prune(&HashSet::new());
    assert!(!holds(&index, &side[0]));
}

#[test]
fn reorganisations_leave_the_old_blocks_as_side_headers() {
    for depth in 1..=24 {
        let (mut index, chain) = index_with(30);
        let fork = 30 - depth;
        // A share was built on the old tip, and one on a side header of a block that is left.
        let side = branch(&chain[fork + 1], 2, 5);
        index.receive(&side, PEER, Branch::Gossiped, NOW);
        index.name(&chain[30].block_hash());
        index.name(&side[1].block_hash());
        let new = branch(&chain[fork], depth + 1, 7);
        assert!(index.follow(extend(new.clone())));
        assert_eq!(index.best().unwrap().header, *new.last().unwrap());
        assert!(chain.iter().chain(&new).chain(&side).all(|header| holds(&index, header)), "{depth}");
        // All that is needed to judge what shares name stays, whatever else is dropped.
        index.prune(&HashSet::from([chain[30].block_hash(), side[1].block_hash()]));
        assert!(chain[fork + 1..].iter().chain(&side).all(|header| index.is_named(&header.block_hash())), "{depth}");
        // And back.
        let back: Vec<Header> = chain[fork + 1..].iter().copied().chain(branch(&chain[30], 2, 0)).collect();
        assert!(index.follow(extend(back.clone())));
        assert_eq!(index.best().unwrap().header, *back.last().unwrap());
        let beside = branch(&chain[fork], 6, 8);
        assert_eq!(index.receive(&beside, PEER, Branch::Gossiped, NOW), HeadersVerdict::Held, "{depth}");
    }
}

#[test]
fn a_restored_header_is_held_without_judgement_and_joins_the_best_chain() {
    let (full, chain) = index_with(20);
    let mut index = HeaderIndex::new(Network::Regtest);
    for at in [5, 6, 19] {
        index.restore(full.get(&chain[at].block_hash()).unwrap().clone());
    }
    assert_eq!((index.len(), index.best()), (3, None));
    let report = BestChain { is_settled: true, root: Some(Box::new(root())), headers: chain[1..].to_vec() };
    assert!(index.follow(report));
    assert_eq!((index.len(), index.named().count()), (21, 3));
    assert_eq!(index.receive(&branch(&chain[19], 6, 1), PEER, Branch::Gossiped, NOW), HeadersVerdict::Held);
}

#[test]
fn blocks_that_were_looked_up_are_bounded() {
    let (mut index, _) = index_with(2);
    let older = |number| {
        let anchor = Anchor { height: BlockHeight(number), ..root() };
        Anchor { header: plain(&anchor.header, 10_000 + number), ..anchor }
    };
    for number in 0..LOOKED_UP_MAX as u32 + 50 {
        index.add_best_below(older(number));
        assert!(holds(&index, &older(number).header));
    }
    assert_eq!(index.len(), 3 + LOOKED_UP_MAX);
}

/// Xorshift, with the same numbers on every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end.max(1) as u64) as usize
    }
}

/// All headers of a random tree, and bitcoind's best chain in it, without regard to cost.
struct Model {
    heights: BTreeMap<BlockHash, (Header, usize)>,
    best: Vec<Header>,
    held: BTreeSet<BlockHash>,
}

impl Model {
    fn path(&self, tip: &Header) -> Vec<Header> {
        let mut path = vec![*tip];
        while let Some((parent, _)) = self.heights.get(&path.last().unwrap().prev_blockhash) {
            path.push(*parent);
        }
        path.reverse();
        path
    }

    /// Whether gossip may bring a header whose parent is held.
    fn takes(&self, header: &Header) -> bool {
        let path = self.path(header);
        let common = path.iter().zip(&self.best).take_while(|(one, other)| one == other).count();
        self.held.contains(&header.prev_blockhash) && path.len() - common <= 6
    }
}

#[test]
fn random_trees_agree_with_the_naive_model() {
    for seed in 1..=12u64 {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let (mut index, chain) = index_with(12);
        let mut model = Model {
            heights: chain
                .iter()
                .enumerate()
                .map(|(height, header)| (header.block_hash(), (*header, height)))
                .collect(),
            best: chain.clone(),
            held: chain.iter().map(Header::block_hash).collect(),
        };
        let mut all = chain;
        let (mut taken, mut refused, mut reorganised) = (0, 0, 0);
        for number in 1..400u32 {
            // Mostly near the newest.
            let depth = [2, 4, 12, 40][random.below(4)];
            let parent = all[all.len() - 1 - random.below(depth.min(all.len()))];
            let time = parent.time.saturating_add(random.below(1_500) as u32).max(parent.time.saturating_sub(100) + 1);
            let header = ground(Header { time, ..plain(&parent, number) });
            let height = model.heights[&parent.block_hash()].1 + 1;
            if random.below(3) > 0 {
                let is_taken = model.takes(&header);
                let verdict = index.receive(&[header], PeerHandle(random.below(40) as u64), Branch::Gossiped, NOW);
                match verdict {
                    HeadersVerdict::Held => model.held.insert(header.block_hash()),
                    HeadersVerdict::Faulty(HeaderFault::Time) => continue,
                    _ => false,
                };
                assert_eq!(verdict == HeadersVerdict::Held, is_taken, "seed {seed}, header {number}: {verdict:?}");
                if is_taken {
                    taken += 1
                } else {
                    refused += 1
                }
            }
            model.heights.insert(header.block_hash(), (header, height));
            all.push(header);
            if height >= model.best.len() && random.below(2) == 0 {
                // bitcoind has the block and all below it.
                let path = model.path(&header);
                let common = path.iter().zip(&model.best).take_while(|(one, other)| one == other).count();
                reorganised += usize::from(common < model.best.len());
                assert!(index.follow(extend(path[common..].to_vec())));
                model.held.extend(path.iter().map(Header::block_hash));
                model.best = path;
            }
            assert_eq!(index.best().unwrap().header, *model.best.last().unwrap());
        }
        let held: BTreeSet<BlockHash> = index.iter().map(|anchor| anchor.header.block_hash()).collect();
        assert_eq!(held, model.held);
        for anchor in index.iter() {
            let (_, height) = model.heights[&anchor.header.block_hash()];
            assert_eq!(anchor.height.0 as usize, 10_000 + height);
            let path = model.path(&anchor.header);
            let mut times: Vec<u32> = path.iter().rev().take(11).map(|header| header.time).collect();
            // The root's own times go on before it.
            times.resize(11, START);
            times.sort_unstable();
            assert_eq!(anchor.median_time_past.0, times[5]);
        }
        assert!(taken > 20 && refused > 20 && reorganised > 3, "seed {seed}: {taken} {refused} {reorganised}");
    }
}
