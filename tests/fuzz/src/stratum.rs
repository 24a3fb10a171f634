//! A miner's session with arbitrary bytes, events and times.
//!
//! An input is split at its zero bytes into scenes. The first byte of a scene determines what happens and in what pieces the
//! rest arrives: the low three bits are an `Event`, the others the length of a piece (0 for all at once).

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, LazyLock};

use bitcoin::hashes::Hash as _;
use bitcoin::BlockHash;
use p2pool_core::metrics::Metrics;
use p2pool_core::params::{ChainParams, Network};
use p2pool_core::share::coinbase::Payout;
use p2pool_core::share::{header_hash, PayoutScript, ShareId};
use p2pool_core::stratum::{
    ChainBusy, CloseReason, Difficulty, Limits, Session, SessionEvent, SessionSink, SharedState, Step,
};
use p2pool_core::units::{Bits, BlockHeight, Now, Sats, ShareHeight, SteadyTime, UnixTime, Work};
use p2pool_core::work::{
    make_job, Finder, FoundBlock, FoundShare, Job, JobId, NextShare, NoWork, Submit, Template, WorkUpdate,
};
use serde_json::value::RawValue;

/// The start time of a scenario.
const START: Now = Now { steady: SteadyTime::from_s(1), time: UnixTime(1_700_000_200) };
/// The extranonce1 of the first session.
const FIRST_EXTRANONCE: u32 = 0xa0b0_c0d0;
/// Half of all hashes meet it.
const EASIEST: Bits = Bits(0x207f_ffff);
/// The target of blocks, which one hash in 256 meets.
const BLOCK_BITS: Bits = Bits(0x2000_ffff);
/// Number of jobs in a scenario, after which there is no more work.
const JOBS_MAX: u8 = 12;
/// A response repeats at most a line of 8 KiB, in which escaping makes six bytes of one.
const RESPONSE_LEN_MAX: usize = 64 * 1_024;
/// Largest number of scenes, which bounds the time for an input of zeros.
const SCENES_MAX: usize = 200;

/// Words that miners send.
pub const WORDS: [&str; 30] = [
    "\n",
    "\r\n",
    "{",
    "}",
    "[",
    "]",
    "\"",
    ",",
    ":",
    "null",
    "true",
    "\\u0000",
    "\\ud800",
    "\"id\":1",
    "\"id\":{\"a\":[]}",
    "\"method\":\"mining.submit\"",
    "\"method\":\"mining.configure\"",
    "\"method\":\"mining.subscribe\"",
    "\"method\":\"mining.authorize\"",
    "\"method\":\"mining.suggest_difficulty\"",
    "\"params\":[]",
    "\"result\":true",
    "d=1e-9",
    "NaN",
    "1e400",
    "\"version-rolling\"",
    "\"version-rolling.mask\":\"ffffffff\"",
    "\"20000000\"",
    "\"00000000\"",
    "\0\x03",
];

/// The event at the beginning of a scene.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Nothing,
    /// A second passes.
    Second,
    /// Ten minutes pass.
    TenMinutes,
    /// Another job on the same Bitcoin block.
    Job,
    /// A job on another Bitcoin block.
    NewTip,
    /// Work is withdrawn.
    NoWork,
    /// The miner reconnects.
    Reconnect,
    /// The chain thread becomes busy, or is no longer busy.
    ChainBusy,
}

const EVENTS: [Event; 8] = [
    Event::Nothing,
    Event::Second,
    Event::TenMinutes,
    Event::Job,
    Event::NewTip,
    Event::NoWork,
    Event::Reconnect,
    Event::ChainBusy,
];

/// The outcome of an input: counts of messages to the miner, of reasons for closing sessions, and of shares and blocks.
pub type Outcome = BTreeMap<String, u32>;

/// The jobs of all scenarios. The index is the job's id, and every third job is on another Bitcoin block.
static JOBS: LazyLock<Vec<Arc<Job>>> = LazyLock::new(|| (0..JOBS_MAX).map(job).collect());

