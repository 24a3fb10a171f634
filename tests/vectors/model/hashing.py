"""Hash functions and how hashes are written and compared (rules, conventions)."""

from hashlib import sha256 as _sha256


def sha256(data: bytes) -> bytes:
    return _sha256(data).digest()


def double_sha256(data: bytes) -> bytes:
    return sha256(sha256(data))


def tagged_hash(tag: str, data: bytes) -> bytes:
    """BIP-0340's: SHA256(SHA256(tag) || SHA256(tag) || data)."""
    prefix = sha256(tag.encode("ascii"))
    return sha256(prefix + prefix + data)


def as_number(hash_: bytes) -> int:
    """A hash as Bitcoin compares it with targets: read little-endian."""
    return int.from_bytes(hash_, "little")


def shown(hash_: bytes) -> str:
    """A hash as Bitcoin writes it: last byte first."""
    return hash_[::-1].hex()


def unshown(text: str) -> bytes:
    return bytes.fromhex(text)[::-1]
