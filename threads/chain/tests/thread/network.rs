//! Chain threads that hear of each other by a carrier in memory.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bitcoin::consensus::serialize;
use bitcoin::hashes::Hash as _;
use bitcoin::BlockHash;
use crossbeam_channel::{unbounded, Receiver, Sender};
use p2pool_core::message::{
    AnchorAnswer, AnchorVerdict, GossipToken, GossipVerdict, InboundToken, NoWork, P2pSender, PeerToken, RequestToken,
    TemplateNews, ToAnchor, ToChain, ToP2p, ToStratum, ToSubmit,
};
use p2pool_core::share::PayoutScript;
use p2pool_core::sync::SyncState;
use p2pool_core::units::BlockHeight;
use p2pool_core::wire::{Frame as _, Offence, Request};
use p2pool_core::work::Template;

use crate::node::{anchor, answer, template, Node, PATIENCE};

/// Carries mail between nodes; a peer's token is its index.
struct Carrier {
    mail: Receiver<(usize, ToP2p)>,
    post: Sender<(usize, ToP2p)>,
    nodes: Vec<Sender<ToChain>>,
    questions: HashMap<InboundToken, (usize, RequestToken)>,
    tokens: u64,
    /// What nodes held against others.
    offences: Vec<(usize, Offence)>,
    verdicts: Vec<(usize, GossipVerdict)>,
    asked_for_headers: usize,
}

impl Carrier {
    fn new() -> Self {
        let (post, mail) = unbounded();
        Self {
            mail,
            post,
            nodes: Vec::new(),
            questions: HashMap::new(),
            tokens: 0,
            offences: Vec::new(),
            verdicts: Vec::new(),
            asked_for_headers: 0,
        }
    }

    fn start(&mut self, dir: &Path) -> Node {
        let index = self.nodes.len();
        let node = Node::start_among(dir, self.p2p(index), index > 0);
        self.nodes.push(node.to_chain.clone());
        node
    }

    /// What a node sends by.
    fn p2p(&self, index: usize) -> P2pSender {
        let post = self.post.clone();
        P2pSender::new(move |message| {
            post.send((index, message)).expect("the carrier lives");
            Ok(())
        })
    }

    fn connect(&self, one: usize, other: usize) {
        for (node, peer) in [(one, other), (other, one)] {
            let peer = PeerToken(peer as u64);
            self.send(node, ToChain::PeerUp { peer, address: "in memory".into() });
        }
    }

    fn send(&self, node: usize, message: ToChain) {
        self.nodes[node].send(message).expect("the node lives");
    }

    fn token(&mut self) -> u64 {
        self.tokens += 1;
        self.tokens
    }

    /// Carries mail until the condition holds.
    fn carry_until(&mut self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done(self) {
            assert!(Instant::now() < deadline, "in vain: {what}");
            if let Ok((from, message)) = self.mail.recv_timeout(Duration::from_millis(20)) {
                self.carry(from, message);
            }
        }
    }

    fn carry(&mut self, from: usize, message: ToP2p) {
        match message {
            ToP2p::Ask { peer, request, question } => {
                self.asked_for_headers += usize::from(matches!(question, Request::Headers { .. }));
                let to = InboundToken(self.token());
                self.questions.insert(to, (from, request));
                self.send(peer.0 as usize, ToChain::Asked { peer: PeerToken(from as u64), to, question });
            }
            ToP2p::Answer { to, response } => {
                let (asker, request) = self.questions.remove(&to).expect("answered once");
                let peer = PeerToken(from as u64);
                self.send(asker, ToChain::Answered { peer, request, response: Ok(response) });
            }
            ToP2p::Announce(share) => {
                for node in (0..self.nodes.len()).filter(|node| *node != from) {
                    let gossip = GossipToken(self.token());
                    let (peer, share) = (PeerToken(from as u64), Arc::clone(&share));
                    self.send(node, ToChain::Gossip { peer, gossip, share });
                }
            }
            ToP2p::AnnounceBlock(announcement) => {
                for node in (0..self.nodes.len()).filter(|node| *node != from) {
                    let gossip = GossipToken(self.token());
                    let (peer, header) = (PeerToken(from as u64), announcement.header);
                    let announcement = announcement.encode();
                    self.send(node, ToChain::BlockAnnounced { peer, gossip, header, announcement });
                }
            }
            ToP2p::Verdict { verdict, .. } => self.verdicts.push((from, verdict)),
            ToP2p::Penalize { offence, .. } => self.offences.push((from, offence)),
            ToP2p::Stop => {}
        }
    }
}

