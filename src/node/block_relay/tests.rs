use std::collections::HashMap;

use bitcoin::absolute::LockTime;
use bitcoin::block::{Header, Version};
use bitcoin::hashes::Hash as _;
use bitcoin::transaction::Version as TransactionVersion;
use bitcoin::{
    Amount, CompactTarget, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxMerkleNode, TxOut, Txid, Witness,
};

use super::*;
use crate::params::{ChainParams, Network};
use crate::sharechain::tests_support::anchor_of;
use crate::sharechain::{Anchor, BestChain};
use crate::units::Bits;
use crate::wire::Frame as _;

/// Regtest's target, which every second hash meets.
const BITS: Bits = Bits(0x207f_ffff);
const HEIGHT: BlockHeight = BlockHeight(200);
/// The commitment of a share, in form.
const COMMITMENT: [u8; 38] = *b"p2pool--------------------------------";
const FINDER: PeerHandle = PeerHandle(7);
const OTHERS: [PeerHandle; 2] = [PeerHandle(8), PeerHandle(9)];
const GOSSIP: GossipId = GossipId([1; 32]);
const START: SteadyTime = SteadyTime::from_s(1_000);

fn transaction(previous_output: OutPoint, script_sig: ScriptBuf, sats: u64) -> Transaction {
    Transaction {
        version: TransactionVersion::TWO,
        lock_time: LockTime::ZERO,
        input: vec![TxIn { previous_output, script_sig, sequence: Sequence::MAX, witness: Witness::new() }],
        output: vec![TxOut { value: Amount::from_sat(sats), script_pubkey: ScriptBuf::from_bytes(vec![0x51]) }],
    }
}

/// A block with one transaction that no template has.
fn block() -> Block {
    let height = bitcoin::script::Builder::new().push_int(i64::from(HEIGHT.0)).push_slice(COMMITMENT).into_script();
    let spent = OutPoint::new(Txid::from_byte_array([3; 32]), 0);
    let header = Header {
        version: Version::from_consensus(0x2000_0000),
        prev_blockhash: anchor().header.block_hash(),
        merkle_root: TxMerkleNode::all_zeros(),
        time: 1_600_000_000,
        bits: CompactTarget::from_consensus(BITS.0),
        nonce: 0,
    };
    let txdata = vec![transaction(OutPoint::null(), height, 50), transaction(spent, ScriptBuf::new(), 7)];
    let mut block = Block { header, txdata };
    block.header.merkle_root = block.compute_merkle_root().expect("there are transactions");
    while block.header.validate_pow(block.header.target()).is_err() {
        block.header.nonce += 1;
    }
    block
}

/// What the relay knows of the node.
#[derive(Default)]
struct View {
    anchors: HashMap<BlockHash, (Anchor, Standing)>,
}

impl View {
    fn add(&mut self, anchor: Anchor, standing: Standing) {
        self.anchors.insert(anchor.header.block_hash(), (anchor, standing));
    }
}

impl BlockView for View {
    fn anchor(&self, hash: &BlockHash) -> Option<&Anchor> {
        self.anchors.get(hash).map(|(anchor, _)| anchor)
    }

    fn standing(&self, parent: &BlockHash) -> Standing {
        self.anchors.get(parent).map_or(Standing::Unknown, |(_, standing)| *standing)
    }
}

/// A relay that knows the parent of the tests' block as bitcoind's tip.
struct Relay {
    relay: BlockRelay,
    view: View,
}

impl Relay {
    fn new() -> Self {
        let mut view = View::default();
        view.add(anchor(), Standing::New);
        Self { relay: BlockRelay::default(), view }
    }

    fn announced(&mut self, peer: PeerHandle, gossip: GossipId, bytes: &[u8]) -> Vec<RelayAction> {
        let header = BlockAnnouncement::decode_header(bytes).expect("an announcement");
        let announced = Announced { peer, gossip, header, announcement: bytes.to_vec() };
        self.relay.announced(announced, START, &self.view, None);
        self.relay.take_actions()
    }

