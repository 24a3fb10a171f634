//! A miner's connection: whatever bytes come, whenever, and whatever happens to the node meanwhile.
//!
//! An input is cut at its zero bytes into scenes. The first byte of a scene says what happens and in what pieces the rest
//! arrives: the low three bits are an `Event`, the others the length of a piece (0: all at once).

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, LazyLock};

use bitcoin::hashes::Hash as _;
use bitcoin::BlockHash;
use p2pool_core::metrics::Metrics;
use p2pool_core::params::{ChainParams, Network};
use p2pool_core::share::coinbase::Payout;
use p2pool_core::share::{header_hash, CoinbaseTag, PayoutScript, ShareId};
use p2pool_core::stratum::{
    ChainBusy, CloseReason, Difficulty, Limits, Now, Session, SessionEvent, SessionSink, SharedState, Step,
};
use p2pool_core::units::{Bits, BlockHeight, Sats, ShareHeight, UnixTime, Work};
use p2pool_core::work::{make_job, Job, JobId, NextShare, Submit, Template};
use p2pool_core::work::{FoundBlock, FoundShare, NoWork, WorkUpdate};
use serde_json::value::RawValue;

/// When the story begins.
const START: Now = Now { uptime_ms: 1_000, time: UnixTime(1_700_000_200) };
/// The extranonce that the first session gets.
const FIRST_EXTRANONCE: u32 = 0xa0b0_c0d0;
/// Half of all hashes meet it.
const EASIEST: Bits = Bits(0x207f_ffff);
/// One hash in 256 meets it: the target of blocks.
const BLOCK_BITS: Bits = Bits(0x2000_ffff);
/// Jobs that a story can come to; then there is no more work.
const JOBS_MAX: u8 = 12;
/// A line answers at most a line of 8 KiB; escaping makes a byte six.
const ANSWER_LEN_MAX: usize = 64 * 1_024;
/// Scenes looked at, so that an input of zeros does not take for ever.
const SCENES_MAX: usize = 200;

/// Words of miners.
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

/// What happens at the beginning of a scene.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    /// Nothing.
    Nothing,
    /// A second passes.
    Second,
    /// Ten minutes pass.
    TenMinutes,
    /// Another job on the same Bitcoin block.
    Job,
    /// A job on another Bitcoin block.
    NewTip,
    /// No work any more.
    NoWork,
    /// The miner connects anew.
    Reconnect,
    /// The chain thread takes no shares, or takes them again.
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

/// What came of an input: how often the miner was told what, how sessions ended and what left the node.
pub type Outcome = BTreeMap<String, u32>;

/// The jobs of all stories: the job's number is its place, and every third one is on another Bitcoin block.
static JOBS: LazyLock<Vec<Arc<Job>>> = LazyLock::new(|| (0..JOBS_MAX).map(job).collect());

fn job(number: u8) -> Arc<Job> {
    let template = Arc::new(Template {
        version: 0x2000_0000,
        prev_block: BlockHash::from_byte_array([1 + number / 3; 32]),
        height: BlockHeight(500 + u32::from(number / 3)),
        bits: BLOCK_BITS,
        min_time: UnixTime(START.time.0 - 100),
        cur_time: START.time,
        coinbase_value: Sats(5_000_000_000),
        transactions: Vec::new().into(),
        weight_limit: 4_000_000,
        sigops_limit: 80_000,
        signet_challenge: Vec::new(),
    });
    let script = PayoutScript::new(&[&[0x51, 0x20][..], &[number; 32]].concat()).expect("a P2TR script");
    let facts = NextShare {
        parent: ShareId([5; 32]),
        uncles: Vec::new(),
        share_height: ShareHeight(1_000),
        parent_work: Work(123_456),
        share_bits: EASIEST,
        payout_script: script,
        coinbase_tag: CoinbaseTag::default(),
        min_time: template.min_time,
    };
    let chain = ChainParams::standard(Network::Regtest);
    let all_to_one = |amount| vec![Payout { script, amount }];
    let job = make_job(JobId(number.into()), &chain, &template, &facts, START.time, all_to_one);
    Arc::new(job.expect("an empty template makes a job"))
}

/// Checks all that leaves the node.
#[derive(Default)]
struct Outbox {
    seen: HashSet<[u8; 32]>,
    blocks: HashSet<[u8; 32]>,
    is_busy: bool,
    outcome: Outcome,
}

