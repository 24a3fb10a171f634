//! Chain ids, and every hashed byte of shares.

use bitcoin::hashes::{sha256d, Hash as _};
use p2pool_core::params::ChainId;
use p2pool_core::share::coinbase::{fold_merkle_branch, Coinbase};
use p2pool_core::share::encoding::SHARE_LEN_MAX;
use p2pool_core::share::envelope::Envelope;
use p2pool_core::share::{Share, ShareId, HEADER_VERSION_MIN};
use serde::Deserialize;

use crate::fields::{hash_from_display, hex, hex_array, payouts, read, ParamsFields, PayoutFields, ShareFields};

#[derive(Deserialize)]
struct ChainVector {
    #[serde(flatten)]
    params: ParamsFields,
    preimage: String,
    chain_id: String,
}

#[test]
fn chain_ids() {
    let vectors: Vec<ChainVector> = read("chains.json");
    assert!(vectors.len() >= 10);
    for vector in &vectors {
        let params = vector.params.params();
        assert_eq!(params.chain_id_preimage(), hex(&vector.preimage), "{params:?}");
        assert_eq!(params.chain_id().to_string(), vector.chain_id, "{params:?}");
    }
}

#[derive(Deserialize)]
struct ShareVector {
    chain_id: String,
    fields: ShareFields,
    raw: String,
    id: String,
    digest: String,
    commitment: String,
    payouts: Vec<PayoutFields>,
    coinbase_prefix: String,
    coinbase_suffix: String,
    coinbase_txid: String,
    coinbase_with_witness_hash: String,
    envelope_hash: String,
    folded_merkle_root: String,
}

#[test]
fn share_encodings_match_the_model() {
    let vectors: Vec<ShareVector> = read("shares.json");
    assert!(vectors.len() >= 30);
    for vector in &vectors {
        let (share, raw) = (vector.fields.share(), hex(&vector.raw));
        assert_eq!(share.encode(), raw, "{}", vector.id);
        assert_eq!(Share::decode(&raw).unwrap(), share, "{}", vector.id);
        assert!(raw.len() <= SHARE_LEN_MAX);
        assert_eq!(share.id(), ShareId(hash_from_display(&vector.id)));
        assert_eq!(share.id().to_string(), vector.id);
        assert_eq!(share.digest().0, hex_array(&vector.digest), "{}", vector.id);
    }
}

#[test]
fn coinbases_match_the_model() {
    let vectors: Vec<ShareVector> = read("shares.json");
    for vector in &vectors {
        let share = vector.fields.share();
        let chain_id = ChainId(hex_array(&vector.chain_id));
        assert_eq!(share.info.commitment(&chain_id), hex_array(&vector.commitment), "{}", vector.id);
        let coinbase = Coinbase::new(&chain_id, &share.info, &payouts(&vector.payouts));
        assert_eq!(coinbase.prefix, hex(&vector.coinbase_prefix), "{}", vector.id);
        assert_eq!(coinbase.suffix, hex(&vector.coinbase_suffix), "{}", vector.id);
        let txid = coinbase.txid(&share.extranonce);
        assert_eq!(txid, hash_from_display(&vector.coinbase_txid), "{}", vector.id);
        let with_witness = coinbase.with_witness(&share.extranonce);
        let hash = sha256d::Hash::hash(&with_witness).to_byte_array();
        assert_eq!(hash, hash_from_display(&vector.coinbase_with_witness_hash), "{}", vector.id);
        let envelope = Envelope::new(&chain_id, &share, &payouts(&vector.payouts)).encode();
        let hash = sha256d::Hash::hash(&envelope).to_byte_array();
        assert_eq!(hash, hash_from_display(&vector.envelope_hash), "{}", vector.id);
        let root = fold_merkle_branch(txid, &share.merkle_branch);
        assert_eq!(root, hash_from_display(&vector.folded_merkle_root), "{}", vector.id);
    }
}

/// The `bitcoin` crate reads the serialisation with witness as the same transaction.
#[test]
fn coinbases_are_valid_transactions() {
    let vectors: Vec<ShareVector> = read("shares.json");
    for vector in &vectors {
        let share = vector.fields.share();
        let chain_id = ChainId(hex_array(&vector.chain_id));
        let coinbase = Coinbase::new(&chain_id, &share.info, &payouts(&vector.payouts));
        let bytes = coinbase.with_witness(&share.extranonce);
        let transaction: bitcoin::Transaction = bitcoin::consensus::deserialize(&bytes).unwrap();
        assert!(transaction.is_coinbase());
        assert_eq!(transaction.compute_txid().to_byte_array(), coinbase.txid(&share.extranonce));
        assert_eq!(transaction.lock_time.to_consensus_u32(), share.info.block_height.0 - 1);
        assert_eq!(transaction.output.len(), vector.payouts.len() + 1);
    }
}

#[derive(Deserialize)]
struct MalformedVector {
    why: String,
    raw: String,
    decodes: bool,
}

#[test]
fn malformed_shares_are_rejected() {
    let vectors: Vec<MalformedVector> = read("malformed.json");
    assert!(vectors.iter().filter(|vector| !vector.decodes).count() >= 30);
    for vector in &vectors {
        match Share::decode(&hex(&vector.raw)) {
            Err(_) => assert!(!vector.decodes, "{} should decode", vector.why),
            Ok(share) => {
                assert!(vector.decodes, "{} should not decode", vector.why);
                let version = share.header.version.to_consensus();
                let bits = [share.info.share_bits, share.info.base_bits];
                let out_of_range = version < HEADER_VERSION_MIN || bits.iter().any(|bits| bits.work().is_none());
                assert!(out_of_range, "{}", vector.why);
            }
        }
    }
}

/// No prefix of a share decodes, and changing any byte gives an error or another share.
#[test]
fn every_byte_of_a_share_matters() {
    let vectors: Vec<ShareVector> = read("shares.json");
    for vector in vectors.iter().step_by(5) {
        let raw = hex(&vector.raw);
        let share = Share::decode(&raw).unwrap();
        for i in 0..raw.len() {
            assert!(Share::decode(&raw[..i]).is_err());
            let mut changed = raw.clone();
            changed[i] ^= 1;
            match Share::decode(&changed) {
                Ok(other) => assert!(other != share && other.encode() == changed, "byte {i} of {}", vector.id),
                Err(_) => continue,
            }
        }
    }
}
