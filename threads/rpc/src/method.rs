//! The RPC methods that this node calls.

use serde_json::{json, Value};

/// An RPC method of bitcoind. There is no call of any other, so an operator's `rpcwhitelist=` is complete with these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    SubmitBlock,
    GetBlockTemplate,
    GetBlockchainInfo,
    GetBlockHash,
    GetBlockHeader,
}

impl Method {
    /// All methods, the most important one first.
    pub(crate) const ALL: [Self; 5] =
        [Self::SubmitBlock, Self::GetBlockTemplate, Self::GetBlockchainInfo, Self::GetBlockHash, Self::GetBlockHeader];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::SubmitBlock => "submitblock",
            Self::GetBlockTemplate => "getblocktemplate",
            Self::GetBlockchainInfo => "getblockchaininfo",
            Self::GetBlockHash => "getblockhash",
            Self::GetBlockHeader => "getblockheader",
        }
    }

    /// Parameters for a call that only shows whether bitcoind responds and allows the method. bitcoind rejects them (error
    /// -22, -3, -3 or -8) before it takes its lock of the block chain, which the validation of a block holds for seconds. (An
    /// unknown mode of `getblocktemplate` is rejected after it, up to version 30.)
    /// `getblockchaininfo` has no parameters to reject; it costs microseconds.
    pub(crate) fn harmless_params(self) -> Value {
        match self {
            Self::SubmitBlock => json!([""]),
            Self::GetBlockTemplate => json!(["none"]),
            Self::GetBlockchainInfo => json!([]),
            Self::GetBlockHash => json!(["none"]),
            Self::GetBlockHeader => json!([""]),
        }
    }
}

#[cfg(test)]
mod tests {
    use p2pool_core::status::BitcoindError;

    use super::*;

    #[test]
    fn harmless_calls_are_rejected_by_their_parameters() {
        for method in Method::ALL.into_iter().filter(|method| *method != Method::GetBlockchainInfo) {
            // For a template and a height of another type than bitcoind's own; else no block and no hash.
            let params = method.harmless_params();
            let text = params[0].as_str().unwrap_or_else(|| panic!("{method:?}: {params}"));
            assert!(matches!(text, "" | "none"), "{method:?}: {text}");
        }
    }

    #[test]
    fn the_advice_for_a_refused_method_names_all_methods() {
        let advice = BitcoindError::Forbidden { method: "", reason: String::new() }.advice();
        for method in Method::ALL {
            assert!(advice.contains(method.name()), "{advice}");
        }
    }
}
