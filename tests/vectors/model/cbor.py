"""The canonical CBOR (RFC 8949) of the messages between nodes."""

import struct


def head(major: int, number: int) -> bytes:
    """The minimal encoding of a major type and its argument."""
    if number < 24:
        return bytes([major << 5 | number])
    for code, form, bits in ((24, ">B", 8), (25, ">H", 16), (26, ">I", 32), (27, ">Q", 64)):
        if number < 1 << bits:
            return bytes([major << 5 | code]) + struct.pack(form, number)
    raise ValueError(f"{number} is too large")


def encode(value) -> bytes:
    if value is True or value is False:
        return b"\xf5" if value else b"\xf4"
    if isinstance(value, int) and value >= 0:
        return head(0, value)
    if isinstance(value, bytes):
        return head(2, len(value)) + value
    if isinstance(value, list):
        return head(4, len(value)) + b"".join(map(encode, value))
    if isinstance(value, dict):
        entries = [encode(key) + encode(item) for key, item in sorted(value.items())]
        return head(5, len(value)) + b"".join(entries)
    raise TypeError(f"messages cannot contain {value!r}")
