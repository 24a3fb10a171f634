//! The one place that starts threads, and how their ends reach the main thread.

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::io;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::thread::{Builder, JoinHandle};
use std::time::Instant;

use crossbeam_channel::{bounded, Receiver, RecvTimeoutError, Sender};

/// Every thread sends one event in its life and there are fewer threads than this; signals are few as well.
const EVENTS_CAPACITY: usize = 64;

/// A thread of this process. Linux shows at most 15 bytes of a thread's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ThreadName {
    /// Waits for signals.
    Signals,
    /// Owner of the sharechain.
    Chain,
    /// Speaks with miners.
    Stratum,
    /// Gets templates.
    Poll,
    /// Hands over found blocks.
    Submit,
    /// Asks about Bitcoin headers.
    Anchor,
    /// Carries messages between nodes.
    P2p,
    /// Speaks with browsers.
    Relay,
    /// Answers browsers.
    Web,
}

impl ThreadName {
    /// As the system shows it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Signals => "p2pool-signals",
            Self::Chain => "p2pool-chain",
            Self::Stratum => "p2pool-stratum",
            Self::Poll => "p2pool-poll",
            Self::Submit => "p2pool-submit",
            Self::Anchor => "p2pool-anchor",
            Self::P2p => "p2pool-p2p",
            Self::Relay => "p2pool-relay",
            Self::Web => "p2pool-web",
        }
    }
}

impl fmt::Display for ThreadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a thread ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It returned without an error.
    Finished,
    /// It returned this error, causes included.
    Failed(String),
    /// It panicked with this message.
    Panicked(String),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finished => f.write_str("ended"),
            Self::Failed(error) => write!(f, "failed: {error}"),
            Self::Panicked(message) => write!(f, "panicked: {message}"),
        }
    }
}

/// The main thread's inbox.
#[derive(Debug)]
pub enum Event {
    /// A thread ended.
    Ended(ThreadName, End),
    /// The process is asked to stop, by the signal of this name.
    Signal(&'static str),
}

/// Any error of a thread.
pub type BoxedError = Box<dyn Error + Send + Sync>;

/// The running threads and the inbox that their ends arrive in.
pub struct Threads {
    running: Vec<(ThreadName, JoinHandle<()>)>,
    sender: Sender<Event>,
    events: Receiver<Event>,
}

impl Threads {
    /// None yet.
    pub fn new() -> Self {
        let (sender, events) = bounded(EVENTS_CAPACITY);
        Self { running: Vec::new(), sender, events }
    }

    /// Another way into the main thread's inbox.
    pub fn sender(&self) -> Sender<Event> {
        self.sender.clone()
    }

    /// Starts a thread. Its end, by return, error or panic, arrives as an [`Event`].
    ///
    /// # Errors
    /// The system has no room for another thread.
    pub fn spawn<E: Into<BoxedError>>(
        &mut self,
        name: ThreadName,
        body: impl FnOnce() -> Result<(), E> + Send + 'static,
    ) -> io::Result<()> {
        let sender = self.sender.clone();
        let handle = Builder::new().name(name.as_str().to_owned()).spawn(move || {
            // Unwind safety: nothing the body owned is looked at afterwards.
            let end = match catch_unwind(AssertUnwindSafe(body)) {
                Ok(Ok(())) => End::Finished,
                Ok(Err(error)) => End::Failed(with_causes(error.into().as_ref())),
                Err(panic) => End::Panicked(panic_message(panic.as_ref())),
            };
            // Fails only when the main thread is gone, and the process with it.
            drop(sender.send(Event::Ended(name, end)));
        })?;
        self.running.push((name, handle));
        Ok(())
    }

    /// Whether a thread still runs, as far as this inbox has been read.
    pub fn runs(&self, name: ThreadName) -> bool {
        self.running.iter().any(|(running, _)| *running == name)
    }

    /// The next event, or none until `deadline`. An ended thread is joined.
    pub fn next_event(&mut self, deadline: Instant) -> Option<Event> {
        let event = match self.events.recv_deadline(deadline) {
            Ok(event) => event,
            // Never disconnected: we hold a sender ourselves.
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return None,
        };
        if let Event::Ended(name, _) = &event {
            if let Some(place) = self.running.iter().position(|(running, _)| running == name) {
                // The event was the thread's last act, and its panic has been caught: this returns at once.
                drop(self.running.swap_remove(place).1.join());
            }
        }
        Some(event)
    }
}

/// An error and what caused it.
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let error_text = error.to_string();
        // Many errors repeat their cause in their own words.
        if !text.contains(&error_text) {
            text += ": ";
            text += &error_text;
        }
        cause = error.source();
    }
    text
}

/// What a panic said.
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

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(10)
    }

    #[test]
    fn names_fit_linux() {
        for name in ALL {
            assert!(name.as_str().len() <= 15, "{name}");
        }
    }

    #[test]
    fn every_kind_of_end_arrives() {
        let mut threads = Threads::new();
        threads.spawn(ThreadName::Chain, || Ok::<(), io::Error>(())).unwrap();
        assert!(matches!(threads.next_event(soon()), Some(Event::Ended(ThreadName::Chain, End::Finished))));
        assert!(!threads.runs(ThreadName::Chain));

        threads.spawn(ThreadName::Poll, || Err(io::Error::other("no bitcoind"))).unwrap();
        match threads.next_event(soon()) {
            Some(Event::Ended(ThreadName::Poll, End::Failed(text))) => assert_eq!(text, "no bitcoind"),
            other => panic!("{other:?}"),
        }

        fn dies() -> Result<(), io::Error> {
            panic!("a {}", "bug")
        }
        threads.spawn(ThreadName::Submit, dies).unwrap();
        match threads.next_event(soon()) {
            Some(Event::Ended(ThreadName::Submit, End::Panicked(text))) => assert_eq!(text, "a bug"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_thread_carries_its_name_and_runs_until_its_end_is_seen() {
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
        assert!(threads.runs(ThreadName::Stratum));
        go.send(()).unwrap();
        assert!(threads.next_event(soon()).is_some());
    }

    #[test]
    fn causes_are_named_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("the store cannot be opened")]
        struct Outer(#[source] io::Error);
        assert_eq!(with_causes(&Outer(io::Error::other("disk full"))), "the store cannot be opened: disk full");
    }
}
