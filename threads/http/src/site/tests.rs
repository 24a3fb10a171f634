use arc_swap::ArcSwap;
use p2pool_channels::OperatorSender;
use p2pool_core::metrics::Metrics;
use p2pool_core::params::{ChainParams, Network};
use p2pool_core::sharechain::Tree;
use p2pool_core::status::ChainStatus;
use p2pool_core::sync::SyncState;

use super::*;

fn site(folder: &std::path::Path) -> (Site, Arc<Metrics>) {
    let params = ChainParams::standard(Network::Regtest);
    let tree = Arc::new(Tree::new(Arc::new(params.clone())));
    let metrics = Arc::new(Metrics::default());
    let sources = Sources {
        metrics: Arc::clone(&metrics),
        chain: Arc::new(ArcSwap::from_pointee(ChainStatus::new(tree, SyncState::Synced))),
        miners: Arc::default(),
        peers: Arc::default(),
        bitcoind: Arc::default(),
        blocks: Arc::default(),
        own_blocks: Arc::default(),
        submission: Arc::default(),
        tracked: Arc::default(),
        operator: OperatorSender::new(|_| Ok(String::new())),
        store_file: folder.join("sharechain"),
    };
    let config = Config::for_tests(params, folder);
    (Site::open(Arc::new(config), sources).unwrap(), metrics)
}

#[test]
fn the_status_is_cached_for_two_seconds() {
    let folder = tempfile::tempdir().unwrap();
    let (mut site, metrics) = site(folder.path());
    let start = Instant::now();
    let mut status = |after_ms| site.reply("/api/v1/status", start + Duration::from_millis(after_ms)).body;
    let accepted = |body: &[u8]| {
        let status: serde_json::Value = serde_json::from_slice(body).unwrap();
        status["shares_accepted"].as_u64().unwrap()
    };
    let first = status(0);
    assert_eq!(accepted(&first), 0);
    metrics.shares_accepted.inc_by(5);
    assert!(status(0) == first && status(1_999) == first, "the cached status");
    let second = status(2_000);
    assert_eq!(accepted(&second), 5);
    metrics.shares_accepted.inc_by(1);
    // The two seconds begin when the status is made.
    assert!(status(3_999) == second);
    assert_eq!(accepted(&status(4_000)), 6);
}

#[test]
fn metrics_are_never_cached() {
    let folder = tempfile::tempdir().unwrap();
    let (mut site, metrics) = site(folder.path());
    let now = Instant::now();
    let mut text = || String::from_utf8(site.reply("/metrics", now).body).unwrap();
    assert!(text().contains("\np2pool_stratum_shares_accepted_total 0\n"));
    metrics.shares_accepted.inc_by(5);
    assert!(text().contains("\np2pool_stratum_shares_accepted_total 5\n"));
}