    fn settle(&mut self) -> Vec<RelayAction> {
        self.relay.settle(&self.view, None);
        self.relay.take_actions()
    }

    fn response(&mut self, given: Option<&[TransactionBytes]>, now: SteadyTime) -> Vec<RelayAction> {
        self.relay.response(GOSSIP, given, now);
        self.relay.take_actions()
    }

    fn tick(&mut self, peers: &[PeerHandle], now: SteadyTime) -> Vec<RelayAction> {
        self.relay.tick(peers, now, &self.view);
        self.relay.take_actions()
    }
}

fn anchor() -> Anchor {
    let header = crate::test_support::anchor().header;
    anchor_of(header, HEIGHT.0 - 1, UnixTime(header.time))
}

/// The block with another nonce, and the work that it claims.
fn with_other_nonce(block: &Block, number: u32) -> Block {
    let mut other = block.clone();
    other.header.nonce += 1_000 * (1 + number);
    while other.header.validate_pow(other.header.target()).is_err() {
        other.header.nonce += 1;
    }
    other
}

fn announcement(block: &Block) -> Vec<u8> {
    BlockAnnouncement::from_block(block, HEIGHT).expect("it can be announced").encode()
}

/// The finder, and a relay that has requested from it what it lacks.
fn announced(block: &Block) -> (BlockRelay, Relay) {
    let mut finder = BlockRelay::default();
    finder.announce(HEIGHT, &serialize(block));
    let [RelayAction::Announce(announcement)] = &finder.take_actions()[..] else { panic!("one announcement") };
    let mut relay = Relay::new();
    let actions = relay.announced(FINDER, GOSSIP, &announcement.encode());
    assert_eq!(requested(&actions), Some(FINDER));
    (finder, relay)
}

/// The peer that the block's second transaction is requested from, the only action.
fn requested(actions: &[RelayAction]) -> Option<PeerHandle> {
    match actions {
        [RelayAction::Request(peer, GOSSIP, Request::BlockTransactions { indexes, .. })] if indexes[..] == [1] => {
            Some(*peer)
        }
        _ => None,
    }
}

fn given(finder: &BlockRelay, block: &Block) -> Vec<TransactionBytes> {
    match finder.respond(&block.block_hash(), &[1]) {
        Response::BlockTransactions(given) => given.to_vec(),
        other => panic!("{other:?}"),
    }
}

fn verdicts(actions: &[RelayAction]) -> Vec<(GossipId, GossipVerdict)> {
    actions
        .iter()
        .filter_map(|action| match action {
            RelayAction::Verdict(gossip, verdict) => Some((*gossip, *verdict)),
            _ => None,
        })
        .collect()
}

fn submitted(actions: &[RelayAction]) -> Option<&PeerBlock> {
    actions.iter().find_map(|action| match action {
        RelayAction::Submit(block) => Some(block),
        _ => None,
    })
}

fn penalised(actions: &[RelayAction]) -> Option<PeerHandle> {
    actions.iter().find_map(|action| match action {
        RelayAction::Penalize(peer) => Some(*peer),
        _ => None,
    })
}

#[test]
fn when_the_finder_gives_nothing_other_peers_are_asked_in_turn() {
    let block = block();
    let (finder, mut relay) = announced(&block);
    let hash = block.block_hash();
    assert!(relay.tick(&OTHERS, START).is_empty(), "a request is in flight");
    assert!(relay.response(None, START).is_empty());
    assert!(relay.tick(&OTHERS, START.plus(1)).is_empty(), "not at once");
    assert!(relay.tick(&[], START.plus(2)).is_empty(), "no peer is there");
    assert_eq!(requested(&relay.tick(&OTHERS, START.plus(2))), Some(OTHERS[1]));
    assert!(relay.response(None, START.plus(2)).is_empty());
    assert_eq!(requested(&relay.tick(&OTHERS, START.plus(4))), Some(OTHERS[0]));
    let actions = relay.response(Some(&given(&finder, &block)), START.plus(4));
    let submitted = submitted(&actions).expect("it is complete");
    assert_eq!((submitted.height, &submitted.block), (HEIGHT, &serialize(&block)));
    assert!(relay.tick(&OTHERS, START.plus(9)).is_empty() && relay.relay.knows(&hash, FINDER));
}

