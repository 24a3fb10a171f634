"""The coinbase of a share, and the merkle root it leads to (rules, section 4)."""

import struct

from .codec import compact_size, with_length
from .hashing import double_sha256
from .share import EXTRANONCE_LEN, Info, Share

WITNESS_COMMITMENT_MAGIC = bytes.fromhex("6a24aa21a9ed")
COINBASE_VERSION = 2
SEQUENCE = 0xFFFFFFFE


def push(data: bytes) -> bytes:
    """A push of at most 75 bytes: one length byte, then the data."""
    assert 0 < len(data) <= 75
    return bytes([len(data)]) + data


def height_push(height: int) -> bytes:
    """The height of BIP-0034, as Bitcoin Core's `CScript() << height`; heights 1..16 are OP_1..OP_16."""
    if height == 0:
        return b"\x00"
    if height <= 16:
        return bytes([0x50 + height])
    number = height.to_bytes((height.bit_length() + 7) // 8, "little")
    if number[-1] & 0x80:
        # The highest bit is a sign.
        number += b"\x00"
    return push(number)


def envelope(chain_id: bytes, share: Share, payouts) -> bytes:
    """The encoded envelope of a share (rules, section 10)."""
    prefix, suffix = coinbase_parts(chain_id, share.info, payouts)
    return (
        share.header.encode()
        + with_length(share.info.encode())
        + with_length(prefix + share.extranonce + suffix)
        + compact_size(len(share.merkle_branch))
        + b"".join(share.merkle_branch)
    )


def outputs(info: Info, payouts) -> list:
    """(script, amount) pairs in output order."""
    ordered = sorted(payouts, key=lambda payout: (-payout[1], payout[0]))
    return ordered + [(WITNESS_COMMITMENT_MAGIC + info.witness_commitment, 0)]


def coinbase_parts(chain_id: bytes, info: Info, payouts):
    """The serialisation without witness, split at the extranonce."""
    script_start = height_push(info.block_height) + push(b"p2pool" + info.commitment(chain_id))
    if info.coinbase_tag:
        script_start += push(info.coinbase_tag)
    script_start += bytes([EXTRANONCE_LEN])
    prefix = (
        struct.pack("<i", COINBASE_VERSION)
        + compact_size(1)
        + bytes(32)
        + struct.pack("<I", 0xFFFFFFFF)
        + compact_size(len(script_start) + EXTRANONCE_LEN)
        + script_start
    )
    all_outputs = outputs(info, payouts)
    suffix = struct.pack("<I", SEQUENCE) + compact_size(len(all_outputs))
    for script, amount in all_outputs:
        suffix += struct.pack("<Q", amount) + compact_size(len(script)) + script
    suffix += struct.pack("<I", info.block_height - 1)
    return prefix, suffix


def with_witness(transaction: bytes) -> bytes:
    """The transaction with marker, flag and the reserved value of 32 zero bytes (BIP-0141)."""
    version, rest, lock_time = transaction[:4], transaction[4:-4], transaction[-4:]
    return version + b"\x00\x01" + rest + compact_size(1) + compact_size(32) + bytes(32) + lock_time


def fold(coinbase_txid: bytes, branch) -> bytes:
    """The coinbase is always the left operand."""
    node = coinbase_txid
    for sibling in branch:
        node = double_sha256(node + sibling)
    return node


def merkle_root(chain_id: bytes, info: Info, extranonce: bytes, branch, payouts) -> bytes:
    prefix, suffix = coinbase_parts(chain_id, info, payouts)
    return fold(double_sha256(prefix + extranonce + suffix), branch)
