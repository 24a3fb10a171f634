//! Runs the node: opens and starts its threads, waits for a stop request, stops the threads.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use p2pool_core::config::{Config, RpcAuth};
use p2pool_core::metrics::Metrics;

use crate::args::VERSION;
use crate::data_dir::{self, DataDirLock};
use crate::error::NodeError;
use crate::memory;
use crate::service_manager::{Progress, ServiceManager};
use crate::shutdown;
use crate::signals;
use crate::status_line::{Figures, StatusLine, STATUS_INTERVAL};
use crate::threads::{MainEvent, ThreadName, Threads};
use crate::wiring::Components;

/// Time between two returns of free memory. It takes a millisecond or so, and a flood is over in a minute.
const FREE_PAGES_INTERVAL: Duration = Duration::from_secs(60);

/// Runs the node until it is asked to stop. `settings_file` is the one that was read, `home` the user's home directory.
///
/// # Errors
/// Something cannot be opened, a thread exits by itself, a thread fails while stopping, or the chain thread does not
/// stop in time.
pub fn run(mut config: Config, settings_file: Option<&Path>, home: Option<&Path>) -> Result<(), NodeError> {
    config.chain_dir = std::path::absolute(&config.chain_dir).unwrap_or(config.chain_dir);
    log_settings(&config, settings_file);
    if let Some(other) = data_dir::elsewhere(&config.chain_dir, home) {
        log::warn!(
            "new sharechain in {}, although there is one of this pool in {}: give -data-dir {} to go on with it",
            config.chain_dir.display(),
            other.display(),
            other.parent().unwrap_or(&other).display(),
        );
    }
    let manager = ServiceManager::from_environment();
    let _lock = DataDirLock::acquire(&config.chain_dir)?;
    let mut threads = Threads::new();
    let signals = signals::open().map_err(NodeError::open("signal handlers"))?;
    let events = threads.sender();
    threads.spawn(ThreadName::Signals, move || signals::run(signals, &events))?;

    let metrics = Arc::new(Metrics::default());
    let payout_script = config.payout_script;
    let components = Components::open(config, &metrics)?;
    let (chain, miners) = (components.chain_status(), components.miners_status());
    let mut progress = (Progress::of(Arc::clone(&chain)), Progress::of(Arc::clone(&miners)));
    let stages = components.start(&mut threads)?;
    manager.ready();
    let mut status = StatusLine::default();
    let mut chores = vec![Chore::new(STATUS_INTERVAL, || {
        // Outside the macro, which evaluates nothing if the level is off.
        let figures = Figures::new(&chain.load(), &miners.load(), &payout_script);
        let line = status.next(&metrics, figures, unix_now_s());
        log::info!("{line}");
        manager.status(&line);
    })];
    chores.push(Chore::new(FREE_PAGES_INTERVAL, memory::return_free_pages));
    if let (Some(interval), manager) = (manager.watchdog_interval(), &manager) {
        chores.push(Chore::new(interval, move || {
            let working = [(ThreadName::Chain, progress.0.is_made()), (ThreadName::Stratum, progress.1.is_made())];
            match working.into_iter().find(|(_, is_working)| !is_working) {
                None => manager.alive(),
                Some((name, _)) => log::error!("thread {name} hangs: no progress for {} s", interval.as_secs()),
            }
        }));
    }
    let result = wait_for_stop(&mut threads, &mut chores);
    drop(chores);
    manager.stopping();
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
fn log_settings(config: &Config, settings_file: Option<&Path>) {
    let params = &config.params;
    log::info!(
        "p2pool {} on {}, chain {} (id {}), payout address {}, data directory {}",
        VERSION,
        params.network,
        params.chain_name,
        params.chain_id().prefix(),
        config.payout_address,
        config.chain_dir.display(),
    );
    if let Some(file) = settings_file {
        log::info!("settings file {}", file.display());
    }
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

/// The whole process is taken to have been paused, by SIGSTOP or a container's freezer, if a chore is late by more. What was missed
/// is not made up for.
const PAUSE_MIN: Duration = Duration::from_secs(2);

/// Something that the main thread does at intervals.
struct Chore<'a> {
    interval: Duration,
    due: Instant,
    run: Box<dyn FnMut() + 'a>,
}

impl<'a> Chore<'a> {
    /// Is due for the first time after one interval.
    fn new(interval: Duration, run: impl FnMut() + 'a) -> Self {
        Self { interval, due: Instant::now() + interval, run: Box::new(run) }
    }
}

/// Waits for a signal and does the chores meanwhile. Returns an error if a thread exits by itself.
fn wait_for_stop(threads: &mut Threads, chores: &mut [Chore<'_>]) -> Result<(), NodeError> {
    loop {
        let due = chores.iter().map(|chore| chore.due).min().unwrap_or_else(|| Instant::now() + STATUS_INTERVAL);
        match threads.next_event(due) {
            None => {
                for chore in chores.iter_mut().filter(|chore| chore.due <= due) {
                    (chore.run)();
                    chore.due += chore.interval;
                    // Else a hang would be seen, because no thread advances between two runs that are made up for.
                    let now = Instant::now();
                    if chore.due + PAUSE_MIN < now {
                        chore.due = now + chore.interval;
                    }
                }
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
    use std::cell::Cell;
    use std::io;

    use super::*;
    use crate::threads::ThreadExit;

    #[test]
    fn a_signal_ends_the_wait() {
        let mut threads = Threads::new();
        threads.sender().send(MainEvent::Signal("SIGTERM")).unwrap();
        assert!(wait_for_stop(&mut threads, &mut []).is_ok());
    }

    #[test]
    fn a_thread_that_exits_by_itself_ends_the_wait_with_an_error() {
        let mut threads = Threads::new();
        threads.spawn(ThreadName::Anchor, || Ok::<(), io::Error>(())).unwrap();
        let error = wait_for_stop(&mut threads, &mut []).unwrap_err();
        assert!(matches!(error, NodeError::ThreadExited(ThreadName::Anchor, ThreadExit::Finished)), "{error}");
    }

    #[test]
    fn chores_missed_in_a_pause_are_not_made_up_for() {
        let mut threads = Threads::new();
        let (sender, runs) = (threads.sender(), Cell::new(0));
        let run = || {
            runs.set(runs.get() + 1);
            if runs.get() == 1 {
                std::thread::sleep(PAUSE_MIN + Duration::from_millis(800));
            }
        };
        let stop = || sender.send(MainEvent::Signal("SIGINT")).unwrap();
        let mut chores = [Chore::new(Duration::from_millis(500), run), Chore::new(Duration::from_millis(3_500), stop)];
        wait_for_stop(&mut threads, &mut chores).unwrap();
        drop(chores);
        assert_eq!(runs.get(), 1);
    }

    #[test]
    fn each_chore_is_done_at_its_interval() {
        let mut threads = Threads::new();
        let (sender, often, seldom) = (threads.sender(), Cell::new(0), Cell::new(0));
        let mut chores = [
            Chore::new(Duration::from_millis(1), || often.set(often.get() + 1)),
            Chore::new(Duration::from_millis(5), || {
                seldom.set(seldom.get() + 1);
                if seldom.get() == 3 {
                    sender.send(MainEvent::Signal("SIGINT")).unwrap();
                }
            }),
        ];
        wait_for_stop(&mut threads, &mut chores).unwrap();
        drop(chores);
        // Due times do not depend on how long a chore takes.
        assert!(seldom.get() >= 3 && often.get() >= 5 * (seldom.get() - 1), "{often:?} {seldom:?}");
    }
}
