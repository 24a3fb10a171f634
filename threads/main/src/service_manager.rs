//! Notifies systemd of the node's state: the protocol of sd_notify(3), over the socket in `NOTIFY_SOCKET`.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;

/// Signs of life within the watchdog's timeout. With four, a single one that is missed or late does no harm.
const SIGNS_PER_TIMEOUT: u32 = 4;

/// The service manager that started this process, if there is one.
#[derive(Debug, Default)]
pub struct ServiceManager {
    socket: Option<(UnixDatagram, SocketAddr)>,
    watchdog_interval: Option<Duration>,
}

impl ServiceManager {
    /// Reads `NOTIFY_SOCKET`, and `WATCHDOG_USEC` unless `WATCHDOG_PID` is another process.
    pub fn from_environment() -> Self {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let Some(path) = variable("NOTIFY_SOCKET") else { return Self::default() };
        let number = |name| variable(name)?.to_str()?.parse::<u64>().ok();
        let is_meant = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let timeout = number("WATCHDOG_USEC").filter(|timeout| is_meant && *timeout > 0).map(Duration::from_micros);
        Self::new(&path, timeout).unwrap_or_else(|error| {
            log::warn!("systemd cannot be notified: NOTIFY_SOCKET is {}: {error}", path.display());
            Self::default()
        })
    }

    /// `path` begins with `@` in the abstract namespace.
    fn new(path: &OsStr, watchdog_timeout: Option<Duration>) -> io::Result<Self> {
        let address = match path.as_bytes().strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(path)?,
        };
        let socket = UnixDatagram::unbound()?;
        // The node must not wait for a manager that does not read.
        socket.set_nonblocking(true)?;
        let watchdog_interval = watchdog_timeout.map(|timeout| timeout / SIGNS_PER_TIMEOUT);
        Ok(Self { socket: Some((socket, address)), watchdog_interval })
    }

    /// Time between two calls of [`Self::alive`], if they are expected.
    pub fn watchdog_interval(&self) -> Option<Duration> {
        self.watchdog_interval
    }

    /// All ports are open, and all threads run.
    pub fn ready(&self) {
        self.send("READY=1");
    }

    /// The node is working.
    pub fn alive(&self) {
        self.send("WATCHDOG=1");
    }

    /// A line for `systemctl status`.
    pub fn status(&self, line: &str) {
        self.send(&format!("STATUS={line}"));
    }

    /// The shutdown begins.
    pub fn stopping(&self) {
        self.send("STOPPING=1");
    }

    fn send(&self, message: &str) {
        let Some((socket, address)) = &self.socket else { return };
        if let Err(error) = socket.send_to_addr(message.as_bytes(), address) {
            log::warn!("systemd not notified of {message}: {error}");
        }
    }
}

/// Whether a thread makes progress, seen from what it publishes at least every few seconds.
pub struct Progress<T> {
    published: Arc<ArcSwap<T>>,
    /// Keeps the allocation, so that its address is not used again, but not the content.
    last: Weak<T>,
}

impl<T> Progress<T> {
    pub fn of(published: Arc<ArcSwap<T>>) -> Self {
        Self { published, last: Weak::new() }
    }

    /// Returns whether something was published since the last call.
    pub fn is_made(&mut self) -> bool {
        let now = Arc::downgrade(&self.published.load());
        !std::mem::replace(&mut self.last, now.clone()).ptr_eq(&now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 100];
        let len = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..len]).into_owned()
    }

    #[test]
    fn states_arrive_at_sockets_in_files_and_in_the_abstract_namespace() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let name = format!("p2pool-test-{}", std::process::id());
        let file = (UnixDatagram::bind(&path).unwrap(), path.into_os_string());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let named = (UnixDatagram::bind_addr(&address).unwrap(), format!("@{name}").into());
        for (socket, given) in [file, named] {
            let manager = ServiceManager::new(&given, Some(Duration::from_secs(120))).unwrap();
            assert_eq!(manager.watchdog_interval(), Some(Duration::from_secs(30)));
            manager.ready();
            manager.alive();
            manager.status("2 miners");
            manager.stopping();
            for state in ["READY=1", "WATCHDOG=1", "STATUS=2 miners", "STOPPING=1"] {
                assert_eq!(received(&socket), state);
            }
        }
    }

    #[test]
    fn a_manager_that_does_not_read_or_is_gone_delays_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let manager = ServiceManager::new(path.as_os_str(), None).unwrap();
        // Linux queues 10 to 512 datagrams, as net.unix.max_dgram_qlen says.
        (0..2_000).for_each(|_| manager.alive());
        drop(socket);
        manager.alive();
        assert_eq!(manager.watchdog_interval(), None);
    }

    #[test]
    fn progress_is_what_was_published_since() {
        let published = Arc::new(ArcSwap::from_pointee(1));
        let mut progress = Progress::of(Arc::clone(&published));
        assert!(progress.is_made());
        assert!(!progress.is_made());
        for _ in 0..100 {
            // Not the value counts, and no address is used twice.
            published.store(Arc::new(1));
            assert!(progress.is_made());
        }
        assert!(!progress.is_made());
    }
}
