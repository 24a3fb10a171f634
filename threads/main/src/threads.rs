//! Starts threads and reports their exits to the main thread.

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::io;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::thread::{Builder, JoinHandle};
use std::time::Instant;

use crossbeam_channel::{bounded, Receiver, Sender};

/// Capacity of the main thread's inbox. Each thread sends one event, when it exits; signals are few.
const EVENTS_CAPACITY: usize = 64;

/// Name of a thread of this process. Linux shows at most 15 bytes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ThreadName {
    Signals,
    Chain,
    Stratum,
    Poll,
    Submit,
    Anchor,
    P2p,
    Relay,
    Web,
}

/// Writes the name that the system shows.
impl fmt::Display for ThreadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p2pool-{}", format!("{self:?}").to_lowercase())
    }
}

/// How a thread exited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ThreadExit {
    /// It returned without an error.
    Finished,
    /// It returned this error; the text includes the causes.
    Failed(String),
    /// It panicked with this message.
    Panicked(String),
}

impl fmt::Display for ThreadExit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finished => f.write_str("exited unexpectedly"),
            Self::Failed(error) => write!(f, "failed: {error}"),
            Self::Panicked(message) => write!(f, "panicked: {message}"),
        }
    }
}

/// A message to the main thread.
#[derive(Debug)]
pub enum MainEvent {
    /// A thread exited.
    Exited(ThreadName, ThreadExit),
    /// The signal of this name asks the process to stop.
    Signal(&'static str),
}

/// Error of any thread.
pub type BoxedError = Box<dyn Error + Send + Sync>;

/// The running threads and the main thread's inbox.
pub struct Threads {
    running: Vec<(ThreadName, JoinHandle<()>)>,
    sender: Sender<MainEvent>,
    events: Receiver<MainEvent>,
}

impl Threads {
    pub fn new() -> Self {
        let (sender, events) = bounded(EVENTS_CAPACITY);
        Self { running: Vec::new(), sender, events }
    }

    /// Returns a sender to the main thread's inbox.
    pub fn sender(&self) -> Sender<MainEvent> {
        self.sender.clone()
    }

    /// Starts a thread. Its exit, by return, error or panic, arrives as a [`MainEvent`].
    ///
    /// # Errors
    /// The system cannot start another thread.
    pub fn spawn<E: Into<BoxedError>>(
        &mut self,
        name: ThreadName,
        body: impl FnOnce() -> Result<(), E> + Send + 'static,
    ) -> io::Result<()> {
        let sender = self.sender.clone();
        let handle = Builder::new().name(name.to_string()).spawn(move || {
            // Unwind safety: nothing that the body owned is used afterwards.
            let exit = match catch_unwind(AssertUnwindSafe(body)) {
                Ok(Ok(())) => ThreadExit::Finished,
                Ok(Err(error)) => ThreadExit::Failed(with_causes(error.into().as_ref())),
                Err(panic) => ThreadExit::Panicked(panic_message(panic.as_ref())),
            };
            // Fails only if the main thread has exited, and then the process ends.
            drop(sender.send(MainEvent::Exited(name, exit)));
        })?;
        self.running.push((name, handle));
        Ok(())
    }

    /// Returns whether a thread still runs, as far as the inbox has been read.
    pub fn is_running(&self, name: ThreadName) -> bool {
        self.running.iter().any(|(running, _)| *running == name)
    }

    /// Waits for the next event; `None` after `deadline`. A thread that exited is joined.
    pub fn next_event(&mut self, deadline: Instant) -> Option<MainEvent> {
        // Never disconnected: `self` has a sender.
        let event = self.events.recv_deadline(deadline).ok()?;
        if let MainEvent::Exited(name, _) = &event {
            if let Some(index) = self.running.iter().position(|(running, _)| running == name) {
                // Returns at once: the event was the thread's last action, and its panic has been caught.
                drop(self.running.swap_remove(index).1.join());
            }
        }
        Some(event)
    }
}

/// Returns the text of an error and of its causes.
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let error_text = error.to_string();
        // Many errors repeat the text of their cause.
        if !text.contains(&error_text) {
            text += ": ";
            text += &error_text;
        }
        cause = error.source();
    }
    text
}

/// Returns the message of a panic.
pub fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a message".to_owned())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const ALL: [ThreadName; 9] = [
        ThreadName::Signals,
        ThreadName::Chain,
        ThreadName::Stratum,
        ThreadName::Poll,
        ThreadName::Submit,
        ThreadName::Anchor,
        ThreadName::P2p,
        ThreadName::Relay,
        ThreadName::Web,
    ];

    fn deadline() -> Instant {
        Instant::now() + Duration::from_secs(10)
    }

    #[test]
    fn thread_names_fit_the_limit_of_linux() {
        for name in ALL {
            assert!(name.to_string().len() <= 15, "{name}");
        }
    }

    #[test]
    fn every_kind_of_exit_is_reported() {
        let mut threads = Threads::new();
        threads.spawn(ThreadName::Chain, || Ok::<(), io::Error>(())).unwrap();
        assert!(matches!(
            threads.next_event(deadline()),
            Some(MainEvent::Exited(ThreadName::Chain, ThreadExit::Finished))
        ));
        assert!(!threads.is_running(ThreadName::Chain));

        threads.spawn(ThreadName::Poll, || Err(io::Error::other("no bitcoind"))).unwrap();
        match threads.next_event(deadline()) {
            Some(MainEvent::Exited(ThreadName::Poll, ThreadExit::Failed(text))) => assert_eq!(text, "no bitcoind"),
            other => panic!("{other:?}"),
        }

        fn panics() -> Result<(), io::Error> {
            panic!("a {}", "bug")
        }
        threads.spawn(ThreadName::Submit, panics).unwrap();
        match threads.next_event(deadline()) {
            Some(MainEvent::Exited(ThreadName::Submit, ThreadExit::Panicked(text))) => assert_eq!(text, "a bug"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_thread_has_its_name_and_counts_as_running_until_its_exit_is_read() {
        let mut threads = Threads::new();
        let (go, wait) = bounded::<()>(1);
        let (named, name) = bounded(1);
        threads
            .spawn(ThreadName::Stratum, move || {
                named.send(std::thread::current().name().map(str::to_owned)).unwrap();
                wait.recv().unwrap();
                Ok::<(), io::Error>(())
            })
            .unwrap();
        assert_eq!(name.recv().unwrap().as_deref(), Some("p2pool-stratum"));
        assert!(threads.next_event(Instant::now()).is_none());
        assert!(threads.is_running(ThreadName::Stratum));
        go.send(()).unwrap();
        assert!(threads.next_event(deadline()).is_some());
    }

    #[test]
    fn each_cause_is_written_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("the store cannot be opened")]
        struct Outer(#[source] io::Error);
        assert_eq!(with_causes(&Outer(io::Error::other("disk full"))), "the store cannot be opened: disk full");
    }
}
