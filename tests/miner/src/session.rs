//! A session with a pool, controlled step by step by the caller.

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

/// Timeout of a request.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);
/// Version bits that miners may roll (BIP-0320).
pub const VERSION_MASK: u32 = 0x1fff_e000;
/// Largest number of messages kept for [`Session::messages`].
const MESSAGES_MAX: usize = 100;

/// An error of the session.
#[derive(Debug, Error)]
pub enum Error {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("connection ended: {0}")]
    Closed(String),
    #[error("no {0} in time")]
    Timeout(String),
    /// The pool sent an error response.
    #[error("rejected: {0}")]
    Rejected(Rejection),
    /// The pool sent a message that Stratum does not define.
    #[error("unexpected message from the pool: {0}")]
    Unexpected(String),
}

/// The error of a Stratum response.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{code} {message}")]
pub struct Rejection {
    pub code: i64,
    pub message: String,
}

/// A message from the pool.
#[derive(Clone, Debug, PartialEq)]
pub enum ServerMessage {
    Job(Arc<Job>),
    /// The difficulty of later jobs.
    Difficulty(f64),
    /// A text for the miner's operator.
    Message(String),
    /// The response to the request with this id.
    Response(u64, Result<Value, Rejection>),
    /// A message with another method.
    Other(Value),
}

/// A session with a pool.
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
    /// Connects to `host:port` without sending anything.
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

    /// Connects, subscribes and authorizes.
    pub fn open(address: &str, user_agent: &str, worker: &str, password: &str) -> Result<Self, Error> {
        let mut session = Self::connect(address)?;
        session.subscribe(user_agent, None)?;
        session.authorize(worker, password)?;
        Ok(session)
    }

    /// `mining.configure` with version rolling; returns the mask that both sides allow.
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

    /// `mining.subscribe`; `resume` is the id of an earlier session whose extranonce is requested.
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

    /// `mining.submit`; waits for the response.
    pub fn submit(&mut self, submit: &Submit) -> Result<(), Error> {
        match self.call("mining.submit", submit.params(&self.worker.clone()))? {
            Value::Bool(true) => Ok(()),
            other => Err(Error::Unexpected(format!("to mining.submit: {other}"))),
        }
    }

    /// `mining.submit` without waiting for the response; returns the request id.
    pub fn send_submit(&mut self, submit: &Submit) -> Result<u64, Error> {
        self.send("mining.submit", submit.params(&self.worker.clone()))
    }

    /// Sends a request and waits for its response; other messages are kept for [`Self::next`].
    pub fn call(&mut self, method: &str, params: Value) -> Result<Value, Error> {
        let id = self.send(method, params)?;
        self.response(id, method)
    }

    /// Waits for the response to request `id`, which called `method`.
    pub fn response(&mut self, id: u64, method: &str) -> Result<Value, Error> {
        let start = Instant::now();
        loop {
            let left = RESPONSE_TIMEOUT.saturating_sub(start.elapsed());
            match self.receive(left)? {
                Some(ServerMessage::Response(request, result)) if request == id => {
                    return result.map_err(Error::Rejected)
                }
                Some(other) => self.kept.push_back(other),
                None => return Err(Error::Timeout(format!("response to {method}"))),
            }
        }
    }

    /// Sends a request; returns its id.
    pub fn send(&mut self, method: &str, params: Value) -> Result<u64, Error> {
        let id = self.next_id;
        self.next_id += 1;
        self.send_line(&json!({"id": id, "method": method, "params": params}).to_string())?;
        Ok(id)
    }

    /// Sends a line as it is.
    pub fn send_line(&mut self, line: &str) -> Result<(), Error> {
        Ok(self.connection.send_line(line)?)
    }

    /// The next message, if one arrives within `timeout`.
    pub fn next(&mut self, timeout: Duration) -> Result<Option<ServerMessage>, Error> {
        match self.kept.pop_front() {
            Some(message) => Ok(Some(message)),
            None => self.receive(timeout),
        }
    }

    /// Waits for a job that `wanted` accepts; the current job counts too.
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
                // The current job is stored anyway; only responses are kept.
                self.kept.extend(Some(message).filter(|message| matches!(message, ServerMessage::Response(..))));
            }
        }
    }

    /// Searches for a submit for `job` whose hash `wanted` accepts, from extranonce2 number `first` on.
    ///
    /// The result is deterministic. After 2^32 nonces the search continues with the next extranonce2.
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
        unreachable!("a test never exhausts the extranonces")
    }

    /// As [`Self::solve`], for a hash that meets `target`.
    pub fn solve_for(&self, job: &Job, first: u64, target: &Target) -> (Submit, [u8; 32]) {
        self.solve(job, first, |hash| target.is_met_by(hash))
    }

    /// A submit with nonce 0, the job's time and extranonce2 number `count`.
    pub fn blank_submit(&self, job: &Job, count: u64) -> Submit {
        let extranonce2 = extranonce2(count, self.extranonce2_len);
        Submit { job_id: job.id.clone(), extranonce2, time: job.time, nonce: 0, version_bits: None }
    }

    /// The header hash of a submit for `job` in this session.
    pub fn hash(&self, job: &Job, submit: &Submit) -> [u8; 32] {
        hash_header(&job.header(&self.extranonce1, submit))
    }

    /// The newest job.
    pub fn job(&self) -> Option<&Arc<Job>> {
        self.job.as_ref()
    }

    /// The difficulty of later jobs.
    pub fn difficulty(&self) -> f64 {
        self.difficulty
    }

    /// The pool's part of the extranonce.
    pub fn extranonce1(&self) -> &[u8] {
        &self.extranonce1
    }

    /// Length of the miner's part of the extranonce in bytes.
    pub fn extranonce2_len(&self) -> usize {
        self.extranonce2_len
    }

    /// The id with which this session can be resumed.
    pub fn session_id(&self) -> Option<&str> {
        self.session_id.as_deref()
    }

    /// The `client.show_message` texts received so far.
    pub fn messages(&self) -> &[String] {
        &self.messages
    }

    /// The channel of received lines, for use in `select!`; pass what it yields to [`Self::take`].
    pub(crate) fn channel(&self) -> &Receiver<Incoming> {
        &self.incoming
    }

    /// Processes a received line.
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
            Err(_) => Err(Error::Closed("earlier".to_owned())),
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

/// A number as a big-endian extranonce2 of `len` bytes, truncated or zero-padded at the front.
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
