use bitcoin::hashes::Hash as _;
use crossbeam_channel::{bounded, never};
use p2pool_core::message::{latest, InboxFull, JobSender};
use p2pool_core::params::Network as BitcoinNetwork;
use p2pool_core::share::{CoinbaseTag, PayoutScript};

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
