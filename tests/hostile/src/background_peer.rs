//! A stranger that is never asleep: it goes on in a thread of its own while the test does something else.

use std::sync::mpsc::{channel, Sender, TryRecvError};
use std::thread::JoinHandle;

use crate::scripted_peer::Stranger;

type Order = Box<dyn FnOnce(&mut Stranger) + Send>;

/// A stranger that answers pings and questions at all times. Whoever does not is shown out after half a minute, and may
/// find no place any more when it comes back.
pub struct Awake {
    orders: Option<Sender<Order>>,
    thread: Option<JoinHandle<()>>,
}

impl Awake {
    /// Starts a thread for the stranger that `make` makes.
    pub fn start(make: impl FnOnce() -> Stranger + Send + 'static) -> Self {
        let (orders, received) = channel::<Order>();
        let thread = std::thread::spawn(move || {
            let mut stranger = make();
            loop {
                match received.try_recv() {
                    Ok(order) => order(&mut stranger),
                    Err(TryRecvError::Empty) => stranger.breathe(),
                    Err(TryRecvError::Disconnected) => return,
                }
            }
        });
        Self { orders: Some(orders), thread: Some(thread) }
    }

    /// Has the stranger do something, and awaits what comes of it.
    #[track_caller]
    pub fn have<T: Send + 'static>(&self, it: impl FnOnce(&mut Stranger) -> T + Send + 'static) -> T {
        let (sender, receiver) = channel();
        // Whoever asked is waiting below.
        let order: Order = Box::new(move |stranger| drop(sender.send(it(stranger))));
        self.orders.as_ref().unwrap().send(order).unwrap_or_else(|_| panic!("the stranger has panicked before"));
        receiver.recv().unwrap_or_else(|_| panic!("the stranger panicked"))
    }
}

impl Drop for Awake {
    fn drop(&mut self) {
        drop(self.orders.take());
        if let Some(thread) = self.thread.take() {
            // Its panic, if any, was printed.
            drop(thread.join());
        }
    }
}
