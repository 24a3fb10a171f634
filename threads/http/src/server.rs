//! The server's loop: requests from the relay and from the program's own commands, and periodic work.

use std::io::Cursor;
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use p2pool_channels::OperatorSender;
use p2pool_core::config::Config;
use tiny_http::{Header, Method, Request, Response, StatusCode};

use crate::operator;
use crate::relay::FORWARDED_HOST;
use crate::site::{error, Reply, Site};
use crate::socket_dir::SocketDir;
use crate::{HttpError, Sources};

/// Interval of the periodic work: history samples and found blocks.
const TICK: Duration = Duration::from_secs(1);
/// No content from other origins, no inline scripts or styles, no framing.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// Headers of every response.
const HEADERS: [(&str, &str); 7] = [
    ("Server", "p2pool"),
    ("Content-Security-Policy", CONTENT_SECURITY_POLICY),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
];

/// The server, opened but not yet running.
pub struct Server {
    /// Its `unblock` ends the wait for requests.
    pub(crate) http: Arc<tiny_http::Server>,
    site: Site,
    operator: OperatorSender,
    stop_requested: Arc<AtomicBool>,
    /// Dropped, and so removed, after the server.
    _socket_dir: SocketDir,
}

impl Server {
    /// Listens on the socket in `socket_dir`.
    pub(crate) fn open(
        socket_dir: SocketDir,
        config: Arc<Config>,
        sources: Sources,
        stop_requested: Arc<AtomicBool>,
    ) -> Result<Self, HttpError> {
        let operator = sources.operator.clone();
        let site = Site::open(config, sources)?;
        let failed = |cause| HttpError::File { path: socket_dir.socket_path().to_owned(), cause };
        let listener = UnixListener::bind(socket_dir.socket_path()).map_err(failed)?;
        let http =
            tiny_http::Server::from_listener(listener, None).map_err(|cause| HttpError::Server(cause.to_string()))?;
        Ok(Self { http: Arc::new(http), site, operator, stop_requested, _socket_dir: socket_dir })
    }

    /// Runs until stopped.
    ///
    /// # Errors
    /// tiny_http's listening thread has ended.
    pub fn run(mut self) -> Result<(), HttpError> {
        let mut next_tick = Instant::now();
        while !self.stop_requested.load(Ordering::Acquire) {
            if Instant::now() >= next_tick {
                next_tick = Instant::now() + TICK;
                self.site.tick();
            }
            let timeout = next_tick.saturating_duration_since(Instant::now());
            if let Some(request) = self.http.recv_timeout(timeout)? {
                self.respond(request);
            }
        }
        self.site.save();
        Ok(())
    }

    fn respond(&mut self, request: Request) {
        let reply = match request.method() {
            Method::Get | Method::Head => self.site.reply(request.url(), Instant::now()),
            Method::Post if !is_forwarded(&request) => operator::reply(request.url(), &self.operator),
            _ => error(405, "only GET and HEAD are supported"),
        };
        let response = response(reply, if_none_match(&request));
        if let Err(error) = request.respond(response) {
            log::debug!("cannot send an HTTP response to the relay: {error}");
        }
    }
}

/// Whether a request may come from a browser, through the relay: one without a host is not taken for one of this program's.
fn is_forwarded(request: &Request) -> bool {
    let host = request.headers().iter().find(|header| header.field.equiv("Host"));
    host.is_none_or(|host| host.value.as_str() == FORWARDED_HOST)
}

fn if_none_match(request: &Request) -> Option<&str> {
    let header = request.headers().iter().find(|header| header.field.equiv("If-None-Match"))?;
    Some(header.value.as_str())
}

fn response(reply: Reply, cached_etag: Option<&str>) -> Response<Cursor<Vec<u8>>> {
    let Reply { code, content_type, body, etag } = reply;
    let is_unchanged = etag.is_some() && etag.as_deref() == cached_etag;
    let (code, body) = if is_unchanged { (304, Vec::new()) } else { (code, body) };
    // Browsers revalidate files with each use, and rarely have to download them again.
    let caching = if etag.is_some() { "no-cache" } else { "no-store" };
    let own = [("Content-Type", content_type), ("Cache-Control", caching)];
    let etag = etag.iter().map(|etag| ("ETag", etag.as_str()));
    let headers = HEADERS.into_iter().chain(own).chain(etag);
    // All of them are ASCII, so none is filtered out.
    let headers = headers.filter_map(|(name, value)| Header::from_bytes(name, value).ok()).collect();
    let len = body.len();
    // Never chunked: the relay requires a length.
    Response::new(StatusCode(code), headers, Cursor::new(body), Some(len), None).with_chunked_threshold(usize::MAX)
}
