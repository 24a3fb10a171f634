"""malformed.json: bytes that rule 1 rejects, each a small change to a valid share.

`decodes` is true for shares that decode but have a field outside its range.
"""

import struct

from model.codec import compact_size, with_length
from model.params import RULES_VERSION
from model.share import Share
from model.targets import target_of_work, target_to_bits

from .seeded import SCRIPT_KINDS, Seeded, script
from .shares import random_share

OUT_OF_RANGE = ("header version", "share_bits", "base_bits")


def encode_by_hand(share: Share, **changes) -> bytes:
    """The share's bytes with some parts replaced, well-formed or not."""
    info = share.info
    parts = {
        "header": share.header.encode(),
        "rules_version": bytes([info.rules_version]),
        "parent": info.parent,
        "share_bits": struct.pack("<I", info.share_bits),
        "base_bits": struct.pack("<I", info.base_bits),
        "signal": bytes([info.signal]),
        "outputs_vote": bytes([info.outputs_vote]),
        "outputs_class": bytes([info.outputs_class]),
        "uncle_count": compact_size(len(info.uncles)),
        "uncles": b"".join(info.uncles),
        "share_height": struct.pack("<I", info.share_height),
        "chain_work": info.chain_work.to_bytes(16, "little"),
        "block_height": struct.pack("<I", info.block_height),
        "coinbase_value": struct.pack("<Q", info.coinbase_value),
        "payout_script": with_length(info.payout_script),
        "witness_commitment": info.witness_commitment,
        "coinbase_tag": with_length(info.coinbase_tag),
        "extranonce": share.extranonce,
        "branch_count": compact_size(len(share.merkle_branch)),
        "branch": b"".join(share.merkle_branch),
    }
    assert changes.keys() <= parts.keys()
    return b"".join({**parts, **changes}.values())


def invalid_scripts(seeded: Seeded) -> dict:
    good = {kind: script(kind, seeded.bytes(8)) for kind in SCRIPT_KINDS}
    return {
        "empty script": b"",
        "OP_TRUE": b"\x51",
        "OP_RETURN": b"\x6a\x04" + seeded.bytes(4),
        "P2PK": b"\x21\x02" + seeded.bytes(32) + b"\xac",
        "P2PKH with another last byte": good["p2pkh"][:-1] + b"\xad",
        "P2PKH with a byte more": good["p2pkh"] + b"\x00",
        "P2SH with another last byte": good["p2sh"][:-1] + b"\x88",
        "P2WPKH a byte short": good["p2wpkh"][:-1],
        "witness version 0 with 33 bytes": b"\x00\x21" + seeded.bytes(33),
        "witness version 1 with 20 bytes": b"\x51\x14" + seeded.bytes(20),
        "witness version 2": b"\x52\x20" + seeded.bytes(32),
        "P2WSH whose length byte lies": b"\x00\x1f" + seeded.bytes(32),
        "script of 10,000 bytes": b"\x51" * 10_000,
    }


def build() -> list:
    seeded = Seeded("malformed")
    share = random_share(seeded, 3)
    good = share.encode()
    uncles = share.info.uncles
    assert len(uncles) == 3 and encode_by_hand(share) == good
    header = share.header.encode()
    cases = {
        "no bytes": b"",
        "only a header": header,
        "last byte missing": good[:-1],
        "a byte too many": good + b"\x00",
        "header version 3": encode_by_hand(share, header=struct.pack("<i", 3) + header[4:]),
        "header version -1": encode_by_hand(share, header=struct.pack("<i", -1) + header[4:]),
        "header version with only the sign bit": encode_by_hand(share, header=struct.pack("<I", 1 << 31) + header[4:]),
        "rules version 1": encode_by_hand(share, rules_version=b"\x01"),
        "rules version 0": encode_by_hand(share, rules_version=b"\x00"),
        "signal below the rules version": encode_by_hand(share, signal=bytes([share.info.rules_version - 1])),
        "a vote for class 4": encode_by_hand(share, outputs_vote=b"\x04"),
        "class 4": encode_by_hand(share, outputs_class=b"\x04"),
        "base_bits zero": encode_by_hand(share, base_bits=struct.pack("<I", 0)),
        "base_bits with a work of 2^108": encode_by_hand(
            share, base_bits=struct.pack("<I", target_to_bits(target_of_work(1 << 108)))
        ),
        "uncles descending": encode_by_hand(share, uncles=b"".join(reversed(uncles))),
        "an uncle twice": encode_by_hand(share, uncles=uncles[0] + uncles[1] + uncles[1]),
        "four uncles": encode_by_hand(share, uncle_count=b"\x04", uncles=b"".join(uncles) + b"\xff" * 32),
        "2^64 - 1 uncles": encode_by_hand(share, uncle_count=b"\xff" * 9),
        "uncle count in three bytes": encode_by_hand(share, uncle_count=b"\xfd\x03\x00"),
        "share_bits zero": encode_by_hand(share, share_bits=struct.pack("<I", 0)),
        "share_bits negative": encode_by_hand(share, share_bits=struct.pack("<I", 0x1D80FFFF)),
        "share_bits not the shortest form": encode_by_hand(share, share_bits=struct.pack("<I", 0x1D007FFF)),
        "share_bits with a work of 2^108": encode_by_hand(
            share, share_bits=struct.pack("<I", target_to_bits(target_of_work(1 << 108)))
        ),
        "share_bits above 256 bits": encode_by_hand(share, share_bits=struct.pack("<I", 0x217FFFFF)),
        "script length in three bytes": encode_by_hand(
            share, payout_script=b"\xfd" + struct.pack("<H", len(share.info.payout_script)) + share.info.payout_script
        ),
        "script length beyond the end": encode_by_hand(share, payout_script=b"\xfe\xff\xff\xff\xff"),
        "tag of 21 bytes": encode_by_hand(share, coinbase_tag=with_length(b"x" * 21)),
        "tag with a newline": encode_by_hand(share, coinbase_tag=with_length(b"a\nb")),
        "tag with a zero byte": encode_by_hand(share, coinbase_tag=with_length(b"\x00")),
        "tag with byte 0x7f": encode_by_hand(share, coinbase_tag=with_length(b"\x7f")),
        "tag in UTF-8": encode_by_hand(share, coinbase_tag=with_length("é".encode())),
        "tag length in three bytes": encode_by_hand(share, coinbase_tag=b"\xfd\x01\x00x"),
        "branch of 17": encode_by_hand(share, branch_count=b"\x11", branch=seeded.bytes(17 * 32)),
        "branch count larger than the branch": encode_by_hand(share, branch_count=b"\x04"),
        "branch count smaller than the branch": encode_by_hand(share, branch_count=b"\x02"),
        "branch count in three bytes": encode_by_hand(share, branch_count=b"\xfd\x03\x00"),
        "2^32 hashes in the branch": encode_by_hand(share, branch_count=b"\xff" + struct.pack("<Q", 1 << 32)),
    }
    for why, payee in invalid_scripts(seeded).items():
        cases[why] = encode_by_hand(share, payout_script=with_length(payee))
    for why, raw in cases.items():
        try:
            Share.decode(raw)
        except ValueError:
            continue
        raise AssertionError(f"{why}: should be rejected")
    return [{"why": why, "raw": raw.hex(), "decodes": why.startswith(OUT_OF_RANGE)} for why, raw in cases.items()]
