//! Opens the parts of the node and connects them by channels, starts their threads, and defines the order of the shutdown.
//!
//! All parts are opened before the first thread starts, so that every error at start is found before any work is done.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use crossbeam_channel::{bounded, SendTimeoutError, Sender};
use p2pool_chain::{Chain, ChainSinks};
use p2pool_channels::{latest, ToAnchor, ToChain, ToNetwork, ToSubmit};
use p2pool_core::config::{Config, WebBind};
use p2pool_core::metrics::Metrics;
use p2pool_core::status::{ChainStatus, MinersStatus};
use p2pool_core::stratum::Limits;
use p2pool_http::{Http, Sources};
use p2pool_p2p::{default_ip, P2p};
use p2pool_rpc::{AnchorThread, PollStopper, PollThread, SubmitThread};
use p2pool_stratum::{Stratum, StratumSinks};

use crate::error::NodeError;
use crate::shutdown::{Stage, CHAIN_DEADLINE, STRATUM_DEADLINE, SUBMIT_DEADLINE};
use crate::threads::{ThreadName, Threads};

/// Capacity of the chain thread's inbox: one second of a thousand miners that all meet the share target at once. Shares
/// come twice a minute; only a chain thread that hangs on a failing disk lets the inbox fill.
const TO_CHAIN_CAPACITY: usize = 1_024;
/// Capacity of the submit thread's inbox. Blocks are days apart; on regtest, where each submit may be one, the stratum
/// thread defines what happens when the inbox is full.
const TO_SUBMIT_CAPACITY: usize = 16;
/// Capacity of the anchor thread's inbox; further requests wait in the chain thread.
const TO_ANCHOR_CAPACITY: usize = 64;
/// How long a stop message waits for room in an inbox.
const STOP_SEND_TIMEOUT: Duration = Duration::from_millis(300);

/// All parts that get a thread, and the ways to stop them.
pub struct Components {
    poll: PollThread,
    poll_stopper: PollStopper,
    submit: SubmitThread,
    anchor: AnchorThread,
    stratum: Stratum,
    p2p: P2p,
    chain: Chain,
    web: Http,
    inboxes: Inboxes,
}

/// Senders to the threads that stop by a message.
struct Inboxes {
    chain: Sender<ToChain>,
    submit: Sender<ToSubmit>,
    anchor: Sender<ToAnchor>,
}

impl Components {
    /// Opens all parts; starts no thread.
    ///
    /// # Errors
    /// [`NodeError::Open`] names the part.
    pub fn open(config: Config, metrics: &Arc<Metrics>) -> Result<Self, NodeError> {
        let (to_chain, chain_inbox) = bounded(TO_CHAIN_CAPACITY);
        let (to_submit, submit_inbox) = bounded(TO_SUBMIT_CAPACITY);
        let (to_anchor, anchor_inbox) = bounded(TO_ANCHOR_CAPACITY);
        let (template_slot, templates) = latest();
        let (poll, poll_stopper) = PollThread::open(&config, template_slot.clone(), Arc::clone(metrics))
            .map_err(NodeError::open("template poll"))?;
        let watch = poll.long_poll_watch();
        let submit = SubmitThread::open(&config, submit_inbox, to_chain.clone(), Arc::clone(metrics), watch)
            .map_err(NodeError::open("block submission"))?;
        let anchor = AnchorThread::open(&config, anchor_inbox, to_chain.clone(), template_slot, Arc::clone(metrics))
            .map_err(NodeError::open("header lookup"))?;
        let sinks = StratumSinks { chain: to_chain.clone(), submit: to_submit.clone() };
        let mut stratum = Stratum::open(&config, sinks, Arc::clone(metrics), Limits::default())
            .map_err(NodeError::open("stratum port"))?;
        let p2p = P2p::open(&config, to_chain.clone(), Arc::clone(metrics))
            .map_err(NodeError::open("peer-to-peer network"))?;
        let sinks = ChainSinks {
            stratum: stratum.work_sender(),
            anchor: to_anchor.clone(),
            submit: to_submit.clone(),
            network: p2p.sender(),
        };
        let chain = Chain::open(&config, p2p.looks_for_peers(), chain_inbox, templates, sinks)
            .map_err(NodeError::open("sharechain store"))?;
        let sources = Sources {
            metrics: Arc::clone(metrics),
            chain: chain.status(),
            miners: stratum.miners(),
            peers: p2p.status(),
            bitcoind: poll.status(),
            blocks: anchor.blocks(),
            own_blocks: submit.own_blocks(),
            submission: submit.readiness(),
            tracked: anchor.tracked(),
            operator: p2p.operator(),
            store_file: p2pool_chain::data_file(&config.chain_dir),
        };
        // The port may be one that the system chose.
        let stratum_addr = stratum.local_addr();
        let config = Config { stratum_port: stratum_addr.port(), ..config };
        let web_bind = config.web_bind;
        let web = Http::open(Arc::new(config), sources).map_err(NodeError::open("web server"))?;
        if web_bind == WebBind::MinersPort {
            stratum.send_browsers_to(web.relay_handle());
        }
        log::info!("listening for miners on {stratum_addr}: stratum+tcp://{}", reachable(stratum_addr));
        match (web_bind, web.local_addr()) {
            (WebBind::Off, _) => log::info!("dashboard, API and metrics are off (-web-bind off)"),
            (_, own) => log::info!("dashboard: http://{}/", reachable(own.unwrap_or(stratum_addr))),
        }
        let inboxes = Inboxes { chain: to_chain, submit: to_submit, anchor: to_anchor };
        Ok(Self { poll, poll_stopper, submit, anchor, stratum, p2p, chain, web, inboxes })
    }

