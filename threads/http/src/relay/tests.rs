use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream as StdStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread::JoinHandle;
use std::time::Duration;

use super::*;

/// Timeout for what takes a moment, even on a busy machine; shorter than the relay's timeouts.
const SOON: Duration = Duration::from_secs(4);
const REQUEST: &[u8] = b"GET /api/v1/peers HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// A relay in front of a server that responds only on demand.
struct Setup {
    listener: TcpListener,
    sender: BrowserSender,
    metrics: Arc<Metrics>,
    server: UnixListener,
    stop: Arc<AtomicBool>,
    waker: Arc<Waker>,
    thread: Option<JoinHandle<()>>,
    _folder: tempfile::TempDir,
}

impl Setup {
    fn start() -> Self {
        Self::start_with(None)
    }

    fn start_with(own_port: Option<mio::net::TcpListener>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let server = UnixListener::bind(&path).unwrap();
        let (metrics, stop) = (Arc::new(Metrics::default()), Arc::new(AtomicBool::new(false)));
        let relay =
            Relay::open(own_port, path, AllowedHosts::new("machine", &[]), Arc::clone(&metrics), Arc::clone(&stop))
                .unwrap();
        let (sender, waker) = (relay.sender.clone(), Arc::clone(&relay.waker));
        let thread = Some(std::thread::spawn(move || relay.run().unwrap()));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Self { listener, sender, metrics, server, stop, waker, thread, _folder: folder }
    }

    /// Connects a browser and hands the connection to the relay.
    fn browser(&self) -> StdStream {
        let browser = StdStream::connect(self.listener.local_addr().unwrap()).unwrap();
        browser.set_read_timeout(Some(SOON)).unwrap();
        let (socket, peer) = self.listener.accept().unwrap();
        socket.set_nonblocking(true).unwrap();
        let mut connection = BrowserConnection { socket, peer };
        while let Err(back) = self.sender.try_send(connection) {
            connection = back;
            std::thread::yield_now();
        }
        browser
    }

    fn wait(&self, what: &str, condition: impl Fn(&Metrics) -> bool) {
        let end = Instant::now() + SOON;
        while !condition(&self.metrics) {
            assert!(Instant::now() < end, "timeout waiting for {what}: {:?}", self.metrics);
            std::thread::sleep(Duration::from_millis(2));
        }
        assert!(self.metrics.web_connections.get() <= 32, "{:?}", self.metrics);
    }
}

#[test]
fn browsers_at_the_relays_own_port_are_served_beside_those_of_the_miners_port() {
    let own = mio::net::TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = own.local_addr().unwrap();
    let setup = Setup::start_with(Some(own));
    let own = StdStream::connect(address).unwrap();
    own.set_read_timeout(Some(SOON)).unwrap();
    let mut server = None;
    for mut browser in [own, setup.browser()] {
        browser.write_all(REQUEST).unwrap();
        respond_to_one(server.get_or_insert_with(|| setup.server.accept().unwrap().0));
        let mut text = [0; 4_096];
        let len = browser.read(&mut text).unwrap();
        assert!(String::from_utf8_lossy(&text[..len]).starts_with("HTTP/1.1 200"));
    }
}

impl Drop for Setup {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        wake(&self.waker);
        if let Some(thread) = self.thread.take() {
            assert!(thread.join().is_ok() || std::thread::panicking(), "the relay panicked");
        }
    }
}

/// Returns what a browser receives until the connection closes.
fn rest(mut browser: StdStream) -> String {
    let mut text = String::new();
    browser.read_to_string(&mut text).unwrap();
    text
}

/// Responds to one request of the relay.
fn respond_to_one(server: &mut UnixStream) {
    let (mut request, mut byte) = (Vec::new(), [0]);
    while !request.ends_with(b"\r\n\r\n") {
        server.read_exact(&mut byte).unwrap();
        request.push(byte[0]);
    }
    server.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ntrue").unwrap();
}

#[test]
fn with_32_pending_requests_more_connections_are_refused() {
    let setup = Setup::start();
    let mut browsers: Vec<StdStream> = (0..32).map(|_| setup.browser()).collect();
    for browser in &mut browsers {
        browser.write_all(REQUEST).unwrap();
    }
    setup.wait("32 requests", |metrics| metrics.web_requests.get() == 32 && metrics.web_connections.get() == 32);
    assert_eq!(setup.metrics.web_limit_reached.get(), 0);

    // Connections with a pending request are never evicted.
    for more in 1..=40 {
        let refused = rest(setup.browser());
        assert!(refused.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{refused}");
        assert!(refused.ends_with("{\"error\":\"too many connections\"}"), "{refused}");
        setup.wait("the refusal to be counted", |metrics| metrics.web_limit_reached.get() == more);
    }
    let (mut server, _) = setup.server.accept().unwrap();
    for browser in &mut browsers {
        respond_to_one(&mut server);
        let mut status = [0; 15];
        browser.read_exact(&mut status).unwrap();
        assert_eq!(&status, b"HTTP/1.1 200 OK");
    }
}

#[test]
fn the_longest_idle_connection_is_evicted() {
    let setup = Setup::start();
    let mut browsers: Vec<StdStream> = Vec::new();
    for count in 1..=32 {
        browsers.push(setup.browser());
        setup.wait("the connection", |metrics| metrics.web_connections.get() == count);
    }
    let mut late = setup.browser();
    late.write_all(REQUEST).unwrap();
    setup.wait("its request", |metrics| metrics.web_requests.get() == 1);
    assert_eq!((setup.metrics.web_connections.get(), setup.metrics.web_limit_reached.get()), (32, 1));
    assert_eq!(rest(browsers.remove(0)), "", "the oldest is evicted");
    let (mut server, _) = setup.server.accept().unwrap();
    respond_to_one(&mut server);
    late.read_exact(&mut [0; 15]).unwrap();
    // The second oldest is still connected.
    browsers[0].write_all(REQUEST).unwrap();
    setup.wait("its request", |metrics| metrics.web_requests.get() == 2);
}