#[test]
fn false_transactions_are_penalised_and_the_block_is_not_lost() {
    let block = block();
    let (finder, mut relay) = announced(&block);
    let wrong: Vec<TransactionBytes> = vec![serialize(&block.txdata[0]).try_into().expect("short")];
    let actions = relay.response(Some(&wrong), START);
    assert_eq!((penalised(&actions), verdicts(&actions)), (Some(FINDER), vec![]), "it may still become complete");
    assert_eq!(requested(&relay.tick(&OTHERS, START.plus(2))), Some(OTHERS[1]));
    assert!(submitted(&relay.response(Some(&given(&finder, &block)), START.plus(2))).is_some());
}

#[test]
fn a_block_that_no_peer_has_is_given_up() {
    let block = block();
    let (_, mut relay) = announced(&block);
    let hash = block.block_hash();
    let mut now = START;
    for _ in 1..REQUESTS_MAX {
        assert!(relay.response(None, now).is_empty());
        now = now.plus(RETRY_S);
        assert_eq!(relay.tick(&OTHERS, now).len(), 1);
    }
    assert!(relay.relay.knows(&hash, FINDER));
    assert_eq!(verdicts(&relay.response(None, now)), [(GOSSIP, GossipVerdict::Ignore)]);
    assert!(!relay.relay.knows(&hash, FINDER), "and may be announced again");
}

/// The block as a liar announces it that puts other short ids beside its header.
fn false_announcement(block: &Block) -> Vec<u8> {
    let mut other = block.clone();
    other.txdata[1] = transaction(OutPoint::new(Txid::from_byte_array([4; 32]), 0), ScriptBuf::new(), 8);
    announcement(&other)
}

const LIAR: PeerHandle = PeerHandle(66);

#[test]
fn a_false_announcement_sent_ahead_does_not_keep_the_true_one_out_and_is_not_relayed() {
    const FALSE: GossipId = GossipId([66; 32]);
    let block = block();
    let (finder, _) = announced(&block);
    let mut relay = Relay::new();
    let first = relay.announced(LIAR, FALSE, &false_announcement(&block));
    assert!(matches!(first[..], [RelayAction::Request(LIAR, FALSE, _)]));
    assert!(relay.relay.knows(&block.block_hash(), LIAR) && !relay.relay.knows(&block.block_hash(), FINDER));
    assert_eq!(requested(&relay.announced(FINDER, GOSSIP, &announcement(&block))), Some(FINDER));
    let actions = relay.response(Some(&given(&finder, &block)), START);
    assert!(submitted(&actions).is_some());
    assert_eq!(verdicts(&actions), [(GOSSIP, GossipVerdict::Accept), (FALSE, GossipVerdict::Ignore)]);
}

#[test]
fn a_peer_with_the_true_block_is_not_penalised_for_a_false_announcement() {
    let block = block();
    let (finder, _) = announced(&block);
    let mut relay = Relay::new();
    relay.announced(LIAR, GOSSIP, &false_announcement(&block));
    assert!(relay.response(None, START).is_empty());
    assert_eq!(requested(&relay.tick(&OTHERS, START.plus(2))), Some(OTHERS[1]));
    assert!(relay.response(Some(&given(&finder, &block)), START.plus(2)).is_empty());
}

#[test]
fn one_peers_announcements_do_not_take_the_room_of_others() {
    let block = block();
    let (_, mut relay) = announced(&block);
    let mut given_up = 0;
    for number in 0..20 {
        let mut other = with_other_nonce(&block, u32::from(number));
        other.txdata[1] = transaction(OutPoint::new(Txid::from_byte_array([number; 32]), 0), ScriptBuf::new(), 8);
        let actions = relay.announced(LIAR, GossipId([100 + number; 32]), &announcement(&other));
        given_up += verdicts(&actions).len();
    }
    assert_eq!(relay.relay.partial.len(), 1 + PER_PEER_MAX);
    assert!(relay.relay.knows(&block.block_hash(), FINDER));
    assert_eq!(given_up, 20 - PER_PEER_MAX);
}

