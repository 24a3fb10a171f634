//! One miner's connection as a state machine.

mod difficulty;
mod setup;
mod submit;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::extranonces::Extranonce1;
use super::label::display_name;
use super::limits::{GARBAGE_LINES_MAX, LINE_LEN_MAX};
use super::line::{LineBuffer, LineTooLong};
use super::reject::Reject;
use super::reply;
use super::request::{Line, RpcRequest};
use super::session_stats::SessionStats;
use super::shared::{Fanout, SessionEvent, SessionSink, SharedState};
use super::user_agents::{firmware_of, Firmware};
use super::Now;
use crate::status::MinerStatus;
use crate::token_bucket::TokenBucket;
use crate::work::NoWork;
use difficulty::{SessionDifficulty, ShareHistory};

/// What a step of a session works with.
pub struct Step<'a> {
    /// What all sessions share.
    pub shared: &'a mut SharedState,
    /// The moment.
    pub now: Now,
    /// Bytes for the miner are appended here.
    pub out: &'a mut Vec<u8>,
    /// Where blocks, shares and news go.
    pub sink: &'a mut dyn SessionSink,
}

/// Why a session is ended by this side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// A line longer than [`LINE_LEN_MAX`].
    LineTooLong,
    /// [`GARBAGE_LINES_MAX`] lines that were no requests.
    Garbage,
    /// No authorize in time.
    NotAuthorised,
    /// Silent for longer than its shares take.
    Idle,
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LineTooLong => write!(f, "a line of more than {LINE_LEN_MAX} bytes"),
            Self::Garbage => write!(f, "{GARBAGE_LINES_MAX} lines that are no requests"),
            Self::NotAuthorised => f.write_str("no authorize in time"),
            Self::Idle => f.write_str("silent for too long"),
        }
    }
}

impl From<LineTooLong> for CloseReason {
    fn from(LineTooLong: LineTooLong) -> Self {
        Self::LineTooLong
    }
}

/// One miner's connection.
#[derive(Debug)]
pub struct Session {
    opened: Now,
    lines: LineBuffer,
    garbage_lines: u32,
    last_line_ms: u64,
    user_agent: Arc<str>,
    firmware: Firmware,
    extranonce1: Option<Extranonce1>,
    worker: Option<Arc<str>>,
    /// Version bits the miner may roll (BIP-0310); none until it asks.
    version_mask: u32,
    /// Subscribed and authorised: gets jobs.
    is_working: bool,
    difficulty: SessionDifficulty,
    submits: TokenBucket<Duration>,
    stats: SessionStats,
    coinbase_too_large: bool,
}

impl Session {
    /// A connection that was opened at `opened`.
    pub fn new(shared: &SharedState, opened: Now) -> Self {
        Self {
            opened,
            lines: LineBuffer::default(),
            garbage_lines: 0,
            last_line_ms: opened.uptime_ms,
            user_agent: "".into(),
            firmware: firmware_of(""),
            extranonce1: None,
            worker: None,
            version_mask: 0,
            is_working: false,
            difficulty: SessionDifficulty::new(shared.start_difficulty, opened.uptime_ms),
            submits: TokenBucket::new(shared.limits.submits, Duration::from_millis(opened.uptime_ms)),
            stats: SessionStats::new(opened),
            coinbase_too_large: false,
        }
    }

    /// Takes in received bytes.
    ///
    /// # Errors
    /// If the connection should be closed; what was written for the miner may still be sent.
    pub fn on_bytes(&mut self, bytes: &[u8], step: &mut Step<'_>) -> Result<(), CloseReason> {
        let mut lines = std::mem::take(&mut self.lines);
        let result = lines.feed(bytes, |line| self.on_line(line, step));
        self.lines = lines;
        result
    }

    /// Takes in news for all.
    pub fn on_fanout(&mut self, fanout: Fanout, step: &mut Step<'_>) {
        if !self.is_working {
            return;
        }
        match fanout {
            Fanout::Job { clean } => self.send_job(clean, step),
            Fanout::NoWork(why) => reply::show_message(step.out, no_work_text(why)),
        }
    }

    /// Looks at the time; to be called about once a second.
    ///
    /// # Errors
    /// If the connection should be closed.
    pub fn on_tick(&mut self, step: &mut Step<'_>) -> Result<(), CloseReason> {
        let now_ms = step.now.uptime_ms;
        if self.worker.is_none() && step.now.since_ms(self.opened.uptime_ms) > step.shared.limits.authorize_ms {
            return Err(CloseReason::NotAuthorised);
        }
        if !self.is_working {
            return self.check_idle(step);
        }
        if step.shared.jobs.current().is_none() {
            // Who has no work cannot show any.
            self.last_line_ms = now_ms;
            self.difficulty.pause(now_ms);
            return Ok(());
        }
        if self.difficulty.on_tick(now_ms) {
            self.announce_difficulty(step);
        }
        self.check_idle(step)
    }

    /// Gives back what the session owned.
    pub fn end(self, shared: &mut SharedState) {
        if let Some(extranonce1) = self.extranonce1 {
            shared.extranonces.release(extranonce1);
        }
    }

    /// The session for onlookers; `None` until it is authorised.
    pub fn status(&mut self, now: Now) -> Option<MinerStatus> {
        Some(MinerStatus {
            worker: Arc::clone(self.worker.as_ref()?),
            user_agent: Arc::clone(&self.user_agent),
            connected_since: self.opened.time,
            difficulty: self.difficulty.announced().map_or(0.0, |difficulty| difficulty.get()),
            hashes_per_s: self.stats.hashes_per_s(now),
            accepted: self.stats.accepted,
            rejected: self.stats.rejected,
            last_share: self.stats.last_share,
            best_difficulty: self.stats.best,
            coinbase_too_large: self.coinbase_too_large,
        })
    }