impl Outbox {
    fn count(&mut self, what: impl Into<String>) {
        *self.outcome.entry(what.into()).or_default() += 1;
    }
}

impl SessionSink for Outbox {
    fn block(&mut self, block: FoundBlock) {
        assert_eq!(block.hash, header_hash(&block.header));
        assert!(block.job.block_target.is_met_by(&block.hash));
        block.job.block(&block.header, &block.extranonce).expect("the header is of this job and extranonce");
        assert!(self.blocks.insert(block.hash), "a block is handed over once");
        self.count("block");
    }

    fn share(&mut self, share: FoundShare) -> Result<(), ChainBusy> {
        assert_eq!(share.hash, header_hash(&share.header));
        assert!(share.job.share_target.is_met_by(&share.hash));
        assert!(!self.seen.contains(&share.hash), "a share is handed over once");
        if self.is_busy {
            return Err(ChainBusy);
        }
        self.seen.insert(share.hash);
        self.count("share");
        Ok(())
    }

    fn news(&mut self, news: SessionEvent<'_>) {
        let (SessionEvent::Authorised { worker, user_agent }
        | SessionEvent::CoinbaseTooLarge { worker, user_agent, .. }) = news;
        assert!(!worker.contains(char::is_control) && !user_agent.contains(char::is_control), "{news:?}");
        self.count("news");
    }
}

/// A pool with one miner.
struct Story {
    shared: SharedState,
    counters: Arc<Metrics>,
    session: Session,
    now: Now,
    next_job: usize,
    outbox: Outbox,
}

/// Plays an input.
pub fn check(data: &[u8]) -> Outcome {
    let mut story = Story::new();
    for scene in data.split(|byte| *byte == 0).take(SCENES_MAX) {
        let Some((control, bytes)) = scene.split_first() else { continue };
        story.happen(EVENTS[usize::from(control % 8)]);
        match usize::from(control / 8) {
            0 => story.receive(bytes),
            piece => bytes.chunks(piece).for_each(|piece| story.receive(piece)),
        }
    }
    story.end()
}

