use std::cell::RefCell;
use std::io::Read as _;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Once};

use p2pool_channels::{latest, LatestReceiver, TemplateUpdate};
use p2pool_core::config::{Config, RpcAuth};
use p2pool_core::metrics::Metrics;
use p2pool_core::params::{ChainParams, Network};
use p2pool_test_bitcoind::{Bitcoind, Chain};

use super::*;

/// Lines of this module at `warn` and above, logged by the test's own thread.
struct Log;

thread_local!(static LINES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) });

impl Log {
    fn listen() -> Self {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            log::set_logger(&Log).unwrap();
            log::set_max_level(log::LevelFilter::Warn);
        });
        LINES.take();
        Self
    }

    fn lines(self) -> Vec<String> {
        LINES.take()
    }
}

impl log::Log for Log {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        if record.target().ends_with("::refresh") {
            LINES.with_borrow_mut(|lines| lines.push(format!("{} {}", record.level(), record.args())));
        }
    }

    fn flush(&self) {}
}

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
    news: LatestReceiver<TemplateUpdate>,
    start: Instant,
}

fn setup(port: u16, cookie_file: std::path::PathBuf) -> Setup {
    let config = Config::for_tests(ChainParams::standard(Network::Regtest), "/nowhere");
    let rpc_auth = RpcAuth::CookieFiles(vec![cookie_file]);
    let node = Node::new(&Config { rpc_port: port, rpc_auth, ..config }).unwrap();
    let (slot, news) = latest();
    let sink = TemplateSink::new(slot, Arc::new(Metrics::default()));
    let start = Instant::now();
    Setup { refresh: Refresh::new(sink.clone(), start), node, sink, news, start }
}

#[test]
fn a_quiet_chain_still_gives_fresh_templates() {
    let bitcoind = Bitcoind::start(Chain::Regtest);
    let mut setup = setup(bitcoind.rpc_port(), bitcoind.cookie_file());
    for second in 0..95 {
        setup.refresh.tick(&mut setup.node, || after(setup.start, second));
    }
    assert_eq!(setup.sink.count(), 3, "at 30, 60 and 90 s");
    assert!(matches!(setup.news.take(), Some(TemplateUpdate::Template(template)) if template.height.0 == 1));
}

#[test]
fn without_bitcoind_work_is_withdrawn_once() {
    let mut setup = setup(1, "/nowhere/.cookie".into());
    for second in 0..600 {
        setup.refresh.tick(&mut setup.node, || after(setup.start, second));
    }
    assert!(setup.news.take().is_none());
    setup.refresh.tick(&mut setup.node, || after(setup.start, 600));
    assert!(matches!(setup.news.take(), Some(TemplateUpdate::Withdrawn)));
    setup.refresh.tick(&mut setup.node, || after(setup.start, 5_000));
    assert!(setup.news.take().is_none());
    assert!(matches!(setup.refresh.last_error, Some(BitcoindError::NoCookie(_))));
}

/// A bitcoind that takes connections and questions and never answers. The test's clock, not a real wait, tells how long
/// the question hangs until the connection breaks.
#[test]
fn alarm_and_withdrawal_do_not_wait_for_the_look_after_a_hanging_question() {
    const HANGS_S: u64 = 10;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let cookie = tempfile::NamedTempFile::new().unwrap();
    let mut setup = setup(listener.local_addr().unwrap().port(), cookie.path().to_owned());
    let (second, start) = (AtomicU64::new(0), setup.start);
    let clock = || after(start, second.load(Ordering::SeqCst));
    let mut tick_at = |at: u64| {
        second.store(at, Ordering::SeqCst);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let (mut question, _) = listener.accept().unwrap();
                question.read_exact(&mut [0]).unwrap();
                second.store(at + HANGS_S, Ordering::SeqCst);
            });
            setup.refresh.tick(&mut setup.node, clock);
        });
        (setup.refresh.watch.is_alarmed, setup.news.take())
    };
    let log = Log::listen();
    assert!(matches!(tick_at(105), (false, None)));
    assert!(matches!(tick_at(115), (true, None)));
    assert!(matches!(tick_at(585), (true, None)));
    assert!(matches!(tick_at(595), (true, Some(TemplateUpdate::Withdrawn))));
    let said = log.lines();
    assert_eq!(said.len(), 2, "{said:#?}");
    assert!(said[0].starts_with("ERROR no block template for 125 s (bitcoind "), "{said:#?}");
    assert!(said[0].ends_with("); miners hash old work"), "{said:#?}");
    assert_eq!(said[1], "WARN no block template for 605 s: the miners' work is withdrawn");
}