    /// The status that the chain thread will publish.
    pub fn chain_status(&self) -> Arc<ArcSwap<ChainStatus>> {
        self.chain.status()
    }

    /// The status that the stratum thread will publish.
    pub fn miners_status(&self) -> Arc<ArcSwap<MinersStatus>> {
        self.stratum.miners()
    }

    /// Starts the threads and returns the stages of the shutdown.
    ///
    /// # Errors
    /// The system cannot start another thread.
    pub fn start(self, threads: &mut Threads) -> Result<Vec<Stage>, NodeError> {
        let Self { poll, poll_stopper, submit, anchor, stratum, p2p, chain, web, inboxes } = self;
        let (to_p2p, stratum_stop, web_stop) = (p2p.sender(), stratum.stop_handle(), web.stop_handle());
        let Http { relay, server, .. } = web;
        threads.spawn(ThreadName::Chain, move || chain.run())?;
        threads.spawn(ThreadName::Anchor, move || until_asked(|| anchor.run()))?;
        threads.spawn(ThreadName::Submit, move || until_asked(|| submit.run()))?;
        threads.spawn(ThreadName::P2p, move || until_asked(|| p2p.run()))?;
        threads.spawn(ThreadName::Web, move || server.run())?;
        threads.spawn(ThreadName::Relay, move || relay.run())?;
        threads.spawn(ThreadName::Stratum, move || stratum.run())?;
        threads.spawn(ThreadName::Poll, move || until_asked(|| poll.run()))?;
        let stop_inputs = move || {
            stratum_stop.stop();
            poll_stopper.stop();
            web_stop.stop();
            // Finds room even in a full inbox.
            let _ = to_p2p.send(ToNetwork::Stop);
        };
        Ok(stages(inboxes, stop_inputs))
    }
}

/// Returns an address of this machine that others may reach a listener at: its own, or that of the network that leads to the Internet.
fn reachable(listener: SocketAddr) -> SocketAddr {
    if !listener.ip().is_unspecified() {
        return listener;
    }
    SocketAddr::new(default_ip().unwrap_or(Ipv4Addr::LOCALHOST.into()), listener.port())
}

/// Runs a thread that ends only when it is asked to.
fn until_asked(run: impl FnOnce()) -> Result<(), Infallible> {
    run();
    Ok(())
}

/// Returns the stages of the shutdown. `stop_inputs` stops all threads that receive anything from outside.
fn stages(inboxes: Inboxes, stop_inputs: impl FnOnce() + 'static) -> Vec<Stage> {
    let Inboxes { chain, submit, anchor } = inboxes;
    fn stage(request_stop: impl FnOnce() + 'static, wait_for: ThreadName, deadline: Duration) -> Stage {
        Stage { request_stop: Box::new(request_stop), wait_for, deadline }
    }
    vec![
        stage(stop_inputs, ThreadName::Stratum, STRATUM_DEADLINE),
        stage(
            move || {
                send_stop(&submit, ToSubmit::Stop, ThreadName::Submit);
                send_stop(&anchor, ToAnchor::Stop, ThreadName::Anchor);
            },
            ThreadName::Submit,
            SUBMIT_DEADLINE,
        ),
        stage(move || send_stop(&chain, ToChain::Stop, ThreadName::Chain), ThreadName::Chain, CHAIN_DEADLINE),
        // Requested in the first stage. Without its saved peers a node could not come back without a bootnode.
        stage(|| (), ThreadName::P2p, CHAIN_DEADLINE),
        // Requested in the first stage. It saves its history if there is time left.
        stage(|| (), ThreadName::Web, CHAIN_DEADLINE),
    ]
}

/// Sends a stop message; a thread that has exited does not need it.
fn send_stop<T>(inbox: &Sender<T>, stop: T, name: ThreadName) {
    if let Err(SendTimeoutError::Timeout(_)) = inbox.send_timeout(stop, STOP_SEND_TIMEOUT) {
        log::warn!("thread {name} does not read its inbox, stop request dropped");
    }
}
