//! Templates arrive at once, and again after faults of bitcoind.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bitcoin::BlockHash;
use p2pool_channels::{latest, LatestReceiver, TemplateUpdate};
use p2pool_core::config::Config;
use p2pool_core::metrics::Metrics;
use p2pool_core::params::ChainParams;
use p2pool_core::status::{BitcoindError, BitcoindStatus};
use p2pool_core::work::{NoWork, Template};
use p2pool_rpc::{LongPollWatch, PollStopper, PollThread};
use p2pool_test_bitcoind::{wait_until, Bitcoind, Chain};

use crate::support::{config_of, op_true_signet, regtest, Log, Running, TIMEOUT};

/// A running poll thread.
pub struct Polling {
    pub templates: LatestReceiver<TemplateUpdate>,
    pub metrics: Arc<Metrics>,
    pub bitcoind: Arc<ArcSwap<BitcoindStatus>>,
    pub watch: Arc<LongPollWatch>,
    stopper: PollStopper,
    thread: Running,
}

impl Polling {
    pub fn start(config: &Config) -> Self {
        Log::capture();
        let (sender, templates) = latest();
        let metrics = Arc::new(Metrics::default());
        let (poll, stopper) = PollThread::open(config, sender, Arc::clone(&metrics)).unwrap();
        let (bitcoind, watch) = (poll.status(), poll.long_poll_watch());
        Self { templates, metrics, bitcoind, watch, stopper, thread: Running::start(|| poll.run()) }
    }

    /// Waits for a template that builds on `tip`.
    #[track_caller]
    pub fn template_on(&self, tip: BlockHash) -> Arc<Template> {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            match self.templates.channel().recv_deadline(deadline) {
                Ok(TemplateUpdate::Template(template)) if template.prev_block == tip => return template,
                Ok(_) => {}
                Err(_) => panic!("no template on {tip} within {TIMEOUT:?}"),
            }
        }
    }

    /// Stops the thread.
    #[track_caller]
    pub fn stop(self) {
        self.stopper.stop();
        self.thread.join_within(Duration::from_secs(5));
    }
}

#[test]
fn a_new_tip_gives_a_template_at_once() {
    let node = Bitcoind::start(Chain::Regtest);
    let polling = Polling::start(&config_of(&node, regtest()));
    let first = polling.template_on(node.tip());
    assert_eq!((first.height.0, first.transactions.len()), (1, 0));
    let mut latencies = Vec::new();
    for height in 1..=20 {
        let tip = node.mine(1)[0];
        let mined = Instant::now();
        let template = polling.template_on(tip);
        latencies.push(mined.elapsed());
        assert_eq!(template.height.0, height + 1);
    }
    latencies.sort();
    println!(
        "latency from bitcoind's new tip to the template: median {:?}, maximum {:?}",
        latencies[10], latencies[19]
    );
    // Only the long poll gives these: the refresh takes half a minute.
    assert!(latencies[10] < Duration::from_millis(500), "{latencies:?}");
    assert_eq!(polling.metrics.templates.get(), 21);
    assert!(polling.metrics.template_time_s.get() > 1_700_000_000);
    polling.stop();
}

#[test]
fn signet_templates_are_requested_with_their_own_rule() {
    let node = Bitcoind::start(Chain::OpTrueSignet);
    let polling = Polling::start(&config_of(&node, op_true_signet()));
    let template = polling.template_on(node.tip());
    assert_eq!(template.bits.0, 0x1e03_77ae);
    polling.stop();
}

#[test]
fn templates_resume_after_a_restart_of_bitcoind_with_a_new_cookie() {
    let mut node = Bitcoind::start(Chain::Regtest);
    let port = format!(":{}/", node.rpc_port());
    let polling = Polling::start(&config_of(&node, regtest()));
    polling.template_on(node.tip());
    let old_cookie = std::fs::read(node.cookie_file()).unwrap();
    let up = polling.bitcoind.load_full();
    assert!(up.error.is_none() && up.since.0 > 1_700_000_000, "{up:?}");

    node.kill();
    Log::wait(&["WARN", &port, "cannot be reached"]);
    let errors = polling.metrics.rpc_errors.get();
    wait_until("three retries", TIMEOUT, || polling.metrics.rpc_errors.get() >= errors + 3);
    assert_eq!(Log::with(&["WARN", &port, "cannot be reached"]).len(), 1, "one line for all retries");
    let down = polling.bitcoind.load_full();
    assert!(matches!(down.error, Some(BitcoindError::Unreachable(_))) && down.since >= up.since, "{down:?}");

    node.launch();
    assert_ne!(std::fs::read(node.cookie_file()).unwrap(), old_cookie);
    let tip = node.mine(1)[0];
    polling.template_on(tip);
    assert_eq!(Log::with(&["INFO", &port, "bitcoind reachable again at"]).len(), 1);
    assert_eq!(polling.bitcoind.load().error, None);
    polling.stop();
}

#[test]
fn templates_resume_after_an_orderly_restart_of_bitcoind() {
    let mut node = Bitcoind::start(Chain::Regtest);
    let port = format!(":{}/", node.rpc_port());
    let polling = Polling::start(&config_of(&node, regtest()));
    polling.template_on(node.tip());
    node.stop();
    Log::wait(&["WARN", &port]);
    node.launch();
    polling.template_on(node.mine(1)[0]);
    polling.stop();
}

#[test]
fn templates_of_another_network_are_rejected() {
    let node = Bitcoind::start(Chain::Regtest);
    let port = format!(":{}/", node.rpc_port());
    let polling = Polling::start(&config_of(&node, op_true_signet()));
    let line = Log::wait(&["WARN", &port, "is on regtest"]);
    assert!(line.contains("this node is on signet with the challenge 51"), "{line}");
    wait_until("retries", TIMEOUT, || polling.metrics.rpc_errors.get() >= 3);
    assert!(matches!(polling.templates.take(), Some(TemplateUpdate::Withdrawn(NoWork::WrongNetwork))));
    assert_eq!(polling.metrics.templates.get(), 0);
    polling.stop();
}

#[test]
fn a_signet_with_another_challenge_is_another_network() {
    let node = Bitcoind::start(Chain::OpTrueSignet);
    let port = format!(":{}/", node.rpc_port());
    let public = ChainParams::standard(p2pool_core::params::Network::Signet);
    let polling = Polling::start(&config_of(&node, public));
    let line = Log::wait(&["WARN", &port, "is on signet with the challenge 51,"]);
    assert!(line.contains("this node is on signet with the challenge 512103ad5e0eda"), "{line}");
    assert_eq!(polling.metrics.templates.get(), 0);
    polling.stop();
}

#[test]
fn bitcoind_may_start_later() {
    let mut node = Bitcoind::start(Chain::Regtest);
    node.stop();
    let port = format!(":{}/", node.rpc_port());
    let polling = Polling::start(&config_of(&node, regtest()));
    Log::wait(&["WARN", &port, "has left no cookie in"]);
    node.launch();
    polling.template_on(node.tip());
    polling.stop();
}
