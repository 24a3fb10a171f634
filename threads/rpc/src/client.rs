//! JSON-RPC over HTTP/1.1, as bitcoind implements it: one connection, one request at a time.

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::Arc;
use std::time::Duration;

use p2pool_core::config::Config;
use p2pool_core::status::BitcoindError;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use ureq::http::header::{AUTHORIZATION, CONTENT_TYPE};
use ureq::unversioned::resolver::DefaultResolver;
use ureq::Agent;

use crate::credentials::{Credentials, Keyring};
use crate::error::{self, excerpt, RpcError};
use crate::method::Method;
use crate::transport::KeepaliveConnector;

/// Timeout for the lookup of a host name, and for the connection, unless that of the response is shorter: bitcoind is on this
/// machine or network.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Timeout for sending a request: a full block in hex is 8 MB.
const SEND_TIMEOUT: Duration = Duration::from_secs(60);
/// Timeout for the body of a response.
pub(crate) const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// Age at which idle connections are closed. bitcoind closes them after 30 s; a request must not meet that moment.
const IDLE_AGE_MAX: Duration = Duration::from_secs(20);
/// Number of requests in a batch: a day of headers, some 40 KB.
const BATCH_MAX: usize = 144;
/// HTTP status for wrong credentials.
const UNAUTHORISED: u16 = 401;

/// Limits of a response.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ResponseLimits {
    /// Timeout until the response begins; `None`: no timeout while the connection lives.
    pub(crate) timeout: Option<Duration>,
    /// Largest size in bytes.
    pub(crate) bytes_max: u64,
}

impl ResponseLimits {
    /// A database lookup. The longest such response, `getblockchaininfo` with many warnings, is far shorter than 1 MiB.
    pub(crate) const SMALL: Self = Self { timeout: Some(Duration::from_secs(10)), bytes_max: 1 << 20 };
    /// A template, which takes a small computer seconds. A full block of 4 MB is 8 MB in hex, and 16,000 small
    /// transactions add some 6 MB of field names; the limit is four times that.
    pub(crate) const TEMPLATE: Self = Self { timeout: Some(Duration::from_secs(30)), bytes_max: 64 << 20 };
    /// A long poll, see [`crate::transport`].
    pub(crate) const LONG_POLL: Self = Self { timeout: None, ..Self::TEMPLATE };
    /// A call that bitcoind rejects without any work. Longer than a scheduler's or a network's hiccup, and short enough that
    /// a stop of this program, which waits for the submit thread, does not exceed its time.
    pub(crate) const TEST: Self = Self { timeout: Some(Duration::from_secs(3)), ..Self::SMALL };
    /// The validation of a block, on a small computer with a cold cache.
    pub(crate) const BLOCK: Self = Self { timeout: Some(Duration::from_secs(120)), bytes_max: 1 << 20 };
}

/// A JSON-RPC client of one bitcoind.
pub(crate) struct Client {
    /// With a clone of it another thread can interrupt a call, by closing the connection.
    pub(crate) agent: Agent,
    /// Number of connections made so far. When it grows, another bitcoind may be at the other end.
    pub(crate) connections: Arc<AtomicU64>,
    /// URL of bitcoind, without credentials.
    pub(crate) url: String,
    keyring: Keyring,
    next_id: u64,
    /// Number of calls made so far, each of a batch included.
    pub(crate) calls: u64,
}

/// Leaves the credentials out.
impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("url", &self.url).field("auth", self.keyring.auth()).finish_non_exhaustive()
    }
}

#[derive(Serialize)]
struct Request<'a, P> {
    jsonrpc: &'static str,
    id: u64,
    method: &'a str,
    params: P,
}

#[derive(Deserialize)]
struct Response<'a> {
    id: Option<u64>,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    error: Option<ErrorObject>,
}

#[derive(Deserialize)]
struct ErrorObject {
    code: i64,
    message: String,
}

impl Client {
    /// Makes a client; connects to nothing yet.
    pub(crate) fn new(config: &Config) -> Result<Self, RpcError> {
        let host = match &config.rpc_host {
            address if address.contains(':') && !address.starts_with('[') => format!("[{address}]"),
            host => host.clone(),
        };
        let url = format!("http://{host}:{}/", config.rpc_port);
        let is_whole_host = |uri: &ureq::http::Uri| uri.host() == Some(host.as_str()) && uri.path() == "/";
        if host.is_empty() || !url.parse().is_ok_and(|uri| is_whole_host(&uri)) {
            return Err(RpcError::Host(config.rpc_host.clone()));
        }
        let connections = Arc::<AtomicU64>::default();
        let agent_config = Agent::config_builder()
            .http_status_as_error(false)
            // Credentials and blocks go to bitcoind only, whatever environment variables or a redirect say.
            .proxy(None)
            .max_redirects(0)
            .user_agent(concat!("p2pool/", env!("CARGO_PKG_VERSION")))
            .timeout_send_request(Some(SEND_TIMEOUT))
            .timeout_send_body(Some(SEND_TIMEOUT))
            .timeout_recv_body(Some(BODY_TIMEOUT))
            .max_idle_connections(1)
            .max_idle_age(IDLE_AGE_MAX)
            .build();
        let agent =
            Agent::with_parts(agent_config, KeepaliveConnector(Arc::clone(&connections)), DefaultResolver::default());
        Ok(Self { agent, connections, url, keyring: Keyring::new(config.rpc_auth.clone()), next_id: 0, calls: 0 })
    }

