"""The share: canonical encoding, ids and commitment (rules, section 3)."""

from dataclasses import dataclass, replace
import struct

from .codec import Malformed, Reader, compact_size, with_length
from .hashing import as_number, double_sha256, sha256, display, tagged_hash, from_display
from .params import RULES_VERSION, UNCLES_MAX
from .targets import WORK_BITS_MAX, work_of_bits

ZERO_ID = bytes(32)
EXTRANONCE_LEN = 12
BRANCH_MAX = 16
TAG_LEN_MAX = 20
HEADER_VERSION_MIN = 4
SCRIPT_LEN_MAX = 34
OUTPUTS_CLASSES = 4


def is_payout_script(script: bytes) -> bool:
    """Whether the script is exactly P2PKH, P2SH, P2WPKH, P2WSH or P2TR."""
    return (
        len(script) == 25 and script[:3] == b"\x76\xa9\x14" and script[23:] == b"\x88\xac"
        or len(script) == 23 and script[:2] == b"\xa9\x14" and script[22:] == b"\x87"
        or len(script) == 22 and script[:2] == b"\x00\x14"
        or len(script) == 34 and script[:2] == b"\x00\x20"
        or len(script) == 34 and script[:2] == b"\x51\x20"
    )


@dataclass(frozen=True)
class Header:
    version: int
    prev_block: bytes
    merkle_root: bytes
    time: int
    bits: int
    nonce: int

    def encode(self) -> bytes:
        return (
            struct.pack("<i", self.version)
            + self.prev_block
            + self.merkle_root
            + struct.pack("<III", self.time, self.bits, self.nonce)
        )

    @staticmethod
    def decode(data: bytes) -> "Header":
        if len(data) != 80:
            raise Malformed(f"a header of {len(data)} bytes, expected 80")
        time, bits, nonce = struct.unpack("<III", data[68:])
        return Header(struct.unpack("<i", data[:4])[0], data[4:36], data[36:68], time, bits, nonce)

    def hash(self) -> bytes:
        return double_sha256(self.encode())


@dataclass(frozen=True)
class Info:
    rules_version: int
    parent: bytes
    share_bits: int
    base_bits: int
    signal: int
    outputs_vote: int
    outputs_class: int
    uncles: tuple
    share_height: int
    chain_work: int
    block_height: int
    coinbase_value: int
    payout_script: bytes
    witness_commitment: bytes
    coinbase_tag: bytes

    def encode(self) -> bytes:
        return (
            bytes([self.rules_version])
            + self.parent
            + struct.pack("<II", self.share_bits, self.base_bits)
            + bytes([self.signal, self.outputs_vote, self.outputs_class])
            + compact_size(len(self.uncles))
            + b"".join(self.uncles)
            + struct.pack("<I", self.share_height)
            + self.chain_work.to_bytes(16, "little")
            + struct.pack("<IQ", self.block_height, self.coinbase_value)
            + with_length(self.payout_script)
            + self.witness_commitment
            + with_length(self.coinbase_tag)
        )

    def commitment(self, chain_id: bytes) -> bytes:
        return tagged_hash("p2pool/share", chain_id + self.encode())

    def with_(self, **changes) -> "Info":
        return replace(self, **changes)

    @staticmethod
    def read(reader: Reader) -> "Info":
        version = reader.integer(1)
        if version < RULES_VERSION:
            raise Malformed(f"rules version {version}, expected {RULES_VERSION} or a later one")
        parent = reader.take(32)
        share_bits, base_bits = reader.integer(4), reader.integer(4)
        for bits in (share_bits, base_bits):
            if work_of_bits(bits).bit_length() > WORK_BITS_MAX:
                raise Malformed(f"bits {bits:08x} claim too much work")
        signal, outputs_vote, outputs_class = reader.integer(1), reader.integer(1), reader.integer(1)
        if signal < version:
            raise Malformed(f"signal {signal} is below the rules version {version}")
        if max(outputs_vote, outputs_class) >= OUTPUTS_CLASSES:
            raise Malformed(f"class of payout outputs {max(outputs_vote, outputs_class)}, at most {OUTPUTS_CLASSES - 1}")
        count = reader.compact_size()
        if count > UNCLES_MAX:
            raise Malformed(f"{count} uncles, at most {UNCLES_MAX}")
        uncles = tuple(reader.take(32) for _ in range(count))
        if any(as_number(a) >= as_number(b) for a, b in zip(uncles, uncles[1:])):
            raise Malformed("uncles must be ascending and unique")
        share_height, chain_work = reader.integer(4), reader.integer(16)
        block_height, coinbase_value = reader.integer(4), reader.integer(8)
        script = reader.bytes_with_length(SCRIPT_LEN_MAX)
        if not is_payout_script(script):
            raise Malformed(f"{script.hex()} is not of one of the five script types")
        witness_commitment = reader.take(32)
        tag = reader.bytes_with_length(TAG_LEN_MAX)
        if any(not 0x20 <= byte <= 0x7E for byte in tag):
            raise Malformed("the tag is not printable ASCII")
        return Info(
            version, parent, share_bits, base_bits, signal, outputs_vote, outputs_class, uncles, share_height,
            chain_work, block_height, coinbase_value, script, witness_commitment, tag,
        )  # fmt: skip


