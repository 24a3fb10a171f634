//! Decides when miners are refused and disconnected because there is no work for them.
//!
//! Firmware turns to its backup pool only when a connection fails, and returns as soon as any response contains
//! `mining.notify`, which every response to `mining.subscribe` does. So without work a connection is closed before it gets a
//! response. Open sessions are closed once there has been no valid work for the timeout, whatever the reason: syncing, or the
//! loss of a peer, often takes only a second, for which a farm should not reconnect.

use std::fmt;

use crate::status::NoWorkStatus;
use crate::units::{Now, SteadyTime, UnixTime};
use crate::work::{NoWork, NoWorkTimeout};

/// Shortest time without a new job after which the node is taken to hang. It makes one every 30 s.
const STALLED_S_MIN: u32 = 90;

/// Whether miners are let in.
#[derive(Debug)]
pub struct WorkGate {
    timeout: NoWorkTimeout,
    /// The first tick after the newest job.
    newest_job: Option<SteadyTime>,
    absence: Option<Absence>,
    reported: Stage,
}

/// The absence of work.
#[derive(Clone, Copy, Debug)]
struct Absence {
    why: NoWork,
    /// Known from the first tick on.
    since: Option<Since>,
    /// For how many seconds there was no valid work when this reason was given, until the next tick.
    age_s: Option<u32>,
    is_over_time: bool,
}

/// The moment from which the absence of work is counted.
#[derive(Clone, Copy, Debug)]
struct Since {
    at: SteadyTime,
    /// For how many seconds there was no valid work then.
    age_s: u32,
    /// When there was valid work last.
    time: UnixTime,
}

/// What happens to miners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Open,
    /// New connections are refused.
    Refusing,
    /// Sessions are closed too.
    Closed,
}

/// A change that the operator should see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GateReport {
    /// New connections are refused; sessions are closed after the timeout.
    Refusing { why: NoWork, timeout_s: u32 },
    /// Sessions are closed.
    Closed { why: NoWork, without_work_s: u32 },
    /// There is work.
    Open,
}

impl WorkGate {
    /// Starts before the first work.
    pub fn new(timeout: NoWorkTimeout) -> Self {
        let absence = Absence { why: NoWork::NoTemplateYet, since: None, age_s: Some(0), is_over_time: false };
        // There are no sessions yet, and other log lines say what the node waits for.
        let reported = if timeout == NoWorkTimeout::NEVER { Stage::Open } else { Stage::Closed };
        Self { timeout, newest_job: None, absence: Some(absence), reported }
    }

    /// Notes that there is a new job.
    pub(super) fn open(&mut self) {
        (self.absence, self.newest_job) = (None, None);
    }

    /// Notes that there is no work.
    pub(super) fn withdraw(&mut self, why: NoWork) {
        let age_s = match why {
            NoWork::NoTemplate => self.timeout.template_age_max_s(),
            _ => 0,
        };
        self.note_absence(why, age_s);
    }

    /// Notes that there has been no work for this time.
    fn note_absence(&mut self, why: NoWork, age_s: u32) {
        let before = self.absence.unwrap_or(Absence { why, since: None, age_s: None, is_over_time: false });
        self.absence = Some(Absence { why, age_s: before.age_s.max(Some(age_s)), ..before });
    }

    /// Why there is no work, if there is none.
    pub fn why(&self) -> Option<NoWork> {
        self.absence.map(|absence| absence.why)
    }

    /// Why new connections are refused, if they are.
    pub fn refuses(&self) -> Option<NoWork> {
        self.why().filter(|why| self.timeout != NoWorkTimeout::NEVER || why.is_final())
    }

    /// Why sessions are closed, if they are.
    pub fn closes(&self) -> Option<NoWork> {
        let absence = self.absence.filter(|absence| absence.is_over_time || absence.why.is_final())?;
        Some(absence.why)
    }

