//! A TCP relay that hides the end of connections, as a router does that loses power or forgets them.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// Bytes that are relayed at once.
const BUFFER_LEN: usize = 64 << 10;

/// Relays connections from a port of its own to another, both on loopback. When one end closes a connection, the other does
/// not learn of it.
#[derive(Debug)]
pub struct Relay {
    port: u16,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Connections that were accepted before are forgotten: their bytes are dropped.
    forgotten: AtomicU64,
    accepted: AtomicU64,
    ended: AtomicBool,
    /// Both sockets of each connection; open until the relay is dropped.
    sockets: Mutex<Vec<TcpStream>>,
}

impl Relay {
    /// Relays to a port on loopback.
    #[track_caller]
    pub fn to(target: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap_or_else(|error| panic!("relay: {error}"));
        let port = listener.local_addr().map_or_else(|error| panic!("relay: {error}"), |address| address.port());
        let shared = Arc::new(Shared::default());
        let accepting = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || accept(&listener, target, &shared)
        });
        Self { port, shared, accepting: Some(accepting) }
    }

    /// The relay's port on loopback.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Number of connections so far.
    pub fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// Drops all further bytes of the present connections, in both directions. New ones work.
    pub fn forget_connections(&self) {
        self.shared.forgotten.store(self.accepted(), Ordering::SeqCst);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        if let Some(accepting) = self.accepting.take() {
            drop(accepting.join());
        }
        for socket in self.shared.sockets.lock().into_iter().flat_map(|mut sockets| std::mem::take(&mut *sockets)) {
            // Ends the threads that read from it.
            drop(socket.shutdown(std::net::Shutdown::Both));
        }
    }
}

fn accept(listener: &TcpListener, target: u16, shared: &Arc<Shared>) {
    for theirs in listener.incoming().flatten() {
        if shared.ended.load(Ordering::SeqCst) {
            return;
        }
        // A target that is down refuses the connection, and so does the relay.
        let Ok(ours) = TcpStream::connect(("127.0.0.1", target)) else { continue };
        let number = shared.accepted.fetch_add(1, Ordering::SeqCst);
        for (from, to) in [(&theirs, &ours), (&ours, &theirs)] {
            let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) else { continue };
            let shared = Arc::clone(shared);
            std::thread::spawn(move || copy(from, to, number, &shared));
        }
        if let Ok(mut sockets) = shared.sockets.lock() {
            sockets.extend([theirs, ours]);
        }
    }
}

/// Copies until one end closes. The sockets stay open.
fn copy(mut from: TcpStream, mut to: TcpStream, number: u64, shared: &Shared) {
    // Shares are small packets.
    drop(to.set_nodelay(true));
    let mut buffer = vec![0; BUFFER_LEN];
    while let Ok(len @ 1..) = from.read(&mut buffer) {
        let is_forgotten = number < shared.forgotten.load(Ordering::SeqCst);
        if !is_forgotten && to.write_all(buffer.get(..len).unwrap_or_default()).is_err() {
            return;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_relay_hides_the_end_of_a_connection_and_forgets_on_request() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let relay = Relay::to(server.local_addr().unwrap().port());
        let connect = || {
            let client = TcpStream::connect(("127.0.0.1", relay.port())).unwrap();
            client.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
            (client, server.accept().unwrap().0)
        };
        let receives_nothing = |client: &mut TcpStream| {
            client.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
            client.read(&mut [0; 3]).unwrap_err();
        };
        let ((mut client, mut accepted), mut buffer) = (connect(), [0; 3]);
        accepted.write_all(b"one").unwrap();
        client.read_exact(&mut buffer).unwrap();
        assert_eq!(&buffer, b"one");
        drop(accepted);
        receives_nothing(&mut client);

        let (mut client, mut accepted) = connect();
        while relay.accepted() < 2 {
            std::thread::yield_now();
        }
        relay.forget_connections();
        accepted.write_all(b"two").unwrap();
        receives_nothing(&mut client);
        let (mut client, mut accepted) = connect();
        accepted.write_all(b"new").unwrap();
        client.read_exact(&mut buffer).unwrap();
        assert_eq!((&buffer, relay.accepted()), (b"new", 3));
    }
}