    /// Calls a method and returns its result. If bitcoind rejects a cookie, the others are tried.
    pub(crate) fn call<T: DeserializeOwned>(
        &mut self,
        method: Method,
        params: impl Serialize,
        limits: ResponseLimits,
    ) -> Result<T, BitcoindError> {
        self.next_id = self.next_id.wrapping_add(1);
        self.calls += 1;
        let request = Request { jsonrpc: "2.0", id: self.next_id, method: method.name(), params };
        let request =
            serde_json::to_vec(&request).map_err(|error| BitcoindError::InvalidResponse(error.to_string()))?;
        let (status, body) = self.exchange(&request, limits).inspect_err(|_| self.keyring.forget_cookie())?;
        let response = serde_json::from_slice(&body).map_err(|error| unreadable(method, status, &body, &error))?;
        result_of(method, self.next_id, response)
    }

    /// Calls a method once for each of `params`, in batches. Returns the results in the same order.
    pub(crate) fn call_all<T: DeserializeOwned, P: Serialize>(
        &mut self,
        method: Method,
        params: impl IntoIterator<Item = P>,
        limits: ResponseLimits,
    ) -> Result<Vec<T>, BitcoindError> {
        let mut params = params.into_iter().peekable();
        let mut results = Vec::new();
        while params.peek().is_some() {
            let first_id = self.next_id.wrapping_add(1);
            let request = |(id, params)| Request { jsonrpc: "2.0", id, method: method.name(), params };
            let batch: Vec<_> = (first_id..).zip(params.by_ref().take(BATCH_MAX)).map(request).collect();
            self.next_id = self.next_id.wrapping_add(batch.len() as u64);
            self.calls += batch.len() as u64;
            let request =
                serde_json::to_vec(&batch).map_err(|error| BitcoindError::InvalidResponse(error.to_string()))?;
            let (status, body) = self.exchange(&request, limits).inspect_err(|_| self.keyring.forget_cookie())?;
            let responses: Vec<Response<'_>> =
                serde_json::from_slice(&body).map_err(|error| unreadable(method, status, &body, &error))?;
            if responses.len() != batch.len() {
                return Err(invalid(method, "not as many responses as requests"));
            }
            for (response, id) in responses.into_iter().zip(first_id..) {
                results.push(result_of(method, id, response)?);
            }
        }
        Ok(results)
    }

    /// Sends a request with one credentials after the other until bitcoind accepts some. Returns the HTTP status and the
    /// body of the response.
    fn exchange(&mut self, request: &[u8], limits: ResponseLimits) -> Result<(u16, Vec<u8>), BitcoindError> {
        let mut rejected: Vec<Credentials> = Vec::new();
        loop {
            let credentials = self.keyring.next(&rejected)?;
            if let Some(response) = self.exchange_with(&credentials, request, limits)? {
                self.keyring.accepted(&credentials);
                return Ok(response);
            }
            rejected.push(credentials);
        }
    }

    /// Sends a request once. Returns `None` if bitcoind rejects the credentials.
    fn exchange_with(
        &self,
        credentials: &Credentials,
        request: &[u8],
        limits: ResponseLimits,
    ) -> Result<Option<(u16, Vec<u8>)>, BitcoindError> {
        let transport_error = |error| error::of_transport(error, limits.timeout);
        let post = self.agent.post(&self.url).header(AUTHORIZATION, credentials.authorization.clone());
        let post = post.header(CONTENT_TYPE, "application/json");
        let connect_timeout = Some(limits.timeout.map_or(CONNECT_TIMEOUT, |timeout| timeout.min(CONNECT_TIMEOUT)));
        let post = post.config().timeout_resolve(connect_timeout).timeout_connect(connect_timeout);
        let post = post.timeout_recv_response(limits.timeout).build();
        let mut response = post.send(request).map_err(transport_error)?;
        let status = response.status().as_u16();
        if status == UNAUTHORISED {
            return Ok(None);
        }
        let body = response.body_mut().with_config().limit(limits.bytes_max).read_to_vec().map_err(transport_error)?;
        Ok(Some((status, body)))
    }
}

/// Returns the result in a response.
fn result_of<T: DeserializeOwned>(method: Method, id: u64, response: Response<'_>) -> Result<T, BitcoindError> {
    if let Some(ErrorObject { code, message }) = response.error {
        return Err(error::of_code(code, excerpt(&message)));
    }
    if response.id != Some(id) {
        return Err(invalid(method, "a response to another request"));
    }
    let result = response.result.map_or("null", RawValue::get);
    serde_json::from_str(result).map_err(|error| invalid(method, &error.to_string()))
}

/// The error for a body that is not what was expected. bitcoind's own errors have another status than 200 too, but they have
/// JSON.
fn unreadable(method: Method, status: u16, body: &[u8], error: &serde_json::Error) -> BitcoindError {
    match status {
        200 => invalid(method, &error.to_string()),
        _ => error::of_http_status(method, status, body),
    }
}

fn invalid(method: Method, reason: &str) -> BitcoindError {
    BitcoindError::InvalidResponse(format!("to {}: {}", method.name(), excerpt(reason)))
}

#[cfg(test)]
mod tests;
