//! Runs the node: says what it is, has its parts opened and started, and waits.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use p2pool_core::config::{Config, RpcAuth, RpcConfig};
use p2pool_core::metrics::Metrics;

use crate::folder::ChainDir;
use crate::shutdown;
use crate::signals;
use crate::status_line::{ChainFigures, StatusLine, STATUS_INTERVAL};
use crate::threads::{with_causes, BoxedError, End, Event, ThreadName, Threads};
use crate::wiring::Parts;

/// Why the node ended other than by being asked to.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// Something could not be opened.
    #[error("{what} cannot be opened: {}", with_causes(.cause.as_ref()))]
    Open {
        /// What.
        what: &'static str,
        /// Why.
        cause: BoxedError,
    },
    /// The folder cannot be used.
    #[error(transparent)]
    Folder(#[from] crate::folder::FolderError),
    /// The system has no room for a thread.
    #[error("a thread cannot be started: {0}")]
    Spawn(#[from] std::io::Error),
    /// A thread ended that nobody had asked to.
    #[error("thread {0} {1}")]
    Ended(ThreadName, End),
    /// The stop was asked for but not orderly.
    #[error("not stopped in order: {0:?}")]
    Stop(shutdown::Shortcomings),
}

impl NodeError {
    /// Something could not be opened.
    pub fn open(what: &'static str, cause: impl Into<BoxedError>) -> Self {
        Self::Open { what, cause: cause.into() }
    }
}

/// Runs the node until it is asked to stop.
///
/// # Errors
/// Something cannot be opened, a thread ends by itself, or the chain cannot be closed in time.
pub fn run(config: &Config) -> Result<(), NodeError> {
    announce(config);
    let folder = ChainDir::open(&config.chain_dir)?;
    let mut threads = Threads::new();
    let signals = signals::open().map_err(|cause| NodeError::open("signal handling", cause))?;
    let events = threads.sender();
    threads.spawn(ThreadName::Signals, move || signals::run(signals, &events))?;

    let counters = Arc::new(Metrics::default());
    let parts = Parts::open(config, &folder, &counters)?;
    let chain = parts.chain_status();
    let stages = parts.start(&mut threads)?;
    let mut status = StatusLine::default();
    let verdict = watch(&mut threads, STATUS_INTERVAL, || {
        status.next(&counters, ChainFigures::from(&**chain.load()), unix_now_s())
    });
    let shortcomings = shutdown::stop(&mut threads, stages);
    verdict?;
    if shortcomings.failed.is_empty() && !shortcomings.late.contains(&ThreadName::Chain) {
        log::info!("stopped");
        Ok(())
    } else {
        Err(NodeError::Stop(shortcomings))
    }
}

/// Says what runs where, in the log's first lines.
fn announce(config: &Config) {
    let params = &config.params;
    log::info!(
        "p2pool {} on {}, chain {} (id {}), paying {}, data in {}",
        env!("CARGO_PKG_VERSION"),
        params.network,
        params.chain_name,
        params.chain_id().prefix(),
        config.payout_address,
        config.chain_dir.display(),
    );
    log::info!("bitcoind is expected at {}", describe(&config.rpc));
    if params.needs_block_signature() {
        log::warn!(
            "BLOCKS FOUND HERE WILL BE INVALID: this signet's blocks need a signature that no sharechain coinbase can \
             carry. Shares can be mined, blocks cannot; use regtest, testnet4 or a signet with -signet-challenge 51"
        );
    }
}

fn describe(rpc: &RpcConfig) -> String {
    let auth = match &rpc.auth {
        RpcAuth::CookieFiles(paths) => match paths.iter().find(|path| path.exists()) {
            Some(path) => format!("cookie file {}", path.display()),
            None => format!("{:?} (not there yet)", rpc.auth),
        },
        RpcAuth::UserPassword { .. } => format!("{:?}", rpc.auth),
    };
    format!("{} port {}, {auth}", rpc.host, rpc.port)
}

/// Waits for a signal, printing the status line meanwhile.
///
/// # Errors
/// A thread ended by itself.
fn watch(threads: &mut Threads, interval: Duration, mut status: impl FnMut() -> String) -> Result<(), NodeError> {
    let mut next_status = Instant::now() + interval;
    loop {
        match threads.next_event(next_status) {
            None => {
                // Not inside the macro, which calls nothing when the level is off.
                let line = status();
                log::info!("{line}");
                next_status += interval;
            }
            Some(Event::Signal(name)) => {
                log::info!("{name}: stopping");
                return Ok(());
            }
            Some(Event::Ended(name, end)) => {
                log::error!("thread {name} {end}; stopping, for nothing works without it");
                return Err(NodeError::Ended(name, end));
            }
        }
    }
}

/// Unix time in seconds; 0 when the clock stands before 1970, where nothing of this works anyway.
fn unix_now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_signal_ends_the_watch() {
        let mut threads = Threads::new();
        threads.sender().send(Event::Signal("SIGTERM")).unwrap();
        assert!(watch(&mut threads, STATUS_INTERVAL, String::new).is_ok());
    }

    #[test]
    fn any_end_nobody_asked_for_ends_the_watch_with_an_error() {
        let mut threads = Threads::new();
        threads.spawn(ThreadName::Anchor, || Ok::<(), io::Error>(())).unwrap();
        let error = watch(&mut threads, STATUS_INTERVAL, String::new).unwrap_err();
        assert!(matches!(error, NodeError::Ended(ThreadName::Anchor, End::Finished)), "{error}");
    }

    #[test]
    fn the_status_line_comes_again_and_again() {
        let mut threads = Threads::new();
        let (sender, mut lines) = (threads.sender(), 0);
        let status = || {
            lines += 1;
            if lines == 3 {
                sender.send(Event::Signal("SIGINT")).unwrap();
            }
            String::new()
        };
        watch(&mut threads, Duration::from_millis(1), status).unwrap();
        assert!(lines >= 3);
    }
}