    /// Checks the timeout; to be called about once a second. Returns a change that should be logged.
    pub fn tick(&mut self, now: Now) -> Option<GateReport> {
        if self.absence.is_none() {
            let job_age_s = now.steady.since(*self.newest_job.get_or_insert(now.steady));
            let is_stalled = |timeout_s: u32| job_age_s >= timeout_s.max(STALLED_S_MIN);
            if self.timeout.seconds().is_some_and(is_stalled) {
                self.note_absence(NoWork::Stalled, job_age_s);
            }
        }
        let mut without_work_s = 0;
        if let Some(absence) = &mut self.absence {
            let age_s = absence.age_s.take();
            without_work_s = absence.since.map_or(0, |since| now.steady.since(since.at).saturating_add(since.age_s));
            if let Some(age_s) = age_s.filter(|age_s| absence.since.is_none() || *age_s > without_work_s) {
                absence.since = Some(Since { at: now.steady, age_s, time: now.time.minus(age_s) });
                without_work_s = age_s;
            }
            absence.is_over_time = self.timeout.seconds().is_some_and(|timeout_s| without_work_s >= timeout_s);
        }
        let (stage, report) = match (self.closes(), self.refuses(), self.timeout.seconds()) {
            (Some(why), _, _) => (Stage::Closed, GateReport::Closed { why, without_work_s }),
            (None, Some(why), Some(timeout_s)) => (Stage::Refusing, GateReport::Refusing { why, timeout_s }),
            _ => (Stage::Open, GateReport::Open),
        };
        // Before the first work all is closed in effect, and a template without a job changes nothing.
        let is_unchanged = self.reported == stage || (self.reported == Stage::Closed && stage == Stage::Refusing);
        if is_unchanged {
            return None;
        }
        self.reported = stage;
        Some(report)
    }

    /// The published status; `None` while there is work.
    pub fn status(&self) -> Option<NoWorkStatus> {
        let absence = self.absence?;
        let since = absence.since.map_or(UnixTime(0), |since| since.time);
        let (refuses, closes) = (self.refuses().is_some(), self.closes().is_some());
        Some(NoWorkStatus { why: absence.why, since, refuses, closes })
    }
}