impl Story {
    fn new() -> Self {
        let counters = Arc::new(Metrics::default());
        let params = ChainParams::standard(Network::Regtest);
        let start_difficulty = Difficulty::new(1.0).expect("1 is a difficulty");
        let shared =
            SharedState::new(&params, start_difficulty, Limits::default(), FIRST_EXTRANONCE, Arc::clone(&counters));
        let session = Session::new(&shared, START);
        Self { shared, counters, session, now: START, next_job: 0, outbox: Outbox::default() }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Nothing => {}
            Event::Second => self.pass(1),
            Event::TenMinutes => self.pass(600),
            Event::Job => self.announce(self.next_job),
            Event::NewTip => self.announce(self.next_job.div_ceil(3) * 3),
            Event::NoWork => self.tell(WorkUpdate::NoWork(NoWork::Syncing)),
            Event::Reconnect => self.reconnect(),
            Event::ChainBusy => self.outbox.is_busy = !self.outbox.is_busy,
        }
    }

    fn pass(&mut self, seconds: u32) {
        self.now =
            Now { uptime_ms: self.now.uptime_ms + u64::from(seconds) * 1_000, time: self.now.time.plus(seconds) };
        self.step(0, |session, step| session.on_tick(step));
    }

    fn announce(&mut self, number: usize) {
        match JOBS.get(number) {
            Some(job) => {
                self.next_job = number + 1;
                self.tell(WorkUpdate::Job(Arc::clone(job)));
            }
            None => self.tell(WorkUpdate::NoWork(NoWork::NoTemplate)),
        }
    }

    fn tell(&mut self, message: WorkUpdate) {
        let fanout = self.shared.receive(message);
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

    /// Lets the session do something and checks what it writes; `lines` were completed by it at most.
    fn step(&mut self, lines: usize, act: impl FnOnce(&mut Session, &mut Step<'_>) -> Result<(), CloseReason>) {
        let mut out = Vec::new();
        let (before, accepted) = (self.outbox.seen.len(), self.counters.shares_accepted.get());
        let mut step = Step { shared: &mut self.shared, now: self.now, out: &mut out, sink: &mut self.outbox };
        let result = act(&mut self.session, &mut step);
        let accepted = self.counters.shares_accepted.get() - accepted;
        assert!(self.outbox.seen.len() - before <= accepted as usize, "every share handed over was accepted");
        let answers = self.read(&out);
        assert!(answers <= lines, "{answers} answers to {lines} lines");
        if let Err(close) = result {
            self.outbox.count(format!("{close:?}"));
            self.reconnect();
        }
    }

    /// Reads what the miner is sent; the number of answers in it.
    fn read(&mut self, out: &[u8]) -> usize {
        let text = std::str::from_utf8(out).expect("text");
        assert!(text.is_empty() || text.ends_with('\n'), "whole lines");
        let mut answers = 0;
        for line in text.lines() {
            assert!(line.len() <= ANSWER_LEN_MAX, "a line of {} bytes", line.len());
            // By grammar alone: an id is echoed as it came, even a number beyond all range.
            let parts: BTreeMap<&str, &RawValue> = serde_json::from_str(line).expect("a JSON object");
            match parts.get("method") {
                Some(method) => self.outbox.count(method.get().trim_matches('"')),
                None => {
                    answers += 1;
                    assert!(["id", "result", "error"].iter().all(|part| parts.contains_key(part)), "{line}");
                    let error: Option<(u8, &str, ())> = serde_json::from_str(parts["error"].get()).expect("an error");
                    match error {
                        Some((code, _, ())) => self.outbox.count(format!("error {code}")),
                        None => self.outbox.count("result"),
                    }
                }
            }
        }
        answers
    }

    fn end(mut self) -> Outcome {
        if let Some(status) = self.session.status(self.now) {
            assert!(status.hashes_per_s.is_finite() && status.hashes_per_s >= 0.0);
            assert!(status.difficulty.is_finite() && status.best_difficulty >= 0.0);
        }
        self.session.end(&mut self.shared);
        let accepted = self.counters.shares_accepted.get();
        self.outbox.outcome.insert("accepted".to_owned(), u32::try_from(accepted).unwrap_or(u32::MAX));
        self.outbox.outcome
    }
}

/// Honest miners, with answers that are worth something.
pub fn seeds() -> Vec<Vec<u8>> {
    let hello = concat!(
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
    // Events are written as their number: 3 is a job, 4 a new tip.
    let with_job = format!("\x03{}\0\x03{hello}", "");
    let story = |text: String| text.into_bytes();
    vec![
        story(format!("{with_job}{fair}")),
        story(format!("{with_job}{easy}{easy}{late}")),
        story(format!("{with_job}\0\x04{fair}\0\x05{fair}\0\x06{hello}\0\x07{fair}")),
        // In pieces of seven bytes; with pauses; without introduction.
        story(format!("\x03\0\x3b{hello}{fair}")),
        story(format!("{with_job}\0\x01{fair}\0\x02\0\x02\0\x02")),
        story(format!("\x03\0\x03{fair}{easy}")),
        story(format!("\x03\0\x08{}", "{\"id\":1,\"method\":\"mining.ping\"}\n".repeat(3))),
        story(format!("\x08{}", "x\n".repeat(12))),
        story(format!("\x01{}", "y".repeat(9_000))),
        story(
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

/// A submit to a job by the miner that got the first extranonce.
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
    let answer = |nonce| Submit { extranonce, time: JOBS[job].time.0, nonce, version: JOBS[job].version };
    let nonce = (0..).find(|nonce| JOBS[job].hash_header(&answer(*nonce)).meets(&target)).unwrap_or(0);
    submit_line(job, nonce, false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mutate::{mutate, Rng};

    #[test]
    fn honest_miners_get_what_they_are_due() {
        let seeds = seeds();
        let outcome = check(&seeds[0]);
        assert!(outcome["accepted"] >= 1 && outcome["share"] == outcome["accepted"], "{outcome:?}");
        assert!(outcome["mining.notify"] >= 1 && outcome["mining.set_difficulty"] >= 1, "{outcome:?}");
        assert_eq!(check(&seeds[1])["block"], 1, "the second time it is a duplicate");
        assert_eq!(check(&seeds[3])["result"], outcome["result"], "pieces make no difference");
    }

    #[test]
    fn mutated_sessions_meet_every_outcome_and_break_nothing() {
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
            "news",
            "LineTooLong",
            "Garbage",
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
