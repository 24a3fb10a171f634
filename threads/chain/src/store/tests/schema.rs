//! The records' bytes are fixed: every later version must read a store written today.

use super::*;
use crate::store::tests::{anchor, params, share};
use bitcoin::hex::{DisplayHex as _, FromHex as _};

/// Encodings of the records that `share` and `anchor` make. They must never change.
const META: &str = "020000005eaa795f4bd733a3943b0ce687cb30bf7c629eec82abd3a1c60e40813eeb740a78d39794";
const TIP: &str = "01da9b0fc7fb3d4b80a7f8dc8ca51164f38e854a0d2ac59294d19fc037a56e94faac4b3883";
const ANCHOR: &str = "01000000200000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000002f15365ffff7f2002000000020000000302f15365aaee536552ec536518ed53650010001dffff7f20ffff7f20007b67d1d9";
const ANCHOR_LATE: &str = "01000000200000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000003f15365ffff7f2003000000030000000403f15365abee536553ec5365fbe9536518ed53650010001d0020001d0020001d01ffff001daeaad46e";
const SHARE: &str = "0100000000200000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000003f15365ffff7f200300000002b786ff26c7434b1d1e5308e3495fbbeb827131ea77d0ea9294b65f0de8b76dcbffff7f20ffff7f200200000003000000040000000000000000000000000000000400000000f2052a01000000160014070707070707070707070707070707070707070708080808080808080808080808080808080808080808080808080808080808080474657374090909090909090909090909080a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a20ba084b";

fn bytes(hex: &str) -> Vec<u8> {
    Vec::from_hex(hex).unwrap()
}

#[test]
fn encodings_are_unchanged() {
    let id = share(3).id;
    assert_eq!(encode_meta(&params().chain_id()).to_lower_hex_string(), META);
    assert_eq!(encode_tip(&id).to_lower_hex_string(), TIP);
    for (number, expected) in [(2, ANCHOR), (3, ANCHOR_LATE)] {
        let key = anchor_key(&anchor(number).header.block_hash());
        assert_eq!(encode_anchor(&key, &anchor(number)).to_lower_hex_string(), expected);
        assert_eq!(decode_anchor(&key, &bytes(expected)), Ok(anchor(number)));
    }
    let key = share_key(&id);
    assert_eq!(encode_share(&key, &share(3)).to_lower_hex_string(), SHARE);
    assert_eq!(decode_share(&key, &bytes(SHARE)), Ok(share(3)));
    assert_eq!(decode_meta(&bytes(META)), Ok(Meta::Ours(params().chain_id())));
    assert_eq!(decode_tip(&bytes(TIP)), Ok(id));
}

#[test]
fn every_changed_byte_and_every_other_length_is_detected() {
    let share_key = share_key(&share(3).id);
    let anchor_key = anchor_key(&anchor(3).header.block_hash());
    let is_error = |value: &[u8]| {
        (
            decode_share(&share_key, value).is_err(),
            decode_anchor(&anchor_key, value).is_err(),
            decode_tip(value).is_err(),
            // Its first four bytes are the schema version, which is read before anything else.
            matches!(decode_meta(value), Err(_) | Ok(Meta::OtherSchema(_))),
        )
    };
    for (hex, kind) in [(SHARE, 0), (ANCHOR_LATE, 1), (TIP, 2), (META, 3)] {
        let good = bytes(hex);
        let mut mutants: Vec<Vec<u8>> = (0..good.len()).map(|len| good[..len].to_vec()).collect();
        mutants.push([good.clone(), vec![0]].concat());
        for at in 0..good.len() {
            let mut mutant = good.clone();
            mutant[at] ^= 0x10;
            mutants.push(mutant);
        }
        for mutant in mutants {
            let (share, anchor, tip, meta) = is_error(&mutant);
            assert!([share, anchor, tip, meta][kind], "{}", mutant.to_lower_hex_string());
        }
    }
}

#[test]
fn each_error_has_its_cause() {
    let stored = share(3);
    let key = share_key(&stored.id);
    let canonical = stored.share.encode();
    let with = |head: &[u8], tail: &[u8]| with_checksum(&key, [head, &canonical, tail].concat());
    assert_eq!(decode_share(&key, &with(&[1, 1], &[])).map(|share| share.verified), Ok(true));
    assert_eq!(decode_share(&key, &with(&[1, 0], &[])).map(|share| share.verified), Ok(false));
    assert_eq!(decode_share(&key, &with(&[2, 1], &[])), Err(RecordError::Format(2)));
    assert_eq!(decode_share(&key, &with(&[1, 2], &[])), Err(RecordError::Format(2)));
    assert_eq!(decode_share(&key, &with(&[1, 1], &[0])), Err(RecordError::Share(DecodeError::Trailing(1))));
    assert_eq!(decode_share(&key, &[1, 2]), Err(RecordError::Length(2)));
    let other = share_key(&share(4).id);
    assert_eq!(decode_share(&other, &with(&[1, 1], &[])), Err(RecordError::Checksum));
    let moved = with_checksum(&other, [&[1, 1][..], &canonical].concat());
    assert_eq!(decode_share(&other, &moved), Err(RecordError::Misplaced));
}
