use super::*;
use crate::status::NoWorkStatus;
use crate::work::NoWork;

const START: UnixTime = UnixTime(1_700_000_000);

/// A roster with its clock.
struct Clocked {
    roster: WorkerRoster,
    now: UnixTime,
}

fn miner(name: &str, credited: f64, now: UnixTime) -> MinerStatus {
    let last_share = (credited > 0.0).then_some(now);
    MinerStatus { worker: name.into(), credited, last_share, hashes_per_s: credited, ..MinerStatus::for_tests() }
}

impl Clocked {
    fn new() -> Self {
        Self { roster: WorkerRoster::new([], START), now: START }
    }

    /// Takes a snapshot of these workers, with their credited work, every three seconds.
    fn run<'a>(&mut self, seconds: u32, workers: impl IntoIterator<Item = (&'a str, f64)> + Clone) {
        for _ in 0..seconds.div_ceil(3) {
            self.now = self.now.plus(3);
            let miners = workers.clone().into_iter().map(|(name, credited)| miner(name, credited, self.now)).collect();
            self.roster.update(&MinersStatus { miners, ..MinersStatus::default() }, self.now);
        }
    }

    /// Names of the workers that are gone, with whether each is a problem.
    fn gone(&self) -> Vec<(String, bool)> {
        self.roster.gone(self.now).into_iter().map(|gone| (gone.name.to_string(), gone.is_problem)).collect()
    }

    fn restart(&mut self, pause_s: u32) {
        let records: Vec<_> = self.roster.records().map(|(name, record)| (Arc::clone(name), record.clone())).collect();
        self.now = self.now.plus(pause_s);
        self.roster = WorkerRoster::new(records, self.now);
    }
}

#[test]
fn a_worker_that_leaves_is_gone_after_five_minutes_a_problem_for_a_day_and_listed_for_thirty() {
    let mut clocked = Clocked::new();
    clocked.run(900, [("stays", 5.0), ("leaves", 7.0)]);
    let left_at = clocked.now;
    clocked.run(297, [("stays", 5.0)]);
    assert_eq!(clocked.gone(), []);
    clocked.run(3, [("stays", 5.0)]);
    assert_eq!(clocked.gone(), [("leaves".to_owned(), true)]);
    let gone = &clocked.roster.gone(clocked.now)[0];
    assert_eq!((gone.gone_s, gone.record.last_seen, gone.record.hashes_per_s), (300, left_at, 7.0));
    clocked.run(RETIRED_AFTER_S - 303, [("stays", 5.0)]);
    assert_eq!(clocked.gone(), [("leaves".to_owned(), true)]);
    clocked.run(3, [("stays", 5.0)]);
    assert_eq!(clocked.gone(), [("leaves".to_owned(), false)]);
    clocked.now = left_at.plus(FORGOTTEN_AFTER_S - 3);
    clocked.run(3, [("stays", 5.0)]);
    assert_eq!(clocked.gone(), [("leaves".to_owned(), false)]);
    clocked.run(3, [("stays", 5.0)]);
    assert_eq!(clocked.gone(), []);
}

#[test]
fn a_worker_that_returns_is_not_gone() {
    let mut clocked = Clocked::new();
    clocked.run(900, [("one", 5.0)]);
    clocked.run(600, []);
    assert_eq!(clocked.gone().len(), 1);
    clocked.run(3, [("one", 0.0)]);
    assert_eq!(clocked.gone(), []);
    clocked.run(60, [("one", 2.0)]);
    let (_, record) = clocked.roster.records().next().unwrap();
    assert_eq!(record.work, 7.0, "of both sessions");
}

#[test]
fn a_worker_is_gone_although_the_clock_was_ahead_when_it_left() {
    let mut clocked = Clocked::new();
    clocked.run(900, [("leaves", 5.0)]);
    clocked.now = START.minus(12 * 3_600);
    clocked.run(300, []);
    assert_eq!(clocked.gone(), []);
    clocked.run(3, []);
    assert_eq!(clocked.gone(), [("leaves".to_owned(), true)]);
}

#[test]
fn workers_that_do_not_return_after_a_restart_are_gone() {
    let mut clocked = Clocked::new();
    clocked.run(900, [("returns", 5.0), ("does not", 7.0)]);
    clocked.restart(3_600);
    assert_eq!(clocked.gone(), [], "they have time to return");
    clocked.run(297, [("returns", 0.0)]);
    assert_eq!(clocked.gone(), []);
    clocked.run(3, [("returns", 0.0)]);
    assert_eq!(clocked.gone(), [("does not".to_owned(), true)]);
    assert_eq!(clocked.roster.gone(clocked.now)[0].gone_s, 3_900, "since it was seen");
}

