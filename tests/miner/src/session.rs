//! One connection to a pool, each step at the caller's will.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bitcoin::hex::FromHex as _;
use crossbeam_channel::Receiver;
use serde_json::{json, Value};
use thiserror::Error;

use crate::hasher::{hash_header, NonceSearch};
use crate::job::{Job, Submit};
use crate::target::Target;
use crate::wire::{Connection, Incoming};

/// For the answer to a request.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);
/// Bits that BIP-0320 leaves to miners.
pub const VERSION_MASK: u32 = 0x1fff_e000;
/// Messages kept for [`Session::messages`]; more are a pool gone mad.
const MESSAGES_MAX: usize = 100;

/// Why something was not to be had from the pool.
#[derive(Debug, Error)]
pub enum Error {
    /// The network said no.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The connection ended.
    #[error("connection ended: {0}")]
    Closed(String),
    /// Nothing came in time.
    #[error("no {0} in time")]
    Timeout(String),
    /// The pool answered with an error.
    #[error("refused: {0}")]
    Rejected(Rejection),
    /// The pool said something that Stratum does not provide for.
    #[error("the pool sent {0}")]
    Unexpected(String),
}

/// A Stratum error answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{code} {message}")]
pub struct Rejection {
    /// Its number.
    pub code: i64,
    /// Its text.
    pub message: String,
}

/// Something the pool sent.
#[derive(Clone, Debug, PartialEq)]
pub enum ServerMessage {
    /// Work.
    Job(Arc<Job>),
    /// The difficulty of jobs to come.
    Difficulty(f64),
    /// A text for the owner.
    Message(String),
    /// The answer to the request with this number.
    Response(u64, Result<Value, Rejection>),
    /// Another method.
    Other(Value),
}

/// One connection to a pool.
#[derive(Debug)]
pub struct Session {
    connection: Connection,
    incoming: Receiver<Incoming>,
    kept: VecDeque<ServerMessage>,
    next_id: u64,
    difficulty: f64,
    version_mask: u32,
    extranonce1: Vec<u8>,
    extranonce2_len: usize,
    session_id: Option<String>,
    worker: String,
    job: Option<Arc<Job>>,
    messages: Vec<String>,
}

impl Session {
    /// Connects to `host:port`; says nothing yet.
    pub fn connect(address: &str) -> Result<Self, Error> {
        let (connection, incoming) = Connection::open(address)?;
        Ok(Self {
            connection,
            incoming,
            kept: VecDeque::new(),
            next_id: 1,
            difficulty: 1.0,
            version_mask: 0,
            extranonce1: Vec::new(),
            extranonce2_len: 0,
            session_id: None,
            worker: String::new(),
            job: None,
            messages: Vec::new(),
        })
    }

    /// Connects, subscribes and authorizes: ready for jobs.
    pub fn open(address: &str, user_agent: &str, worker: &str, password: &str) -> Result<Self, Error> {
        let mut session = Self::connect(address)?;
        session.subscribe(user_agent, None)?;
        session.authorize(worker, password)?;
        Ok(session)
    }

    /// `mining.configure` with version rolling; returns the bits that both sides allow.
    pub fn configure(&mut self, mask: u32) -> Result<u32, Error> {
        let params = json!([["version-rolling"], {
            "version-rolling.mask": format!("{mask:08x}"),
            "version-rolling.min-bit-count": 2,
        }]);
        let result = self.call("mining.configure", params)?;
        let allowed = result["version-rolling.mask"].as_str().and_then(|hex| u32::from_str_radix(hex, 16).ok());
        self.version_mask = match result["version-rolling"].as_bool() {
            Some(true) => allowed.ok_or_else(|| Error::Unexpected(format!("no mask: {result}")))? & mask,
            _ => 0,
        };
        Ok(self.version_mask)
    }

    /// `mining.subscribe`, asking for an earlier session's extranonce if its id is given.
    pub fn subscribe(&mut self, user_agent: &str, resume: Option<&str>) -> Result<(), Error> {
        let mut params = vec![json!(user_agent)];
        params.extend(resume.map(|id| json!(id)));
        let result = self.call("mining.subscribe", Value::Array(params))?;
        let unexpected = || Error::Unexpected(format!("to mining.subscribe: {result}"));
        let extranonce1 = result[1].as_str().ok_or_else(unexpected)?;
        self.extranonce1 = Vec::from_hex(extranonce1).map_err(|_| unexpected())?;
        self.extranonce2_len = result[2].as_u64().and_then(|len| len.try_into().ok()).ok_or_else(unexpected)?;
        let subscriptions = result[0].as_array().into_iter().flatten();
        let mut ids = subscriptions.filter_map(|subscription| subscription[1].as_str());
        self.session_id = ids.next().map(str::to_owned);
        Ok(())
    }

