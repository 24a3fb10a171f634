//! A miner in the background.

use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{bounded, unbounded, Receiver, Sender};
use p2pool_miner::mining::{run, Event, Settings, Totals};

/// A running miner; stopped when dropped.
#[derive(Debug)]
pub struct Miner {
    stop: Option<Sender<()>>,
    events: Receiver<Event>,
    thread: Option<JoinHandle<Totals>>,
}

/// Settings for one thread at `pool`, without limits.
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
                // The receiver may be gone.
                drop(sender.send(event.clone()));
            })
        });
        Self { stop: Some(stop), events, thread: Some(thread) }
    }

    /// Events of the miner, in order.
    pub fn events(&self) -> &Receiver<Event> {
        &self.events
    }

    /// Waits for an event that `wanted` returns a value for.
    pub fn wait<T>(&self, what: &str, timeout: Duration, wanted: impl Fn(Event) -> Option<T>) -> T {
        let deadline = std::time::Instant::now() + timeout;
        loop {
            match self.events.recv_deadline(deadline) {
                Ok(event) => {
                    if let Some(found) = wanted(event) {
                        return found;
                    }
                }
                Err(error) => panic!("no {what} within {timeout:?}: {error}"),
            }
        }
    }

    /// Stops the miner; returns the counts of its submits.
    pub fn stop(mut self) -> Totals {
        drop(self.stop.take());
        self.join()
    }

    /// Waits for the miner to end by itself, after the requested number of blocks.
    pub fn join(&mut self) -> Totals {
        let Some(thread) = self.thread.take() else { return Totals::default() };
        thread.join().unwrap_or_else(|_| panic!("the miner panicked"))
    }
}

impl Drop for Miner {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // Its panic, if any, has been printed; a second one here would hide that of the test.
            drop(thread.join());
        }
    }
}
