//! The parts of a node: opened and joined by channels before the first thread starts, so that whatever cannot be had is
//! an error at start; how they are started, and in which order stopped.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use crossbeam_channel::{bounded, Receiver, SendTimeoutError, Sender};
use p2pool_chain::{Chain, ChainOuts};
use p2pool_channels::{latest, LatestSender, TemplateUpdate, ToAnchor, ToChain, ToNetwork, ToSubmit};
use p2pool_core::config::Config;
use p2pool_core::metrics::Metrics;
use p2pool_core::node::{Intervals, NodeConfig};
use p2pool_core::status::ChainStatus;
use p2pool_http::{Http, HttpConfig, Sources};
use p2pool_p2p::P2p;
use p2pool_rpc::{AnchorThread, Poll, PollStopper, Submit};
use p2pool_stratum::{Stratum, StratumSinks};

use crate::folder::ChainDir;
use crate::node::NodeError;
use crate::shutdown::{Stage, CHAIN_UNTIL, STRATUM_UNTIL, SUBMIT_UNTIL};
use crate::threads::{ThreadName, Threads};

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

/// Everything that will have a thread, and the ways to ask for its end.
pub struct Parts {
    rpc: Rpc,
    stratum: Stratum,
    p2p: P2p,
    chain: Chain,
    web: Http,
    inboxes: Inboxes,
}

/// The parts that speak with bitcoind.
struct Rpc {
    poll: Poll,
    poll_stopper: PollStopper,
    submit: Submit,
    anchor: AnchorThread,
}

/// Ways to threads that have an inbox.
#[derive(Clone)]
struct Inboxes {
    chain: Sender<ToChain>,
    submit: Sender<ToSubmit>,
    anchor: Sender<ToAnchor>,
}

impl Parts {
    /// Opens all parts; no thread starts yet.
    ///
    /// # Errors
    /// [`NodeError::Open`] names the part.
    pub fn open(config: &Config, folder: &ChainDir, counters: &Arc<Metrics>) -> Result<Self, NodeError> {
        let (to_chain, chain_inbox) = bounded(TO_CHAIN_CAPACITY);
        let (to_submit, submit_inbox) = bounded(TO_SUBMIT_CAPACITY);
        let (to_anchor, anchor_inbox) = bounded(TO_ANCHOR_CAPACITY);
        let inboxes = Inboxes { chain: to_chain, submit: to_submit, anchor: to_anchor };
        let (news, templates) = latest();
        let rpc = open_rpc(config, folder, &inboxes.chain, (submit_inbox, anchor_inbox, news), counters)?;
        let outs = StratumSinks { chain: inboxes.chain.clone(), submit: inboxes.submit.clone() };
        let mut stratum = Stratum::open(config.stratum.clone(), &config.params, outs, Arc::clone(counters))
            .map_err(|cause| NodeError::open("the port for miners", cause))?;
        let p2p = P2p::open(&config.p2p, &config.params, folder.path(), inboxes.chain.clone(), Arc::clone(counters))
            .map_err(|cause| NodeError::open("the network of nodes", cause))?;
        let outs = ChainOuts {
            stratum: stratum.jobs(),
            anchor: inboxes.anchor.clone(),
            submit: inboxes.submit.clone(),
            network: p2p.sender(),
        };
        let node = NodeConfig {
            payout_script: config.payout_script,
            coinbase_tag: config.coinbase_tag.clone(),
            looks_for_peers: p2p.looks_for_peers(),
            intervals: Intervals::default(),
        };
        let params = Arc::new(config.params.clone());
        let chain = Chain::open(&params, node, folder.path(), chain_inbox, templates, outs)
            .map_err(|cause| NodeError::open("the sharechain", cause))?;
        let sources = Sources {
            metrics: Arc::clone(counters),
            chain: chain.status(),
            miners: stratum.miners(),
            peers: p2p.status(),
            bitcoind: rpc.poll.status(),
            blocks: rpc.anchor.blocks(),
            own_blocks: rpc.submit.own_blocks(),
            watched: rpc.anchor.watched(),
        };
        let web = Http::open(web_config(config, folder.path(), stratum.local_addr().port()), sources)
            .map_err(|cause| NodeError::open("the dashboard", cause))?;
        stratum.send_browsers_to(web.relay_handle());
        log::info!("miners are expected at {}; the dashboard is on the same port", stratum.local_addr());
        Ok(Self { rpc, stratum, p2p, chain, web, inboxes })
    }

    /// The sharechain as its thread will publish it.
    pub fn chain_status(&self) -> Arc<ArcSwap<ChainStatus>> {
        self.chain.status()
    }