#[test]
fn miners_that_are_refused_are_not_gone() {
    let mut clocked = Clocked::new();
    clocked.run(900, [("one", 5.0)]);
    let no_work = NoWorkStatus { why: NoWork::NoTemplate, since: clocked.now, refuses: true, closes: true };
    for _ in 0..1_000 {
        clocked.now = clocked.now.plus(3);
        let refused = MinersStatus { no_work: Some(no_work), ..MinersStatus::default() };
        clocked.roster.update(&refused, clocked.now);
    }
    assert_eq!(clocked.gone(), []);
    clocked.run(297, []);
    assert_eq!(clocked.gone(), [], "they need time to come home from their backup pools");
    clocked.run(3, []);
    assert_eq!(clocked.gone(), [("one".to_owned(), true)]);
}

#[test]
fn problems_come_first_and_then_the_strongest() {
    let mut clocked = Clocked::new();
    clocked.run(900, [("weak", 1.0), ("strong", 9.0), ("middle", 5.0)]);
    clocked.run(60, [("trial", 1_000.0)]);
    clocked.run(300, []);
    let names = ["strong", "middle", "weak"].map(|name| (name.to_owned(), true));
    assert_eq!(clocked.gone()[..3], names);
    assert_eq!(clocked.gone()[3..], [("trial".to_owned(), false)], "it was here for a minute");
}

#[test]
fn only_named_workers_with_accepted_work_are_remembered() {
    let mut clocked = Clocked::new();
    clocked.run(900, [("", 5.0), ("none", 0.0)]);
    assert_eq!(clocked.roster.records().count(), 0);
}

#[test]
fn a_flood_of_invented_names_displaces_no_real_worker() {
    let mut clocked = Clocked::new();
    let names: Vec<String> = (0..20).map(|number| format!("real-{number}")).collect();
    let real: Vec<(&str, f64)> = names.iter().map(|name| (name.as_str(), 100.0)).collect();
    clocked.run(900, real.clone());
    // A stranger with one submit under each of 5,000 names.
    for round in 0..50 {
        let invented: Vec<String> = (0..100).map(|number| format!("invented-{round}-{number}")).collect();
        let all = real.iter().copied().chain(invented.iter().map(|name| (name.as_str(), 1.0)));
        clocked.run(3, all.collect::<Vec<_>>());
        assert!(clocked.roster.records().count() <= WORKERS_MAX);
    }
    clocked.run(300, []);
    let gone = clocked.gone();
    assert_eq!(gone.len(), WORKERS_MAX);
    let problems = gone.iter().filter(|(_, is_problem)| *is_problem).count();
    assert_eq!(problems, 20, "invented names are no problems");
    assert!(gone.iter().take(20).all(|(name, _)| name.starts_with("real-")));
    // A new real worker finds room as soon as it has done more than they.
    clocked.run(3, [("new", 2.0)]);
    assert!(clocked.roster.records().any(|(name, _)| &**name == "new"));
    assert_eq!(clocked.roster.records().count(), WORKERS_MAX);
}

#[test]
fn too_many_stored_workers_are_cut_to_those_with_the_most_work() {
    let mut clocked = Clocked::new();
    clocked.run(3, [("model", 1.0)]);
    let (_, model) = clocked.roster.records().next().unwrap();
    let record = |number: usize| WorkerRecord { work: number as f64, ..model.clone() };
    let stored = (0..WORKERS_MAX + 50).map(|number| (format!("w{number}").into(), record(number)));
    let roster = WorkerRoster::new(stored, START);
    assert_eq!(roster.records().count(), WORKERS_MAX);
    assert!(roster.records().all(|(_, record)| record.work >= 50.0));
}

#[test]
fn a_clock_that_is_set_back_or_ahead_makes_nobody_gone_who_is_connected() {
    let mut clocked = Clocked::new();
    clocked.run(900, [("one", 5.0)]);
    for step in [-7_200_i64, 43_200, -86_400, 3_000_000] {
        clocked.now = UnixTime(u32::try_from(i64::from(clocked.now.0) + step).unwrap());
        clocked.run(3, [("one", 5.0)]);
        assert_eq!(clocked.gone(), [], "{step}");
    }
    let (_, record) = clocked.roster.records().next().unwrap();
    assert!(record.connected_s < 900 + 8 * SNAPSHOT_INTERVAL_S_MAX, "{}", record.connected_s);
}