#[test]
fn a_block_on_an_unknown_one_waits_for_its_parent() {
    let block = block();
    let mut relay = Relay::new();
    relay.view.anchors.clear();
    let parent = block.header.prev_blockhash;
    let actions = relay.announced(FINDER, GOSSIP, &announcement(&block));
    assert!(matches!(actions[..], [RelayAction::LookUp(hash, Some(FINDER))] if hash == parent));
    assert!(relay.settle().is_empty());
    relay.view.add(anchor(), Standing::Unknown);
    assert!(relay.settle().is_empty(), "bitcoind has not reached it yet");
    relay.view.add(anchor(), Standing::New);
    assert_eq!(requested(&relay.settle()), Some(FINDER));
}

#[test]
fn a_block_whose_parent_stays_unknown_is_given_up_and_no_peer_is_penalised() {
    let mut relay = Relay::new();
    relay.view.anchors.clear();
    relay.announced(FINDER, GOSSIP, &announcement(&block()));
    assert!(relay.tick(&OTHERS, START.plus(WAITING_MAX_S - 1)).len() >= 2);
    let actions = relay.tick(&OTHERS, START.plus(WAITING_MAX_S));
    assert_eq!((verdicts(&actions), penalised(&actions)), (vec![(GOSSIP, GossipVerdict::Ignore)], None));
    assert!(submitted(&actions).is_none() && relay.relay.waiting.is_empty());
}

#[test]
fn an_old_block_is_ignored_even_if_it_is_the_pools() {
    let mut relay = Relay::new();
    relay.view.add(anchor(), Standing::Old);
    let actions = relay.announced(FINDER, GOSSIP, &announcement(&block()));
    assert!(matches!(actions[..], [RelayAction::Verdict(GOSSIP, GossipVerdict::Ignore)]));
}

#[test]
fn a_bitcoin_block_of_others_is_not_the_pools() {
    let mut other = block();
    other.txdata[0].input[0].script_sig = ScriptBuf::from_bytes(vec![0x02, 0xc8, 0x00, 0x51]);
    other.header.merkle_root = other.compute_merkle_root().expect("there are transactions");
    while other.header.validate_pow(other.header.target()).is_err() {
        other.header.nonce += 1;
    }
    let actions = Relay::new().announced(LIAR, GOSSIP, &announcement(&other));
    assert_eq!((verdicts(&actions), penalised(&actions)), (vec![(GOSSIP, GossipVerdict::Reject)], Some(LIAR)));
    let is_reason = |action: &RelayAction| {
        matches!(action, RelayAction::Report(Report::BlockInvalid { error: BlockError::Commitment, .. }))
    };
    assert!(actions.iter().any(is_reason), "{actions:?}");
}

#[test]
fn peers_of_its_netgroup_displace_no_block_that_waits_and_other_netgroups_do() {
    let (mut relay, bytes) = (Relay::new(), announcement(&block()));
    relay.view.anchors.clear();
    let own = PeerHandle::new(1_000, 1);
    relay.announced(own, GOSSIP, &bytes);
    for number in 0..20 {
        let actions = relay.announced(PeerHandle::new(7, number), GossipId([100 + number as u8; 32]), &bytes);
        let is_dropped = number as usize >= WAITING_MAX - 1;
        let own_verdict = [(GossipId([100 + number as u8; 32]), GossipVerdict::Ignore)];
        assert_eq!(verdicts(&actions), own_verdict[..usize::from(is_dropped)], "the newest makes room: itself");
        assert_eq!(actions.len(), 1, "and what it names is not looked up");
    }
    assert_eq!(relay.relay.waiting.len(), WAITING_MAX);
    let others = (0..WAITING_MAX as u8).map(|number| (PeerHandle::new(u32::from(number) + 10, 1), number));
    let dropped: Vec<_> = others
        .flat_map(|(peer, number)| verdicts(&relay.announced(peer, GossipId([200 + number; 32]), &bytes)))
        .map(|(gossip, _)| gossip.0[0])
        .collect();
    assert_eq!(dropped, [106, 105, 104, 103, 102, 101, 206, 207], "each netgroup has one, and no room is left");
    assert!(relay.relay.waiting.iter().any(|waiting| waiting.peer == own));
    assert!(relay.tick(&[], START.plus(WAITING_MAX_S)).len() >= WAITING_MAX && relay.relay.waiting.is_empty());
}

