"""Byte strings with minimal CompactSize lengths, and a strict reader (rules, conventions)."""

import struct


class Malformed(ValueError):
    """The bytes are not a canonical encoding."""


def compact_size(number: int) -> bytes:
    if number < 0xFD:
        return struct.pack("<B", number)
    if number <= 0xFFFF:
        return b"\xfd" + struct.pack("<H", number)
    if number <= 0xFFFFFFFF:
        return b"\xfe" + struct.pack("<I", number)
    return b"\xff" + struct.pack("<Q", number)


def with_length(data: bytes) -> bytes:
    return compact_size(len(data)) + data


class Reader:
    def __init__(self, data: bytes):
        self.data = data
        self.at = 0

    def take(self, length: int) -> bytes:
        if length > len(self.data) - self.at:
            raise Malformed(f"{length} bytes expected at {self.at}, {len(self.data) - self.at} left")
        self.at += length
        return self.data[self.at - length : self.at]

    def integer(self, length: int) -> int:
        return int.from_bytes(self.take(length), "little")

    def compact_size(self) -> int:
        first = self.integer(1)
        if first < 0xFD:
            return first
        length, least = {0xFD: (2, 0xFD), 0xFE: (4, 0x10000), 0xFF: (8, 0x100000000)}[first]
        number = self.integer(length)
        if number < least:
            raise Malformed(f"length {number} is not minimal")
        return number

    def bytes_with_length(self, most: int) -> bytes:
        length = self.compact_size()
        if length > most:
            raise Malformed(f"{length} bytes, at most {most} are allowed")
        return self.take(length)

    def end(self):
        if self.at != len(self.data):
            raise Malformed(f"{len(self.data) - self.at} trailing bytes")
