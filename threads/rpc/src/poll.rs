//! The poll thread: requests block templates by long poll (BIP-0022, BIP-0023).
//!
//! A process that ends during a long poll leaves one of bitcoind's RPC threads (16 unless `-rpcthreads` says otherwise)
//! waiting until the next block or change of the mempool; bitcoind has no way to cancel a long poll.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use crossbeam_channel::{bounded, Receiver, RecvTimeoutError, Sender, TryRecvError};
use p2pool_channels::{LatestSender, TemplateUpdate};
use p2pool_core::config::Config;
use p2pool_core::metrics::Metrics;
use p2pool_core::status::{BitcoindError, BitcoindStatus};
use ureq::Agent;

use crate::backoff::Backoff;
use crate::error::RpcError;
use crate::reporter::StatusReporter;
use crate::template_sink::TemplateSink;
use crate::verified_client::VerifiedClient;

/// Pause after a long poll that returns the template it was to wait for a change of. bitcoind never does that; the pause
/// keeps this thread from spinning if it does.
const UNCHANGED_PAUSE: Duration = Duration::from_secs(1);

/// The poll thread.
pub struct PollThread {
    bitcoind: VerifiedClient,
    sink: TemplateSink,
    metrics: Arc<Metrics>,
    reporter: StatusReporter,
    stop: Receiver<Infallible>,
}

/// Stops a [`PollThread`]. Dropping it stops the thread too, but only after the current long poll.
pub struct PollStopper {
    agent: Agent,
    stop: Sender<Infallible>,
}

impl PollStopper {
    /// Makes [`PollThread::run`] return at once, even out of a long poll.
    pub fn stop(self) {
        drop(self.stop);
        self.agent.shutdown();
    }
}

impl PollThread {
    /// Prepares the thread; connects to nothing yet.
    ///
    /// # Errors
    /// [`RpcError::Host`].
    pub fn open(
        config: &Config,
        templates: LatestSender<TemplateUpdate>,
        metrics: Arc<Metrics>,
    ) -> Result<(Self, PollStopper), RpcError> {
        let bitcoind = VerifiedClient::new(config)?;
        let (sender, stop) = bounded(0);
        let stopper = PollStopper { agent: bitcoind.client.agent.clone(), stop: sender };
        let sink = TemplateSink::new(templates, Arc::clone(&metrics));
        let reporter = StatusReporter::new(&bitcoind.client.url);
        Ok((Self { bitcoind, sink, metrics, reporter, stop }, stopper))
    }

    /// The published status of bitcoind.
    pub fn status(&self) -> Arc<ArcSwap<BitcoindStatus>> {
        Arc::clone(&self.reporter.published)
    }

    /// Requests templates until stopped. After an error of bitcoind it waits and retries.
    pub fn run(mut self) {
        let mut backoff = Backoff::default();
        let mut longpollid: Option<String> = None;
        while !self.is_stopped() {
            // Without an id bitcoind responds at once, as is wanted at the start and after an error.
            let pause = match self.bitcoind.template(longpollid.as_deref()) {
                Ok(response) => {
                    backoff.reset();
                    self.reporter.report_up(&response.template);
                    self.sink.put(response.template);
                    let last = longpollid.replace(response.longpollid);
                    if last == longpollid {
                        UNCHANGED_PAUSE
                    } else {
                        Duration::ZERO
                    }
                }
                Err(_) if self.is_stopped() => break,
                Err(error) => {
                    self.report(error);
                    longpollid = None;
                    backoff.next()
                }
            };
            if !pause.is_zero() && self.stop.recv_timeout(pause) == Err(RecvTimeoutError::Disconnected) {
                break;
            }
        }
    }

    fn is_stopped(&self) -> bool {
        self.stop.try_recv() == Err(TryRecvError::Disconnected)
    }

    /// Counts and reports an error; withdraws the work if bitcoind is on another network.
    fn report(&mut self, mut error: BitcoindError) {
        self.metrics.rpc_errors.inc();
        if let BitcoindError::Syncing { percent } = &mut error {
            *percent = self.bitcoind.verified_percent();
        }
        let is_wrong_network = matches!(error, BitcoindError::WrongNetwork { .. });
        if self.reporter.report_down(error) && is_wrong_network {
            self.sink.withdraw();
        }
    }
}