/// Peers announce a block with transactions that do not exist. What is not kept is not requested.
fn announce_falsely(relay: &mut Relay, block: &Block, peers: impl IntoIterator<Item = PeerHandle>) {
    for peer in peers {
        let mut number = [0; 32];
        number[..8].copy_from_slice(&peer.0.to_le_bytes());
        let mut other = block.clone();
        other.txdata[1] = transaction(OutPoint::new(Txid::from_byte_array(number), 0), ScriptBuf::new(), 8);
        let actions = relay.announced(peer, GossipId(number), &announcement(&other));
        let is_requested = actions.iter().any(|action| matches!(action, RelayAction::Request(..)));
        assert_eq!(is_requested, relay.relay.knows(&block.block_hash(), peer));
    }
}

/// A peer of this netgroup.
fn peer_of(netgroup: u32) -> impl Fn(u64) -> PeerHandle {
    move |serial| PeerHandle::new(netgroup, serial)
}

#[test]
fn no_peers_of_the_finders_netgroup_displace_its_block_or_keep_it_out() {
    let (block, finder) = (block(), PeerHandle::new(7, 1));
    for liars in [2, PARTIAL_MAX as u64, 50] {
        let mut relay = Relay::new();
        relay.announced(finder, GOSSIP, &announcement(&block));
        // What had no response does not count as newer than what came later.
        announce_falsely(&mut relay, &block, (100..102).map(peer_of(7)));
        relay.response(None, START);
        announce_falsely(&mut relay, &block, (200..200 + liars).map(peer_of(7)));
        assert!(relay.relay.knows(&block.block_hash(), finder), "{liars} liars after it");
        assert!(relay.relay.partial.len() <= PARTIAL_MAX);
    }
    for liars in [2, PARTIAL_MAX as u64 - 1] {
        let mut relay = Relay::new();
        announce_falsely(&mut relay, &block, (100..100 + liars).map(peer_of(7)));
        relay.announced(finder, GOSSIP, &announcement(&block));
        assert!(relay.relay.knows(&block.block_hash(), finder), "{liars} liars before it");
    }
}

#[test]
fn no_netgroup_displaces_the_only_block_of_another_or_keeps_it_out() {
    let (block, finder) = (block(), PeerHandle::new(7, 1));
    let hash = block.block_hash();
    let mut relay = Relay::new();
    announce_falsely(&mut relay, &block, (100..100 + PARTIAL_MAX as u64).map(peer_of(8)));
    relay.announced(finder, GOSSIP, &announcement(&block));
    assert!(relay.relay.knows(&hash, finder), "one netgroup has all places");
    announce_falsely(&mut relay, &block, (1..50).map(|netgroup| peer_of(100 + netgroup)(1)));
    assert!(relay.relay.knows(&hash, finder), "each of many netgroups has one");
    assert_eq!(relay.relay.partial.len(), PARTIAL_MAX);
}

#[test]
fn a_block_that_peers_complete_too_slowly_is_given_up() {
    let block = block();
    let (_, mut relay) = announced(&block);
    assert!(relay.tick(&OTHERS, START.plus(INCOMPLETE_MAX_S - 1)).is_empty(), "a request is in flight");
    let actions = relay.tick(&OTHERS, START.plus(INCOMPLETE_MAX_S));
    assert_eq!((verdicts(&actions), penalised(&actions)), (vec![(GOSSIP, GossipVerdict::Ignore)], None));
    assert!(relay.relay.partial.is_empty());
}

