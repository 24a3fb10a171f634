use std::sync::Arc;

use p2pool_core::config::{RpcAuth, RpcConfig};
use p2pool_core::message::{latest, LatestReceiver, TemplateNews};
use p2pool_core::params::{ChainParams, Network};
use p2pool_core::status::Counters;
use p2pool_test_bitcoind::{Bitcoind, Chain};

use super::*;

const NOTHING: Due = Due { recovered: false, alarm: false, withdraw: false };

fn after(start: Instant, seconds: u64) -> Instant {
    start + Duration::from_secs(seconds)
}

#[test]
fn a_template_is_asked_for_after_half_a_minute_and_then_every_ten_seconds() {
    let start = Instant::now();
    let mut watch = Watch::new(5, start);
    let asked: Vec<u64> = (0..65).filter(|second| watch.takes_refresh(5, after(start, *second))).collect();
    assert_eq!(asked, [30, 40, 50, 60]);
    // One that came by the long poll starts the time anew.
    assert!(!watch.takes_refresh(6, after(start, 70)));
    watch.look(6, after(start, 70));
    let asked: Vec<u64> = (70..111).filter(|second| watch.takes_refresh(6, after(start, *second))).collect();
    assert_eq!(asked, [100, 110]);
}

#[test]
fn alarm_withdrawal_and_recovery_are_said_once_each() {
    let start = Instant::now();
    let mut watch = Watch::new(0, start);
    let said: Vec<(u64, Due)> = (0..2_000)
        .map(|second| (second, watch.look(0, after(start, second))))
        .filter(|(_, due)| *due != NOTHING)
        .collect();
    assert_eq!(said, [(120, Due { alarm: true, ..NOTHING }), (600, Due { withdraw: true, ..NOTHING })]);
    assert_eq!(watch.look(1, after(start, 2_000)), Due { recovered: true, ..NOTHING });
    assert_eq!(watch.look(2, after(start, 2_001)), NOTHING);
    assert_eq!(watch.look(2, after(start, 2_121)), Due { alarm: true, ..NOTHING });
}

struct Setup {
    refresh: Refresh,
    node: Node,
    sink: TemplateSink,
    news: LatestReceiver<TemplateNews>,
    start: Instant,
}

fn setup(port: u16, cookie_file: std::path::PathBuf) -> Setup {
    let config = RpcConfig { host: "127.0.0.1".to_owned(), port, auth: RpcAuth::CookieFiles(vec![cookie_file]) };
    let node = Node::new(&config, &ChainParams::standard(Network::Regtest)).unwrap();
    let (slot, news) = latest();
    let sink = TemplateSink::new(slot, Arc::new(Counters::default()));
    let start = Instant::now();
    Setup { refresh: Refresh::new(sink.clone(), start), node, sink, news, start }
}

#[test]
fn a_quiet_chain_still_gives_fresh_templates() {
    let bitcoind = Bitcoind::start(Chain::Regtest);
    let mut setup = setup(bitcoind.rpc_port(), bitcoind.cookie_file());
    for second in 0..95 {
        setup.refresh.tick(&mut setup.node, after(setup.start, second));
    }
    assert_eq!(setup.sink.count(), 3, "at 30, 60 and 90 s");
    assert!(matches!(setup.news.take(), Some(TemplateNews::Template(template)) if template.height.0 == 1));
}

#[test]
fn without_bitcoind_work_is_withdrawn_once() {
    let mut setup = setup(1, "/nowhere/.cookie".into());
    for second in 0..600 {
        setup.refresh.tick(&mut setup.node, after(setup.start, second));
    }
    assert!(setup.news.take().is_none());
    setup.refresh.tick(&mut setup.node, after(setup.start, 600));
    assert!(matches!(setup.news.take(), Some(TemplateNews::Withdrawn)));
    setup.refresh.tick(&mut setup.node, after(setup.start, 5_000));
    assert!(setup.news.take().is_none());
    assert!(matches!(setup.refresh.last_error, Some(CallError::NoCookie { .. })));
}
