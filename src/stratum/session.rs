//! The state machine of a miner's connection.

mod difficulty;
mod setup;
mod submit;
#[cfg(test)]
mod tests;
mod version_rolling;
mod workers;

use std::fmt;
use std::sync::Arc;

use super::extranonces::Extranonce1;
use super::label::display_name;
use super::limits::{INVALID_LINES_MAX, LINE_LEN_MAX};
use super::line::{LineBuffer, LineTooLong};
use super::reject::Reject;
use super::reply;
use super::request::{Line, RpcRequest};
use super::shared::{Fanout, SharedState};
use super::sink::{SessionEvent, SessionSink};
use super::user_agents::{firmware_for, Firmware};
use super::user_name::address_part;
use crate::status::MinerStatus;
use crate::token_bucket::{Rate, TokenBucket};
use crate::units::{Now, SteadyTime};
use crate::work::{Job, NoWork};
use difficulty::{SessionDifficulty, ShareHistory};
use version_rolling::VersionRolling;
use workers::{Worker, WorkerIndex, Workers};

/// The context of a session's step.
pub struct Step<'a> {
    pub shared: &'a mut SharedState,
    pub now: Now,
    /// Bytes for the miner are appended here.
    pub out: &'a mut Vec<u8>,
    pub sink: &'a mut dyn SessionSink,
}

/// Why the server closes a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// A line exceeded [`LINE_LEN_MAX`].
    LineTooLong,
    /// [`INVALID_LINES_MAX`] lines were not requests.
    InvalidLines,
    /// There was no authorize in time.
    NotAuthorised,
    /// The idle timeout expired.
    Idle,
    /// There is no work, so that the miner should use its backup pool.
    NoWork(NoWork),
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LineTooLong => write!(f, "a line exceeds {LINE_LEN_MAX} bytes"),
            Self::InvalidLines => write!(f, "{INVALID_LINES_MAX} lines are not requests"),
            Self::NotAuthorised => f.write_str("no authorize in time"),
            Self::Idle => f.write_str("idle for too long"),
            Self::NoWork(why) => write!(f, "no work: {}", why.text()),
        }
    }
}

impl From<LineTooLong> for CloseReason {
    fn from(LineTooLong: LineTooLong) -> Self {
        Self::LineTooLong
    }
}

/// A miner's connection.
#[derive(Debug)]
pub struct Session {
    opened: Now,
    lines: LineBuffer,
    invalid_lines: u32,
    last_line: SteadyTime,
    user_agent: Arc<str>,
    firmware: Firmware,
    extranonce1: Option<Extranonce1>,
    workers: Workers,
    version_rolling: VersionRolling,
    /// The version mask for which bits outside it were reported.
    reported_mask: Option<u32>,
    /// Subscribed and authorised, so that it gets jobs.
    is_working: bool,
    /// The number of jobs announced up to the last one that it got, or that was withheld from it.
    jobs_seen: u64,
    difficulty: SessionDifficulty,
    /// The rate limit of submits at the announced difficulty.
    submits_rate: Rate,
    submits: TokenBucket<SteadyTime>,
    coinbase_too_large: bool,
    /// When there was no work last.
    without_work_at: SteadyTime,
}

impl Session {
    pub fn new(shared: &SharedState, opened: Now) -> Self {
        Self {
            opened,
            lines: LineBuffer::default(),
            invalid_lines: 0,
            last_line: opened.steady,
            user_agent: "".into(),
            firmware: firmware_for(""),
            extranonce1: None,
            workers: Workers::new(opened.steady),
            version_rolling: VersionRolling::default(),
            reported_mask: None,
            is_working: false,
            jobs_seen: 0,
            difficulty: SessionDifficulty::new(shared.start_difficulty, opened.steady),
            submits_rate: shared.limits.submits,
            submits: TokenBucket::new(shared.limits.submits, opened.steady),
            coinbase_too_large: false,
            without_work_at: opened.steady,
        }
    }

    /// Processes received bytes.
    ///
    /// # Errors
    /// If the connection should be closed; the bytes in [`Step::out`] may still be sent.
    pub fn on_bytes(&mut self, bytes: &[u8], step: &mut Step<'_>) -> Result<(), CloseReason> {
        let mut lines = std::mem::take(&mut self.lines);
        let result = lines.feed(bytes, |line| self.on_line(line, step));
        self.lines = lines;
        result
    }

    /// Notifies the miner of a change of work, unless it started with this job after the job was announced.
    pub fn on_fanout(&mut self, fanout: Fanout, step: &mut Step<'_>) {
        if !self.is_working {
            return;
        }
        match fanout {
            Fanout::Job { .. } if self.jobs_seen == step.shared.jobs.next_sequence() => {}
            Fanout::Job { clean } => self.send_job(clean, step),
            Fanout::NoWork(why) => self.show(&no_work_text(why), step),
        }
    }