/// A node with a chain of `shares`.
fn miner(carrier: &mut Carrier, dir: &Path, shares: u32) -> Node {
    let node = carrier.start(dir);
    let mut job = node.give_work();
    for _ in 0..shares {
        job = node.mine(&job);
    }
    carrier.carry_until("the tip is shown", |_| {
        node.status.load().tree.tip().is_some_and(|tip| tip.share.info.share_height.0 + 1 == shares)
    });
    node
}

#[test]
fn a_late_joiner_fetches_the_chain_before_its_miners_get_work() {
    let dirs = [tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder")];
    let mut carrier = Carrier::new();
    let first = miner(&mut carrier, dirs[0].path(), 30);
    let second = carrier.start(dirs[1].path());
    second.tell_anchor();
    second.templates.put(TemplateNews::Template(template()));
    assert!(matches!(second.message(), ToStratum::NoWork(NoWork::NoPeers)), "no work before it is level");
    carrier.connect(0, 1);
    carrier.carry_until("both have one tip", |_| second.tip() == first.tip());
    let job = second.job();
    assert_eq!(Some(job.info.parent), first.tip());
    assert_eq!(carrier.offences, []);
    first.stop();
    second.stop();
}

#[test]
fn miners_are_told_the_true_reason_why_they_have_no_work_and_each_once() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut carrier = Carrier::new();
    let node = Node::start_among(dir.path(), carrier.p2p(0), true);
    carrier.nodes.push(node.to_chain.clone());
    let sync = || node.status.load().sync;
    assert!(matches!(sync(), SyncState::NoPeers { level: false, .. }), "shown from the first moment");
    node.tell_anchor();
    node.give_template();
    assert!(matches!(node.message(), ToStratum::NoWork(NoWork::NoPeers)));
    carrier.carry_until("it is shown", |_| node.status.load().no_work == Some(NoWork::NoPeers));
    // Another template changes nothing about it: the thread asks for its Bitcoin block when it has taken it.
    let prev_block = BlockHash::all_zeros();
    node.templates.put(TemplateNews::Template(Arc::new(Template { prev_block, ..(*template()).clone() })));
    carrier.carry_until(
        "it is taken",
        |_| matches!(node.questions.try_recv(), Ok(ToAnchor::Lookup(asked)) if asked == prev_block),
    );
    node.give_template();
    // A peer that does not answer yet.
    carrier.send(0, ToChain::PeerUp { peer: PeerToken(0), address: "nowhere".into() });
    assert!(matches!(node.message(), ToStratum::NoWork(NoWork::Syncing)), "the reason before was told once");
    carrier.carry_until("it is shown", |_| sync() == SyncState::Syncing);
    node.stop();
}

