//! Tagged hashes, length-prefixed byte strings and hexadecimal output.

use std::fmt;

use bitcoin::hashes::{sha256, Hash as _, HashEngine as _};

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

/// Writes bytes as hexadecimal.
pub(crate) fn write_hex<'a>(f: &mut fmt::Formatter<'_>, bytes: impl Iterator<Item = &'a u8>) -> fmt::Result {
    for byte in bytes {
        write!(f, "{byte:02x}")?;
    }
    Ok(())
}

/// Appends the length as a CompactSize, then the bytes.
///
/// All strings in a share are shorter than 253 bytes; only the preimage of a chain id may need the three-byte length.
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
    fn tagged_hash_follows_bip340() {
        // A tag of BIP-0340 over no data, computed from the definition.
        let tag = sha256::Hash::hash(b"BIP0340/challenge").to_byte_array();
        let expected = sha256::Hash::hash(&[tag, tag].concat()).to_byte_array();
        assert_eq!(tagged_hash(b"BIP0340/challenge", b""), expected);
    }
}
