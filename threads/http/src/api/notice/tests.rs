use std::sync::Arc;

use p2pool_core::params::{ChainParams, Network};
use p2pool_core::sharechain::Tree;
use p2pool_core::status::{BitcoindError, BitcoindStatus, ChainStatus};
use p2pool_core::worker_roster::{GoneWorker, WorkerRecord};

use super::*;
use crate::api::health::Health;

const NOW: UnixTime = UnixTime(1_700_000_000);

/// A node whose bitcoind has failed with `error` and never gave work.
fn snapshot(error: BitcoindError) -> Snapshot {
    let tree = Arc::new(Tree::new(Arc::new(ChainParams::standard(Network::Regtest))));
    Snapshot {
        now: NOW,
        metrics: Arc::default(),
        chain: Arc::new(ChainStatus::new(tree, SyncState::Synced)),
        miners: Arc::default(),
        peers: Arc::default(),
        gone: Vec::new(),
        bitcoind: Arc::new(BitcoindStatus { error: Some(error), since: NOW.minus(30), ..BitcoindStatus::default() }),
        submission: Arc::default(),
        blocks_not_accepted: Vec::new(),
        blocks_rejected: Vec::new(),
    }
}

#[test]
fn levels_are_ordered_by_severity() {
    assert!(Level::Error > Level::Warning && Level::Warning > Level::Info && Level::Info > Level::Ok);
}

#[test]
fn every_code_is_described() {
    let description: serde_json::Value = serde_json::from_str(include_str!("../../../openapi.json")).unwrap();
    let described = &description["components"]["schemas"]["Notice"]["properties"]["code"]["enum"];
    assert_eq!(serde_json::to_value(Code::ALL).unwrap(), *described);
}

#[test]
fn each_error_of_bitcoind_has_its_own_code_and_advice() {
    let why = || "why".to_owned();
    let errors = [
        (BitcoindError::Unreachable(why()), Code::BitcoindUnreachable, "server=1"),
        (BitcoindError::NoResponse(why()), Code::BitcoindNoResponse, "may be busy"),
        (BitcoindError::Starting(why()), Code::BitcoindStarting, "Wait: miners get work as soon as"),
        (BitcoindError::Stopping, Code::BitcoindStopping, "otherwise start it again"),
        (
            BitcoindError::Syncing { percent: None },
            Code::BitcoindSyncing,
            "Wait: mining begins by itself when it is done.",
        ),
        (BitcoindError::NoPeers(why()), Code::BitcoindNoPeers, "its connection to the Internet"),
        (BitcoindError::WrongNetwork { ours: why(), theirs: why() }, Code::BitcoindWrongNetwork, "-network"),
        (BitcoindError::NoCookie(Vec::new()), Code::BitcoindNoCookie, "-rpc-cookie-file"),
        (
            BitcoindError::CookieUnreadable { path: "/a".into(), reason: why(), closed: None },
            Code::BitcoindCookieUnreadable,
            "rpccookieperms=group",
        ),
        (BitcoindError::Unauthorised(why()), Code::BitcoindUnauthorised, "BITCOIN_RPC_PASSWORD"),
        (BitcoindError::Forbidden { method: "submitblock", reason: why() }, Code::BitcoindForbidden, "rpcallowip="),
        (BitcoindError::InvalidResponse(why()), Code::BitcoindInvalidResponse, "not to another program"),
        (BitcoindError::UnusableTemplate(why()), Code::BitcoindFailing, "debug.log"),
    ];
    let mut seen: Vec<(Code, String)> = Vec::new();
    for (error, code, advice) in errors {
        let snapshot = snapshot(error.clone());
        let [notice, no_miner] = &notices(&snapshot)[..] else { panic!("{:?}", notices(&snapshot)) };
        assert_eq!((notice.code, no_miner.code), (code, Code::NoMiner));
        assert_eq!((notice.level, notice.since), (Level::Error, Some(NOW.0 - 30)));
        assert!(notice.advice.contains(advice), "{}", notice.advice);
        let is_unreachable = matches!(error, BitcoindError::Unreachable(_));
        assert!(is_unreachable || !notice.advice.contains("server=1"), "{}", notice.advice);
        assert!(!Health::new(&snapshot).healthy);
        assert!(seen.iter().all(|(code, advice)| *code != notice.code && *advice != notice.advice), "{error:?}");
        seen.push((notice.code, notice.advice.clone()));
    }
    let rpc = BitcoindError::Rpc { code: -1, message: why() };
    assert_eq!(notices(&snapshot(rpc))[0].code, Code::BitcoindFailing);
}

