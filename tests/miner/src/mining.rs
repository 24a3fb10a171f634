//! The miner: threads that search, one that talks.

mod search;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{bounded, select, unbounded, Receiver, Sender};
use serde_json::json;

use crate::session::{Error, Rejection, ServerMessage, Session, VERSION_MASK};
use search::{FoundSubmit, SearchTask, Searcher};

/// Answers found and not yet sent; then searching pauses.
const FOUND_WAITING_MAX: usize = 64;
/// Answers sent and not yet judged, at most; one that never comes costs its entry only.
const PENDING_MAX: usize = 1_000;
/// Before connecting again: doubled after each failure up to the maximum.
const RECONNECT_WAIT_MIN: Duration = Duration::from_millis(250);
const RECONNECT_WAIT_MAX: Duration = Duration::from_secs(5);

/// What to mine where.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `host:port` of the pool.
    pub pool: String,
    /// The worker's name.
    pub worker: String,
    /// Its password, where some pools take wishes such as `d=0.01`.
    pub password: String,
    /// What the miner calls itself.
    pub user_agent: String,
    /// Searching threads, at least one.
    pub threads: usize,
    /// Hashes a second in all; `None`: as fast as it goes.
    pub hash_rate_max: Option<u64>,
    /// Whether to roll version bits (BIP-0310).
    pub roll_version: bool,
    /// A difficulty to ask the pool for.
    pub suggest_difficulty: Option<f64>,
    /// Blocks after whose acceptance to end; `None`: never.
    pub blocks: Option<u64>,
}

/// Something worth a line.
#[derive(Clone, Debug)]
pub enum Event {
    /// The pool may be mined at.
    Connected(String),
    /// The connection ended or could not be made; the miner tries again.
    Disconnected(String),
    /// The pool set another difficulty.
    Difficulty(f64),
    /// The pool's text for the owner.
    Message(String),
    /// The pool took an answer.
    Accepted(SentShare),
    /// The pool refused an answer.
    Rejected(SentShare, Rejection),
}

/// An answer that was sent.
#[derive(Clone, Debug)]
pub struct SentShare {
    /// The header's hash, as the hash function gives it.
    pub hash: [u8; 32],
    /// Difficulty it was asked to meet.
    pub difficulty: f64,
    /// Whether it meets Bitcoin's own target.
    pub is_block: bool,
}

/// What became of the answers sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Taken by the pool.
    pub accepted: u64,
    /// Refused by the pool.
    pub rejected: u64,
    /// Taken, and Bitcoin blocks.
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
        write!(f, "{} ", if self.is_block { "block" } else { "share" })?;
        self.hash.iter().rev().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Mines until the wanted blocks are found or something comes by `stop` (or its sender is gone).
pub fn run(settings: &Settings, stop: &Receiver<()>, mut report: impl FnMut(&Event)) -> Totals {
    let (sender, found) = bounded(FOUND_WAITING_MAX);
    let tasks = start_searchers(settings, &sender);
    let mut miner = MinerLoop { settings, tasks, found, totals: Totals::default(), session_id: None };
    let mut wait = RECONNECT_WAIT_MIN;
    loop {
        match miner.talk(stop, &mut report) {
            Ok(()) => return miner.totals,
            Err(error) => report(&Event::Disconnected(error.to_string())),
        }
        miner.task(None);
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
        // Its end is the end of `sender`; there is nothing to join for.
        thread::spawn(move || searcher.run());
        sender
    };
    (0..threads).map(start).collect()
}

struct MinerLoop<'a> {
    settings: &'a Settings,
    tasks: Vec<Sender<Option<Arc<SearchTask>>>>,
    found: Receiver<FoundSubmit>,
    totals: Totals,
    session_id: Option<String>,
}

impl MinerLoop<'_> {
    /// One connection, from its start to its end. `Ok` means that the miner's work is done.
    fn talk(&mut self, stop: &Receiver<()>, report: &mut impl FnMut(&Event)) -> Result<(), Error> {
        let resume = self.session_id.take();
        // Found on the last connection and not sent: with the same extranonce all of it will be found again.
        self.found.try_iter().for_each(drop);
        let mut session = self.open(resume.as_deref())?;
        report(&Event::Connected(self.settings.pool.clone()));
        self.session_id = session.session_id().map(str::to_owned);
        let mut pending = HashMap::new();
        // Jobs may have come while requests were answered.
        while let Some(message) = session.next(Duration::ZERO)? {
            self.take(message, &session, &mut pending, report);
        }
        let incoming = session.channel().clone();
        while self.settings.blocks.is_none_or(|blocks| self.totals.blocks < blocks) {
            select! {
                recv(incoming) -> incoming => {
                    let incoming = incoming.map_err(|_| Error::Closed("by the reader".to_owned()))?;
                    let message = session.take(incoming)?;
                    self.take(message, &session, &mut pending, report);
                }
                recv(self.found) -> found => if let Ok(found) = found {
                    // An answer to a job of an earlier connection has another extranonce.
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

    fn take(
        &mut self,
        message: ServerMessage,
        session: &Session,
        pending: &mut HashMap<u64, SentShare>,
        report: &mut impl FnMut(&Event),
    ) {
        match message {
            ServerMessage::Job(job) => self.task(Some(Arc::new(SearchTask::new(job, session)))),
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

    fn task(&self, task: Option<Arc<SearchTask>>) {
        for searcher in &self.tasks {
            // A searcher ends only with this talker.
            drop(searcher.send(task.clone()));
        }
    }
}
