//! Tests whether bitcoind would accept a block, before a block depends on it.
//!
//! Every few seconds the submit thread calls `submitblock` with nothing to submit. That shows whether bitcoind responds
//! while the long poll waits, whether it allows the method, and it keeps a connection open whose network is verified, so
//! that a found block is sent at once. On each new connection all other methods are tried as well: bitcoind may have been
//! restarted with another `-rpcwhitelist`.

use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use log::{debug, error, info};
use p2pool_core::status::{BitcoindError, SubmissionStatus};
use p2pool_core::units::UnixTime;
use serde::de::IgnoredAny;

use crate::client::{Client, ResponseLimits};
use crate::error::is_response;
use crate::long_poll::{LongPollWatch, Turn};
use crate::method::Method;
use crate::verified_client::VerifiedClient;

/// Time between two tests. A block is days away, and a long poll that starves requests does so for a minute.
const INTERVAL: Duration = Duration::from_secs(5);
/// Time before the next test after one that failed.
const RETRY_INTERVAL: Duration = Duration::from_secs(2);
/// Number of tests in a row without a response from which that is a fault and no hiccup.
const UNANSWERED_MAX: u32 = 2;
/// bitcoind's error code for a method that it does not have (its `rpc/protocol.h`: `RPC_METHOD_NOT_FOUND`).
const METHOD_NOT_FOUND: i64 = -32_601;

/// The tests and their published result.
#[derive(Debug)]
pub(crate) struct Readiness {
    url: String,
    watch: Arc<LongPollWatch>,
    pub(crate) published: Arc<ArcSwap<SubmissionStatus>>,
    /// When the next test is due.
    pub(crate) due: Instant,
    /// Number of the connection on which all methods were tried, and those that were refused.
    tried: Option<u64>,
    refused: Vec<Method>,
    /// Number of tests in a row without a response.
    unanswered: u32,
    /// The long poll that waited during the last test.
    last_turn: Option<Turn>,
    /// Whether the log has a line of a fault that lasts.
    is_reported: bool,
}

impl Readiness {
    pub(crate) fn new(url: &str, watch: Arc<LongPollWatch>, now: Instant) -> Self {
        Self {
            url: url.to_owned(),
            watch,
            published: Arc::default(),
            due: now,
            tried: None,
            refused: Vec::new(),
            unanswered: 0,
            last_turn: None,
            is_reported: false,
        }
    }

    /// Tests bitcoind. Returns whether it has become ready for blocks.
    pub(crate) fn test(&mut self, bitcoind: &mut VerifiedClient) -> bool {
        let was_ready = self.published.load().is_ready();
        let result = self.try_methods(bitcoind);
        let is_unanswered = matches!(result, Err(BitcoindError::NoResponse(_)));
        self.unanswered = if is_unanswered { self.unanswered.saturating_add(1) } else { 0 };
        self.due = Instant::now() + if result.is_ok() { INTERVAL } else { RETRY_INTERVAL };
        let is_hiccup = self.unanswered > 0 && self.unanswered < UNANSWERED_MAX;
        !is_hiccup && self.publish(result.err()) && !was_ready
    }

    /// Tries `submitblock`, and all methods on a new connection. A refused method is not tried again on the same
    /// connection, because bitcoind logs a warning each time.
    fn try_methods(&mut self, bitcoind: &mut VerifiedClient) -> Result<(), BitcoindError> {
        let allowed = Method::ALL.into_iter().find(|method| !self.refused.contains(method));
        let turn = self.watch.turn();
        let result = try_method(&mut bitcoind.client, allowed.unwrap_or(Method::SubmitBlock));
        self.note_response(&result, turn);
        let is_refused = matches!(result, Err(BitcoindError::Forbidden { .. }));
        if !is_refused {
            result?;
        }
        let connection = bitcoind.client.connections.load(Ordering::Relaxed);
        if self.tried != Some(connection) || (is_refused && allowed.is_some()) {
            self.tried = None;
            let mut refused = Vec::new();
            for method in Method::ALL {
                match try_method(&mut bitcoind.client, method) {
                    Ok(()) => {}
                    Err(BitcoindError::Forbidden { .. }) => refused.push(method),
                    Err(error) => return Err(error),
                }
            }
            self.refused = refused;
            self.tried = Some(bitcoind.client.connections.load(Ordering::Relaxed));
        }
        match bitcoind.verify_network() {
            // Among the refused methods.
            Err(BitcoindError::Forbidden { .. }) => Ok(()),
            result => result,
        }
    }

    /// Notes whether bitcoind has responded while a long poll waited, at `turn`.
    fn note_response(&mut self, result: &Result<(), BitcoindError>, turn: Turn) {
        let last_turn = self.last_turn.replace(turn);
        // It has waited since the last test at least, so bitcoind has begun with it.
        if !turn.is_waiting() || last_turn != Some(turn) || self.watch.turn() != turn {
            return;
        }
        match result {
            Ok(()) => self.watch.note_harmless(),
            Err(BitcoindError::NoResponse(_)) if self.unanswered + 1 >= UNANSWERED_MAX => self.watch.note_starving(),
            Err(_) => {}
        }
    }

    /// Publishes the result and logs what is new. Returns whether bitcoind is ready.
    fn publish(&mut self, error: Option<BitcoindError>) -> bool {
        let last = self.published.load_full();
        let refused: Vec<&str> = self.refused.iter().map(|method| method.name()).collect();
        let is_ready = refused.is_empty() && error.is_none();
        let since = if last.since.0 > 0 && last.is_ready() == is_ready { last.since } else { now() };
        if refused != last.refused && !refused.is_empty() {
            let example = BitcoindError::Forbidden { method: "", reason: String::new() };
            error!(
                "bitcoind at {} refuses methods (HTTP status 403): {}. {}",
                self.url,
                refused.join(", "),
                example.advice()
            );
            self.is_reported = true;
        }
        match &error {
            Some(error @ BitcoindError::NoResponse(_)) if last.error.is_none() => {
                error!("bitcoind at {} would accept no block now: it {error}. {}", self.url, error.advice());
                self.is_reported = true;
            }
            // The poll thread has the same error and logs it.
            Some(error) => debug!("bitcoind would accept no block now: it {error}"),
            None if is_ready && std::mem::take(&mut self.is_reported) => {
                info!("bitcoind at {} would accept blocks again", self.url);
            }
            None => {}
        }
        let status = SubmissionStatus { refused, error, since };
        if *last != status {
            self.published.store(Arc::new(status));
        }
        is_ready
    }
}

/// Calls a method only to see whether bitcoind responds and allows it.
fn try_method(client: &mut Client, method: Method) -> Result<(), BitcoindError> {
    match client.call::<IgnoredAny>(method, method.harmless_params(), ResponseLimits::TEST) {
        Err(error) if matches!(error, BitcoindError::Rpc { code: METHOD_NOT_FOUND, .. }) || !is_response(&error) => {
            Err(error)
        }
        _ => Ok(()),
    }
}

fn now() -> UnixTime {
    UnixTime::from(SystemTime::now())
}
