//! Processing a submit, from its line to its response, does not allocate once a session is running.

// Test code, helpers included.
#![allow(clippy::unwrap_used)]

mod allocations;
#[path = "../../src/stratum/fixtures.rs"]
mod fixtures;

use std::sync::Arc;

use allocations::allocations_of;
use crossbeam_channel::{bounded, Receiver, Sender};
use fixtures::{blank_submit, solve, submit_params, JobSpec, EASIEST, HARDEST, JOB_TIME};
use p2pool_core::metrics::Metrics;
use p2pool_core::params::{ChainParams, Network};
use p2pool_core::stratum::{ChainBusy, Difficulty, Limits, Session, SessionEvent, SessionSink, SharedState, Step};
use p2pool_core::units::{Now, SteadyTime};
use p2pool_core::work::{FoundBlock, FoundShare, HashedHeader, Job, Submit, WorkUpdate};

/// Number of submits measured of each kind.
const SUBMITS: u32 = 500;

/// The chain thread's inbox, as in the program.
struct Channel(Sender<FoundShare>);

impl SessionSink for Channel {
    fn submit_block(&mut self, _: FoundBlock) {}

    fn submit_share(&mut self, share: FoundShare) -> Result<(), ChainBusy> {
        self.0.try_send(share).map_err(|_| ChainBusy)
    }

    fn report(&mut self, _: SessionEvent<'_>) {}
}

struct Miner {
    shared: SharedState,
    session: Session,
    now: Now,
    out: Vec<u8>,
    sink: Channel,
    inbox: Receiver<FoundShare>,
    metrics: Arc<Metrics>,
}

impl Miner {
    fn new() -> Self {
        let params = ChainParams::standard(Network::Regtest);
        let start = Difficulty::new(1.0).unwrap();
        let metrics = Arc::new(Metrics::default());
        let shared = SharedState::new(&params, start, Limits::default(), 0, Arc::clone(&metrics));
        let now = Now { steady: SteadyTime::default(), time: JOB_TIME };
        let session = Session::new(&shared, now);
        let (sender, inbox) = bounded(1024);
        let mut miner = Self { shared, session, now, out: Vec::new(), sink: Channel(sender), inbox, metrics };
        miner.send(br#"{"id":1,"method":"mining.subscribe","params":["x"]}"#);
        // The submits are those of the second of two workers.
        miner.send(br#"{"id":2,"method":"mining.authorize","params":["another","x"]}"#);
        miner.send(br#"{"id":2,"method":"mining.authorize","params":["worker","x"]}"#);
        miner
    }

    fn send(&mut self, line: &[u8]) {
        self.out.clear();
        self.now.steady = self.now.steady.plus_ms(15);
        let Self { shared, session, now, out, sink, .. } = self;
        let mut step = Step { shared, now: *now, out, sink };
        session.on_bytes(line, &mut step).and_then(|()| session.on_bytes(b"\n", &mut step)).unwrap();
        // As the stratum thread does for each submit.
        self.metrics.submit_latency.observe(0.001);
    }

    fn announce(&mut self, spec: JobSpec) -> Arc<Job> {
        let job = spec.make();
        let fanout = self.shared.update(WorkUpdate::Job(Arc::clone(&job)));
        let Self { shared, session, now, out, sink, .. } = self;
        session.on_fanout(fanout, &mut Step { shared, now: *now, out, sink });
        job
    }
}

/// Lines with different submits for the job, all with hashes that are wanted.
fn lines(job: &Job, count: u32, wanted: impl Fn(&HashedHeader) -> bool) -> Vec<Vec<u8>> {
    let mut found = blank_submit(job, [0; 4], 0);
    let mut next = || {
        found = solve(job, Submit { nonce: found.nonce + 1, ..found }, &wanted);
        format!(r#"{{"params":[{}],"id":77,"method":"mining.submit"}}"#, submit_params(job, &found)).into_bytes()
    };
    (0..count).map(|_| next()).collect()
}

/// Sends the lines. Each must get the expected response, and only the first may allocate. Returns the number of shares.
fn sends_without_allocating(miner: &mut Miner, lines: &[Vec<u8>], expected: &str) -> usize {
    let mut shares = 0;
    for (index, line) in lines.iter().enumerate() {
        let allocations = allocations_of(|| {
            miner.send(line);
            shares += miner.inbox.try_iter().count();
        });
        assert!(String::from_utf8_lossy(&miner.out).starts_with(expected), "{}", String::from_utf8_lossy(&miner.out));
        assert!(index == 0 || allocations == 0, "submit {index}, {expected}: {allocations} allocations");
    }
    shares
}

#[test]
fn submits_of_every_kind_do_not_allocate() {
    let mut miner = Miner::new();
    let accepted = r#"{"id":77,"result":true,"error":null}"#;
    let spec = JobSpec { share_bits: EASIEST, block_bits: HARDEST, payees: 1_000, ..JobSpec::default() };

    let job = miner.announce(spec);
    let shares = lines(&job, SUBMITS, |hashed| hashed.meets(&job.share_target));
    assert_eq!(sends_without_allocating(&mut miner, &shares, accepted), SUBMITS as usize);
    assert_eq!(sends_without_allocating(&mut miner, &shares, r#"{"id":77,"result":null,"error":[22"#), 0);
    // The announced difficulty is rounded down, so a hash that narrowly misses the share target may meet it.
    let announced = Difficulty::at_most(&job.share_target).target();
    let misses = lines(&job, SUBMITS, |hashed| !hashed.meets(&announced));
    assert_eq!(sends_without_allocating(&mut miner, &misses, r#"{"id":77,"result":null,"error":[23"#), 0);

    // Submits that meet the session's difficulty, but are not shares.
    let job = miner.announce(JobSpec { id: 2, share_bits: HARDEST, ..spec });
    miner.send(br#"{"id":3,"method":"mining.suggest_difficulty","params":[0.00001]}"#);
    let job = miner.announce(JobSpec { id: job.id.0 + 1, share_bits: HARDEST, payees: 47, ..spec });
    let floor = Difficulty::FLOOR.target();
    let work = lines(&job, 10, |hashed| hashed.meets(&floor));
    assert_eq!(sends_without_allocating(&mut miner, &work, accepted), 0);

    miner.announce(JobSpec { id: 4, tip: 2, ..spec });
    assert_eq!(sends_without_allocating(&mut miner, &work, r#"{"id":77,"result":null,"error":[21"#), 0);
}

#[test]
fn the_allocator_counts() {
    assert_eq!(allocations_of(|| drop(std::hint::black_box(vec![0u8; 100]))), 1);
    assert_eq!(allocations_of(|| ()), 0);
}
