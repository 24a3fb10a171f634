//! The client with a check of bitcoind's network, and the calls that several threads make.

use std::sync::atomic::Ordering;
use std::time::Instant;

use bitcoin::blockdata::constants::genesis_block;
use bitcoin::hex::DisplayHex as _;
use bitcoin::BlockHash;
use p2pool_core::config::Config;
use p2pool_core::params::Network;
use p2pool_core::status::BitcoindError;
use p2pool_core::work::Template;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;

use crate::client::{Client, ResponseLimits, BODY_TIMEOUT};
use crate::error::{excerpt, is_response, RpcError};
use crate::method::Method;
use crate::text::Text;

/// A client that checks the network after each connect: no response of a bitcoind on another network is used.
#[derive(Debug)]
pub(crate) struct VerifiedClient {
    pub(crate) client: Client,
    network: Network,
    signet_challenge: String,
    /// Number of the connection whose other end is known to be on this node's network.
    verified: Option<u64>,
}

#[derive(Deserialize)]
struct ChainInfo {
    chain: String,
    signet_challenge: Option<String>,
}

/// Parameter of `getblocktemplate`.
#[derive(Serialize)]
struct TemplateRequest<'a> {
    rules: &'static [&'static str],
    #[serde(skip_serializing_if = "Option::is_none")]
    longpollid: Option<&'a str>,
}

/// The field of a template response that the next long poll refers to.
#[derive(Deserialize)]
struct LongPollId {
    longpollid: String,
}

/// A template and the id with which to wait for the next one.
#[derive(Debug)]
pub(crate) struct TemplateResponse {
    pub(crate) template: Template,
    pub(crate) longpollid: String,
}

impl VerifiedClient {
    /// Makes a client; connects to nothing yet.
    pub(crate) fn new(config: &Config) -> Result<Self, RpcError> {
        Ok(Self {
            client: Client::new(config)?,
            network: config.params.network,
            signet_challenge: config.params.signet_challenge.to_lower_hex_string(),
            verified: None,
        })
    }

    /// Calls a method. Returns an error if the response is from a bitcoind on another network.
    pub(crate) fn call<T: DeserializeOwned>(
        &mut self,
        method: Method,
        params: impl Serialize,
        limits: ResponseLimits,
    ) -> Result<T, BitcoindError> {
        self.verified(|client| client.call(method, params, limits))
    }

    /// Calls a method once for each of `params`; each response is small.
    pub(crate) fn call_all<T: DeserializeOwned, P: Serialize>(
        &mut self,
        method: Method,
        params: impl IntoIterator<Item = P>,
    ) -> Result<Vec<T>, BitcoindError> {
        self.verified(|client| client.call_all(method, params, ResponseLimits::SMALL))
    }

    fn verified<T>(&mut self, call: impl FnOnce(&mut Client) -> Result<T, BitcoindError>) -> Result<T, BitcoindError> {
        self.verify_network()?;
        let result = call(&mut self.client);
        match &result {
            Err(error) if !is_response(error) => self.verified = None,
            // The client may have replaced an idle connection without an error, and bitcoind may be another one now.
            _ => self.verify_network()?,
        }
        result
    }

    /// Requests a template. With `longpollid`, waits until the template differs from the one with this id.
    pub(crate) fn template(&mut self, longpollid: Option<&str>) -> Result<TemplateResponse, BitcoindError> {
        let rules: &[&str] = if self.network == Network::Signet { &["segwit", "signet"] } else { &["segwit"] };
        let limits = if longpollid.is_some() { ResponseLimits::LONG_POLL } else { ResponseLimits::TEMPLATE };
        let request = (TemplateRequest { rules, longpollid },);
        let started = Instant::now();
        let response: Box<RawValue> = self.call(Method::GetBlockTemplate, request, limits)?;
        // After a long poll only the response itself counts, which comes in time or not at all.
        let response_s = started.elapsed().min(BODY_TIMEOUT).as_secs();
        let unusable = |error: String| BitcoindError::UnusableTemplate(excerpt(&error));
        let LongPollId { longpollid } =
            serde_json::from_str(response.get()).map_err(|error| unusable(error.to_string()))?;
        let template =
            Template::from_json(response.get(), self.network).map_err(|error| unusable(error.to_string()))?;
        let template = Template { response_s: u32::try_from(response_s).unwrap_or(u32::MAX), ..template };
        Ok(TemplateResponse { template, longpollid })
    }

    /// Requests the hash of bitcoind's best block.
    pub(crate) fn tip(&mut self) -> Result<BlockHash, BitcoindError> {
        #[derive(Deserialize)]
        struct Tip {
            bestblockhash: Text<BlockHash>,
        }
        let Tip { bestblockhash: Text(tip) } =
            self.call(Method::GetBlockchainInfo, json!([]), ResponseLimits::SMALL)?;
        Ok(tip)
    }

    /// Requests the verified part of the block chain by bitcoind's own estimate; `None` if the call fails.
    pub(crate) fn verified_percent(&mut self) -> Option<u8> {
        #[derive(Deserialize)]
        struct Progress {
            verificationprogress: f64,
        }
        let progress: Progress = self.call(Method::GetBlockchainInfo, json!([]), ResponseLimits::SMALL).ok()?;
        Some((progress.verificationprogress.clamp(0.0, 1.0) * 100.0) as u8)
    }

    /// Checks bitcoind's network, unless it has been checked on this connection.
    pub(crate) fn verify_network(&mut self) -> Result<(), BitcoindError> {
        let connection = self.client.connections.load(Ordering::Relaxed);
        if self.verified == Some(connection) && connection > 0 {
            return Ok(());
        }
        self.verified = None;
        let info: ChainInfo = self.client.call(Method::GetBlockchainInfo, json!([]), ResponseLimits::SMALL)?;
        let connection = self.client.connections.load(Ordering::Relaxed);
        let Text(genesis): Text<BlockHash> =
            self.client.call(Method::GetBlockHash, json!([0]), ResponseLimits::SMALL)?;
        self.check_network(&info, genesis)?;
        self.verified = Some(connection);
        Ok(())
    }

    fn check_network(&self, info: &ChainInfo, genesis: BlockHash) -> Result<(), BitcoindError> {
        let their_challenge = info.signet_challenge.as_deref().unwrap_or_default();
        let ours = describe(self.network.name(), &self.signet_challenge);
        let theirs = match Network::ALL.iter().find(|network| network.to_bitcoin().to_core_arg() == info.chain) {
            Some(network) => describe(network.name(), their_challenge),
            None => format!("an unknown network '{}'", excerpt(&info.chain)),
        };
        if ours != theirs {
            return Err(BitcoindError::WrongNetwork { ours, theirs });
        }
        let expected = genesis_block(self.network.to_bitcoin()).block_hash();
        if genesis != expected {
            let (ours, theirs) = (format!("{ours} from block {expected}"), format!("{theirs} from block {genesis}"));
            return Err(BitcoindError::WrongNetwork { ours, theirs });
        }
        Ok(())
    }
}

/// Returns a description that is unique per network.
fn describe(name: &str, signet_challenge: &str) -> String {
    match signet_challenge {
        "" => name.to_owned(),
        challenge => format!("{name} with the challenge {challenge}"),
    }
}
