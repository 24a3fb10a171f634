"""Hash functions, and the display order and comparison of hashes (rules, conventions)."""

from hashlib import sha256 as _sha256


def sha256(data: bytes) -> bytes:
    return _sha256(data).digest()


def double_sha256(data: bytes) -> bytes:
    return sha256(sha256(data))


def tagged_hash(tag: str, data: bytes) -> bytes:
    """The tagged hash of BIP-0340: SHA256(SHA256(tag) || SHA256(tag) || data)."""
    prefix = sha256(tag.encode("ascii"))
    return sha256(prefix + prefix + data)


def as_number(hash_: bytes) -> int:
    """A hash as the little-endian number that Bitcoin compares with targets."""
    return int.from_bytes(hash_, "little")


def display(hash_: bytes) -> str:
    """A hash in Bitcoin's display order, last byte first."""
    return hash_[::-1].hex()


def from_display(text: str) -> bytes:
    return bytes.fromhex(text)[::-1]