@dataclass(frozen=True)
class Share:
    header: Header
    info: Info
    extranonce: bytes
    merkle_branch: tuple

    def encode(self) -> bytes:
        return (
            self.header.encode()
            + self.info.encode()
            + self.extranonce
            + compact_size(len(self.merkle_branch))
            + b"".join(self.merkle_branch)
        )

    @staticmethod
    def decode(data: bytes) -> "Share":
        """Decodes a share; raises ValueError unless `data` is canonical (rule 1)."""
        reader = Reader(data)
        header = Header.decode(reader.take(80))
        if header.version < HEADER_VERSION_MIN:
            raise Malformed(f"header version {header.version} is below {HEADER_VERSION_MIN}")
        info = Info.read(reader)
        extranonce = reader.take(EXTRANONCE_LEN)
        count = reader.compact_size()
        if count > BRANCH_MAX:
            raise Malformed(f"{count} hashes in the branch, at most {BRANCH_MAX}")
        branch = tuple(reader.take(32) for _ in range(count))
        reader.end()
        return Share(header, info, extranonce, branch)

    def id(self) -> bytes:
        return self.header.hash()

    def digest(self) -> bytes:
        return sha256(self.encode())

    def to_json(self) -> dict:
        return {**header_to_json(self.header), **info_to_json(self.info), "extranonce": self.extranonce.hex(),
                "merkle_branch": [node.hex() for node in self.merkle_branch]}  # fmt: skip


def header_to_json(header: Header) -> dict:
    return {
        "header_version": header.version,
        "prev_block": display(header.prev_block),
        "merkle_root": display(header.merkle_root),
        "time": header.time,
        "header_bits": f"{header.bits:08x}",
        "nonce": header.nonce,
    }


def info_to_json(info: Info) -> dict:
    return {
        "rules_version": info.rules_version,
        "parent": display(info.parent),
        "base_bits": f"{info.base_bits:08x}",
        "signal": info.signal,
        "outputs_vote": info.outputs_vote,
        "outputs_class": info.outputs_class,
        "uncles": [display(uncle) for uncle in info.uncles],
        "share_height": info.share_height,
        "chain_work": str(info.chain_work),
        "share_bits": f"{info.share_bits:08x}",
        "block_height": info.block_height,
        "coinbase_value": info.coinbase_value,
        "payout_script": info.payout_script.hex(),
        "witness_commitment": info.witness_commitment.hex(),
        "coinbase_tag": info.coinbase_tag.decode("ascii"),
    }


__all__ = ["Header", "Info", "Share", "ZERO_ID", "from_display", "header_to_json", "info_to_json", "is_payout_script"]
