//! Sessions with their shared state, a clock and a recording sink.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use crate::config::Config;
use crate::metrics::Metrics;
use crate::params::{ChainParams, Network};
use crate::stratum::extranonces::Extranonce1;
use crate::stratum::fixtures::{submit_params, JobSpec, JOB_TIME};
use crate::stratum::{
    ChainBusy, CloseReason, Difficulty, Fanout, Limits, Session, SessionEvent, SessionSink, SharedState, Step,
};
use crate::units::{Now, SteadyTime};
use crate::work::{FoundBlock, FoundShare, Job, NoWork, Submit, WorkUpdate};

/// Records everything it is given.
#[derive(Debug, Default)]
pub struct RecordingSink {
    pub blocks: Vec<FoundBlock>,
    pub shares: Vec<FoundShare>,
    pub events: Vec<String>,
    pub is_busy: bool,
}

impl SessionSink for RecordingSink {
    fn submit_block(&mut self, block: FoundBlock) {
        self.blocks.push(block);
    }

    fn submit_share(&mut self, share: FoundShare) -> Result<(), ChainBusy> {
        if self.is_busy {
            return Err(ChainBusy);
        }
        self.shares.push(share);
        Ok(())
    }

    fn report(&mut self, event: SessionEvent<'_>) {
        self.events.push(format!("{event:?}"));
    }
}

/// The time at which the tests start.
const START: SteadyTime = SteadyTime::from_s(5);

pub struct TestServer {
    pub shared: SharedState,
    pub metrics: Arc<Metrics>,
    pub sink: RecordingSink,
    pub now: Now,
    pub sessions: HashMap<&'static str, Session>,
}

impl TestServer {
    pub fn new() -> Self {
        Self::with(Network::Regtest, 1.0)
    }

    pub fn with(network: Network, start_difficulty: f64) -> Self {
        let metrics = Arc::new(Metrics::default());
        let start = Difficulty::new(start_difficulty).unwrap();
        let config = Config::for_tests(ChainParams::standard(network), "/nowhere");
        Self {
            shared: SharedState::new(&config.params, start, Limits::default(), 0xa0b0_c0d0, Arc::clone(&metrics))
                .with_config(&config),
            metrics,
            sink: RecordingSink::default(),
            now: Now { steady: START, time: JOB_TIME },
            sessions: HashMap::new(),
        }
    }

    /// Advances the clock without checking timers.
    pub fn pass(&mut self, seconds: f64) {
        self.now.steady = self.now.steady.plus_ms((seconds * 1_000.0) as u64);
        self.now.time = JOB_TIME.plus(self.now.steady.since(START));
    }

    /// Advances the clock, checking timers every second; returns what was sent to the session.
    pub fn tick_for(&mut self, name: &'static str, seconds: u32) -> Result<Vec<Value>, CloseReason> {
        let mut out = Vec::new();
        for _ in 0..seconds {
            self.pass(1.0);
            self.shared.gate.tick(self.now);
            self.with_session(name, &mut out, |session, step| session.on_tick(step))?;
        }
        Ok(values(&out))
    }

    pub fn connect(&mut self, name: &'static str) {
        let session = Session::new(&self.shared, self.now);
        self.sessions.insert(name, session);
    }

    pub fn disconnect(&mut self, name: &'static str) {
        self.sessions.remove(name).unwrap().end(&mut self.shared);
    }

