//! A chain thread and the ends of its channels.

use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use crossbeam_channel::{bounded, unbounded, Receiver, Sender};
use p2pool_chain::{export, Chain, ChainError, ChainSinks};
use p2pool_channels::{
    latest, InboxFull, LatestReceiver, LatestSender, NetworkSender, TemplateUpdate, ToChain, WorkSender,
};
use p2pool_core::config::Config;
use p2pool_core::node::Event;
use p2pool_core::sharechain::BestChain;
use p2pool_core::status::ChainStatus;
pub use p2pool_core::test_support::{anchor, params, solve, template};
use p2pool_core::units::UnixTime;
use p2pool_core::work::{Job, Template, WorkUpdate};

/// Nothing in these tests takes this long.
pub const TIMEOUT: Duration = Duration::from_secs(60);

/// A chain thread and the ends of its channels.
pub struct TestChain {
    pub to_chain: Sender<ToChain>,
    pub templates: LatestSender<TemplateUpdate>,
    pub work: LatestReceiver<WorkUpdate>,
    pub woken: Receiver<()>,
    pub status: Arc<ArcSwap<ChainStatus>>,
    clock: Cell<UnixTime>,
    pub thread: JoinHandle<Result<(), ChainError>>,
}

impl TestChain {
    /// Starts a solo node.
    pub fn start(dir: &Path) -> Self {
        Self::start_with(dir, NetworkSender::new(|_| Err(InboxFull)))
    }

    /// Starts a solo node that sends its network commands to `network`.
    pub fn start_with(dir: &Path, network: NetworkSender) -> Self {
        let (to_chain, inbox) = bounded(1_024);
        let (templates, updates) = latest();
        let (slot, work) = latest();
        let (wake, woken) = unbounded();
        let stratum = WorkSender::new(slot, Arc::new(move || wake.send(()).unwrap_or_default()));
        let sinks = ChainSinks { stratum, anchor: bounded(16).0, submit: bounded(16).0, network };
        let config = Config::for_tests(params(), dir);
        let chain = Chain::open(&config, false, inbox, updates, sinks).expect("opens");
        let status = chain.status();
        let thread = std::thread::spawn(move || chain.run());
        Self { to_chain, templates, work, woken, status, clock: Cell::new(UnixTime(0)), thread }
    }

    /// Sends the anchor and a template, and waits for the job.
    pub fn give_work(&self) -> Arc<Job> {
        let root = Some(Box::new(anchor()));
        self.send(Event::BestChain(BestChain { is_settled: true, root, headers: Vec::new() }));
        // Of a bitcoind whose clock is this machine's.
        let cur_time = UnixTime::from(SystemTime::now());
        self.templates.put(TemplateUpdate::Template(Arc::new(Template { cur_time, ..(*template()).clone() })));
        self.job()
    }

    pub fn send(&self, event: Event) {
        self.to_chain.send(event.into()).expect("the thread lives");
    }

    pub fn job(&self) -> Arc<Job> {
        loop {
            self.woken.recv_timeout(TIMEOUT).expect("work for the miners");
            match self.work.take() {
                Some(WorkUpdate::Job(job)) => return job,
                Some(other) => panic!("expected a job, got {other:?}"),
                None => {}
            }
        }
    }

    /// Mines a share on a job and waits for the job on top of it.
    ///
    /// Header times advance by at least a second per share, ahead of the clock, so that shares stay easy to find.
    pub fn mine(&self, job: &Arc<Job>) -> Arc<Job> {
        self.clock.set(job.time.max(self.clock.get().plus(1)));
        self.send(Event::ShareFound(solve(job, self.clock.get(), 9)));
        loop {
            let next = self.job();
            if next.info.share_height > job.info.share_height {
                return next;
            }
        }
    }

    pub fn stop(self) {
        self.end().expect("no error");
    }

    pub fn end(self) -> Result<(), ChainError> {
        self.to_chain.send(ToChain::Stop).expect("the thread lives");
        self.thread.join().expect("no panic")
    }
}

pub fn exported(dir: &Path) -> String {
    let mut out = Vec::new();
    export(dir, &params(), &mut out).expect("exports");
    String::from_utf8(out).expect("text")
}
