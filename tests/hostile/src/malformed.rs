//! Malformed variants of valid messages. Nodes must refuse each as malformed.

/// CBOR's major types (RFC 8949, section 3), in the upper three bits of an item's first byte.
const BYTES: u8 = 2 << 5;
const ARRAY: u8 = 4 << 5;
const MAP: u8 = 5 << 5;
const TAG: u8 = 6 << 5;
/// Additional information: the argument follows in eight bytes.
const EIGHT_BYTES: u8 = 27;
/// Additional information: no length, but items until a break.
const INDEFINITE: u8 = 31;
const BREAK: u8 = 0xff;

/// Levels of nesting, more than a decoder's stack should follow.
const DEPTH: usize = 3_000;

/// Returns malformed variants of a message, with their names. The message must be a map of fewer than 23 entries whose first
/// key is 0.
pub fn variants(valid: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let (first, rest) = valid.split_first().unwrap();
    let entries = first & 0x1f;
    assert!(first >> 5 == MAP >> 5 && entries < 23 && rest.first() == Some(&0), "not a message: {valid:02x?}");
    let claim = |kind: u8, count: u64| [&[kind | EIGHT_BYTES][..], &count.to_be_bytes()].concat();
    let after_key = &rest[1..];
    vec![
        ("empty", Vec::new()),
        ("cut in half", valid[..valid.len() / 2].to_vec()),
        ("without its last byte", valid[..valid.len() - 1].to_vec()),
        ("with a trailing byte", [valid, &[0]].concat()),
        ("twice", [valid, valid].concat()),
        ("a map that claims 2^63 entries", [&claim(MAP, 1 << 63), rest].concat()),
        ("a byte string that claims 2^62 bytes", [&[*first, 0][..], &claim(BYTES, 1 << 62), after_key].concat()),
        ("an array that claims 2^40 items", [&[*first, 0][..], &claim(ARRAY, 1 << 40), after_key].concat()),
        ("deeply nested arrays", [&[*first, 0][..], &[ARRAY | 1; DEPTH]].concat()),
        ("deeply nested maps", [[MAP | 1, 0].repeat(DEPTH / 2), vec![0]].concat()),
        ("a text string as first value", [&[*first, 0, 0x63][..], b"abc", &after_key[1..]].concat()),
        ("an array instead of a map", [&[ARRAY | entries][..], rest].concat()),
        ("a text string as key", [&[*first, 0x61, b'0'][..], after_key].concat()),
        ("an unknown entry", [&[MAP | (entries + 1)][..], rest, &[entries, 0]].concat()),
        ("a duplicate entry", [&[MAP | (entries + 1), 0, 0][..], rest].concat()),
        ("the first key in two bytes", [&[*first, 0x18, 0][..], after_key].concat()),
        ("a map of indefinite length", [&[MAP | INDEFINITE][..], rest, &[BREAK]].concat()),
        ("a length in eight bytes", [&claim(MAP, entries.into()), rest].concat()),
        ("a tag", [&[TAG | 1][..], valid].concat()),
        ("a negative key", [&[*first, 0x20][..], after_key].concat()),
        ("noise", [&[0xff; 64][..], valid].concat()),
    ]
}
