//! Messages of other nodes, and the reassembly of announced blocks.

use std::sync::Arc;

use bitcoin::consensus::serialize;
use bitcoin::hex::FromHex as _;
use p2pool_core::units::Bits;
use p2pool_core::wire::{
    BlockAnnouncement, BlockError, Frame, GossipShare, Misbehaviour, Reassembly, Request, Response, WireError,
};

/// The outcome of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// No byte that selects the message.
    Nothing,
    /// Too long.
    Oversize,
    /// Not a message of this type.
    Malformed,
    /// The message in an encoding that is not canonical.
    NotCanonical,
    /// A gossiped share.
    Share,
    Request,
    Response,
    /// An announced block without proof of work.
    WithoutWork,
    /// An announced block with proof of work, but without a coinbase for its height.
    NoCoinbase,
    /// An announced block that can be reassembled.
    Block,
}

/// Decodes a message, whose type the first byte selects.
pub fn check(data: &[u8]) -> Outcome {
    let Some((kind, bytes)) = data.split_first() else { return Outcome::Nothing };
    match kind % 4 {
        0 => read::<GossipShare>(bytes).map_or_else(rejected, |message| {
            assert!(message.share.encode().len() < bytes.len());
            Outcome::Share
        }),
        1 => read::<Request>(bytes).map_or_else(rejected, |_| Outcome::Request),
        2 => read::<Response>(bytes).map_or_else(rejected, |_| Outcome::Response),
        _ => check_block(bytes),
    }
}

/// A decoded message encodes to the same bytes and is within the limit.
fn read<T: Frame>(bytes: &[u8]) -> Result<T, WireError> {
    let read = T::decode(bytes);
    match &read {
        Ok(message) => {
            assert!(bytes.len() <= T::LEN_MAX);
            assert_eq!(message.encode(), bytes, "the encoding is canonical");
        }
        Err(error) => {
            assert!(error.to_string().len() < 1_000, "errors quote a bounded part of the message");
            assert!(Misbehaviour::from(error).ban_score() > 0);
        }
    }
    read
}

fn rejected(error: WireError) -> Outcome {
    match error {
        WireError::Oversize { .. } => Outcome::Oversize,
        WireError::Malformed(_) => Outcome::Malformed,
        WireError::NotCanonical => Outcome::NotCanonical,
    }
}

fn check_block(bytes: &[u8]) -> Outcome {
    if let Err(error) = read::<BlockAnnouncement>(bytes) {
        return rejected(error);
    }
    let header = BlockAnnouncement::decode_header(bytes).expect("a whole announcement begins as one");
    match BlockAnnouncement::validate(bytes, Bits(header.bits.to_consensus())) {
        Ok(announcement) => {
            assert_eq!(announcement.header, header);
            reassemble(announcement);
            Outcome::Block
        }
        Err(BlockError::Coinbase | BlockError::Commitment) => Outcome::NoCoinbase,
        Err(BlockError::Work) => Outcome::WithoutWork,
        Err(other) => unreachable!("it was read and has the required bits: {other}"),
    }
}

/// Reassembles a block without known transactions; a peer sends the coinbase for each.
fn reassemble(announcement: BlockAnnouncement) {
    let (count, coinbase) = (announcement.short_ids.len(), announcement.coinbase.to_vec());
    let header = announcement.header;
    let mut part = Reassembly::new(announcement, []).expect("the coinbase was checked");
    let missing = part.missing();
    assert!(missing.len() <= count && missing.is_sorted());
    assert!(part.fill(&missing, &vec![coinbase; missing.len()]).is_err() || count == 0);
    if let Ok(Some(block)) = part.block() {
        assert!(count == 0 && block.starts_with(&serialize(&header)));
    }
}

/// Valid and invalid messages from the golden vectors, and an announced block.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for text in [include_str!("../../vectors/wire/messages.json"), include_str!("../../vectors/wire/rejected.json")] {
        let vectors: Vec<serde_json::Value> = serde_json::from_str(text).expect("the vectors are JSON");
        for vector in vectors {
            let kind = match vector["message"].as_str() {
                Some("gossip share") => 0,
                Some("request") => 1,
                Some("response") => 2,
                _ => 3,
            };
            let bytes = vector["cbor"].as_str().and_then(|hex| Vec::from_hex(hex).ok()).unwrap_or_default();
            seeds.push([vec![kind], bytes].concat());
        }
    }
    // Longer than a gossiped share may be.
    seeds.push(vec![0; 5_000]);
    seeds.push([vec![3], found_block()].concat());
    seeds
}

/// The announcement of a block with only a coinbase, mined at the easiest target.
fn found_block() -> Vec<u8> {
    let mut block = bitcoin::constants::genesis_block(bitcoin::Network::Regtest);
    let mut coinbase = block.txdata[0].clone();
    coinbase.input[0].script_sig = bitcoin::script::Builder::new()
        .push_int(200)
        .push_slice(b"p2pool--------------------------------")
        .into_script();
    block.txdata = vec![coinbase];
    block.header.merkle_root = block.compute_merkle_root().expect("there is a coinbase");
    while block.header.validate_pow(block.header.target()).is_err() {
        block.header.nonce += 1;
    }
    let announcement = BlockAnnouncement::from_block(&block, p2pool_core::units::BlockHeight(200));
    announcement.expect("one transaction fits").encode()
}

/// The shares of the golden vectors.
pub fn shares() -> Vec<Arc<p2pool_core::share::Share>> {
    let decoded = seeds().into_iter().filter_map(|seed| GossipShare::decode(seed.get(1..)?).ok());
    decoded.map(|message| message.share).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::mutate::{mutate, Rng};

    #[test]
    fn mutated_messages_reach_every_outcome_without_failure() {
        let (seeds, mut rng) = (seeds(), Rng::new(1));
        let mut met: BTreeSet<Outcome> = seeds.iter().map(|seed| check(seed)).collect();
        for _ in 0..60_000 {
            met.insert(check(&mutate(&seeds, &[], &mut rng)));
        }
        for expected in [
            Outcome::Nothing,
            Outcome::Oversize,
            Outcome::Malformed,
            Outcome::NotCanonical,
            Outcome::Share,
            Outcome::Request,
            Outcome::Response,
            Outcome::WithoutWork,
            Outcome::NoCoinbase,
            Outcome::Block,
        ] {
            assert!(met.contains(&expected), "{expected:?} not met, only {met:?}");
        }
    }
}