    /// Checks the timers; to be called about once a second.
    ///
    /// # Errors
    /// If the connection should be closed.
    pub fn on_tick(&mut self, step: &mut Step<'_>) -> Result<(), CloseReason> {
        let now = step.now.steady;
        if let Some(why) = step.shared.gate.closes() {
            return Err(CloseReason::NoWork(why));
        }
        if self.workers.is_empty() && now.since_ms(self.opened.steady) > step.shared.limits.authorize_ms {
            return Err(CloseReason::NotAuthorised);
        }
        if !self.is_working {
            return self.check_idle(step);
        }
        if step.shared.jobs.current().is_none() {
            // Without work, silence is no reason to close the session or to lower the difficulty.
            self.last_line = now;
            self.without_work_at = now;
            self.difficulty.pause(now);
            return Ok(());
        }
        if self.difficulty.on_tick(now) {
            self.difficulty.await_job_if_changed();
        }
        self.check_idle(step)
    }

    /// Releases the session's extranonce.
    pub fn end(self, shared: &mut SharedState) {
        if let Some(extranonce1) = self.extranonce1 {
            shared.extranonces.release(extranonce1);
        }
    }

    /// The published status of each worker that has authorized.
    pub fn status(&mut self, now: SteadyTime) -> impl Iterator<Item = MinerStatus> + '_ {
        let Self { opened, user_agent, coinbase_too_large, difficulty, without_work_at, .. } = &*self;
        let (user_agent, connected_since) = (Arc::clone(user_agent), opened.time);
        let (coinbase_too_large, able_since) = (*coinbase_too_large, *without_work_at);
        let difficulty = difficulty.announced().map_or(0.0, |difficulty| difficulty.get());
        self.workers.iter_mut().map(move |worker| MinerStatus {
            worker: Arc::clone(&worker.name),
            user_agent: Arc::clone(&user_agent),
            connected_since,
            difficulty,
            hashes_per_s: worker.stats.hashes_per_s(now),
            accepted: worker.stats.accepted,
            rejected: worker.stats.rejected,
            last_share: worker.stats.last_share,
            best_difficulty: worker.stats.best_difficulty,
            credited: worker.stats.credited,
            silent_s: worker.stats.activity(difficulty, able_since, now).silent_s(),
            named_address: worker.named_address,
            coinbase_too_large,
        })
    }

    /// The first worker's name, which may be empty; `None` until the session is authorised.
    pub fn worker(&self) -> Option<&Arc<str>> {
        self.workers.name(WorkerIndex::FIRST)
    }

    /// Bytes allocated for an incomplete line.
    #[cfg(test)]
    fn line_capacity(&self) -> usize {
        self.lines.capacity()
    }

    fn check_idle(&self, step: &Step<'_>) -> Result<(), CloseReason> {
        let idle_since = self.last_line.max(self.difficulty.effective_since());
        let mined_s = |until: SteadyTime| until.since_ms(self.opened.steady) as f64 / 1_000.0;
        let history = ShareHistory {
            credited: self.workers.credited(),
            mined_s: mined_s(step.now.steady),
            until_silence_s: mined_s(self.last_line),
        };
        let timeout_ms = self.difficulty.idle_timeout_ms(&step.shared.limits, history);
        match step.now.steady.since_ms(idle_since) > timeout_ms {
            true => Err(CloseReason::Idle),
            false => Ok(()),
        }
    }

    fn on_line(&mut self, line: &[u8], step: &mut Step<'_>) -> Result<(), CloseReason> {
        let line = line.trim_ascii();
        if line.is_empty() {
            return Ok(());
        }
        self.last_line = step.now.steady;
        match Line::parse(line) {
            Line::Request(request) => self.on_request(&request, step),
            Line::Response => {}
            Line::Invalid => {
                reply::error(step.out, "null", Reject::Malformed("not a JSON-RPC request"));
                self.invalid_lines += 1;
                if self.invalid_lines >= INVALID_LINES_MAX {
                    return Err(CloseReason::InvalidLines);
                }
            }
        }
        Ok(())
    }

    fn on_request(&mut self, request: &RpcRequest<'_>, step: &mut Step<'_>) {
        let RpcRequest { id, params, .. } = *request;
        match request.method.as_ref() {
            "mining.submit" => self.submit(id, params, step),
            "mining.configure" => self.configure(id, params, step),
            "mining.subscribe" => self.subscribe(id, params, step),
            "mining.authorize" => self.authorize(id, params, step),
            "mining.suggest_difficulty" => self.suggest_difficulty(id, params, step),
            // The extranonce never changes, so there will be no notifications.
            "mining.extranonce.subscribe" => reply::result(step.out, id, "true"),
            "mining.get_version" | "client.get_version" | "get_version" => {
                reply::result(step.out, id, concat!("\"p2pool/", env!("CARGO_PKG_VERSION"), "\""));
            }
            "mining.ping" | "ping" => reply::result(step.out, id, "\"pong\""),
            _ => reply::error(step.out, id, Reject::Malformed("unknown method")),
        }
    }

    /// Starts to send work, once subscribed and authorised.
    fn start(&mut self, step: &mut Step<'_>) {
        if self.is_working || self.extranonce1.is_none() || self.workers.is_empty() {
            return;
        }
        self.is_working = true;
        for worker in self.workers.iter() {
            self.report_worker(worker, step);
        }
        match step.shared.gate.why() {
            Some(why) => self.show(&no_work_text(why), step),
            None => self.send_job(true, step),
        }
    }

    /// Reports a new worker, and tells it if its name has an address that is not paid.
    fn report_worker(&self, worker: &Worker, step: &mut Step<'_>) {
        let (name, user_agent, named) = (display_name(&worker.name), &*self.user_agent, worker.named_address);
        step.sink.report(SessionEvent::Authorised { worker: name, user_agent });
        let Some(payee) = step.shared.payee.as_ref().filter(|_| named.is_unpaid()) else { return };
        let paid = Arc::clone(&payee.address);
        let fault = named.fault();
        self.show(&format!("Your user name has {fault}. This pool pays only {paid}. Use {paid}.name"), step);
        if step.shared.address_warnings.is_due(address_part(&worker.name)) {
            step.sink.report(SessionEvent::UnpaidAddress { worker: name, user_agent, fault, paid: &paid });
        }
    }

    /// Shows a text to the miner's operator, if the firmware bears messages.
    fn show(&self, text: &str, step: &mut Step<'_>) {
        if self.firmware.bears_messages {
            reply::show_message(step.out, text);
        }
    }

    /// Sends the current job, directly after the difficulty if that changed. Sends none whose coinbase would break the firmware.
    fn send_job(&mut self, clean: bool, step: &mut Step<'_>) {
        let Some(current) = step.shared.jobs.current() else { return };
        let (job, ceiling) = (Arc::clone(&current.job), current.ceiling);
        self.jobs_seen = step.shared.jobs.next_sequence();
        let is_withheld = self.firmware.is_len_strict && job.coinbase.len_bytes() > self.firmware.coinbase_len_max;
        if !is_withheld {
            let is_first = self.difficulty.announced().is_none();
            // The first difficulty also applies to earlier jobs, which the miner may know from before a reconnect.
            let from_job = if is_first { 0 } else { step.shared.jobs.next_sequence().saturating_sub(1) };
            if let Some(difficulty) = self.difficulty.on_job(ceiling, from_job, step.now.steady) {
                reply::set_difficulty(step.out, difficulty);
                self.limit_submits(step.shared.limits.submits_at(difficulty), step.now.steady);
            }
            job.write_notify(self.version_rolling.mask(), clean || is_first, step.out);
        }
        self.check_coinbase(&job, step);
    }

    /// Limits the rate of submits; an unchanged limit keeps its state.
    fn limit_submits(&mut self, rate: Rate, now: SteadyTime) {
        if rate != self.submits_rate {
            self.submits_rate = rate;
            self.submits = TokenBucket::new(rate, now);
        }
    }

    /// Warns the miner when the coinbase becomes too large for the firmware, and the operator once for each firmware.
    fn check_coinbase(&mut self, job: &Job, step: &mut Step<'_>) {
        let Firmware { id, coinbase_len_max: len_max, is_len_strict, .. } = self.firmware;
        let len = job.coinbase.len_bytes();
        let was_too_large = std::mem::replace(&mut self.coinbase_too_large, len > len_max);
        let (false, true, Some(worker)) = (was_too_large, self.coinbase_too_large, self.worker()) else { return };
        let consequence = match is_len_strict {
            true => "It gets no work while the coinbase is that large.",
            false => "This may be the reason if it finds no shares.",
        };
        let text =
            format!("The coinbase has {len} bytes; this firmware is known to support up to {len_max}. {consequence}");
        self.show(&text, step);
        if !step.shared.coinbase_warnings.is_due(id, job.info.outputs_class) {
            return;
        }
        let (worker, user_agent) = (display_name(worker), &*self.user_agent);
        let is_withheld = is_len_strict;
        step.sink.report(SessionEvent::CoinbaseTooLarge { worker, user_agent, len, len_max, is_withheld });
    }
}

/// The message for miners without work.
fn no_work_text(why: NoWork) -> String {
    let end = if why.is_final() { "" } else { " Mining will resume automatically." };
    format!("No work: {}.{end}", why.text())
}
