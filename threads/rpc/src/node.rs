//! The bitcoind of this node's own network, or an error that says why it is not.

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
use ureq::Agent;

use crate::client::{Bounds, Client};
use crate::error::{excerpt, is_response, RpcError};
use crate::text::Text;

/// A client that makes sure of the network after each connect: nothing is taken from a bitcoind on another one.
#[derive(Debug)]
pub(crate) struct Node {
    client: Client,
    network: Network,
    signet_challenge: String,
    /// The connection whose other end is known to be on our network.
    verified: Option<u64>,
}

#[derive(Deserialize)]
struct ChainInfo {
    chain: String,
    signet_challenge: Option<String>,
}

/// What a template is asked for with.
#[derive(Serialize)]
struct TemplateRequest<'a> {
    rules: &'static [&'static str],
    #[serde(skip_serializing_if = "Option::is_none")]
    longpollid: Option<&'a str>,
}

/// The part of a template's answer that its waiting goes on from.
#[derive(Deserialize)]
struct LongPollId {
    longpollid: String,
}

/// A template and what to wait for the next one with.
#[derive(Debug)]
pub(crate) struct TemplateAnswer {
    pub(crate) template: Template,
    pub(crate) longpollid: String,
}

impl Node {
    /// Asks nothing yet.
    pub(crate) fn new(config: &Config) -> Result<Self, RpcError> {
        Ok(Self {
            client: Client::new(config)?,
            network: config.params.network,
            signet_challenge: config.params.signet_challenge.to_lower_hex_string(),
            verified: None,
        })
    }

    /// Where bitcoind is.
    pub(crate) fn url(&self) -> &str {
        self.client.url()
    }

    /// See [`Client::agent`].
    pub(crate) fn agent(&self) -> Agent {
        self.client.agent()
    }

    /// Asks. The answer counts only if it came from a bitcoind on our network.
    pub(crate) fn call<T: DeserializeOwned>(
        &mut self,
        method: &str,
        params: impl Serialize,
        bounds: Bounds,
    ) -> Result<T, BitcoindError> {
        self.verify_if_new()?;
        let answer = self.client.call(method, params, bounds);
        match &answer {
            Err(error) if !is_response(error) => self.verified = None,
            // An idle connection may have been replaced, and bitcoind by another, without an error.
            _ => self.verify_if_new()?,
        }
        answer
    }

    /// A template; with `longpollid` only when it would differ from the one that had this id.
    pub(crate) fn template(&mut self, longpollid: Option<&str>) -> Result<TemplateAnswer, BitcoindError> {
        let rules: &[&str] = if self.network == Network::Signet { &["segwit", "signet"] } else { &["segwit"] };
        let bounds = if longpollid.is_some() { Bounds::LONG_POLL } else { Bounds::TEMPLATE };
        let request = (TemplateRequest { rules, longpollid },);
        let answer: Box<RawValue> = self.call("getblocktemplate", request, bounds)?;
        let unusable = |error: String| BitcoindError::UnusableTemplate(excerpt(&error));
        let LongPollId { longpollid } =
            serde_json::from_str(answer.get()).map_err(|error| unusable(error.to_string()))?;
        let template = Template::from_json(answer.get(), self.network).map_err(|error| unusable(error.to_string()))?;
        Ok(TemplateAnswer { template, longpollid })
    }

    /// How much of the block chain bitcoind has checked, by its own estimate; `None` if it does not say.
    pub(crate) fn downloaded_percent(&mut self) -> Option<u8> {
        #[derive(Deserialize)]
        struct Progress {
            verificationprogress: f64,
        }
        let progress: Progress = self.call("getblockchaininfo", json!([]), Bounds::SMALL).ok()?;
        Some((progress.verificationprogress.clamp(0.0, 1.0) * 100.0) as u8)
    }

    /// Looks at bitcoind's network unless this connection's is known.
    fn verify_if_new(&mut self) -> Result<(), BitcoindError> {
        let connection = self.client.connections();
        if self.verified == Some(connection) && connection > 0 {
            return Ok(());
        }
        self.verified = None;
        let info: ChainInfo = self.client.call("getblockchaininfo", json!([]), Bounds::SMALL)?;
        let connection = self.client.connections();
        let Text(genesis): Text<BlockHash> = self.client.call("getblockhash", json!([0]), Bounds::SMALL)?;
        self.check_network(&info, genesis)?;
        self.verified = Some(connection);
        Ok(())
    }

    fn check_network(&self, info: &ChainInfo, genesis: BlockHash) -> Result<(), BitcoindError> {
        let theirs_challenge = info.signet_challenge.as_deref().unwrap_or_default();
        let ours = describe(self.network.name(), &self.signet_challenge);
        let theirs = match network_of_chain(&info.chain) {
            Some(network) => describe(network.name(), theirs_challenge),
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

/// Names a network; two with one name are one network.
fn describe(name: &str, signet_challenge: &str) -> String {
    match signet_challenge {
        "" => name.to_owned(),
        challenge => format!("{name} with the challenge {challenge}"),
    }
}

/// Returns the network that bitcoind calls `chain`.
fn network_of_chain(chain: &str) -> Option<Network> {
    match chain {
        "main" => Some(Network::Mainnet),
        "test" => Some(Network::Testnet3),
        "testnet4" => Some(Network::Testnet4),
        "signet" => Some(Network::Signet),
        "regtest" => Some(Network::Regtest),
        _ => None,
    }
}
