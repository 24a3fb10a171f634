//! The order in which threads are asked to stop, and how long each may take.

use std::time::{Duration, Instant};

use crate::threads::{End, Event, ThreadName, Threads};

/// From the first signal to the end of the process. systemd and people wait this long without worry.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// Until when each stage may take, counted from the start of the stop. Stratum's loop turns in milliseconds, but it
/// may have blocks in hand that the submit thread has had no time for.
pub const STRATUM_UNTIL: Duration = Duration::from_millis(2_500);
/// A block on its way gets most of the time: it is on disk already, but minutes lost on it are worth the most.
pub const SUBMIT_UNTIL: Duration = Duration::from_millis(4_000);
/// The chain has committed all it accepted; this is for the last group of shares on a slow SD card. The rest
/// up to [`STOP_TIMEOUT`] is for the process to end.
pub const CHAIN_UNTIL: Duration = Duration::from_millis(4_700);

/// One step: ask, then wait for the ends of some threads.
pub struct Stage {
    /// Asks threads to stop; must not block for long.
    pub ask: Box<dyn FnOnce()>,
    /// Those that the next stage must not begin before.
    pub wait_for: ThreadName,
    /// When to go on without them, counted from the start of the stop.
    pub until: Duration,
}

/// What was not as it should be.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Shortcomings {
    /// Threads that had not stopped in their time.
    pub late: Vec<ThreadName>,
    /// Threads that failed or panicked instead of finishing.
    pub failed: Vec<ThreadName>,
}

/// Goes through the stages. Returns in time whatever the threads do.
pub fn stop(threads: &mut Threads, stages: Vec<Stage>) -> Shortcomings {
    let started = Instant::now();
    let mut shortcomings = Shortcomings::default();
    for stage in stages {
        (stage.ask)();
        while threads.runs(stage.wait_for) {
            match threads.next_event(started + stage.until) {
                Some(Event::Ended(_, End::Finished) | Event::Signal(_)) => {}
                Some(Event::Ended(name, end)) => {
                    log::error!("thread {name} {end}");
                    shortcomings.failed.push(name);
                }
                None => {
                    log::warn!("thread {} has not stopped in time; going on without it", stage.wait_for);
                    shortcomings.late.push(stage.wait_for);
                    break;
                }
            }
        }
    }
    shortcomings
}

#[cfg(test)]
mod tests {
    use std::io;

    use crossbeam_channel::{unbounded, Sender};

    use super::*;

    /// A thread that works until asked to stop and then notes its name.
    fn obedient(threads: &mut Threads, name: ThreadName, notes: &Sender<ThreadName>) -> Stage {
        let (ask, asked) = unbounded::<()>();
        let notes = notes.clone();
        threads
            .spawn(name, move || {
                asked.recv().unwrap();
                notes.send(name).map_err(io::Error::other)
            })
            .unwrap();
        Stage { ask: Box::new(move || ask.send(()).unwrap()), wait_for: name, until: Duration::from_secs(20) }
    }

    #[test]
    fn one_after_the_other() {
        let (notes, order) = unbounded();
        let mut threads = Threads::new();
        let names = [ThreadName::Chain, ThreadName::Submit, ThreadName::Stratum];
        let mut stages: Vec<Stage> = names.into_iter().map(|name| obedient(&mut threads, name, &notes)).collect();
        stages.reverse();
        assert_eq!(stop(&mut threads, stages), Shortcomings::default());
        let stopped: Vec<ThreadName> = order.try_iter().collect();
        assert_eq!(stopped, [ThreadName::Stratum, ThreadName::Submit, ThreadName::Chain]);
    }

    #[test]
    fn a_late_thread_does_not_keep_the_others() {
        let (notes, order) = unbounded();
        let mut threads = Threads::new();
        let (release, held) = unbounded::<()>();
        threads
            .spawn(ThreadName::Submit, move || {
                held.recv().unwrap_err();
                Ok::<(), io::Error>(())
            })
            .unwrap();
        let late = Stage { ask: Box::new(|| ()), wait_for: ThreadName::Submit, until: Duration::from_millis(20) };
        let stages = vec![late, obedient(&mut threads, ThreadName::Chain, &notes)];
        let shortcomings = stop(&mut threads, stages);
        assert_eq!(shortcomings, Shortcomings { late: vec![ThreadName::Submit], failed: vec![] });
        assert_eq!(order.try_iter().collect::<Vec<_>>(), [ThreadName::Chain]);
        drop(release);
    }

    #[test]
    fn a_failure_while_stopping_is_reported() {
        let mut threads = Threads::new();
        threads.spawn(ThreadName::Chain, || Err(io::Error::other("disk full"))).unwrap();
        let stage = Stage { ask: Box::new(|| ()), wait_for: ThreadName::Chain, until: Duration::from_secs(20) };
        let shortcomings = stop(&mut threads, vec![stage]);
        assert_eq!(shortcomings, Shortcomings { late: vec![], failed: vec![ThreadName::Chain] });
    }

    #[test]
    fn the_stages_fit_the_time() {
        assert!(STRATUM_UNTIL < SUBMIT_UNTIL && SUBMIT_UNTIL < CHAIN_UNTIL && CHAIN_UNTIL < STOP_TIMEOUT);
    }
}