#[test]
fn an_error_of_bitcoind_is_shown_as_one_sentence() {
    let text = |error| notices(&snapshot(error))[0].text.clone();
    assert_eq!(
        text(BitcoindError::Unreachable("Connection refused".to_owned())),
        "bitcoind cannot be reached: Connection refused. There has been no block template yet."
    );
    assert_eq!(
        text(BitcoindError::NoPeers("Bitcoin Core is not connected!".to_owned())),
        "bitcoind has no peers: Bitcoin Core is not connected! There has been no block template yet."
    );
    assert_eq!(
        text(BitcoindError::Syncing { percent: Some(43) }),
        "bitcoind is still downloading the block chain: 43\u{a0}% done. There has been no block template yet."
    );
    assert_eq!(
        text(BitcoindError::Syncing { percent: None }),
        "bitcoind is still downloading the block chain. There has been no block template yet."
    );
}

#[test]
fn mining_solo_because_all_peers_are_full_is_not_the_same_as_without_peers() {
    use p2pool_core::status::{PeerDiscovery, PeersStatus};
    let text = |full| {
        let discovery = PeerDiscovery { bootnodes: true, ..PeerDiscovery::default() };
        let peers = PeersStatus { discovery, full, ..PeersStatus::default() };
        solo::solo(&Snapshot { peers: Arc::new(peers), ..snapshot(BitcoindError::Stopping) }).text
    };
    assert_eq!(text(0), "No peer can be reached.");
    assert_eq!(text(3), "The peers that respond are full.");
}

#[test]
fn a_second_node_with_this_identity_makes_the_node_unhealthy_and_the_advice_names_the_file() {
    use p2pool_core::status::{DuplicateIdentity, PeersStatus};
    let file = "/srv/p2pool/mainnet-0123456789abcdef/identity".to_owned();
    let duplicate = Some(DuplicateIdentity { since: NOW.minus(7), file: file.clone() });
    let peers = PeersStatus { our_id: "12D3KooWours".to_owned(), duplicate, ..PeersStatus::default() };
    let snapshot = Snapshot { peers: Arc::new(peers), ..snapshot(BitcoindError::Stopping) };
    let notice = notices(&snapshot).into_iter().find(|notice| notice.code == Code::DuplicateIdentity).unwrap();
    assert_eq!((notice.level, notice.since), (Level::Warning, Some(NOW.0 - 7)));
    assert!(notice.text.contains("12D3KooWours") && notice.advice.contains(&file), "{notice:?}");
    assert!(notice.is_unhealthy());
}

#[test]
fn workers_that_are_gone_are_problems_until_they_are_retired() {
    let gone = |name: &str, is_problem| GoneWorker {
        name: name.into(),
        record: WorkerRecord {
            user_agent: "".into(),
            last_seen: NOW.minus(400),
            last_share: None,
            hashes_per_s: 1e12,
            work: 1.0,
            connected_s: 1_000,
        },
        gone_s: 400,
        is_problem,
    };
    let notice_of = |gone| {
        let snapshot = Snapshot { gone, ..snapshot(BitcoindError::Stopping) };
        notices(&snapshot).into_iter().find(|notice| notice.code == Code::MinersGone)
    };
    let four = ["a", "b", "c", "d"].map(|name| gone(name, true));
    let notice = notice_of(four.into_iter().chain([gone("retired", false)]).collect()).unwrap();
    assert_eq!((&*notice.text, notice.level), ("No longer connected: a, b, c and 1 more.", Level::Warning));
    assert!(!notice.is_unhealthy());
    assert_eq!(notice_of(vec![gone("retired", false)]), None);
}
