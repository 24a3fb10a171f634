//! A miner in the background.

use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{bounded, unbounded, Receiver, Sender};
use p2pool_miner::mining::{run, Event, Settings, Totals};

/// A running miner; ended when dropped.
#[derive(Debug)]
pub struct Miner {
    stop: Option<Sender<()>>,
    events: Receiver<Event>,
    thread: Option<JoinHandle<Totals>>,
}

/// Settings for one thread at `pool`, as fast as it goes and without end.
pub fn settings(pool: &str, worker: &str) -> Settings {
    Settings {
        pool: pool.to_owned(),
        worker: worker.to_owned(),
        password: "x".to_owned(),
        user_agent: "p2pool-miner".to_owned(),
        threads: 1,
        hash_rate_max: None,
        roll_version: true,
        suggest_difficulty: None,
        blocks: None,
    }
}

impl Miner {
    /// Starts mining.
    pub fn start(settings: Settings) -> Self {
        let (stop, stopped) = bounded(0);
        let (sender, events) = unbounded();
        let thread = std::thread::spawn(move || {
            run(&settings, &stopped, |event| {
                // Whoever started the miner need not listen.
                drop(sender.send(event.clone()));
            })
        });
        Self { stop: Some(stop), events, thread: Some(thread) }
    }

    /// What happens, in order.
    pub fn events(&self) -> &Receiver<Event> {
        &self.events
    }

    /// Awaits something that `wanted` finds of interest.
    pub fn wait<T>(&self, what: &str, timeout: Duration, wanted: impl Fn(Event) -> Option<T>) -> T {
        let deadline = std::time::Instant::now() + timeout;
        loop {
            match self.events.recv_deadline(deadline) {
                Ok(event) => {
                    if let Some(found) = wanted(event) {
                        return found;
                    }
                }
                Err(error) => panic!("the miner did not see {what} in {timeout:?}: {error}"),
            }
        }
    }

    /// Ends the miner; returns what became of its answers.
    pub fn stop(mut self) -> Totals {
        drop(self.stop.take());
        self.join()
    }

    /// Awaits the miner's own end, after the blocks it was to find.
    pub fn join(&mut self) -> Totals {
        let Some(thread) = self.thread.take() else { return Totals::default() };
        thread.join().unwrap_or_else(|_| panic!("the miner panicked"))
    }
}

impl Drop for Miner {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // Its panic, if any, was printed; a second one here would hide the test's own.
            drop(thread.join());
        }
    }
}
