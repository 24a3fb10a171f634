//! Ways to write a message wrongly. Each makes of a right one something that must be refused as malformed.

/// CBOR's major types (RFC 8949, section 3), in the upper three bits of an item's first byte.
const BYTES: u8 = 2 << 5;
const ARRAY: u8 = 4 << 5;
const MAP: u8 = 5 << 5;
const TAG: u8 = 6 << 5;
/// The argument follows in eight bytes.
const EIGHT_BYTES: u8 = 27;
/// No length: items until a break.
const INDEFINITE: u8 = 31;
const BREAK: u8 = 0xff;

/// More nesting than any decoder's stack should follow.
const DEPTH: usize = 3_000;

/// All ways to spoil a message that is a map of less than 23 entries whose first key is 0, as all are here.
pub fn ways(right: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let (first, rest) = right.split_first().unwrap();
    let entries = first & 0x1f;
    assert!(first >> 5 == MAP >> 5 && entries < 23 && rest.first() == Some(&0), "no message: {right:02x?}");
    let claim = |kind: u8, count: u64| [&[kind | EIGHT_BYTES][..], &count.to_be_bytes()].concat();
    let after_key = &rest[1..];
    vec![
        ("nothing", Vec::new()),
        ("cut in half", right[..right.len() / 2].to_vec()),
        ("the last byte missing", right[..right.len() - 1].to_vec()),
        ("a byte after the end", [right, &[0]].concat()),
        ("twice", [right, right].concat()),
        ("a map that claims 2^63 entries", [&claim(MAP, 1 << 63), rest].concat()),
        ("bytes that claim to be 2^62 long", [&[*first, 0][..], &claim(BYTES, 1 << 62), after_key].concat()),
        ("a list that claims 2^40 items", [&[*first, 0][..], &claim(ARRAY, 1 << 40), after_key].concat()),
        ("lists in lists in lists", [&[*first, 0][..], &[ARRAY | 1; DEPTH]].concat()),
        ("maps in maps in maps", [[MAP | 1, 0].repeat(DEPTH / 2), vec![0]].concat()),
        ("a text for the first value", [&[*first, 0, 0x63][..], b"abc", &after_key[1..]].concat()),
        ("a list instead of a map", [&[ARRAY | entries][..], rest].concat()),
        ("a text for a key", [&[*first, 0x61, b'0'][..], after_key].concat()),
        ("an entry that nobody knows", [&[MAP | (entries + 1)][..], rest, &[entries, 0]].concat()),
        ("an entry twice", [&[MAP | (entries + 1), 0, 0][..], rest].concat()),
        ("the first key written with two bytes", [&[*first, 0x18, 0][..], after_key].concat()),
        ("a map without a length", [&[MAP | INDEFINITE][..], rest, &[BREAK]].concat()),
        ("a length written with eight bytes", [&claim(MAP, entries.into()), rest].concat()),
        ("a tag in front", [&[TAG | 1][..], right].concat()),
        ("a negative key", [&[*first, 0x20][..], after_key].concat()),
        ("noise", [&[0xff; 64][..], right].concat()),
    ]
}
