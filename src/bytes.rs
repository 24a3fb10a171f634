//! How bytes are hashed under a name, written with their length, and shown.

use std::fmt;

use bitcoin::hashes::{sha256, Hash as _, HashEngine as _};

/// BIP-0340's tagged hash: `SHA256(SHA256(tag) || SHA256(tag) || data)`.
pub fn tagged_hash(tag: &[u8], data: &[u8]) -> [u8; 32] {
    let mut engine = tagged_engine(tag);
    engine.input(data);
    sha256::Hash::from_engine(engine).to_byte_array()
}

/// A tagged hash before its data, for many hashes that begin alike.
pub(crate) fn tagged_engine(tag: &[u8]) -> sha256::HashEngine {
    let tag = sha256::Hash::hash(tag);
    let mut engine = sha256::Hash::engine();
    engine.input(tag.as_byte_array());
    engine.input(tag.as_byte_array());
    engine
}

/// Writes bytes in hexadecimal.
pub(crate) fn write_hex<'a>(f: &mut fmt::Formatter<'_>, bytes: impl Iterator<Item = &'a u8>) -> fmt::Result {
    for byte in bytes {
        write!(f, "{byte:02x}")?;
    }
    Ok(())
}

/// Appends a length (below 253, as every one in a share is) and the bytes.
///
/// Longer strings, which only a chain id's preimage has, get Bitcoin's three-byte form.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    match u8::try_from(bytes.len()) {
        Ok(len) if len < 0xfd => out.push(len),
        _ => {
            out.push(0xfd);
            out.extend_from_slice(&u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_le_bytes());
        }
    }
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tagged_hash_is_bip340s() {
        // BIP-0340's own tag over no data, computed by hand from its definition.
        let tag = sha256::Hash::hash(b"BIP0340/challenge").to_byte_array();
        let expected = sha256::Hash::hash(&[tag, tag].concat()).to_byte_array();
        assert_eq!(tagged_hash(b"BIP0340/challenge", b""), expected);
    }
}