fn job(number: u8) -> Arc<Job> {
    let template = Arc::new(Template {
        version: 0x2000_0000,
        prev_block: BlockHash::from_byte_array([1 + number / 3; 32]),
        height: BlockHeight(500 + u32::from(number / 3)),
        bits: BLOCK_BITS,
        min_time: UnixTime(START.time.0 - 100),
        cur_time: START.time,
        response_s: 0,
        coinbase_value: Sats(5_000_000_000),
        transactions: Vec::new().into(),
        weight_limit: 4_000_000,
        sigops_limit: 80_000,
    });
    let script = PayoutScript::new(&[&[0x51, 0x20][..], &[number; 32]].concat()).expect("a P2TR script");
    let facts = NextShare {
        parent: ShareId([5; 32]),
        share_height: ShareHeight(1_000),
        parent_work: Work(123_456),
        min_time: template.min_time,
        ..NextShare::genesis(EASIEST, Finder::new(script))
    };
    let chain = ChainParams::standard(Network::Regtest);
    let all_to_one = |amount| vec![Payout { script, amount }];
    let job = make_job(JobId(number.into()), &chain, &template, &facts, START.time, all_to_one);
    Arc::new(job.expect("an empty template makes a job"))
}

/// Checks the submitted shares and blocks.
#[derive(Default)]
struct CheckingSink {
    seen: HashSet<[u8; 32]>,
    blocks: HashSet<[u8; 32]>,
    is_busy: bool,
    outcome: Outcome,
}

impl CheckingSink {
    fn count(&mut self, what: impl Into<String>) {
        *self.outcome.entry(what.into()).or_default() += 1;
    }
}

impl SessionSink for CheckingSink {
    fn submit_block(&mut self, block: FoundBlock) {
        assert_eq!(block.hash, header_hash(&block.header));
        assert!(block.job.block_target.is_met_by(&block.hash));
        block.job.block(&block.header, &block.extranonce).expect("the header belongs to the job and extranonce");
        assert!(self.blocks.insert(block.hash), "a block is submitted once");
        self.count("block");
    }

    fn submit_share(&mut self, share: FoundShare) -> Result<(), ChainBusy> {
        assert_eq!(share.hash, header_hash(&share.header));
        assert!(share.job.share_target.is_met_by(&share.hash));
        assert!(!self.seen.contains(&share.hash), "a share is submitted once");
        if self.is_busy {
            return Err(ChainBusy);
        }
        self.seen.insert(share.hash);
        self.count("share");
        Ok(())
    }

    fn report(&mut self, event: SessionEvent<'_>) {
        let (SessionEvent::Authorised { worker, user_agent }
        | SessionEvent::UnpaidAddress { worker, user_agent, .. }
        | SessionEvent::VersionBits { worker, user_agent, .. }
        | SessionEvent::CoinbaseTooLarge { worker, user_agent, .. }) = event;
        assert!(!worker.contains(char::is_control) && !user_agent.contains(char::is_control), "{event:?}");
        self.count("event");
    }
}

/// A session with its shared state.
struct Scenario {
    shared: SharedState,
    metrics: Arc<Metrics>,
    session: Session,
    now: Now,
    next_job: usize,
    sink: CheckingSink,
}

/// Runs the scenario of an input.
pub fn check(data: &[u8]) -> Outcome {
    let mut scenario = Scenario::new();
    for scene in data.split(|byte| *byte == 0).take(SCENES_MAX) {
        let Some((control, bytes)) = scene.split_first() else { continue };
        scenario.apply(EVENTS[usize::from(control % 8)]);
        match usize::from(control / 8) {
            0 => scenario.receive(bytes),
            piece => bytes.chunks(piece).for_each(|piece| scenario.receive(piece)),
        }
    }
    scenario.end()
}

impl Scenario {
    fn new() -> Self {
        let metrics = Arc::new(Metrics::default());
        let params = ChainParams::standard(Network::Regtest);
        let start_difficulty = Difficulty::new(1.0).expect("1 is a difficulty");
        let shared =
            SharedState::new(&params, start_difficulty, Limits::default(), FIRST_EXTRANONCE, Arc::clone(&metrics));
        let session = Session::new(&shared, START);
        Self { shared, metrics, session, now: START, next_job: 0, sink: CheckingSink::default() }
    }

    fn apply(&mut self, event: Event) {
        match event {
            Event::Nothing => {}
            Event::Second => self.pass(1),
            Event::TenMinutes => self.pass(600),
            Event::Job => self.announce(self.next_job),
            Event::NewTip => self.announce(self.next_job.div_ceil(3) * 3),
            Event::NoWork => self.fan_out(WorkUpdate::NoWork(NoWork::Syncing)),
            Event::Reconnect => self.reconnect(),
            Event::ChainBusy => self.sink.is_busy = !self.sink.is_busy,
        }
    }