#[test]
fn where_no_chain_is_begun_a_peer_that_has_not_said_yet_takes_the_work_at_once() {
    let dirs = [tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder")];
    let mut carrier = Carrier::new();
    let [first, second] = [0, 1].map(|at| carrier.start(dirs[at].path()));
    carrier.connect(0, 1);
    carrier.carry_until("both are level", |_| {
        [&first, &second].iter().all(|node| node.status.load().sync == SyncState::Synced)
    });
    first.tell_anchor();
    first.give_template();
    first.job();
    // It does not answer.
    carrier.send(0, ToChain::PeerUp { peer: PeerToken(7), address: "nowhere".into() });
    assert!(matches!(first.message(), ToStratum::NoWork(NoWork::Syncing)));
    assert_eq!(first.status.load().sync, SyncState::Synced);
    carrier.send(0, ToChain::PeerDown { peer: PeerToken(7) });
    first.job();
    first.stop();
    second.stop();
}

#[test]
fn a_share_of_one_is_the_parent_of_the_others_next() {
    let dirs = [tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder")];
    let mut carrier = Carrier::new();
    let first = miner(&mut carrier, dirs[0].path(), 3);
    let second = carrier.start(dirs[1].path());
    second.tell_anchor();
    second.templates.put(TemplateNews::Template(template()));
    carrier.connect(0, 1);
    carrier.carry_until("both have one tip", |_| second.tip() == first.tip());
    let job = loop {
        if let ToStratum::Job(job) = second.message() {
            break job;
        }
    };
    second.to_chain.send(ToChain::LocalShare(answer(&job, job.time, 5))).expect("the thread lives");
    let before = first.tip();
    carrier.carry_until("the first hears of it", |_| first.tip() != before && first.tip() == second.tip());
    carrier.carry_until("it is passed on", |carrier| carrier.verdicts.contains(&(0, GossipVerdict::Accept)));
    first.stop();
    second.stop();
}

#[test]
fn a_false_share_is_refused_and_its_sender_scored() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut carrier = Carrier::new();
    let node = miner(&mut carrier, dir.path(), 3);
    let tip = node.status.load().tree.tip().map(|tip| Arc::clone(&tip.share)).expect("a chain");
    let mut forged = (*tip).clone();
    // Another's work with my address.
    forged.info.payout_script = PayoutScript::new(&[&[0x00, 0x14][..], &[66; 20]].concat()).expect("P2WPKH");
    forged.header.nonce = forged.header.nonce.wrapping_add(1);
    while !forged.info.share_bits.target().expect("bits").is_met_by(&forged.id().0) {
        forged.header.nonce = forged.header.nonce.wrapping_add(1);
    }
    carrier.send(0, ToChain::PeerUp { peer: PeerToken(9), address: "nowhere".into() });
    carrier.nodes.resize(10, carrier.nodes[0].clone());
    let gossip = GossipToken(77);
    carrier.send(0, ToChain::Gossip { peer: PeerToken(9), gossip, share: Arc::new(forged) });
    let rule = p2pool_core::sharechain::Rule::Payouts;
    carrier.carry_until("it is held against the sender", |carrier| {
        carrier.offences.contains(&(0, Offence::BrokenRule(rule)))
            && carrier.verdicts.contains(&(0, GossipVerdict::Reject))
    });
    node.stop();
}

#[test]
fn a_bitcoin_header_unknown_here_is_fetched_from_the_peer() {
    let dirs = [tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder")];
    let mut carrier = Carrier::new();
    let first = miner(&mut carrier, dirs[0].path(), 3);
    let second = carrier.start(dirs[1].path());
    carrier.connect(0, 1);
    // The second's bitcoind does not know the block until it is given its header.
    let hash = anchor().header.block_hash();
    carrier.carry_until("the header comes", |_| match second.questions.try_recv() {
        Ok(ToAnchor::Lookup(asked)) => {
            let answer = AnchorAnswer { hash: asked, verdict: AnchorVerdict::Unknown };
            second.to_chain.send(ToChain::Anchor(answer)).expect("the thread lives");
            false
        }
        Ok(ToAnchor::Give(headers)) => headers.last().map(|header| header.block_hash()) == Some(hash),
        _ => false,
    });
    assert!(carrier.asked_for_headers > 0);
    second.tell_anchor();
    carrier.carry_until("both have one tip", |_| second.tip() == first.tip());
    first.stop();
    second.stop();
}

#[test]
fn a_found_block_reaches_the_other_nodes_bitcoind() {
    let dirs = [tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder")];
    let mut carrier = Carrier::new();
    let first = carrier.start(dirs[0].path());
    let job = first.give_work();
    let second = carrier.start(dirs[1].path());
    second.tell_anchor();
    carrier.connect(0, 1);
    let found = answer(&job, job.time, 1);
    let block = job.block(&found.header, &found.extranonce).expect("a block");
    carrier.send(0, ToChain::BlockFound { height: BlockHeight(1), block: block.clone() });
    let mut taken = None;
    carrier.carry_until("the other has it", |_| {
        taken = second.blocks.try_recv().ok();
        taken.is_some()
    });
    match taken {
        Some(ToSubmit::PeersBlock { height, block: given, .. }) => {
            assert_eq!((height, given), (BlockHeight(1), block.clone()));
        }
        other => panic!("expected a block, got {other:?}"),
    }
    // One without the work of a block is not looked at.
    let mut false_header: bitcoin::block::Header = bitcoin::consensus::deserialize(&block[..80]).expect("a header");
    let target = job.block_target;
    let hash =
        |header: &bitcoin::block::Header| p2pool_core::share::header_hash(&serialize(header).try_into().expect("80"));
    while target.is_met_by(&hash(&false_header)) {
        false_header.nonce = false_header.nonce.wrapping_add(1);
    }
    let mut whole: bitcoin::Block = bitcoin::consensus::deserialize(&block).expect("a block");
    whole.header = false_header;
    carrier.send(0, ToChain::BlockFound { height: BlockHeight(1), block: serialize(&whole) });
    carrier
        .carry_until("it is held against the finder", |carrier| carrier.offences.contains(&(1, Offence::FalseBlock)));
    first.stop();
    second.stop();
}
