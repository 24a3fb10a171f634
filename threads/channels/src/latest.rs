//! A channel that holds only the newest value, because older ones are worthless.

use crossbeam_channel::{bounded, Receiver, Sender, TrySendError};

/// Makes a slot.
pub fn latest<T>() -> (LatestSender<T>, LatestReceiver<T>) {
    let (sender, receiver) = bounded(1);
    (LatestSender { sender, stale: receiver.clone() }, LatestReceiver { receiver })
}

/// Puts values in; never blocks.
pub struct LatestSender<T> {
    sender: Sender<T>,
    stale: Receiver<T>,
}

/// Takes the newest value out.
pub struct LatestReceiver<T> {
    receiver: Receiver<T>,
}

impl<T> LatestSender<T> {
    /// Replaces whatever is in the slot.
    ///
    /// Two senders at once may each displace the other's value; one of the two stays.
    pub fn put(&self, mut value: T) {
        while let Err(TrySendError::Full(back)) = self.sender.try_send(value) {
            drop(self.stale.try_recv());
            value = back;
        }
    }
}

impl<T> Clone for LatestSender<T> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), stale: self.stale.clone() }
    }
}

impl<T> LatestReceiver<T> {
    /// The value, if one came since the last call.
    pub fn take(&self) -> Option<T> {
        self.receiver.try_recv().ok()
    }

    /// The channel below, for `crossbeam_channel::select!`.
    pub fn channel(&self) -> &Receiver<T> {
        &self.receiver
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_newest_is_kept() {
        let (sender, receiver) = latest();
        assert_eq!(receiver.take(), None);
        sender.put(1);
        sender.put(2);
        sender.clone().put(3);
        assert_eq!(receiver.take(), Some(3));
        assert_eq!(receiver.take(), None);
    }
}
