//! Tagged hashes, CompactSize numbers and length-prefixed byte strings.

use bitcoin::consensus::Encodable as _;
use bitcoin::hashes::{sha256, Hash as _, HashEngine as _};
use bitcoin::VarInt;

/// The tagged hash of BIP-0340: `SHA256(SHA256(tag) || SHA256(tag) || data)`.
pub fn tagged_hash(tag: &[u8], data: &[u8]) -> [u8; 32] {
    let mut engine = tagged_engine(tag);
    engine.input(data);
    sha256::Hash::from_engine(engine).to_byte_array()
}

/// The hash engine of a tagged hash before its data, to be cloned for many hashes with the same tag.
pub(crate) fn tagged_engine(tag: &[u8]) -> sha256::HashEngine {
    let tag = sha256::Hash::hash(tag);
    let mut engine = sha256::Hash::engine();
    engine.input(tag.as_byte_array());
    engine.input(tag.as_byte_array());
    engine
}

/// Appends a number as a CompactSize.
pub(crate) fn put_compact_size(out: &mut Vec<u8>, number: usize) {
    VarInt::from(number).consensus_encode(out).expect("writing to a vector does not fail");
}

/// Returns the length of a number as a CompactSize, in bytes.
pub(crate) fn compact_size_len(number: usize) -> usize {
    VarInt::from(number).size()
}

/// Appends the length as a CompactSize, then the bytes.
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_compact_size(out, bytes.len());
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tagged_hash_follows_bip340() {
        // A tag of BIP-0340 over no data, computed from the definition.
        let tag = sha256::Hash::hash(b"BIP0340/challenge").to_byte_array();
        let expected = sha256::Hash::hash(&[tag, tag].concat()).to_byte_array();
        assert_eq!(tagged_hash(b"BIP0340/challenge", b""), expected);
    }
}
