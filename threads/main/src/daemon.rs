//! Runs the node: opens and starts its threads, waits for a stop request, stops the threads.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use p2pool_core::config::{Config, RpcAuth};
use p2pool_core::metrics::Metrics;

use crate::data_dir::DataDirLock;
use crate::error::NodeError;
use crate::shutdown;
use crate::signals;
use crate::status_line::{ChainFigures, StatusLine, STATUS_INTERVAL};
use crate::threads::{MainEvent, ThreadName, Threads};
use crate::wiring::Components;

/// Runs the node until it is asked to stop.
///
/// # Errors
/// Something cannot be opened, a thread exits by itself, a thread fails while stopping, or the chain thread does not
/// stop in time.
pub fn run(config: Config) -> Result<(), NodeError> {
    log_settings(&config);
    let _lock = DataDirLock::acquire(&config.chain_dir)?;
    let mut threads = Threads::new();
    let signals = signals::open().map_err(NodeError::open("signal handlers"))?;
    let events = threads.sender();
    threads.spawn(ThreadName::Signals, move || signals::run(signals, &events))?;

    let metrics = Arc::new(Metrics::default());
    let components = Components::open(config, &metrics)?;
    let chain = components.chain_status();
    let stages = components.start(&mut threads)?;
    let mut status = StatusLine::default();
    let result = wait_for_stop(&mut threads, STATUS_INTERVAL, || {
        status.next(&metrics, ChainFigures::from(&**chain.load()), unix_now_s())
    });
    let report = shutdown::run(&mut threads, stages);
    result?;
    if report.failed.is_empty() && !report.timed_out.contains(&ThreadName::Chain) {
        log::info!("shutdown complete");
        Ok(())
    } else {
        Err(NodeError::Shutdown(report))
    }
}

/// Logs what runs with which settings.
fn log_settings(config: &Config) {
    let params = &config.params;
    log::info!(
        "p2pool {} on {}, chain {} (id {}), payout address {}, data directory {}",
        env!("CARGO_PKG_VERSION"),
        params.network,
        params.chain_name,
        params.chain_id().prefix(),
        config.payout_address,
        config.chain_dir.display(),
    );
    log::info!("bitcoind: {} port {}, {}", config.rpc_host, config.rpc_port, describe_auth(&config.rpc_auth));
    if params.needs_block_signature() {
        log::warn!(
            "BLOCKS FOUND HERE WILL BE INVALID: blocks of this signet need a signature that no sharechain coinbase can \
             carry. Shares can be mined, blocks cannot; use regtest, testnet4 or a signet with -signet-challenge 51"
        );
    }
}

fn describe_auth(auth: &RpcAuth) -> String {
    let RpcAuth::CookieFiles(paths) = auth else { return format!("{auth:?}") };
    match paths.iter().find(|path| path.exists()) {
        Some(path) => format!("cookie file {}", path.display()),
        None => format!("{auth:?} (not there yet)"),
    }
}

/// Waits for a signal and logs the status line at each interval. Returns an error if a thread exits by itself.
fn wait_for_stop(
    threads: &mut Threads,
    interval: Duration,
    mut status: impl FnMut() -> String,
) -> Result<(), NodeError> {
    let mut next_status = Instant::now() + interval;
    loop {
        match threads.next_event(next_status) {
            None => {
                // Outside the macro, which evaluates nothing if the level is off.
                let line = status();
                log::info!("{line}");
                next_status += interval;
            }
            Some(MainEvent::Signal(name)) => {
                log::info!("{name} received, shutting down");
                return Ok(());
            }
            Some(MainEvent::Exited(name, exit)) => {
                log::error!("thread {name} {exit}, shutting down");
                return Err(NodeError::ThreadExited(name, exit));
            }
        }
    }
}

/// Returns Unix time in seconds; 0 if the clock is before 1970.
fn unix_now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::threads::ThreadExit;

    #[test]
    fn a_signal_ends_the_wait() {
        let mut threads = Threads::new();
        threads.sender().send(MainEvent::Signal("SIGTERM")).unwrap();
        assert!(wait_for_stop(&mut threads, STATUS_INTERVAL, String::new).is_ok());
    }

    #[test]
    fn a_thread_that_exits_by_itself_ends_the_wait_with_an_error() {
        let mut threads = Threads::new();
        threads.spawn(ThreadName::Anchor, || Ok::<(), io::Error>(())).unwrap();
        let error = wait_for_stop(&mut threads, STATUS_INTERVAL, String::new).unwrap_err();
        assert!(matches!(error, NodeError::ThreadExited(ThreadName::Anchor, ThreadExit::Finished)), "{error}");
    }

    #[test]
    fn the_status_line_is_logged_at_each_interval() {
        let mut threads = Threads::new();
        let (sender, mut lines) = (threads.sender(), 0);
        let status = || {
            lines += 1;
            if lines == 3 {
                sender.send(MainEvent::Signal("SIGINT")).unwrap();
            }
            String::new()
        };
        wait_for_stop(&mut threads, Duration::from_millis(1), status).unwrap();
        assert!(lines >= 3);
    }
}
