use std::sync::Arc;

use p2pool_core::params::{ChainParams, Network};
use p2pool_core::sharechain::Tree;
use p2pool_core::status::{BitcoindProblem, BitcoindProblemKind, BitcoindStatus, ChainStatus};

use super::*;
use crate::api::health::Health;

const NOW: UnixTime = UnixTime(1_700_000_000);

/// A node whose bitcoind has this problem, and never gave work.
fn view(kind: BitcoindProblemKind, text: &str) -> View {
    let tree = Arc::new(Tree::new(Arc::new(ChainParams::standard(Network::Regtest))));
    let problem = Some(BitcoindProblem { kind, text: text.to_owned() });
    View {
        now: NOW,
        metrics: Arc::default(),
        chain: Arc::new(ChainStatus::new(tree, SyncState::Synced)),
        miners: Arc::default(),
        peers: Arc::default(),
        bitcoind: Arc::new(BitcoindStatus { problem, since: NOW.minus(30) }),
    }
}

#[test]
fn the_worst_level_is_the_greatest() {
    assert!(Level::Error > Level::Warning && Level::Warning > Level::Info && Level::Info > Level::Ok);
}

#[test]
fn every_code_is_described() {
    let description: serde_json::Value = serde_json::from_str(include_str!("../../../openapi.json")).unwrap();
    let described = &description["components"]["schemas"]["State"]["properties"]["code"]["enum"];
    assert_eq!(serde_json::to_value(Code::ALL).unwrap(), *described);
}

#[test]
fn each_problem_of_bitcoind_has_its_own_code_and_advice() {
    use BitcoindProblemKind as Kind;
    let kinds = [
        (Kind::Unreachable, Code::BitcoindUnreachable, "server=1"),
        (Kind::NoAnswer, Code::BitcoindNoAnswer, "may be busy"),
        (Kind::WarmingUp, Code::BitcoindStarting, "Wait: miners get work by themselves"),
        (Kind::Stopping, Code::BitcoindStopping, "otherwise start it again"),
        (Kind::Syncing { percent: None }, Code::BitcoindSyncing, "Wait: mining begins by itself when it is done."),
        (Kind::NoPeers, Code::BitcoindNoPeers, "its connection to the Internet"),
        (Kind::WrongNetwork, Code::BitcoindWrongNetwork, "-network"),
        (Kind::NoCookie, Code::BitcoindNoCookie, "-rpc-cookie-file"),
        (Kind::CookieUnreadable, Code::BitcoindCookieUnreadable, "rpccookieperms=group"),
        (Kind::Unauthorised, Code::BitcoindUnauthorised, "BITCOIN_RPC_PASSWORD"),
        (Kind::Forbidden, Code::BitcoindForbidden, "rpcallowip="),
        (Kind::Garbage, Code::BitcoindGarbage, "not to another program"),
        (Kind::Failing, Code::BitcoindFailing, "debug.log"),
    ];
    let mut seen: Vec<(Code, String)> = Vec::new();
    for (kind, code, advice) in kinds {
        let view = view(kind, "has a problem");
        let [state, no_miner] = &states(&view)[..] else { panic!("{:?}", states(&view)) };
        assert_eq!((state.code, no_miner.code), (code, Code::NoMiner));
        assert_eq!((state.level, state.since), (Level::Error, Some(NOW.0 - 30)));
        assert!(state.advice.contains(advice), "{}", state.advice);
        assert!(kind == Kind::Unreachable || !state.advice.contains("server=1"), "{}", state.advice);
        assert!(!Health::of(&view).healthy);
        assert!(seen.iter().all(|(code, advice)| *code != state.code && *advice != state.advice), "{kind:?}");
        seen.push((state.code, state.advice.clone()));
    }
}

#[test]
fn what_bitcoind_said_is_told_as_a_sentence_and_once() {
    let text = |kind, words| states(&view(kind, words))[0].text.clone();
    assert_eq!(
        text(BitcoindProblemKind::Unreachable, "cannot be reached: Connection refused"),
        "bitcoind cannot be reached: Connection refused. There has been no work yet."
    );
    assert_eq!(
        text(BitcoindProblemKind::NoPeers, "has no work: Bitcoin Core is not connected!"),
        "bitcoind has no work: Bitcoin Core is not connected! There has been no work yet."
    );
    assert_eq!(
        text(BitcoindProblemKind::Syncing { percent: Some(43) }, "whatever it said"),
        "bitcoind is still downloading the block chain: 43\u{a0}% done. There has been no work yet."
    );
    assert_eq!(
        text(BitcoindProblemKind::Syncing { percent: None }, "whatever it said"),
        "bitcoind is still downloading the block chain. There has been no work yet."
    );
}
