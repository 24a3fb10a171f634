//! Counts what the streams of a connection hold unread, and decides how much more there may be.
//!
//! A relay reads a circuit's stream only as fast as the other end of the circuit takes the bytes. What waits there is counted
//! apart: two circuits whose other end takes nothing would otherwise fill the connection's bound, and stop the relay's own
//! protocols with the peer.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

use yamux::DEFAULT_CREDIT;

use super::negotiation::{Negotiation, Seen};

/// Unread bytes of a connection. Twice the window of a stream, so that one stream whose reader waits for something else
/// does not stop the others.
pub const UNREAD_MAX: usize = 2 * DEFAULT_CREDIT as usize;
/// Unread bytes of all connections. What honest peers send is read within milliseconds.
pub const UNREAD_TOTAL_MAX: usize = 16 << 20;
/// Unread bytes that each connection may have, however many the others have.
pub const UNREAD_MIN: usize = 64 << 10;
/// Unread bytes of all circuits: a full window in both directions of each circuit that a node relays, see `reach`.
pub const CIRCUITS_UNREAD_MAX: usize = 2 * 16 * DEFAULT_CREDIT as usize;
/// The same of one connection: half of it. Any peer can name a stream a circuit, so besides this each connection may have
/// [`UNREAD_MIN`] of circuits, however many others have.
pub const CIRCUITS_PER_CONNECTION_MAX: usize = CIRCUITS_UNREAD_MAX / 2;

/// Unread bytes of all connections.
#[derive(Debug, Default)]
pub struct Totals {
    own: AtomicUsize,
    circuits: AtomicUsize,
}

impl Totals {
    /// Unread bytes of all streams, circuits included.
    pub fn unread_len(&self) -> usize {
        self.own.load(Ordering::Relaxed) + self.circuits.load(Ordering::Relaxed)
    }
}

#[derive(Default)]
struct Stream {
    unread: usize,
    negotiation: Negotiation,
    is_circuit: bool,
}

/// Unread bytes of the open streams of a connection.
pub struct Unread {
    streams: HashMap<u32, Stream>,
    /// Sum of those that are no circuits.
    own: usize,
    /// Sum of those that are.
    circuits: usize,
    totals: Arc<Totals>,
}

impl Unread {
    pub fn new(totals: Arc<Totals>) -> Self {
        Self { streams: HashMap::new(), own: 0, circuits: 0, totals }
    }

    /// Number of open streams.
    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    /// Notes a new stream. Returns false if it was open.
    pub fn open(&mut self, stream: u32) -> bool {
        let is_new = !self.streams.contains_key(&stream);
        self.streams.entry(stream).or_default();
        is_new
    }

    /// Notes that so many bytes of a stream have been read.
    pub fn read(&mut self, stream: u32, len: usize) {
        let Some(Stream { unread, is_circuit, .. }) = self.streams.get_mut(&stream) else { return };
        let (read, is_circuit) = (len.min(*unread), *is_circuit);
        *unread -= read;
        self.subtract(read, is_circuit);
    }

    /// Notes that a stream is gone, and what was unread with it.
    pub fn drop_stream(&mut self, stream: u32) {
        if let Some(Stream { unread, is_circuit, .. }) = self.streams.remove(&stream) {
            self.subtract(unread, is_circuit);
        }
    }

    /// Counts bytes that arrive for a stream, if it is open: Yamux drops any others. False if they have to wait.
    pub fn admit(&mut self, stream: u32, len: usize) -> bool {
        let Some(is_circuit) = self.streams.get(&stream).map(|stream| stream.is_circuit) else { return true };
        let may_read = self.has_room(len, is_circuit);
        if may_read {
            self.add(len, is_circuit);
            self.streams.entry(stream).or_default().unread += len;
        }
        may_read
    }

    /// Whether so many bytes more may be unread.
    fn has_room(&self, len: usize, is_circuit: bool) -> bool {
        let Totals { own, circuits } = &*self.totals;
        let (sum, max, total, total_max) = if is_circuit {
            (self.circuits, CIRCUITS_PER_CONNECTION_MAX, circuits, CIRCUITS_UNREAD_MAX)
        } else {
            (self.own, UNREAD_MAX, own, UNREAD_TOTAL_MAX)
        };
        let sum = sum + len;
        sum <= UNREAD_MIN || (sum <= max && total.load(Ordering::Relaxed) + len <= total_max)
    }

    /// Looks at admitted bytes of a stream, whose first ones show what it is. A circuit for which there is no room among those
    /// counts as any other stream. False if they abuse the negotiation.
    pub fn look_at(&mut self, stream: u32, bytes: &[u8]) -> bool {
        let Some(Stream { unread, negotiation, .. }) = self.streams.get_mut(&stream) else { return true };
        let (seen, unread) = (negotiation.read(bytes), *unread);
        if seen == Seen::Circuit && self.has_room(unread, true) {
            self.subtract(unread, false);
            self.add(unread, true);
            self.streams.entry(stream).or_default().is_circuit = true;
        }
        seen != Seen::Abuse
    }

    fn add(&mut self, len: usize, is_circuit: bool) {
        if is_circuit {
            self.circuits += len;
            self.totals.circuits.fetch_add(len, Ordering::Relaxed);
        } else {
            self.own += len;
            self.totals.own.fetch_add(len, Ordering::Relaxed);
        }
    }

    fn subtract(&mut self, len: usize, is_circuit: bool) {
        if is_circuit {
            self.circuits -= len;
            self.totals.circuits.fetch_sub(len, Ordering::Relaxed);
        } else {
            self.own -= len;
            self.totals.own.fetch_sub(len, Ordering::Relaxed);
        }
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        for Stream { unread, is_circuit, .. } in std::mem::take(&mut self.streams).into_values() {
            self.subtract(unread, is_circuit);
        }
    }
}

#[cfg(test)]
impl Totals {
    /// Unread bytes of others than circuits, and of circuits.
    pub fn get(&self) -> (usize, usize) {
        (self.own.load(Ordering::Relaxed), self.circuits.load(Ordering::Relaxed))
    }

    /// Totals with bytes of other connections.
    pub fn with(own: usize) -> Self {
        Self { own: AtomicUsize::new(own), ..Self::default() }
    }

    /// Takes away bytes of other connections.
    pub fn free(&self, own: usize) {
        self.own.fetch_sub(own, Ordering::Relaxed);
    }
}