#[test]
fn a_block_stands_by_the_two_newest_blocks_of_bitcoinds_best_chain() {
    let mut tree = Tree::new(Arc::new(ChainParams::standard(Network::Regtest)));
    let root = anchor();
    let mut headers = vec![root.header];
    for _ in 0..3 {
        let parent = headers.last().expect("the root");
        let time = parent.time + 1;
        headers.push(Header { prev_blockhash: parent.block_hash(), time, ..*parent });
    }
    let hashes: Vec<BlockHash> = headers.iter().map(Header::block_hash).collect();
    let report = |is_settled, root: Option<&Anchor>, above: &[Header]| BestChain {
        is_settled,
        root: root.cloned().map(Box::new),
        headers: above.to_vec(),
    };
    let standing = |tree: &Tree| hashes.iter().map(|hash| tree.standing(hash)).collect::<Vec<_>>();
    assert_eq!(standing(&tree), [Standing::Unknown; 4]);
    tree.headers_mut().follow(report(true, Some(&root), &headers[1..]));
    assert_eq!(standing(&tree), [Standing::Old, Standing::Old, Standing::New, Standing::New]);
    tree.headers_mut().follow(report(false, None, &[]));
    assert_eq!(standing(&tree), [Standing::Unknown; 4], "bitcoind has not caught up");
    // A fork at the tip: a block on its other branch matters most. One on a lower block beside the best chain waits.
    tree.headers_mut().follow(report(true, None, &[]));
    for (below, expected) in [(2, Standing::New), (1, Standing::Unknown)] {
        let header = Header { prev_blockhash: hashes[below], nonce: 77, ..headers[below + 1] };
        let beside = anchor_of(header, HEIGHT.0 - 1 + below as u32 + 1, UnixTime(header.time));
        let hash = header.block_hash();
        tree.headers_mut().restore(beside);
        assert_eq!(tree.standing(&hash), expected, "{below}");
    }
}

/// An announcement of a block whose transactions the liar makes up: all that is true of it is the header, which may be that of
/// bitcoind's own tip.
fn endless_announcement(block: &Block, transactions: usize) -> (Vec<u8>, TransactionBytes) {
    let mut large = transaction(OutPoint::new(Txid::from_byte_array([5; 32]), 0), ScriptBuf::new(), 9);
    large.output[0].script_pubkey = ScriptBuf::from_bytes(vec![0x6a; 890_000]);
    let mut other = block.clone();
    other.txdata.truncate(1);
    other.txdata.extend(std::iter::repeat_n(large.clone(), transactions));
    (announcement(&other), serialize(&large).try_into().expect("short enough"))
}

#[test]
fn an_announced_block_never_takes_more_memory_than_a_block_has() {
    const TRANSACTIONS: usize = 200;
    let mut relay = Relay::new();
    let (bytes, large) = endless_announcement(&block(), TRANSACTIONS);
    let mut actions = relay.announced(LIAR, GOSSIP, &bytes);
    let (mut kept_bytes, mut responses) = (0, 0);
    let is_request = |action: &RelayAction| matches!(action, RelayAction::Request(LIAR, ..));
    while actions.iter().any(is_request) && responses < TRANSACTIONS - 1 {
        responses += 1;
        kept_bytes += large.len();
        actions = relay.response(Some(std::slice::from_ref(&large)), START);
    }
    assert!(
        responses <= REQUESTS_MAX && kept_bytes <= 4_000_000 + large.len(),
        "{responses} responses, {kept_bytes} bytes"
    );
}

#[test]
fn eight_liars_of_one_netgroup_do_not_take_the_room_of_the_true_block() {
    let block = block();
    let (_, mut relay) = announced(&block);
    let mut given_up = Vec::new();
    for number in 0..PARTIAL_MAX as u8 {
        // All of one netgroup.
        let liar = PeerHandle::new(7, u64::from(number) + 100);
        let mut other = block.clone();
        other.txdata[1] = transaction(OutPoint::new(Txid::from_byte_array([number; 32]), 1), ScriptBuf::new(), 8);
        given_up.extend(verdicts(&relay.announced(liar, GossipId([100 + number; 32]), &announcement(&other))));
    }
    assert!(!given_up.contains(&(GOSSIP, GossipVerdict::Ignore)), "{given_up:?}");
}
