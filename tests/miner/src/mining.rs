//! The miner: search threads, and a loop that runs the session with the pool.

mod search;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bitcoin::hashes::Hash as _;
use bitcoin::BlockHash;
use crossbeam_channel::{bounded, select, unbounded, Receiver, Sender};
use serde_json::json;

use crate::session::{Error, Rejection, ServerMessage, Session, VERSION_MASK};
use search::{FoundSubmit, SearchTask, Searcher};

/// Capacity of the channel of found submits; searching pauses while it is full.
const FOUND_WAITING_MAX: usize = 64;
/// Largest number of submits that wait for a response; one without response only costs its entry.
const PENDING_MAX: usize = 1_000;
/// Wait before reconnecting, doubled after each failure up to the maximum.
const RECONNECT_WAIT_MIN: Duration = Duration::from_millis(250);
const RECONNECT_WAIT_MAX: Duration = Duration::from_secs(5);

/// Settings of the miner.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `host:port` of the pool.
    pub pool: String,
    pub worker: String,
    /// The worker's password, in which some pools take options such as `d=0.01`.
    pub password: String,
    pub user_agent: String,
    /// Number of search threads, at least one.
    pub threads: usize,
    /// Maximum hashes per second, all threads together; `None` for no limit.
    pub hash_rate_max: Option<u64>,
    /// Whether to roll version bits (BIP-0310).
    pub roll_version: bool,
    /// A difficulty to suggest to the pool.
    pub suggest_difficulty: Option<f64>,
    /// Ends after this many accepted blocks; `None` for never.
    pub blocks: Option<u64>,
}

/// An event of the miner, printed as a line.
#[derive(Clone, Debug)]
pub enum Event {
    /// With the pool's address.
    Connected(String),
    /// The connection ended or failed, with the reason; the miner reconnects.
    Disconnected(String),
    Difficulty(f64),
    /// A `client.show_message` of the pool.
    Message(String),
    Accepted(SentShare),
    Rejected(SentShare, Rejection),
}

/// A submit that was sent.
#[derive(Clone, Debug)]
pub struct SentShare {
    /// The header's hash, in internal byte order.
    pub hash: [u8; 32],
    /// The difficulty of its job.
    pub difficulty: f64,
    /// Whether it meets Bitcoin's target.
    pub is_block: bool,
}

/// Counts of submits by their result.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub accepted: u64,
    pub rejected: u64,
    /// Accepted submits that were Bitcoin blocks.
    pub blocks: u64,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connected(pool) => write!(f, "connected to {pool}"),
            Self::Disconnected(why) => write!(f, "not connected: {why}"),
            Self::Difficulty(difficulty) => write!(f, "difficulty {difficulty}"),
            Self::Message(text) => write!(f, "message from the pool: {text}"),
            Self::Accepted(share) => write!(f, "accepted {share}"),
            Self::Rejected(share, rejection) => write!(f, "rejected {share}: {rejection}"),
        }
    }
}

impl fmt::Display for SentShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_block { "block" } else { "share" };
        write!(f, "{kind} {}", BlockHash::from_byte_array(self.hash))
    }
}

/// Mines until [`Settings::blocks`] are accepted, or a message arrives on `stop` or its sender is dropped.
pub fn run(settings: &Settings, stop: &Receiver<()>, mut report: impl FnMut(&Event)) -> Totals {
    let (sender, found) = bounded(FOUND_WAITING_MAX);
    let tasks = start_searchers(settings, &sender);
    let mut miner = MinerLoop { settings, tasks, found, totals: Totals::default(), session_id: None };
    let mut wait = RECONNECT_WAIT_MIN;
    loop {
        match miner.mine(stop, &mut report) {
            Ok(()) => return miner.totals,
            Err(error) => report(&Event::Disconnected(error.to_string())),
        }
        miner.assign(None);
        wait = if miner.session_id.is_some() { RECONNECT_WAIT_MIN } else { (wait * 2).min(RECONNECT_WAIT_MAX) };
        if !matches!(stop.recv_timeout(wait), Err(error) if error.is_timeout()) {
            return miner.totals;
        }
    }
}

