"""Random choices that are the same on every machine and with every version of Python."""

from model.hashing import sha256


class Seeded:
    def __init__(self, label: str):
        self.label = label.encode("ascii")
        self.counter = 0

    def bytes(self, length: int) -> bytes:
        out = b""
        while len(out) < length:
            out += sha256(self.label + self.counter.to_bytes(8, "little"))
            self.counter += 1
        return out[:length]

    def below(self, bound: int) -> int:
        return int.from_bytes(self.bytes(40), "little") % bound

    def between(self, least: int, most: int) -> int:
        return least + self.below(most - least + 1)

    def choice(self, options):
        return options[self.below(len(options))]

    def shuffle(self, items: list):
        for i in range(len(items) - 1, 0, -1):
            j = self.below(i + 1)
            items[i], items[j] = items[j], items[i]
        return items


def script(kind: str, seed: bytes) -> bytes:
    """A payout script of the type with the hash of the seed as its program."""
    program = sha256(seed)
    return {
        "p2pkh": b"\x76\xa9\x14" + program[:20] + b"\x88\xac",
        "p2sh": b"\xa9\x14" + program[:20] + b"\x87",
        "p2wpkh": b"\x00\x14" + program[:20],
        "p2wsh": b"\x00\x20" + program,
        "p2tr": b"\x51\x20" + program,
    }[kind]


SCRIPT_KINDS = ["p2pkh", "p2sh", "p2wpkh", "p2wsh", "p2tr"]
