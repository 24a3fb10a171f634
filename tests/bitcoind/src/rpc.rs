//! JSON-RPC over HTTP, as bitcoind speaks it.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{json, Value};

/// Timeout of a call. Mining a hundred blocks takes a while on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(300);
/// Maximum length of a response: a full block in hex inside JSON.
const RESPONSE_BYTES_MAX: u64 = 64 << 20;

/// Why a call gave no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RpcError {
    /// bitcoind responded with an error.
    Refused {
        /// bitcoind's error code.
        code: i64,
        /// bitcoind's message.
        message: String,
    },
    /// There was no usable response.
    Unreachable(String),
}

impl fmt::Display for RpcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { code, message } => write!(f, "bitcoind refused, code {code}: {message}"),
            Self::Unreachable(why) => write!(f, "no response from bitcoind: {why}"),
        }
    }
}

impl std::error::Error for RpcError {}

/// A JSON-RPC client of a bitcoind on this machine. It reads the cookie for each call, because each start writes another.
#[derive(Clone, Debug)]
pub struct RpcClient {
    agent: ureq::Agent,
    port: u16,
    cookie_file: PathBuf,
}

impl RpcClient {
    /// A client of the bitcoind that listens on `port` and writes `cookie_file`.
    pub fn new(port: u16, cookie_file: PathBuf) -> Self {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(TIMEOUT))
            .http_status_as_error(false)
            // A kept connection would outlive a bitcoind that was killed and fail the first call to the next.
            .max_idle_connections(0)
            .build();
        Self { agent: config.into(), port, cookie_file }
    }

    /// Calls `method` with `params`, a JSON array.
    pub fn call(&self, method: &str, params: &Value) -> Result<Value, RpcError> {
        let unreachable = |why: String| RpcError::Unreachable(format!("{method}: {why}"));
        let cookie = std::fs::read_to_string(&self.cookie_file)
            .map_err(|error| unreachable(format!("{}: {error}", self.cookie_file.display())))?;
        let request = json!({"jsonrpc": "1.0", "id": 0, "method": method, "params": params});
        let mut response = self
            .agent
            .post(format!("http://{}@127.0.0.1:{}/", cookie.trim(), self.port))
            .content_type("application/json")
            .send(request.to_string())
            .map_err(|error| unreachable(error.to_string()))?;
        let status = response.status();
        let text = response
            .body_mut()
            .with_config()
            .limit(RESPONSE_BYTES_MAX)
            .read_to_string()
            .map_err(|error| unreachable(error.to_string()))?;
        let response: Value =
            serde_json::from_str(&text).map_err(|error| unreachable(format!("status {status}, {error}: {text:?}")))?;
        match &response["error"] {
            Value::Null => Ok(response["result"].clone()),
            error => Err(RpcError::Refused {
                code: error["code"].as_i64().unwrap_or_default(),
                message: error["message"].as_str().unwrap_or_default().to_owned(),
            }),
        }
    }
}
