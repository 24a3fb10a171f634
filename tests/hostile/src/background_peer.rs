//! A scripted peer that runs in a thread of its own while the test does something else.

use std::sync::mpsc::{channel, Sender, TryRecvError};
use std::thread::JoinHandle;

use crate::scripted_peer::ScriptedPeer;

type Task = Box<dyn FnOnce(&mut ScriptedPeer) + Send>;

/// A scripted peer that responds to pings and requests at all times. A peer that does not is disconnected after half a
/// minute, and may find no free slot when it reconnects.
pub struct BackgroundPeer {
    tasks: Option<Sender<Task>>,
    thread: Option<JoinHandle<()>>,
}

impl BackgroundPeer {
    /// Starts a thread for the peer that `make` returns.
    pub fn start(make: impl FnOnce() -> ScriptedPeer + Send + 'static) -> Self {
        let (tasks, inbox) = channel::<Task>();
        let thread = std::thread::spawn(move || {
            let mut peer = make();
            loop {
                match inbox.try_recv() {
                    Ok(task) => task(&mut peer),
                    Err(TryRecvError::Empty) => peer.run_briefly(),
                    Err(TryRecvError::Disconnected) => return,
                }
            }
        });
        Self { tasks: Some(tasks), thread: Some(thread) }
    }

    /// Runs a task on the peer's thread and returns its result.
    #[track_caller]
    pub fn run<T: Send + 'static>(&self, task: impl FnOnce(&mut ScriptedPeer) -> T + Send + 'static) -> T {
        let (sender, receiver) = channel();
        // The receiver waits below.
        let task: Task = Box::new(move |peer| drop(sender.send(task(peer))));
        self.tasks.as_ref().unwrap().send(task).unwrap_or_else(|_| panic!("the peer's thread has panicked before"));
        receiver.recv().unwrap_or_else(|_| panic!("the peer's thread panicked"))
    }
}

impl Drop for BackgroundPeer {
    fn drop(&mut self) {
        drop(self.tasks.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been printed.
            drop(thread.join());
        }
    }
}