    fn pass(&mut self, seconds: u32) {
        self.now = Now { steady: self.now.steady.plus(seconds), time: self.now.time.plus(seconds) };
        self.step(0, |session, step| session.on_tick(step));
    }

    fn announce(&mut self, number: usize) {
        match JOBS.get(number) {
            Some(job) => {
                self.next_job = number + 1;
                self.fan_out(WorkUpdate::Job(Arc::clone(job)));
            }
            None => self.fan_out(WorkUpdate::NoWork(NoWork::NoTemplate)),
        }
    }

    fn fan_out(&mut self, update: WorkUpdate) {
        let fanout = self.shared.update(update);
        self.step(0, |session, step| {
            session.on_fanout(fanout, step);
            Ok(())
        });
    }

    fn reconnect(&mut self) {
        let next = Session::new(&self.shared, self.now);
        std::mem::replace(&mut self.session, next).end(&mut self.shared);
    }

    fn receive(&mut self, bytes: &[u8]) {
        let lines = bytes.iter().filter(|byte| **byte == b'\n').count();
        self.step(lines, |session, step| session.on_bytes(bytes, step));
    }

    /// Steps the session and checks its output; the step completes at most `lines` lines.
    fn step(&mut self, lines: usize, act: impl FnOnce(&mut Session, &mut Step<'_>) -> Result<(), CloseReason>) {
        let mut out = Vec::new();
        let (before, accepted) = (self.sink.seen.len(), self.metrics.shares_accepted.get());
        let mut step = Step { shared: &mut self.shared, now: self.now, out: &mut out, sink: &mut self.sink };
        let result = act(&mut self.session, &mut step);
        let accepted = self.metrics.shares_accepted.get() - accepted;
        assert!(self.sink.seen.len() - before <= accepted as usize, "every submitted share is accepted");
        let responses = self.read(&out);
        assert!(responses <= lines, "{responses} responses to {lines} lines");
        if let Err(reason) = result {
            self.sink.count(format!("{reason:?}"));
            self.reconnect();
        }
    }

    /// Checks the output; returns the number of responses in it.
    fn read(&mut self, out: &[u8]) -> usize {
        let text = std::str::from_utf8(out).expect("text");
        assert!(text.is_empty() || text.ends_with('\n'), "complete lines");
        let mut responses = 0;
        for line in text.lines() {
            assert!(line.len() <= RESPONSE_LEN_MAX, "a line of {} bytes", line.len());
            // Only the syntax is checked: an id is echoed unchanged, even a number that is out of range.
            let parts: BTreeMap<&str, &RawValue> = serde_json::from_str(line).expect("a JSON object");
            match parts.get("method") {
                Some(method) => self.sink.count(method.get().trim_matches('"')),
                None => {
                    responses += 1;
                    assert!(["id", "result", "error"].iter().all(|part| parts.contains_key(part)), "{line}");
                    let error: Option<(u8, &str, ())> = serde_json::from_str(parts["error"].get()).expect("an error");
                    match error {
                        Some((code, _, ())) => self.sink.count(format!("error {code}")),
                        None => self.sink.count("result"),
                    }
                }
            }
        }
        responses
    }

    fn end(mut self) -> Outcome {
        for status in self.session.status(self.now.steady) {
            assert!(status.hashes_per_s.is_finite() && status.hashes_per_s >= 0.0);
            assert!(status.difficulty.is_finite() && status.best_difficulty >= 0.0);
        }
        self.session.end(&mut self.shared);
        let accepted = self.metrics.shares_accepted.get();
        self.sink.outcome.insert("accepted".to_owned(), u32::try_from(accepted).unwrap_or(u32::MAX));
        self.sink.outcome
    }
}

/// Honest miners that submit shares and blocks.
pub fn seeds() -> Vec<Vec<u8>> {
    let setup = concat!(
        r#"{"id":1,"method":"mining.configure","params":[["version-rolling","minimum-difficulty"],"#,
        r#"{"version-rolling.mask":"1fffe000","minimum-difficulty.value":1e-9}]}"#,
        "\n",
        r#"{"id":2,"method":"mining.subscribe","params":["bitaxe/BM1370/v2.4.5"]}"#,
        "\n",
        r#"{"id":3,"method":"mining.authorize","params":["bc1q.rig","d=1e-9"]}"#,
        "\n",
    );
    let submits: Vec<String> = (0..6).map(|nonce| submit_line(1, nonce, nonce % 2 == 1)).collect();
    let (fair, easy, late) = (submits.concat(), submit_block(1), submit_line(0, 7, false));
    // Events are given by their number: 3 is a job, 4 a new tip.
    let with_job = format!("\x03{}\0\x03{setup}", "");
    let scenario = |text: String| text.into_bytes();
    vec![
        scenario(format!("{with_job}{fair}")),
        scenario(format!("{with_job}{easy}{easy}{late}")),
        scenario(format!("{with_job}\0\x04{fair}\0\x05{fair}\0\x06{setup}\0\x07{fair}")),
        // In pieces of seven bytes; with pauses; without subscribe and authorize.
        scenario(format!("\x03\0\x3b{setup}{fair}")),
        scenario(format!("{with_job}\0\x01{fair}\0\x02\0\x02\0\x02")),
        scenario(format!("\x03\0\x03{fair}{easy}")),
        scenario(format!("\x03\0\x08{}", "{\"id\":1,\"method\":\"mining.ping\"}\n".repeat(3))),
        scenario(format!("\x08{}", "x\n".repeat(12))),
        scenario(format!("\x01{}", "y".repeat(9_000))),
        scenario(
            concat!(
                "\x03",
                r#"{"id":"a","method":"mining.suggest_difficulty","params":[0.5]}"#,
                "\n",
                r#"{"id":null,"method":"mining.extranonce.subscribe"}"#,
                "\n",
                r#"{"id":[1],"method":"client.get_version","params":{}}"#,
                "\n",
                r#"{"id":4,"method":"mining.subscribe","params":["NerdMiner/1","a0b0c0d0"]}"#,
                "\n",
                r#"{"id":5,"result":true,"error":null}"#,
                "\n",
            )
            .to_owned(),
        ),
    ]
}

/// A submit for a job by the session with the first extranonce.
fn submit_line(job: usize, nonce: u32, rolls: bool) -> String {
    let version = if rolls { r#","00002000""# } else { "" };
    let time = JOBS.get(job).map_or(0, |job| job.time.0);
    format!(
        "{{\"id\":{nonce},\"method\":\"mining.submit\",\"params\":[\"w\",\"{}\",\"0000000000000001\",\"{time:08x}\",\"{nonce:08x}\"{version}]}}\n",
        JobId(job as u64),
    )
}

/// A submit that is a Bitcoin block.
fn submit_block(job: usize) -> String {
    let target = JOBS[job].block_target;
    let mut extranonce = [0; 12];
    extranonce[..4].copy_from_slice(&FIRST_EXTRANONCE.to_be_bytes());
    extranonce[11] = 1;
    let submit = |nonce| Submit { extranonce, time: JOBS[job].time.0, nonce, version: JOBS[job].template.version };
    let nonce = (0..).find(|nonce| JOBS[job].hash_header(&submit(*nonce)).meets(&target)).unwrap_or(0);
    submit_line(job, nonce, false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mutate::{mutate, Rng};

    #[test]
    fn honest_miners_get_their_submits_accepted() {
        let seeds = seeds();
        let outcome = check(&seeds[0]);
        assert!(outcome["accepted"] >= 1 && outcome["share"] == outcome["accepted"], "{outcome:?}");
        assert!(outcome["mining.notify"] >= 1 && outcome["mining.set_difficulty"] >= 1, "{outcome:?}");
        assert_eq!(check(&seeds[1])["block"], 1, "the second one is a duplicate");
        assert_eq!(check(&seeds[3])["result"], outcome["result"], "the pieces do not matter");
    }

    #[test]
    fn mutated_sessions_reach_every_outcome_without_failure() {
        let (seeds, mut rng) = (seeds(), Rng::new(1));
        let mut met = Outcome::new();
        for _ in 0..20_000 {
            for (what, count) in check(&mutate(&seeds, &WORDS, &mut rng)) {
                *met.entry(what).or_default() += count;
            }
        }
        for expected in [
            "result",
            "error 20",
            "error 21",
            "error 22",
            "error 23",
            "error 24",
            "error 25",
            "share",
            "block",
            "accepted",
            "event",
            "LineTooLong",
            "InvalidLines",
            "NotAuthorised",
            "Idle",
            "mining.notify",
            "mining.set_difficulty",
            "client.show_message",
        ] {
            assert!(met.contains_key(expected), "{expected} not met, only {met:?}");
        }
    }
}