    /// Creates a subscribed and authorised session; returns what was sent to it.
    pub fn worker(&mut self, name: &'static str) -> Vec<Value> {
        self.connect(name);
        let mut out = self.send(name, r#"{"id":1,"method":"mining.subscribe","params":["tester"]}"#);
        out.extend(self.send(name, &format!(r#"{{"id":2,"method":"mining.authorize","params":["{name}","x"]}}"#)));
        out
    }

    /// As [`Self::worker`], with a suggested difficulty.
    pub fn worker_at(&mut self, name: &'static str, difficulty: f64) {
        self.connect(name);
        self.call(name, "mining.suggest_difficulty", &format!("[{difficulty}]")).unwrap();
        self.call(name, "mining.subscribe", "[]").unwrap();
        self.call(name, "mining.authorize", r#"["w"]"#).unwrap();
    }

    pub fn with_session<R>(
        &mut self,
        name: &'static str,
        out: &mut Vec<u8>,
        step: impl FnOnce(&mut Session, &mut Step<'_>) -> R,
    ) -> R {
        let session = self.sessions.get_mut(name).unwrap();
        step(session, &mut Step { shared: &mut self.shared, now: self.now, out, sink: &mut self.sink })
    }

    pub fn bytes(&mut self, name: &'static str, bytes: &[u8]) -> (Vec<Value>, Result<(), CloseReason>) {
        let mut out = Vec::new();
        let result = self.with_session(name, &mut out, |session, step| session.on_bytes(bytes, step));
        (values(&out), result)
    }

    pub fn send(&mut self, name: &'static str, line: &str) -> Vec<Value> {
        let (out, result) = self.bytes(name, format!("{line}\n").as_bytes());
        assert_eq!(result, Ok(()), "{line}");
        out
    }

    /// Calls a method; returns the result, or the error's code and text.
    pub fn call(&mut self, name: &'static str, method: &str, params: &str) -> Result<Value, (u64, String)> {
        let responses = self.send(name, &format!(r#"{{"id":7,"method":"{method}","params":{params}}}"#));
        let response = &responses[0];
        assert_eq!(response["id"], 7);
        match &response["error"] {
            Value::Null => Ok(response["result"].clone()),
            error => {
                assert!(response["result"].is_null() && error[2].is_null());
                Err((error[0].as_u64().unwrap(), error[1].as_str().unwrap().to_owned()))
            }
        }
    }

    /// Sends a submit with these parameters; returns the error's code if it is rejected.
    pub fn submit(&mut self, name: &'static str, params: &str) -> Result<(), u64> {
        self.call(name, "mining.submit", &format!("[{params}]")).map(|result| assert_eq!(result, true)).map_err(|e| e.0)
    }

    pub fn send_submit(&mut self, name: &'static str, job: &Job, submit: &Submit) -> Result<(), u64> {
        self.submit(name, &submit_params(job, submit))
    }

    /// Sends a job to all sessions; returns what was sent to each.
    pub fn announce(&mut self, job: &Arc<Job>) -> HashMap<&'static str, Vec<Value>> {
        self.fan_out(WorkUpdate::Job(Arc::clone(job)))
    }

    pub fn job(&mut self, spec: JobSpec) -> Arc<Job> {
        let job = spec.make();
        self.announce(&job);
        job
    }

    pub fn withdraw(&mut self, why: NoWork) -> HashMap<&'static str, Vec<Value>> {
        self.fan_out(WorkUpdate::NoWork(why))
    }

    fn fan_out(&mut self, update: WorkUpdate) -> HashMap<&'static str, Vec<Value>> {
        let fanout = self.shared.update(update);
        self.deliver(fanout)
    }

    /// Notifies all sessions of a change of work.
    pub fn deliver(&mut self, fanout: Fanout) -> HashMap<&'static str, Vec<Value>> {
        let names: Vec<&'static str> = self.sessions.keys().copied().collect();
        let sent = names.into_iter().map(|name| {
            let mut out = Vec::new();
            self.with_session(name, &mut out, |session, step| session.on_fanout(fanout, step));
            (name, values(&out))
        });
        sent.collect()
    }

    pub fn extranonce1(&mut self, name: &'static str) -> Extranonce1 {
        let result = self.call(name, "mining.subscribe", "[]").unwrap();
        u32::from_str_radix(result[1].as_str().unwrap(), 16).unwrap().to_be_bytes()
    }

    /// The numbers of accepted and rejected submits of each of a session's workers.
    pub fn worker_counts(&mut self, name: &'static str) -> Vec<(String, u64, u64)> {
        let counts = |miner: crate::status::MinerStatus| {
            let rejected = miner.rejected.values().iter().copied().copied().sum();
            (miner.worker.to_string(), miner.accepted, rejected)
        };
        self.sessions.get_mut(name).unwrap().status(self.now.steady).map(counts).collect()
    }

    /// The status of a session's first worker.
    pub fn status(&mut self, name: &'static str) -> crate::status::MinerStatus {
        self.sessions.get_mut(name).unwrap().status(self.now.steady).next().unwrap()
    }
}

pub fn values(out: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(out).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The methods of lines, or "response".
pub fn methods(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line["method"].as_str().unwrap_or("response")).collect()
}

/// The last difficulty announced in lines.
pub fn difficulty(lines: &[Value]) -> Option<f64> {
    lines
        .iter()
        .rev()
        .find(|line| line["method"] == "mining.set_difficulty")
        .and_then(|line| line["params"][0].as_f64())
}
