//! JSON-RPC over HTTP/1.1, as bitcoind speaks it: one connection, one question at a time.

use std::fmt;
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
use crate::transport::{Connections, KeepaliveConnector};

/// To look up a host name and connect: bitcoind is on this machine or in this house.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// To take in a question: a full block in hex is 8 MB.
const SEND_TIMEOUT: Duration = Duration::from_secs(60);
/// For the body of an answer once it began.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// bitcoind closes connections that idle for 30 s; ours are closed before, so that no question meets a closing one.
const IDLE_AGE_MAX: Duration = Duration::from_secs(20);
/// HTTP status for wrong credentials.
const UNAUTHORISED: u16 = 401;

/// How long and how large an answer may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Until the answer begins; `None`: as long as the connection lives.
    pub(crate) wait: Option<Duration>,
    /// Bytes of the answer.
    pub(crate) bytes_max: u64,
}

impl Bounds {
    /// A look into a database. Bytes: the longest such answer, `getblockchaininfo` with many warnings, is far shorter.
    pub(crate) const SMALL: Self = Self { wait: Some(Duration::from_secs(10)), bytes_max: 1 << 20 };
    /// Making a template takes seconds on a small computer. Bytes: a full block of 4 MB in hex is 8 MB, and 16,000 small
    /// transactions bring some 6 MB of field names; four times that.
    pub(crate) const TEMPLATE: Self = Self { wait: Some(Duration::from_secs(30)), bytes_max: 64 << 20 };
    /// See [`crate::transport`].
    pub(crate) const LONG_POLL: Self = Self { wait: None, ..Self::TEMPLATE };
    /// Checking a whole block, on a small computer with a cold cache.
    pub(crate) const BLOCK: Self = Self { wait: Some(Duration::from_secs(120)), bytes_max: 1 << 20 };
}

/// Asks one bitcoind.
pub(crate) struct Client {
    agent: Agent,
    connections: Connections,
    url: String,
    keyring: Keyring,
    next_id: u64,
}

/// Leaves the credentials out.
impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("url", &self.url).field("auth", self.keyring.auth()).finish_non_exhaustive()
    }
}

#[derive(Serialize)]
struct Question<'a, P> {
    jsonrpc: &'static str,
    id: u64,
    method: &'a str,
    params: P,
}

#[derive(Deserialize)]
struct Answer<'a> {
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
    /// Asks nothing yet.
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
        let connections = Connections::default();
        let agent_config = Agent::config_builder()
            .http_status_as_error(false)
            // Credentials and blocks go to bitcoind and nowhere else, whatever the environment or a server says.
            .proxy(None)
            .max_redirects(0)
            .user_agent(concat!("p2pool/", env!("CARGO_PKG_VERSION")))
            .timeout_resolve(Some(CONNECT_TIMEOUT))
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_send_request(Some(SEND_TIMEOUT))
            .timeout_send_body(Some(SEND_TIMEOUT))
            .timeout_recv_body(Some(BODY_TIMEOUT))
            .max_idle_connections(1)
            .max_idle_age(IDLE_AGE_MAX)
            .build();
        let agent =
            Agent::with_parts(agent_config, KeepaliveConnector(connections.clone()), DefaultResolver::default());
        Ok(Self { agent, connections, url, keyring: Keyring::new(config.rpc_auth.clone()), next_id: 0 })
    }

    /// Where bitcoind is, without credentials.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// A handle that can interrupt a question from another thread, by shutting down the connection.
    pub(crate) fn agent(&self) -> Agent {
        self.agent.clone()
    }

    /// Connections made so far: when it grows, the bitcoind at the other end may be another.
    pub(crate) fn connections(&self) -> u64 {
        self.connections.made()
    }

    /// Asks, and reads the answer's result. When a cookie is refused the others are tried.
    pub(crate) fn call<T: DeserializeOwned>(
        &mut self,
        method: &str,
        params: impl Serialize,
        bounds: Bounds,
    ) -> Result<T, BitcoindError> {
        self.next_id = self.next_id.wrapping_add(1);
        let question = Question { jsonrpc: "2.0", id: self.next_id, method, params };
        let question =
            serde_json::to_vec(&question).map_err(|error| BitcoindError::InvalidResponse(error.to_string()))?;
        let (status, body) = self.exchange(&question, bounds).inspect_err(|_| self.keyring.forget_cookie())?;
        self.read_answer(method, status, &body)
    }

    /// Sends the question with credentials until some are taken; gives the answer's HTTP status and body.
    fn exchange(&mut self, question: &[u8], bounds: Bounds) -> Result<(u16, Vec<u8>), BitcoindError> {
        let mut refused: Vec<Credentials> = Vec::new();
        loop {
            let credentials = self.keyring.present(&refused)?;
            if let Some(answer) = self.exchange_with(&credentials, question, bounds)? {
                self.keyring.taken(&credentials);
                return Ok(answer);
            }
            refused.push(credentials);
        }
    }

    /// Sends the question once. `None`: the credentials are refused.
    fn exchange_with(
        &self,
        credentials: &Credentials,
        question: &[u8],
        bounds: Bounds,
    ) -> Result<Option<(u16, Vec<u8>)>, BitcoindError> {
        let in_transport = |error| error::of_transport(error, bounds.wait);
        let request = self.agent.post(&self.url).header(AUTHORIZATION, credentials.authorization.clone());
        let request = request.header(CONTENT_TYPE, "application/json");
        let request = request.config().timeout_recv_response(bounds.wait).build();
        let mut response = request.send(question).map_err(in_transport)?;
        if response.status().as_u16() == UNAUTHORISED {
            return Ok(None);
        }
        let body = response.body_mut().with_config().limit(bounds.bytes_max).read_to_vec().map_err(in_transport)?;
        Ok(Some((response.status().as_u16(), body)))
    }

    fn read_answer<T: DeserializeOwned>(&self, method: &str, status: u16, body: &[u8]) -> Result<T, BitcoindError> {
        let answer: Answer<'_> = match serde_json::from_slice(body) {
            Ok(answer) => answer,
            // bitcoind answers errors with a status of its own and JSON; anybody else's have no JSON.
            Err(_) if status != 200 => {
                return Err(error::of_http_status(status, body));
            }
            Err(error) => {
                return Err(BitcoindError::InvalidResponse(format!("to {method}: {}", excerpt(&error.to_string()))))
            }
        };
        if let Some(ErrorObject { code, message }) = answer.error {
            return Err(error::of_code(code, excerpt(&message)));
        }
        if answer.id != Some(self.next_id) {
            return Err(BitcoindError::InvalidResponse(format!("to {method}: an answer to another question")));
        }
        let result = answer.result.map_or("null", RawValue::get);
        serde_json::from_str(result)
            .map_err(|error| BitcoindError::InvalidResponse(format!("to {method}: {}", excerpt(&error.to_string()))))
    }
}

#[cfg(test)]
mod tests;
