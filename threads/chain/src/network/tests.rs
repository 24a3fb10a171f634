use bitcoin::hashes::Hash as _;
use crossbeam_channel::{bounded, never};
use p2pool_core::message::{latest, InboxFull, JobSender};
use p2pool_core::params::Network as BitcoinNetwork;
use p2pool_core::share::{CoinbaseTag, PayoutScript};

use super::announcements::WAITING_MAX_S;
use super::*;
use crate::{ChainConfig, ChainOuts, Intervals};

/// A chain thread that does not run; what it sends to other nodes goes through `p2p`.
pub(crate) fn chain(dir: &std::path::Path, p2p: P2pSender) -> Chain {
    let config = ChainConfig {
        params: ChainParams::standard(BitcoinNetwork::Regtest),
        payout_script: PayoutScript::new(&[&[0x00, 0x14][..], &[7; 20]].concat()).unwrap(),
        coinbase_tag: CoinbaseTag::default(),
        dir: dir.to_owned(),
        looks_for_peers: true,
        intervals: Intervals::default(),
    };
    let (_, templates) = latest();
    let stratum = JobSender::new(latest().0, Arc::new(|| ()));
    let outs = ChainOuts { stratum, anchor: bounded(1).0, submit: bounded(1).0, p2p };
    Chain::open(config, never(), templates, outs).unwrap()
}

#[test]
fn a_question_that_finds_no_room_is_forgotten_and_has_failed() {
    let dir = tempfile::tempdir().unwrap();
    let mut chain = chain(dir.path(), P2pSender::new(|_| Err(InboxFull)));
    let hash = BlockHash::all_zeros();
    for what in [What::Headers(hash), What::Transactions(GossipToken(1))] {
        chain.network.ask(PeerToken(1), what, Request::Headers { of: hash });
    }
    assert_eq!(chain.network.asked.len(), 2);
    chain.send_mail();
    assert!(chain.network.asked.is_empty(), "nobody will answer, so nobody would ever remove them");
    assert!(chain.network.mail.is_empty());
}

/// Whom the mail asks for the header of a Bitcoin block.
fn asked_for_header(chain: &mut Chain, of: BlockHash) -> Vec<PeerToken> {
    let question = Request::Headers { of };
    let mail = std::mem::take(&mut chain.network.mail).into_iter();
    mail.filter_map(|message| match message {
        ToP2p::Ask { peer, question: asked, .. } if asked == question => Some(peer),
        _ => None,
    })
    .collect()
}

#[test]
fn an_announced_block_on_an_unknown_one_is_asked_about_again_and_of_others_for_two_minutes() {
    let dir = tempfile::tempdir().unwrap();
    let mut chain = chain(dir.path(), P2pSender::new(|_| Ok(())));
    let (to_anchor, questions) = bounded(1);
    chain.outs.anchor = to_anchor;
    let peers = [1, 2, 3].map(PeerToken);
    peers.into_iter().for_each(|peer| chain.peer_up(peer, "somewhere"));
    let mut header = bitcoin::blockdata::constants::genesis_block(bitcoin::Network::Regtest).header;
    let unknown = BlockHash::from_byte_array([7; 32]);
    header.prev_blockhash = unknown;
    // The anchor thread's inbox is full: the question is lost.
    chain.ask(BlockHash::all_zeros());
    chain.take_announcement(peers[1], GossipToken(5), header, Vec::new());
    let asked =
        || questions.try_iter().filter(|question| matches!(question, ToAnchor::Lookup(of) if *of == unknown)).count();
    assert_eq!(asked(), 0);
    chain.tick_network();
    assert_eq!(asked(), 1);
    // bitcoind does not know it, again and again, and nobody answers.
    let start = chain.clock.steady();
    let mut asked_of = Vec::new();
    for second in 0..WAITING_MAX_S + 5 {
        chain.ask_for_announced(&peers, start.plus(second));
        if asked() > 0 {
            chain.network.anchor_unknown(unknown, start.plus(second));
        }
        asked_of.extend(asked_for_header(&mut chain, unknown).into_iter().map(|peer| (second, peer.0)));
    }
    assert_eq!(asked_of[..4], [(0, 2), (10, 1), (20, 3), (30, 2)], "the announcer, then the others");
    assert!(asked_of.len() <= 12, "{asked_of:?}");
    assert!(chain.network.waiting.is_empty());
    assert_eq!(asked(), 0, "it is over");
}