    /// The name the session authorised with, which may be empty.
    pub fn worker(&self) -> Option<&Arc<str>> {
        self.worker.as_ref()
    }

    /// Bytes held of an unfinished line.
    #[cfg(test)]
    fn held_bytes(&self) -> usize {
        self.lines.capacity()
    }

    fn check_idle(&self, step: &Step<'_>) -> Result<(), CloseReason> {
        let since_ms = self.last_line_ms.max(self.difficulty.suited_ms());
        let mined_s = |until_ms: u64| until_ms.saturating_sub(self.opened.uptime_ms) as f64 / 1_000.0;
        let shown = ShareHistory {
            credited: self.stats.credited,
            mined_s: mined_s(step.now.uptime_ms),
            until_silence_s: mined_s(self.last_line_ms),
        };
        let allowed_ms = self.difficulty.silence_allowed_ms(&step.shared.limits, shown);
        match step.now.since_ms(since_ms) > allowed_ms {
            true => Err(CloseReason::Idle),
            false => Ok(()),
        }
    }

    fn on_line(&mut self, line: &[u8], step: &mut Step<'_>) -> Result<(), CloseReason> {
        let line = line.trim_ascii();
        if line.is_empty() {
            return Ok(());
        }
        self.last_line_ms = step.now.uptime_ms;
        match Line::read(line) {
            Line::Request(request) => self.on_request(&request, step),
            Line::Response => {}
            Line::Garbage => {
                reply::error(step.out, "null", Reject::Malformed("not a JSON-RPC request"));
                self.garbage_lines += 1;
                if self.garbage_lines >= GARBAGE_LINES_MAX {
                    return Err(CloseReason::Garbage);
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
            // The extranonce never changes, so there is nothing to subscribe to but silence.
            "mining.extranonce.subscribe" => reply::result(step.out, id, "true"),
            "mining.get_version" | "client.get_version" | "get_version" => {
                reply::result(step.out, id, concat!("\"p2pool/", env!("CARGO_PKG_VERSION"), "\""));
            }
            "mining.ping" | "ping" => reply::result(step.out, id, "\"pong\""),
            _ => reply::error(step.out, id, Reject::Malformed("unknown method")),
        }
    }

    /// Begins to work once subscribed and authorised.
    fn start(&mut self, step: &mut Step<'_>) {
        let (false, Some(_), Some(worker)) = (self.is_working, &self.extranonce1, &self.worker) else { return };
        self.is_working = true;
        step.sink.news(SessionEvent::Authorised { worker: display_name(worker), user_agent: &self.user_agent });
        match step.shared.no_work {
            Some(why) => reply::show_message(step.out, no_work_text(why)),
            None => self.send_job(true, step),
        }
    }

    /// Difficulty if it changed, then the job.
    fn send_job(&mut self, clean: bool, step: &mut Step<'_>) {
        let Some(current) = step.shared.jobs.current() else { return };
        let job = Arc::clone(&current.job);
        let is_first = self.difficulty.announced().is_none();
        // The first difficulty also holds for earlier jobs, which the session may know from before a reconnect.
        let from_job = if is_first { 0 } else { step.shared.jobs.next_sequence().saturating_sub(1) };
        if let Some(difficulty) = self.difficulty.on_job(current.ceiling, from_job, step.now.uptime_ms) {
            reply::set_difficulty(step.out, difficulty);
        }
        step.out.extend_from_slice(job.notify_line(clean || is_first).as_bytes());
        self.look_at_coinbase(job.coinbase.len_bytes(), step);
    }

    /// Announces the difficulty before its job comes; it binds from that job on.
    fn announce_difficulty(&mut self, step: &mut Step<'_>) {
        let (true, Some(current)) = (self.is_working, step.shared.jobs.current()) else { return };
        if let Some(difficulty) = self.difficulty.announce(current.ceiling, step.shared.jobs.next_sequence()) {
            reply::set_difficulty(step.out, difficulty);
        }
    }

    /// Tells everybody once when the coinbase has become too large for the firmware.
    fn look_at_coinbase(&mut self, len: usize, step: &mut Step<'_>) {
        let len_max = self.firmware.coinbase_len_max;
        let was_too_large = std::mem::replace(&mut self.coinbase_too_large, len > len_max);
        let (false, true, Some(worker)) = (was_too_large, self.coinbase_too_large, &self.worker) else { return };
        let text = format!(
            "The coinbase has {len} bytes; this firmware is known to work up to {len_max}. If it finds no shares, this is why."
        );
        reply::show_message(step.out, &text);
        let (worker, user_agent) = (display_name(worker), &*self.user_agent);
        step.sink.news(SessionEvent::CoinbaseTooLarge { worker, user_agent, len, len_max });
    }
}

const fn no_work_text(why: NoWork) -> &'static str {
    match why {
        NoWork::NoTemplate => "No work: the pool's bitcoind has given none for too long. Work resumes by itself.",
        NoWork::BitcoindBehind => "No work: the pool's bitcoind is behind the pool. Work resumes by itself.",
        NoWork::NoPeers => {
            "No work: the pool looks for its other nodes first, for a minute at most. Work resumes by itself."
        }
        NoWork::Syncing => "No work: the pool is catching up with its peers. Work resumes by itself.",
    }
}
