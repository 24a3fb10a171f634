//! A pool with one session or more, its clock, and all that comes out.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use crate::metrics::Metrics;
use crate::params::{ChainParams, Network};
use crate::stratum::extranonces::Extranonce1;
use crate::stratum::fixtures::{submit_params, JobSpec, JOB_TIME};
use crate::stratum::{
    ChainBusy, CloseReason, Difficulty, Limits, Now, Session, SessionEvent, SessionSink, SharedState, Step,
};
use crate::units::UnixTime;
use crate::work::{FoundBlock, FoundShare, NoWork, WorkUpdate};
use crate::work::{Job, Submit};

/// Keeps everything that leaves.
#[derive(Debug, Default)]
pub struct Outbox {
    pub blocks: Vec<FoundBlock>,
    pub shares: Vec<FoundShare>,
    pub news: Vec<String>,
    pub is_busy: bool,
}

impl SessionSink for Outbox {
    fn block(&mut self, block: FoundBlock) {
        self.blocks.push(block);
    }

    fn share(&mut self, share: FoundShare) -> Result<(), ChainBusy> {
        if self.is_busy {
            return Err(ChainBusy);
        }
        self.shares.push(share);
        Ok(())
    }

    fn news(&mut self, news: SessionEvent<'_>) {
        self.news.push(format!("{news:?}"));
    }
}

pub struct Bench {
    pub shared: SharedState,
    pub counters: Arc<Metrics>,
    pub outbox: Outbox,
    pub now: Now,
    pub sessions: HashMap<&'static str, Session>,
}

impl Bench {
    pub fn new() -> Self {
        Self::with(Network::Regtest, 1.0)
    }

    pub fn with(network: Network, start_difficulty: f64) -> Self {
        let counters = Arc::new(Metrics::default());
        let start = Difficulty::new(start_difficulty).unwrap();
        let params = ChainParams::standard(network);
        Self {
            shared: SharedState::new(&params, start, Limits::default(), 0xa0b0_c0d0, Arc::clone(&counters)),
            counters,
            outbox: Outbox::default(),
            now: Now { uptime_ms: 5_000, time: JOB_TIME },
            sessions: HashMap::new(),
        }
    }

    /// Lets time pass without any timer being looked at.
    pub fn pass(&mut self, seconds: f64) {
        self.now.uptime_ms += (seconds * 1_000.0) as u64;
        self.now.time = UnixTime(JOB_TIME.0 + ((self.now.uptime_ms - 5_000) / 1_000) as u32);
    }

    /// Lets time pass, looking at timers each second; what the session wrote.
    pub fn tick_for(&mut self, name: &'static str, seconds: u32) -> Result<Vec<Value>, CloseReason> {
        let mut out = Vec::new();
        for _ in 0..seconds {
            self.pass(1.0);
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

    /// A session that is subscribed and authorised; what it was told meanwhile.
    pub fn worker(&mut self, name: &'static str) -> Vec<Value> {
        self.connect(name);
        let mut out = self.send(name, r#"{"id":1,"method":"mining.subscribe","params":["tester"]}"#);
        out.extend(self.send(name, &format!(r#"{{"id":2,"method":"mining.authorize","params":["{name}","x"]}}"#)));
        out
    }

    /// The same with a difficulty it suggests.
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
        step(session, &mut Step { shared: &mut self.shared, now: self.now, out, sink: &mut self.outbox })
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

    /// Calls a method; its result or its error's code and text.
    pub fn call(&mut self, name: &'static str, method: &str, params: &str) -> Result<Value, (u64, String)> {
        let answers = self.send(name, &format!(r#"{{"id":7,"method":"{method}","params":{params}}}"#));
        let answer = &answers[0];
        assert_eq!(answer["id"], 7);
        match &answer["error"] {
            Value::Null => Ok(answer["result"].clone()),
            error => {
                assert!(answer["result"].is_null() && error[2].is_null());
                Err((error[0].as_u64().unwrap(), error[1].as_str().unwrap().to_owned()))
            }
        }
    }

    /// Submits parameters; `Ok` if accepted, else the error's code.
    pub fn submit(&mut self, name: &'static str, params: &str) -> Result<(), u64> {
        self.call(name, "mining.submit", &format!("[{params}]")).map(|result| assert_eq!(result, true)).map_err(|e| e.0)
    }

    pub fn submit_answer(&mut self, name: &'static str, job: &Job, answer: &Submit) -> Result<(), u64> {
        self.submit(name, &submit_params(job, answer))
    }

    /// Announces a job to all sessions; what each was told.
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

    fn fan_out(&mut self, message: WorkUpdate) -> HashMap<&'static str, Vec<Value>> {
        let fanout = self.shared.receive(message);
        let names: Vec<&'static str> = self.sessions.keys().copied().collect();
        let told = names.into_iter().map(|name| {
            let mut out = Vec::new();
            self.with_session(name, &mut out, |session, step| session.on_fanout(fanout, step));
            (name, values(&out))
        });
        told.collect()
    }

    pub fn extranonce1(&mut self, name: &'static str) -> Extranonce1 {
        let result = self.call(name, "mining.subscribe", "[]").unwrap();
        u32::from_str_radix(result[1].as_str().unwrap(), 16).unwrap().to_be_bytes()
    }

    pub fn status(&mut self, name: &'static str) -> crate::status::MinerStatus {
        self.sessions.get_mut(name).unwrap().status(self.now).unwrap()
    }
}

pub fn values(out: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(out).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The methods, or "answer", of lines.
pub fn methods(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line["method"].as_str().unwrap_or("answer")).collect()
}

/// The difficulty that lines announce last.
pub fn difficulty(lines: &[Value]) -> Option<f64> {
    lines
        .iter()
        .rev()
        .find(|line| line["method"] == "mining.set_difficulty")
        .and_then(|line| line["params"][0].as_f64())
}
