//! Opens everything, joins it by channels, starts the threads, and waits.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use crossbeam_channel::{bounded, SendTimeoutError, Sender};
use p2pool_core::config::{Config, RpcAuth, RpcConfig};
use p2pool_core::message::{latest, ToAnchor, ToChain, ToP2p, ToSubmit};
use p2pool_core::status::{ChainStatus, Counters};

use crate::folder::ChainDir;
use crate::shutdown::{self, Stage, CHAIN_UNTIL, STRATUM_UNTIL, SUBMIT_UNTIL};
use crate::signals;
use crate::status_line::{ChainFigures, StatusLine, STATUS_INTERVAL};
use crate::threads::{with_causes, BoxedError, End, Event, ThreadName, Threads};

/// chain's inbox: a second of a thousand miners that all meet the share target at once. Shares come twice a minute;
/// only a chain thread that hangs on a dying disk lets this fill.
const TO_CHAIN_CAPACITY: usize = 1_024;
/// submit's inbox: blocks come once in days; on regtest, where every answer may be one, stratum says what happens when
/// it is full.
const TO_SUBMIT_CAPACITY: usize = 16;
/// anchor's inbox: more questions than this wait in chain's own pools.
const TO_ANCHOR_CAPACITY: usize = 64;
/// A stop message waits this long for room in an inbox before the thread is given up.
const STOP_SEND_TIMEOUT: Duration = Duration::from_millis(300);
/// Folder for found blocks inside the chain's folder.
const BLOCKS_DIR: &str = "blocks";

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