fn start_searchers(settings: &Settings, found: &Sender<FoundSubmit>) -> Vec<Sender<Option<Arc<SearchTask>>>> {
    let threads = settings.threads.max(1);
    let rate_max = settings.hash_rate_max.map(|rate| (rate / threads as u64).max(1));
    let start = |index| {
        let (sender, tasks) = unbounded();
        let searcher = Searcher { index: index as u64, stride: threads as u64, rate_max, tasks, found: found.clone() };
        // The thread ends when `sender` is dropped; it need not be joined.
        thread::spawn(move || searcher.run());
        sender
    };
    (0..threads).map(start).collect()
}

/// The session with the pool and the channels of the search threads.
struct MinerLoop<'a> {
    settings: &'a Settings,
    tasks: Vec<Sender<Option<Arc<SearchTask>>>>,
    found: Receiver<FoundSubmit>,
    totals: Totals,
    session_id: Option<String>,
}

impl MinerLoop<'_> {
    /// Runs one connection from start to end. `Ok` means that the miner is done.
    fn mine(&mut self, stop: &Receiver<()>, report: &mut impl FnMut(&Event)) -> Result<(), Error> {
        let resume = self.session_id.take();
        // Submits that were found but not sent are discarded: with the same extranonce they will be found again.
        self.found.try_iter().for_each(drop);
        let mut session = self.open(resume.as_deref())?;
        report(&Event::Connected(self.settings.pool.clone()));
        self.session_id = session.session_id().map(str::to_owned);
        let mut pending = HashMap::new();
        // Jobs may have been received while waiting for responses.
        while let Some(message) = session.next(Duration::ZERO)? {
            self.on_message(message, &session, &mut pending, report);
        }
        let incoming = session.channel().clone();
        while self.settings.blocks.is_none_or(|blocks| self.totals.blocks < blocks) {
            select! {
                recv(incoming) -> incoming => {
                    let incoming = incoming.map_err(|_| Error::Closed("the reader ended".to_owned()))?;
                    let message = session.take(incoming)?;
                    self.on_message(message, &session, &mut pending, report);
                }
                recv(self.found) -> found => if let Ok(found) = found {
                    // Submits for jobs of an earlier connection may have another extranonce.
                    if found.task.extranonce1 == session.extranonce1() {
                        let id = session.send_submit(&found.submit)?;
                        if pending.len() < PENDING_MAX {
                            pending.insert(id, found.share());
                        }
                    }
                },
                recv(stop) -> _ => return Ok(()),
            }
        }
        Ok(())
    }

    fn open(&self, resume: Option<&str>) -> Result<Session, Error> {
        let mut session = Session::connect(&self.settings.pool)?;
        if self.settings.roll_version {
            session.configure(VERSION_MASK)?;
        }
        session.subscribe(&self.settings.user_agent, resume)?;
        session.authorize(&self.settings.worker, &self.settings.password)?;
        if let Some(difficulty) = self.settings.suggest_difficulty {
            session.send("mining.suggest_difficulty", json!([difficulty]))?;
        }
        Ok(session)
    }

    fn on_message(
        &mut self,
        message: ServerMessage,
        session: &Session,
        pending: &mut HashMap<u64, SentShare>,
        report: &mut impl FnMut(&Event),
    ) {
        match message {
            ServerMessage::Job(job) => self.assign(Some(Arc::new(SearchTask::new(job, session)))),
            ServerMessage::Difficulty(difficulty) => report(&Event::Difficulty(difficulty)),
            ServerMessage::Message(text) => report(&Event::Message(text)),
            ServerMessage::Response(id, result) => {
                if let Some(share) = pending.remove(&id) {
                    report(&self.count(share, result.err()));
                }
            }
            ServerMessage::Other(_) => (),
        }
    }

    fn count(&mut self, share: SentShare, rejection: Option<Rejection>) -> Event {
        match rejection {
            None => {
                self.totals.accepted += 1;
                self.totals.blocks += u64::from(share.is_block);
                Event::Accepted(share)
            }
            Some(rejection) => {
                self.totals.rejected += 1;
                Event::Rejected(share, rejection)
            }
        }
    }

    fn assign(&self, task: Option<Arc<SearchTask>>) {
        for searcher in &self.tasks {
            // Searchers run for as long as this loop.
            drop(searcher.send(task.clone()));
        }
    }
}