    /// `mining.authorize`.
    pub fn authorize(&mut self, worker: &str, password: &str) -> Result<(), Error> {
        worker.clone_into(&mut self.worker);
        match self.call("mining.authorize", json!([worker, password]))? {
            Value::Bool(true) => Ok(()),
            other => Err(Error::Unexpected(format!("to mining.authorize: {other}"))),
        }
    }

    /// `mining.submit`, awaiting the verdict.
    pub fn submit(&mut self, submit: &Submit) -> Result<(), Error> {
        match self.call("mining.submit", submit.params(&self.worker.clone()))? {
            Value::Bool(true) => Ok(()),
            other => Err(Error::Unexpected(format!("to mining.submit: {other}"))),
        }
    }

    /// `mining.submit` without awaiting the verdict; returns the request's number.
    pub fn send_submit(&mut self, submit: &Submit) -> Result<u64, Error> {
        self.send("mining.submit", submit.params(&self.worker.clone()))
    }

    /// Sends a request and awaits its answer; what else comes meanwhile is kept for [`Self::next`].
    pub fn call(&mut self, method: &str, params: Value) -> Result<Value, Error> {
        let id = self.send(method, params)?;
        self.response(id, method)
    }

    /// Awaits the answer to request `id`, which called `method`.
    pub fn response(&mut self, id: u64, method: &str) -> Result<Value, Error> {
        let start = Instant::now();
        loop {
            let left = RESPONSE_TIMEOUT.saturating_sub(start.elapsed());
            match self.receive(left)? {
                Some(ServerMessage::Response(answered, result)) if answered == id => {
                    return result.map_err(Error::Rejected)
                }
                Some(other) => self.kept.push_back(other),
                None => return Err(Error::Timeout(format!("answer to {method}"))),
            }
        }
    }

    /// Sends a request; returns its number.
    pub fn send(&mut self, method: &str, params: Value) -> Result<u64, Error> {
        let id = self.next_id;
        self.next_id += 1;
        self.send_line(&json!({"id": id, "method": method, "params": params}).to_string())?;
        Ok(id)
    }

    /// Sends any line.
    pub fn send_line(&mut self, line: &str) -> Result<(), Error> {
        Ok(self.connection.send_line(line)?)
    }

    /// What came next, if anything came within `timeout`.
    pub fn next(&mut self, timeout: Duration) -> Result<Option<ServerMessage>, Error> {
        match self.kept.pop_front() {
            Some(message) => Ok(Some(message)),
            None => self.receive(timeout),
        }
    }

    /// Awaits a job that `wanted` accepts, the latest one first.
    pub fn wait_job(&mut self, timeout: Duration, wanted: impl Fn(&Job) -> bool) -> Result<Arc<Job>, Error> {
        let start = Instant::now();
        loop {
            if let Some(job) = self.job.as_ref().filter(|job| wanted(job)) {
                return Ok(job.clone());
            }
            let left = timeout.saturating_sub(start.elapsed());
            if left.is_zero() {
                return Err(Error::Timeout("job".to_owned()));
            }
            if let Some(message) = self.receive(left)? {
                // A job is remembered; only answers are worth keeping for later.
                self.kept.extend(Some(message).filter(|message| matches!(message, ServerMessage::Response(..))));
            }
        }
    }

    /// Searches for an answer to `job` whose hash pleases `wanted`, from the extranonce2 that counts `first`.
    ///
    /// The same arguments give the same answer. Goes on to the next extranonce2 after each 2^32 nonces.
    pub fn solve(&self, job: &Job, first: u64, wanted: impl Fn(&[u8; 32]) -> bool) -> (Submit, [u8; 32]) {
        for count in first.. {
            let mut submit = self.blank_submit(job, count);
            let search = NonceSearch::new(&job.header(&self.extranonce1, &submit));
            for nonce in 0..=u32::MAX {
                let hash = search.hash(nonce);
                if wanted(&hash) {
                    submit.nonce = nonce;
                    return (submit, hash);
                }
            }
        }
        unreachable!("extranonces do not run out in the life of a test")
    }