    /// Starts the threads and gives the stages of their stop.
    ///
    /// # Errors
    /// The system has no room for a thread.
    pub fn start(self, threads: &mut Threads) -> Result<Vec<Stage>, NodeError> {
        let Self { rpc: Rpc { poll, poll_stopper, submit, anchor }, stratum, p2p, chain, web, inboxes } = self;
        let (to_p2p, stratum_stop, web_stop) = (p2p.sender(), stratum.stop_handle(), web.stop_handle());
        let Http { relay, server, .. } = web;
        threads.spawn(ThreadName::Chain, move || chain.run())?;
        threads.spawn(ThreadName::Anchor, move || anchor.run())?;
        threads.spawn(ThreadName::Submit, move || submit.run())?;
        threads.spawn(ThreadName::P2p, move || p2p.run())?;
        threads.spawn(ThreadName::Web, move || server.run())?;
        threads.spawn(ThreadName::Relay, move || relay.run())?;
        threads.spawn(ThreadName::Stratum, move || stratum.run())?;
        threads.spawn(ThreadName::Poll, move || poll.run())?;
        let stop_what_comes_from_outside = move || {
            stratum_stop.stop();
            poll_stopper.stop();
            web_stop.stop();
            // A stop finds room however full the inbox is.
            let _ = to_p2p.send(ToNetwork::Stop);
        };
        Ok(stages(inboxes, stop_what_comes_from_outside))
    }
}

/// The order in which threads are stopped.
fn stages(inboxes: Inboxes, stop_what_comes_from_outside: impl FnOnce() + 'static) -> Vec<Stage> {
    let Inboxes { chain, submit, anchor } = inboxes;
    vec![
        Stage { ask: Box::new(stop_what_comes_from_outside), wait_for: ThreadName::Stratum, until: STRATUM_UNTIL },
        Stage {
            ask: Box::new(move || {
                ask(&submit, ToSubmit::Stop, ThreadName::Submit);
                ask(&anchor, ToAnchor::Stop, ThreadName::Anchor);
            }),
            wait_for: ThreadName::Submit,
            until: SUBMIT_UNTIL,
        },
        Stage {
            ask: Box::new(move || ask(&chain, ToChain::Stop, ThreadName::Chain)),
            wait_for: ThreadName::Chain,
            until: CHAIN_UNTIL,
        },
        // Asked at the beginning as well: a node that forgot its peers could not come back without a bootnode.
        Stage { ask: Box::new(|| ()), wait_for: ThreadName::P2p, until: CHAIN_UNTIL },
        // Asked at the beginning; its history is worth a moment if there is one left, and nothing more.
        Stage { ask: Box::new(|| ()), wait_for: ThreadName::Web, until: CHAIN_UNTIL },
    ]
}

fn open_rpc(
    config: &Config,
    folder: &ChainDir,
    to_chain: &Sender<ToChain>,
    (submit_inbox, anchor_inbox, news): (Receiver<ToSubmit>, Receiver<ToAnchor>, LatestSender<TemplateUpdate>),
    counters: &Arc<Metrics>,
) -> Result<Rpc, NodeError> {
    let (rpc, params) = (&config.rpc, &config.params);
    let (poll, poll_stopper) = Poll::open(rpc, params, news.clone(), Arc::clone(counters))
        .map_err(|cause| NodeError::open("the template poll", cause))?;
    let blocks_dir = folder.path().join(BLOCKS_DIR);
    let submit = Submit::open(rpc, params, &blocks_dir, submit_inbox, to_chain.clone(), Arc::clone(counters))
        .map_err(|cause| NodeError::open("the block submission", cause))?;
    let anchor = AnchorThread::open(rpc, params, anchor_inbox, to_chain.clone(), news, Arc::clone(counters))
        .map_err(|cause| NodeError::open("the header lookup", cause))?;
    Ok(Rpc { poll, poll_stopper, submit, anchor })
}

/// The dashboard and API are on the miners' port, which may be one that the system chose.
fn web_config(config: &Config, dir: &Path, stratum_port: u16) -> HttpConfig {
    HttpConfig {
        params: config.params.clone(),
        payout_script: config.payout_script,
        payout_address: config.payout_address.clone(),
        stratum_port,
        p2p_port: config.p2p.port,
        chain_dir: dir.to_owned(),
        store_file: p2pool_chain::store_file(dir),
        host_names: config.web.host_names.clone(),
    }
}

/// Sends a stop message. A thread that has ended has no inbox, which is as good.
fn ask<T>(inbox: &Sender<T>, stop: T, name: ThreadName) {
    if let Err(SendTimeoutError::Timeout(_)) = inbox.send_timeout(stop, STOP_SEND_TIMEOUT) {
        log::warn!("thread {name} does not read its inbox");
    }
}