/// Runs the node until it is asked to stop.
///
/// # Errors
/// Something cannot be opened, a thread ends by itself, or the chain cannot be closed in time.
pub fn run(config: &Config) -> Result<(), NodeError> {
    announce(config);
    let folder = ChainDir::open(&config.chain_dir)?;
    let mut threads = Threads::new();
    let signals = signals::open().map_err(|cause| open_error("signal handling", cause))?;
    let events = threads.sender();
    threads.spawn(ThreadName::Signals, move || signals::run(signals, &events))?;

    let counters = Arc::new(Counters::default());
    let Started { stages, chain } = start(config, &folder, &counters, &mut threads)?;
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

/// What runs now.
struct Started {
    /// How to stop it.
    stages: Vec<Stage>,
    /// The sharechain as its thread publishes it.
    chain: Arc<ArcSwap<ChainStatus>>,
}

/// Opens all parts before the first thread starts, so that whatever cannot be had is an error at start.
fn start(
    config: &Config,
    folder: &ChainDir,
    counters: &Arc<Counters>,
    threads: &mut Threads,
) -> Result<Started, NodeError> {
    let params = &config.params;
    let (to_chain, chain_inbox) = bounded(TO_CHAIN_CAPACITY);
    let (to_submit, submit_inbox) = bounded(TO_SUBMIT_CAPACITY);
    let (to_anchor, anchor_inbox) = bounded(TO_ANCHOR_CAPACITY);
    let (template_sender, templates) = latest();
    let blocks_dir = folder.path().join(BLOCKS_DIR);

    let (poll, poll_stopper) =
        p2pool_rpc::Poll::open(&config.rpc, params, template_sender.clone(), Arc::clone(counters))
            .map_err(|cause| open_error("the template poll", cause))?;
    let submit = p2pool_rpc::Submit::open(
        &config.rpc,
        params,
        &blocks_dir,
        submit_inbox,
        to_chain.clone(),
        Arc::clone(counters),
    )
    .map_err(|cause| open_error("the block submission", cause))?;
    let anchor = p2pool_rpc::AnchorThread::open(
        &config.rpc,
        params,
        anchor_inbox,
        to_chain.clone(),
        template_sender,
        Arc::clone(counters),
    )
    .map_err(|cause| open_error("the header lookup", cause))?;
    let mut stratum = p2pool_stratum::Stratum::open(
        config.stratum.clone(),
        params,
        p2pool_stratum::StratumOuts { chain: to_chain.clone(), submit: to_submit.clone() },
        Arc::clone(counters),
    )
    .map_err(|cause| open_error("the port for miners", cause))?;
    let p2p = p2pool_p2p::P2p::open(&config.p2p, params, folder.path(), to_chain.clone())
        .map_err(|cause| open_error("the network of nodes", cause))?;
    let chain = p2pool_chain::Chain::open(
        p2pool_chain::ChainConfig {
            params: params.clone(),
            payout_script: config.payout_script,
            coinbase_tag: config.coinbase_tag.clone(),
            dir: folder.path().to_owned(),
            looks_for_peers: p2p.looks_for_peers(),
        },
        chain_inbox,
        templates,
        p2pool_chain::ChainOuts {
            stratum: stratum.jobs(),
            anchor: to_anchor.clone(),
            submit: to_submit.clone(),
            p2p: p2p.sender(),
        },
    )
    .map_err(|cause| open_error("the sharechain", cause))?;
    let sources = p2pool_http::Sources {
        counters: Arc::clone(counters),
        chain: chain.status(),
        miners: stratum.miners(),
        peers: p2p.status(),
        bitcoind: poll.status(),
        blocks: anchor.blocks(),
        own_blocks: submit.own_blocks(),
        watched: anchor.watched(),
    };
    let web = open_web(config, folder, stratum.local_addr().port(), sources)?;
    stratum.send_browsers_to(web.relay_handle());
    log::info!("miners are expected at {}; the dashboard is on the same port", stratum.local_addr());

    let to_p2p = p2p.sender();
    let (stratum_stop, web_stop, chain_status) = (stratum.stop_handle(), web.stop_handle(), chain.status());
    let p2pool_http::Http { relay, server, .. } = web;
    threads.spawn(ThreadName::Chain, move || chain.run())?;
    threads.spawn(ThreadName::Anchor, move || anchor.run())?;
    threads.spawn(ThreadName::Submit, move || submit.run())?;
    threads.spawn(ThreadName::P2p, move || p2p.run())?;
    threads.spawn(ThreadName::Web, move || server.run())?;
    threads.spawn(ThreadName::Relay, move || relay.run())?;
    threads.spawn(ThreadName::Stratum, move || stratum.run())?;
    threads.spawn(ThreadName::Poll, move || poll.run())?;

    let stages = vec![
        Stage {
            ask: Box::new(move || {
                stratum_stop.stop();
                poll_stopper.stop();
                web_stop.stop();
                // A stop finds room however full the inbox is.
                let _ = to_p2p.send(ToP2p::Stop);
            }),
            wait_for: ThreadName::Stratum,
            until: STRATUM_UNTIL,
        },
        Stage {
            ask: Box::new(move || {
                ask(&to_submit, ToSubmit::Stop, ThreadName::Submit);
                ask(&to_anchor, ToAnchor::Stop, ThreadName::Anchor);
            }),
            wait_for: ThreadName::Submit,
            until: SUBMIT_UNTIL,
        },
        Stage {
            ask: Box::new(move || ask(&to_chain, ToChain::Stop, ThreadName::Chain)),
            wait_for: ThreadName::Chain,
            until: CHAIN_UNTIL,
        },
        // Asked at the beginning as well: a node that forgot its peers could not come back without a bootnode.
        Stage { ask: Box::new(|| ()), wait_for: ThreadName::P2p, until: CHAIN_UNTIL },
        // Asked at the beginning; its history is worth a moment if there is one left, and nothing more.
        Stage { ask: Box::new(|| ()), wait_for: ThreadName::Web, until: CHAIN_UNTIL },
    ];
    Ok(Started { stages, chain: chain_status })
}

/// The dashboard and API: on the miners' port, which may be one that the system chose.
fn open_web(
    config: &Config,
    folder: &ChainDir,
    stratum_port: u16,
    sources: p2pool_http::Sources,
) -> Result<p2pool_http::Http, NodeError> {
    let web = p2pool_http::HttpConfig {
        params: config.params.clone(),
        payout_script: config.payout_script,
        payout_address: config.payout_address.clone(),
        stratum_port,
        p2p_port: config.p2p.port,
        chain_dir: folder.path().to_owned(),
        store_file: p2pool_chain::store_file(folder.path()),
        host_names: config.web.host_names.clone(),
    };
    p2pool_http::Http::open(web, sources).map_err(|cause| open_error("the dashboard", cause))
}

fn open_error(what: &'static str, cause: impl Into<BoxedError>) -> NodeError {
    NodeError::Open { what, cause: cause.into() }
}

/// Sends a stop message. A thread that has ended has no inbox, which is as good.
fn ask<T>(inbox: &Sender<T>, stop: T, name: ThreadName) {
    if let Err(SendTimeoutError::Timeout(_)) = inbox.send_timeout(stop, STOP_SEND_TIMEOUT) {
        log::warn!("thread {name} does not read its inbox");
    }
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
