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

/// Collects the lines of this module at `warn` and above that the test's own thread logs.
struct Log;

thread_local!(static LINES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) });

impl Log {
    fn start() -> Self {
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

const fn after_s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn after(start: Instant, seconds: u64) -> Instant {
    start + Duration::from_secs(seconds)
}

#[test]
fn a_template_is_requested_after_half_a_minute_and_then_every_ten_seconds() {
    let start = Instant::now();
    let mut schedule = Schedule::new(after_s(600), 5, start);
    let requested: Vec<u64> = (0..65).filter(|second| schedule.take_refresh(5, after(start, *second))).collect();
    assert_eq!(requested, [30, 40, 50, 60]);
    // A template of the long poll restarts the time.
    assert!(!schedule.take_refresh(6, after(start, 70)));
    schedule.due(6, after(start, 70));
    let requested: Vec<u64> = (70..111).filter(|second| schedule.take_refresh(6, after(start, *second))).collect();
    assert_eq!(requested, [100, 110]);
}

#[test]
fn alarm_withdrawal_and_recovery_happen_once_each() {
    let start = Instant::now();
    let mut schedule = Schedule::new(after_s(600), 0, start);
    let due: Vec<(u64, Due)> = (0..2_000)
        .map(|second| (second, schedule.due(0, after(start, second))))
        .filter(|(_, due)| *due != NOTHING)
        .collect();
    assert_eq!(due, [(120, Due { alarm: true, ..NOTHING }), (600, Due { withdraw: true, ..NOTHING })]);
    assert_eq!(schedule.due(1, after(start, 2_000)), Due { recovered: true, ..NOTHING });
    assert_eq!(schedule.due(2, after(start, 2_001)), NOTHING);
    assert_eq!(schedule.due(2, after(start, 2_121)), Due { alarm: true, ..NOTHING });
}

#[test]
fn an_early_withdrawal_is_the_alarm_too() {
    let start = Instant::now();
    let mut schedule = Schedule::new(after_s(90), 0, start);
    let due: Vec<(u64, Due)> = (0..2_000)
        .map(|second| (second, schedule.due(0, after(start, second))))
        .filter(|(_, due)| *due != NOTHING)
        .collect();
    assert_eq!(due, [(90, Due { alarm: true, withdraw: true, recovered: false })]);
    assert_eq!(schedule.due(1, after(start, 2_000)), Due { recovered: true, ..NOTHING });
    // The age counts from the last template that bitcoind confirmed.
    assert_eq!(schedule.due(2, after(start, 2_080)), NOTHING);
    assert_eq!(schedule.due(2, after(start, 2_169)), NOTHING);
    assert_eq!(schedule.due(2, after(start, 2_170)), Due { alarm: true, withdraw: true, recovered: false });
}

struct Setup {
    refresh: TemplateRefresh,
    bitcoind: VerifiedClient,
    sink: TemplateSink,
    templates: LatestReceiver<TemplateUpdate>,
    start: Instant,
}

fn setup(port: u16, cookie_file: std::path::PathBuf, timeout: NoWorkTimeout) -> Setup {
    let config = Config::for_tests(ChainParams::standard(Network::Regtest), "/nowhere");
    let rpc_auth = RpcAuth::CookieFiles(vec![cookie_file]);
    let bitcoind = VerifiedClient::new(&Config { rpc_port: port, rpc_auth, ..config }).unwrap();
    let (slot, templates) = latest();
    let sink = TemplateSink::new(slot, Arc::new(Metrics::default()));
    let start = Instant::now();
    Setup { refresh: TemplateRefresh::new(sink.clone(), timeout, start), bitcoind, sink, templates, start }
}

#[test]
fn templates_are_refreshed_on_a_quiet_chain() {
    let node = Bitcoind::start(Chain::Regtest);
    let mut setup = setup(node.rpc_port(), node.cookie_file(), NoWorkTimeout::NEVER);
    for second in 0..95 {
        setup.refresh.tick(&mut setup.bitcoind, || after(setup.start, second));
    }
    assert_eq!(setup.sink.count(), 3, "at 30, 60 and 90 s");
    assert!(matches!(setup.templates.take(), Some(TemplateUpdate::Template(template)) if template.height.0 == 1));
}

#[test]
fn work_is_withdrawn_once_without_bitcoind() {
    for (timeout_s, withdrawn_s) in [(0, 600), (90, 90), (3_600, 600)] {
        let mut setup = setup(1, "/nowhere/.cookie".into(), NoWorkTimeout::from_s(timeout_s));
        for second in 0..withdrawn_s {
            setup.refresh.tick(&mut setup.bitcoind, || after(setup.start, second));
        }
        assert!(setup.templates.take().is_none());
        setup.refresh.tick(&mut setup.bitcoind, || after(setup.start, withdrawn_s));
        assert!(matches!(setup.templates.take(), Some(TemplateUpdate::Withdrawn(NoWork::NoTemplate))));
        setup.refresh.tick(&mut setup.bitcoind, || after(setup.start, 5_000));
        assert!(setup.templates.take().is_none());
        assert!(matches!(setup.refresh.last_error, Some(BitcoindError::NoCookie(_))));
    }
}

#[test]
fn a_job_that_never_was_is_not_called_stale() {
    let log = Log::start();
    for timeout in [NoWorkTimeout::NEVER, NoWorkTimeout::from_s(90)] {
        let mut setup = setup(1, "/nowhere/.cookie".into(), timeout);
        for second in 0..600 {
            setup.refresh.tick(&mut setup.bitcoind, || after(setup.start, second));
        }
    }
    let lines = log.lines();
    assert_eq!(lines.len(), 2, "{lines:#?}");
    for (line, age_s) in lines.iter().zip([120, 90]) {
        assert!(line.starts_with(&format!("ERROR no block template for {age_s} s: bitcoind ")), "{line}");
        assert!(line.ends_with(" (miners have no work)"), "{line}");
    }
}

/// A bitcoind that accepts connections and requests and never responds. The test's clock says how long a request hangs until
/// the connection breaks; there is no real wait.
#[test]
fn alarm_and_withdrawal_happen_right_after_a_hanging_request() {
    const HANGS_S: u64 = 10;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let cookie = tempfile::NamedTempFile::new().unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut setup = setup(port, cookie.path().to_owned(), NoWorkTimeout::NEVER);
    // There was a template before.
    setup.sink.put(p2pool_core::test_support::template().as_ref().clone());
    setup.refresh.schedule.count = setup.sink.count();
    setup.templates.take();
    let (second, start) = (AtomicU64::new(0), setup.start);
    let clock = || after(start, second.load(Ordering::SeqCst));
    let mut tick_at = |at: u64| {
        second.store(at, Ordering::SeqCst);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let (mut connection, _) = listener.accept().unwrap();
                connection.read_exact(&mut [0]).unwrap();
                second.store(at + HANGS_S, Ordering::SeqCst);
            });
            setup.refresh.tick(&mut setup.bitcoind, clock);
        });
        (setup.refresh.schedule.is_alarmed, setup.templates.take())
    };
    let log = Log::start();
    assert!(matches!(tick_at(105), (false, None)));
    assert!(matches!(tick_at(115), (true, None)));
    assert!(matches!(tick_at(585), (true, None)));
    assert!(matches!(tick_at(595), (true, Some(TemplateUpdate::Withdrawn(NoWork::NoTemplate)))));
    let lines = log.lines();
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert!(lines[0].starts_with("ERROR no new block template for 125 s: bitcoind "), "{lines:#?}");
    assert!(lines[0].ends_with(" (miners are working on a stale job)"), "{lines:#?}");
    assert_eq!(lines[1], "WARN no new block template for 605 s: jobs withdrawn, miners have no work");
}
