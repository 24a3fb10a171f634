//! The canonical encoding of shares, and the first checks of a share.

use std::sync::{Arc, LazyLock};

use bitcoin::consensus::{deserialize, serialize};
use bitcoin::hex::FromHex as _;
use bitcoin::Transaction;
use p2pool_core::params::{ChainParams, Network};
use p2pool_core::peer::PeerHandle;
use p2pool_core::share::coinbase::{fold_merkle_branch, Coinbase, Payout};
use p2pool_core::share::encoding::{DecodeError, SHARE_LEN_MAX};
use p2pool_core::share::{header_hash, Share, ShareId};
use p2pool_core::sharechain::{Effect, Sharechain, Source, Tree, Verdict};
use p2pool_core::units::UnixTime;

/// The outcome of an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is not a canonical share.
    Rejected(DecodeError),
    /// It is a share, with this verdict of an empty sharechain.
    Decoded(Verdict),
}

/// The chains that receive the shares.
static CHAINS: LazyLock<Vec<Arc<ChainParams>>> =
    LazyLock::new(|| [Network::Mainnet, Network::Regtest].map(|it| Arc::new(ChainParams::standard(it))).to_vec());

/// Decodes a share and passes it to empty sharechains.
pub fn check(data: &[u8]) -> Outcome {
    let share = match Share::decode(data) {
        Ok(share) => share,
        Err(error) => return Outcome::Rejected(error),
    };
    assert!(data.len() <= SHARE_LEN_MAX);
    assert_eq!(share.encode(), data, "the encoding is canonical");
    assert_eq!(serialize(&share.header), data[..80]);
    let header = data[..80].try_into().unwrap_or([0; 80]);
    assert_eq!(share.id(), ShareId(header_hash(&header)));
    assert!(share.info.uncles.is_sorted());
    for params in CHAINS.iter() {
        check_coinbase(&share, params);
    }
    let verdicts: Vec<Verdict> = CHAINS.iter().map(|params| receive(&share, params)).collect();
    Outcome::Decoded(verdicts.last().cloned().unwrap_or(Verdict::Dropped))
}

/// For any facts, the coinbase is a valid transaction.
fn check_coinbase(share: &Share, params: &ChainParams) {
    let info = &share.info;
    let payout = Payout { script: info.payout_script, amount: info.coinbase_value };
    let coinbase = Coinbase::new(&params.chain_id(), info, &[payout]);
    let raw = coinbase.with_witness(&share.extranonce);
    let tx: Transaction = deserialize(&raw).expect("the coinbase of any facts is a transaction");
    assert!(tx.is_coinbase());
    assert!((2..=100).contains(&tx.input[0].script_sig.len()), "BIP-0034 and Bitcoin's limit");
    assert_eq!(tx.output.len(), 2);
    assert_eq!(tx.output[0].script_pubkey.as_bytes(), info.payout_script.as_bytes());
    fold_merkle_branch(coinbase.txid(&share.extranonce), &share.merkle_branch);
    let address = info.payout_script.to_address(params.network);
    assert!(!address.starts_with("script"), "{address}");
}

/// Receives the share twice on an empty sharechain.
fn receive(share: &Share, params: &Arc<ChainParams>) -> Verdict {
    let mut chain = Sharechain::new(Tree::new(Arc::clone(params)));
    let now = UnixTime(share.header.time);
    let first = verdict(&chain.receive(Arc::new(share.clone()), Source::Fetch(PeerHandle(1)), now), share);
    assert_ne!(first, Verdict::Accepted, "without the Bitcoin block it is built on nothing is proven");
    let kept = matches!(first, Verdict::Deferred | Verdict::Unverified | Verdict::Rejected { .. });
    let second = verdict(&chain.receive(Arc::new(share.clone()), Source::Fetch(PeerHandle(2)), now), share);
    assert_eq!(second == Verdict::Known, kept, "first {first:?}, then {second:?}");
    chain.tick(UnixTime(u32::MAX));
    first
}

fn verdict(effects: &[Effect], share: &Share) -> Verdict {
    let digest = share.digest();
    let mut verdicts = effects.iter().filter_map(|effect| match effect {
        Effect::Verdict { digest: of, verdict, .. } if *of == digest => Some(verdict.clone()),
        _ => None,
    });
    verdicts.next_back().expect("every share gets a verdict")
}

/// Valid and invalid shares from the golden vectors.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for text in [include_str!("../../vectors/shares.json"), include_str!("../../vectors/malformed.json")] {
        let vectors: Vec<serde_json::Value> = serde_json::from_str(text).expect("the vectors are JSON");
        let raws = vectors.iter().filter_map(|vector| vector["raw"].as_str());
        seeds.extend(raws.filter_map(|raw| Vec::from_hex(raw).ok()));
    }
    let shares: Vec<Share> = seeds.iter().filter_map(|raw| Share::decode(raw).ok()).collect();
    assert!(!shares.is_empty(), "the vectors hold shares");
    seeds.extend(shares.into_iter().map(|share| with_proof_of_work(share).encode()));
    seeds
}

/// The share with proof of work for the easiest target, so that it passes the first rules.
fn with_proof_of_work(mut share: Share) -> Share {
    share.info.share_bits = ChainParams::standard(Network::Regtest).easiest_bits;
    let target = share.info.share_bits.target().expect("the easiest target is one");
    while !target.is_met_by(&share.id().0) {
        share.header.nonce = share.header.nonce.wrapping_add(1);
    }
    share
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::mutate::{mutate, Rng};

    #[test]
    fn mutated_shares_reach_every_outcome_without_failure() {
        let (seeds, mut rng) = (seeds(), Rng::new(1));
        let mut met = BTreeSet::new();
        for seed in &seeds {
            check(seed);
        }
        for _ in 0..60_000 {
            met.insert(match check(&mutate(&seeds, &[], &mut rng)) {
                Outcome::Rejected(DecodeError::Trailing(_)) => "trailing bytes".to_owned(),
                Outcome::Rejected(DecodeError::RulesVersion(_)) => "rules version".to_owned(),
                Outcome::Rejected(error) => format!("{error:?}"),
                Outcome::Decoded(Verdict::Rejected { why, .. }) => why.to_owned(),
                Outcome::Decoded(verdict) => format!("{verdict:?}"),
            });
        }
        for expected in [
            "trailing bytes",
            "rules version",
            "Short",
            "UncleOrder",
            "PayoutScript",
            "CoinbaseTag",
            "Length(\"uncles\")",
            "Length(\"merkle branch\")",
            "Deferred",
            "header version below 4",
            "share bits are not canonical",
            "header hash above the share target",
        ] {
            assert!(met.contains(expected), "{expected} not met, only {met:?}");
        }
    }
}
