//! Stops threads one after the other, each within its time.

use std::time::{Duration, Instant};

use crate::threads::{MainEvent, ThreadExit, ThreadName, Threads};

/// Time from the first signal to the end of the process.
pub const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);
/// Deadline of the stratum thread, counted from the start of the shutdown. Its loop takes milliseconds, but blocks may
/// wait in it for the submit thread.
pub const STRATUM_DEADLINE: Duration = Duration::from_millis(2_500);
/// Deadline of the submit thread. It gets most of the time: a block is on disk already, but each minute lost may cost it
/// its place on the best chain.
pub const SUBMIT_DEADLINE: Duration = Duration::from_millis(4_000);
/// Deadline of the chain thread: it has to commit the last group of shares, perhaps to a slow SD card. The rest up to
/// [`SHUTDOWN_TIMEOUT`] is for the process to end.
pub const CHAIN_DEADLINE: Duration = Duration::from_millis(4_700);

/// A step of the shutdown: requests a stop, then waits for a thread.
pub struct Stage {
    /// Requests the stop; must not block for long.
    pub request_stop: Box<dyn FnOnce()>,
    /// Thread that must exit before the next stage.
    pub wait_for: ThreadName,
    /// When to continue without it, counted from the start of the shutdown.
    pub deadline: Duration,
}

/// What went wrong during the shutdown.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ShutdownReport {
    /// Threads that did not exit before their deadline.
    pub timed_out: Vec<ThreadName>,
    /// Threads that exited with an error or a panic.
    pub failed: Vec<ThreadName>,
}

/// Performs the stages. Returns at the last deadline at the latest.
pub fn run(threads: &mut Threads, stages: Vec<Stage>) -> ShutdownReport {
    let started = Instant::now();
    let mut report = ShutdownReport::default();
    for stage in stages {
        (stage.request_stop)();
        while threads.is_running(stage.wait_for) {
            match threads.next_event(started + stage.deadline) {
                Some(MainEvent::Exited(_, ThreadExit::Finished) | MainEvent::Signal(_)) => {}
                Some(MainEvent::Exited(name, exit)) => {
                    log::error!("thread {name} {exit}");
                    report.failed.push(name);
                }
                None => {
                    log::warn!("thread {} did not stop in time, continuing without it", stage.wait_for);
                    report.timed_out.push(stage.wait_for);
                    break;
                }
            }
        }
    }
    report
}

#[cfg(test)]
mod tests {
    use std::io;

    use crossbeam_channel::{unbounded, Sender};

    use super::*;

    /// Starts a thread that runs until asked to stop and then records its name.
    fn stoppable(threads: &mut Threads, name: ThreadName, stopped: &Sender<ThreadName>) -> Stage {
        let (stop, stop_requested) = unbounded::<()>();
        let stopped = stopped.clone();
        threads
            .spawn(name, move || {
                stop_requested.recv().unwrap();
                stopped.send(name).map_err(io::Error::other)
            })
            .unwrap();
        Stage {
            request_stop: Box::new(move || stop.send(()).unwrap()),
            wait_for: name,
            deadline: Duration::from_secs(20),
        }
    }

    #[test]
    fn threads_stop_one_after_the_other() {
        let (stopped, order) = unbounded();
        let mut threads = Threads::new();
        let names = [ThreadName::Chain, ThreadName::Submit, ThreadName::Stratum];
        let mut stages: Vec<Stage> = names.into_iter().map(|name| stoppable(&mut threads, name, &stopped)).collect();
        stages.reverse();
        assert_eq!(run(&mut threads, stages), ShutdownReport::default());
        assert_eq!(order.try_iter().collect::<Vec<_>>(), [ThreadName::Stratum, ThreadName::Submit, ThreadName::Chain]);
    }

    #[test]
    fn a_thread_that_times_out_does_not_block_the_others() {
        let (stopped, order) = unbounded();
        let mut threads = Threads::new();
        let (release, held) = unbounded::<()>();
        threads
            .spawn(ThreadName::Submit, move || {
                held.recv().unwrap_err();
                Ok::<(), io::Error>(())
            })
            .unwrap();
        let late =
            Stage { request_stop: Box::new(|| ()), wait_for: ThreadName::Submit, deadline: Duration::from_millis(20) };
        let stages = vec![late, stoppable(&mut threads, ThreadName::Chain, &stopped)];
        let report = run(&mut threads, stages);
        assert_eq!(report, ShutdownReport { timed_out: vec![ThreadName::Submit], failed: vec![] });
        assert_eq!(order.try_iter().collect::<Vec<_>>(), [ThreadName::Chain]);
        drop(release);
    }

    #[test]
    fn a_failure_while_stopping_is_reported() {
        let mut threads = Threads::new();
        threads.spawn(ThreadName::Chain, || Err(io::Error::other("disk full"))).unwrap();
        let stage =
            Stage { request_stop: Box::new(|| ()), wait_for: ThreadName::Chain, deadline: Duration::from_secs(20) };
        let report = run(&mut threads, vec![stage]);
        assert_eq!(report, ShutdownReport { timed_out: vec![], failed: vec![ThreadName::Chain] });
    }

    #[test]
    fn deadlines_are_in_order() {
        assert!(
            STRATUM_DEADLINE < SUBMIT_DEADLINE && SUBMIT_DEADLINE < CHAIN_DEADLINE && CHAIN_DEADLINE < SHUTDOWN_TIMEOUT
        );
    }
}