impl fmt::Display for GateReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refusing { why, timeout_s } => write!(
                f,
                "no work for miners: {}; new connections refused, open ones closed if there is no work for {timeout_s} s",
                why.text()
            ),
            Self::Closed { why, without_work_s } => write!(
                f,
                "miners disconnected: no valid work for {without_work_s} s ({}); connections refused until there is work",
                why.text()
            ),
            Self::Open => f.write_str("work for miners available: connections accepted"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT_S: u32 = 90;
    const REFUSING: GateReport = GateReport::Refusing { why: NoWork::Syncing, timeout_s: TIMEOUT_S };

    /// A gate with its clock.
    struct Clocked {
        gate: WorkGate,
        now_s: u32,
    }

    impl Clocked {
        fn new(timeout_s: u32) -> Self {
            Self { gate: WorkGate::new(NoWorkTimeout::from_s(timeout_s)), now_s: 1_000 }
        }

        /// A gate that had work.
        fn open(timeout_s: u32) -> Self {
            let mut clocked = Self::new(timeout_s);
            clocked.gate.open();
            clocked.pass(1);
            clocked
        }

        /// Ticks once a second; returns the reports with the second of each.
        fn pass(&mut self, seconds: u32) -> Vec<(u32, GateReport)> {
            let ticks = (1..=seconds).filter_map(|second| {
                self.now_s += 1;
                let now = Now { steady: SteadyTime::from_s(self.now_s), time: UnixTime(1_700_000_000 + self.now_s) };
                Some((second, self.gate.tick(now)?))
            });
            ticks.collect()
        }
    }

    #[test]
    fn before_the_first_work_miners_are_refused() {
        let mut clocked = Clocked::new(TIMEOUT_S);
        assert_eq!(clocked.gate.refuses(), Some(NoWork::NoTemplateYet), "from the first moment on");
        assert_eq!(clocked.pass(300), []);
        clocked.gate.withdraw(NoWork::Syncing);
        assert_eq!((clocked.pass(1), clocked.gate.refuses()), (Vec::new(), Some(NoWork::Syncing)));
        clocked.gate.open();
        assert_eq!((clocked.gate.refuses(), clocked.gate.closes()), (None, None), "accepted with the first work");
        assert_eq!(clocked.pass(80), [(1, GateReport::Open)]);
    }

    #[test]
    fn sessions_have_a_grace_and_new_connections_have_none() {
        let mut clocked = Clocked::open(TIMEOUT_S);
        clocked.gate.withdraw(NoWork::Syncing);
        assert_eq!((clocked.gate.refuses(), clocked.gate.closes()), (Some(NoWork::Syncing), None));
        assert_eq!(clocked.pass(TIMEOUT_S), [(1, REFUSING)]);
        assert_eq!(clocked.gate.closes(), None);
        // Another reason does not restart the time.
        clocked.gate.withdraw(NoWork::NoPeers);
        let closed = GateReport::Closed { why: NoWork::NoPeers, without_work_s: TIMEOUT_S };
        assert_eq!((clocked.pass(1), clocked.gate.closes()), (vec![(1, closed)], Some(NoWork::NoPeers)));
        let status = clocked.gate.status().unwrap();
        assert_eq!((status.refuses, status.closes, status.since.0), (true, true, 1_700_001_002));
        // A reason that comes later changes nothing either.
        clocked.gate.withdraw(NoWork::BitcoindBehind);
        assert_eq!((clocked.pass(10), clocked.gate.closes()), (Vec::new(), Some(NoWork::BitcoindBehind)));
        clocked.gate.open();
        assert_eq!(clocked.gate.closes(), None);
        assert_eq!((clocked.pass(10), clocked.gate.status()), (vec![(1, GateReport::Open)], None));
    }

    #[test]
    fn a_moment_without_work_closes_no_session() {
        let mut clocked = Clocked::open(TIMEOUT_S);
        for _ in 0..100 {
            clocked.gate.withdraw(NoWork::Syncing);
            clocked.pass(TIMEOUT_S - 1);
            assert_eq!(clocked.gate.closes(), None);
            clocked.gate.open();
            clocked.pass(1);
        }
    }

    #[test]
    fn the_age_of_a_withdrawn_template_counts() {
        let mut clocked = Clocked::open(TIMEOUT_S);
        clocked.gate.withdraw(NoWork::NoTemplate);
        let closed = |without_work_s| GateReport::Closed { why: NoWork::NoTemplate, without_work_s };
        assert_eq!(clocked.pass(1), [(1, closed(90))]);
        // Templates are withdrawn after ten minutes at the latest.
        let mut clocked = Clocked::open(3_600);
        clocked.now_s = 10;
        clocked.gate.withdraw(NoWork::NoTemplate);
        let reports = clocked.pass(10_000);
        assert_eq!(reports.last(), Some(&(3_001, closed(3_600))), "{reports:?}");
    }

    #[test]
    fn a_node_that_makes_no_new_jobs_is_stalled() {
        for (timeout_s, stalled_s) in [(45, 90), (90, 90), (600, 600)] {
            let mut clocked = Clocked::open(timeout_s);
            for _ in 0..100 {
                assert_eq!(clocked.pass(30), [], "a job every 30 s");
                clocked.gate.open();
            }
            let closed = GateReport::Closed { why: NoWork::Stalled, without_work_s: stalled_s };
            assert_eq!(clocked.pass(stalled_s + 1), [(stalled_s + 1, closed)]);
            assert_eq!((clocked.gate.refuses(), clocked.gate.closes()), (Some(NoWork::Stalled), Some(NoWork::Stalled)));
            clocked.gate.open();
            assert_eq!(clocked.pass(1), [(1, GateReport::Open)]);
        }
        assert_eq!(Clocked::open(0).pass(10_000), []);
    }

    #[test]
    fn without_a_timeout_only_outdated_software_disconnects_miners() {
        let mut clocked = Clocked::new(0);
        for why in [NoWork::NoTemplateYet, NoWork::NoTemplate, NoWork::WrongNetwork, NoWork::Syncing] {
            clocked.gate.withdraw(why);
            assert_eq!(clocked.pass(1_000), []);
            assert_eq!((clocked.gate.refuses(), clocked.gate.closes()), (None, None), "{why:?}");
            assert!(clocked.gate.status().is_some_and(|status| !status.refuses));
        }
        for timeout_s in [0, TIMEOUT_S] {
            let mut clocked = Clocked::open(timeout_s);
            clocked.gate.withdraw(NoWork::Outdated);
            let all = (Some(NoWork::Outdated), Some(NoWork::Outdated));
            assert_eq!((clocked.gate.refuses(), clocked.gate.closes()), all);
            assert!(matches!(clocked.pass(1)[..], [(1, GateReport::Closed { .. })]));
        }
    }
}