    /// As [`Self::solve`], for a hash that meets `target`.
    pub fn solve_for(&self, job: &Job, first: u64, target: &Target) -> (Submit, [u8; 32]) {
        self.solve(job, first, |hash| target.is_met_by(hash))
    }

    /// An answer with nonce 0, the job's time and the extranonce2 that counts `count`.
    pub fn blank_submit(&self, job: &Job, count: u64) -> Submit {
        let extranonce2 = extranonce2(count, self.extranonce2_len);
        Submit { job_id: job.id.clone(), extranonce2, time: job.time, nonce: 0, version_bits: None }
    }

    /// The hash that `answer` to `job` has in this session.
    pub fn hash(&self, job: &Job, submit: &Submit) -> [u8; 32] {
        hash_header(&job.header(&self.extranonce1, submit))
    }

    /// The newest job.
    pub fn job(&self) -> Option<&Arc<Job>> {
        self.job.as_ref()
    }

    /// The difficulty of jobs to come.
    pub fn difficulty(&self) -> f64 {
        self.difficulty
    }

    /// The pool's part of the extranonce.
    pub fn extranonce1(&self) -> &[u8] {
        &self.extranonce1
    }

    /// Length of the miner's part, in bytes.
    pub fn extranonce2_len(&self) -> usize {
        self.extranonce2_len
    }

    /// The name under which this session can be resumed.
    pub fn session_id(&self) -> Option<&str> {
        self.session_id.as_deref()
    }

    /// Texts for the owner so far.
    pub fn messages(&self) -> &[String] {
        &self.messages
    }

    /// Where what the pool sends arrives, for waiting on several things; give what comes to [`Self::take`].
    pub(crate) fn channel(&self) -> &Receiver<Incoming> {
        &self.incoming
    }

    /// Reads one thing that arrived.
    pub(crate) fn take(&mut self, incoming: Incoming) -> Result<ServerMessage, Error> {
        match incoming {
            Incoming::Message(message) => self.read(message),
            Incoming::Closed(why) => Err(Error::Closed(why)),
        }
    }

    fn receive(&mut self, timeout: Duration) -> Result<Option<ServerMessage>, Error> {
        match self.incoming.recv_timeout(timeout) {
            Ok(incoming) => self.take(incoming).map(Some),
            Err(error) if error.is_timeout() => Ok(None),
            Err(_) => Err(Error::Closed("before".to_owned())),
        }
    }

    fn read(&mut self, message: Value) -> Result<ServerMessage, Error> {
        let params = &message["params"];
        let unexpected = || Error::Unexpected(message.to_string());
        Ok(match message["method"].as_str() {
            None => ServerMessage::Response(message["id"].as_u64().ok_or_else(unexpected)?, read_result(&message)),
            Some("mining.notify") => {
                let job = Arc::new(Job::parse(params, self.difficulty, self.version_mask).ok_or_else(unexpected)?);
                self.job = Some(job.clone());
                ServerMessage::Job(job)
            }
            Some("mining.set_difficulty") => {
                self.difficulty = params[0].as_f64().ok_or_else(unexpected)?;
                ServerMessage::Difficulty(self.difficulty)
            }
            Some("mining.set_version_mask") => {
                let mask = params[0].as_str().and_then(|hex| u32::from_str_radix(hex, 16).ok());
                self.version_mask = mask.ok_or_else(unexpected)?;
                ServerMessage::Other(message)
            }
            Some("client.show_message") => {
                let text = params[0].as_str().ok_or_else(unexpected)?.to_owned();
                if self.messages.len() < MESSAGES_MAX {
                    self.messages.push(text.clone());
                }
                ServerMessage::Message(text)
            }
            Some(_) => ServerMessage::Other(message),
        })
    }
}

/// A count as an extranonce2 of `len` bytes, big-endian, its upper bytes cut or zero.
pub fn extranonce2(count: u64, len: usize) -> Vec<u8> {
    let bytes = count.to_be_bytes();
    let mut padded = vec![0; len.saturating_sub(bytes.len())];
    padded.extend_from_slice(&bytes[bytes.len().saturating_sub(len)..]);
    padded
}

fn read_result(message: &Value) -> Result<Value, Rejection> {
    match &message["error"] {
        Value::Null => Ok(message["result"].clone()),
        error => Err(Rejection {
            code: error[0].as_i64().unwrap_or_default(),
            message: error[1].as_str().unwrap_or_default().to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests;
