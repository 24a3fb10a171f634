//! The poll thread: requests block templates by long poll (BIP-0022, BIP-0023), or at an interval, see [`crate::long_poll`].

use std::convert::Infallible;
use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bitcoin::BlockHash;
use crossbeam_channel::{bounded, Receiver, RecvTimeoutError, Sender, TryRecvError};
use p2pool_channels::{LatestSender, TemplateUpdate};
use p2pool_core::config::Config;
use p2pool_core::metrics::Metrics;
use p2pool_core::status::{BitcoindError, BitcoindStatus};
use p2pool_core::work::NoWork;
use ureq::Agent;

use crate::backoff::Backoff;
use crate::error::{is_restart, RpcError};
use crate::long_poll::{bounded_id, LongPollMode, LongPollWatch};
use crate::reporter::StatusReporter;
use crate::template_sink::TemplateSink;
use crate::verified_client::{TemplateResponse, VerifiedClient};

/// Pause after a long poll that returns at once the template it was to wait for a change of. bitcoind never does that; the
/// pause keeps this thread from spinning if it does.
const UNCHANGED_PAUSE: Duration = Duration::from_secs(1);
/// Interval at which bitcoind's tip is looked at without a long poll. Miners work on an old tip for half of it on average,
/// 0.1 % of the time between two blocks; the request costs bitcoind microseconds.
const PLAIN_INTERVAL: Duration = Duration::from_secs(1);
/// Age at which a template is replaced without a long poll although the tip is the same: as with one.
const PLAIN_AGE_MAX: Duration = Duration::from_secs(60);

/// The poll thread.
pub struct PollThread {
    bitcoind: VerifiedClient,
    sink: TemplateSink,
    metrics: Arc<Metrics>,
    reporter: StatusReporter,
    watch: Arc<LongPollWatch>,
    mode: LongPollMode,
    last: Option<LastTemplate>,
    /// Number of the connection of the last response.
    connection: Option<u64>,
    stop: Receiver<Infallible>,
}

/// What is remembered of a template.
struct LastTemplate {
    tip: BlockHash,
    longpollid: String,
    requested_at: Instant,
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
        let (watch, mode) = (Arc::default(), LongPollMode::default());
        Ok((Self { bitcoind, sink, metrics, reporter, watch, mode, last: None, connection: None, stop }, stopper))
    }

    /// The published status of bitcoind.
    pub fn status(&self) -> Arc<ArcSwap<BitcoindStatus>> {
        Arc::clone(&self.reporter.published)
    }

    /// Returns what the submit thread has to know of the long poll.
    pub fn long_poll_watch(&self) -> Arc<LongPollWatch> {
        Arc::clone(&self.watch)
    }

    /// Requests templates until stopped. After an error of bitcoind it waits and retries.
    pub fn run(mut self) {
        let mut backoff = Backoff::default();
        while !self.is_stopped() {
            let now = Instant::now();
            self.update_mode(now);
            let result = if self.mode.is_allowed(now) { self.long_poll() } else { self.poll_plainly() };
            if self.is_restarted(&result) && self.mode.reset() {
                self.reporter.forget_long_poll_off();
            }
            let pause = match result {
                Ok(pause) => {
                    backoff.reset();
                    pause
                }
                Err(_) if self.is_stopped() => break,
                Err(error) => {
                    self.report(error);
                    self.last = None;
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

    /// Decides how the next template is requested.
    fn update_mode(&mut self, now: Instant) {
        let was_harmless = self.watch.take_harmless();
        if self.watch.take_starving() {
            if self.mode.note_starving(now) {
                self.reporter.report_long_poll_off(PLAIN_INTERVAL);
            }
        } else if was_harmless && self.mode.reset() {
            self.reporter.report_long_poll_on();
        }
    }

    /// Returns whether bitcoind has been restarted, as far as can be seen, perhaps with more threads. Polled each second, it
    /// closes no connection unless it ends, or has not responded in time.
    fn is_restarted(&mut self, result: &Result<Duration, BitcoindError>) -> bool {
        let connection = self.bitcoind.client.connections.load(Ordering::Relaxed);
        match result {
            Ok(_) => self.connection.replace(connection).is_some_and(|last| last != connection),
            Err(error) => {
                self.connection = None;
                is_restart(error)
            }
        }
    }

    /// Waits for the next template; without a last one bitcoind responds at once, as is wanted at the start and after an
    /// error. Returns the pause before the next request.
    fn long_poll(&mut self) -> Result<Duration, BitcoindError> {
        let Some(last) = &self.last else {
            self.request()?;
            return Ok(Duration::ZERO);
        };
        let (before, started) = (last.longpollid.clone(), Instant::now());
        let response = self.watch.during(|| self.bitcoind.template(Some(&bounded_id(&before))))?;
        let is_spinning = response.longpollid == before && started.elapsed() < UNCHANGED_PAUSE;
        self.put(response);
        Ok(if is_spinning { UNCHANGED_PAUSE } else { Duration::ZERO })
    }

    /// Requests a template if bitcoind has a new tip, or the last one is old. Returns the pause before the next look.
    fn poll_plainly(&mut self) -> Result<Duration, BitcoindError> {
        let is_current = match &self.last {
            Some(last) => last.requested_at.elapsed() < PLAIN_AGE_MAX && self.bitcoind.tip()? == last.tip,
            None => false,
        };
        if !is_current {
            self.request()?;
        }
        Ok(PLAIN_INTERVAL)
    }

    /// Requests a template without waiting for a change.
    fn request(&mut self) -> Result<(), BitcoindError> {
        let response = self.bitcoind.template(None)?;
        self.put(response);
        Ok(())
    }

    fn put(&mut self, response: TemplateResponse) {
        let TemplateResponse { template, longpollid } = response;
        self.reporter.report_up(&template);
        self.last = Some(LastTemplate { tip: template.prev_block, longpollid, requested_at: Instant::now() });
        self.sink.put(template);
    }

    /// Counts and reports an error; withdraws the work if bitcoind is on another network.
    fn report(&mut self, mut error: BitcoindError) {
        self.metrics.rpc_errors.inc();
        if let BitcoindError::Syncing { percent } = &mut error {
            *percent = self.bitcoind.verified_percent();
        }
        let is_wrong_network = matches!(error, BitcoindError::WrongNetwork { .. });
        if self.reporter.report_down(error) && is_wrong_network {
            self.sink.withdraw(NoWork::WrongNetwork);
        }
    }
}

#[cfg(test)]
mod tests {
    use p2pool_core::params::{ChainParams, Network};

    use super::*;

    #[test]
    fn the_long_poll_is_off_from_the_first_harm_until_one_does_none() {
        let config = Config::for_tests(ChainParams::standard(Network::Regtest), "/nowhere");
        let (mut poll, _stopper) = PollThread::open(&config, p2pool_channels::latest().0, Arc::default()).unwrap();
        let (watch, status, now) = (poll.long_poll_watch(), poll.status(), Instant::now());
        let hour = now + Duration::from_secs(3_600);
        let is_off = || status.load().long_poll_off_since.is_some();
        watch.note_harmless();
        poll.update_mode(now);
        assert!(poll.mode.is_allowed(now) && !is_off());
        // A test had a response before the long poll took the last thread.
        watch.note_harmless();
        watch.note_starving();
        poll.update_mode(now);
        assert!(!poll.mode.is_allowed(now) && is_off());
        // It is tried again, and remains off for the operator until it has done no harm.
        assert!(poll.mode.is_allowed(hour));
        poll.update_mode(hour);
        assert!(is_off());
        watch.note_harmless();
        poll.update_mode(hour);
        assert!(poll.mode.is_allowed(now) && !is_off());
    }

    #[test]
    fn bitcoind_is_taken_to_be_restarted_when_a_connection_ends_without_a_timeout() {
        let config = Config::for_tests(ChainParams::standard(Network::Regtest), "/nowhere");
        let (mut poll, _stopper) = PollThread::open(&config, p2pool_channels::latest().0, Arc::default()).unwrap();
        let connections = Arc::clone(&poll.bitcoind.client.connections);
        let responds = Ok(Duration::ZERO);
        assert!(!poll.is_restarted(&responds) && !poll.is_restarted(&responds));
        connections.fetch_add(1, Ordering::Relaxed);
        assert!(poll.is_restarted(&responds) && !poll.is_restarted(&responds));
        assert!(!poll.is_restarted(&Err(BitcoindError::NoResponse("timeout".to_owned()))));
        connections.fetch_add(1, Ordering::Relaxed);
        assert!(!poll.is_restarted(&responds), "the timeout ended the connection");
        assert!(poll.is_restarted(&Err(BitcoindError::NoCookie(Vec::new()))));
    }
}
