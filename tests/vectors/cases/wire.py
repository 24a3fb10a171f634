"""wire/messages.json: messages between nodes and their bytes; wire/rejected.json: bytes that are not a message."""

from model import cbor

from model.coinbase import envelope
from model.params import standard

from .seeded import Seeded
from .shares import random_payouts, random_share

AGENT = b"p2pool/0.1.0"


def hexed(value):
    """Converts byte strings to hex, also within lists."""
    if isinstance(value, bytes):
        return value.hex()
    return [hexed(item) for item in value] if isinstance(value, list) else value


def described(message: str, kind: str, names: list, entries: dict) -> dict:
    """`names` are the names of the entries after the kind's entry 0."""
    values = [value for _, value in sorted(entries.items())][-len(names) or len(entries) :]
    fields = {name: hexed(value) for name, value in zip(names, values)}
    return {"message": message, "kind": kind, "fields": fields, "cbor": cbor.encode(entries).hex()}


def build_messages() -> list:
    seeded = Seeded("wire")
    shares = [random_share(seeded, number).encode() for number in (0, 1, 16, 19)]
    ids = [seeded.bytes(32) for _ in range(70)]
    chain_id = standard("mainnet").chain_id()
    envelopes = [envelope(chain_id, random_share(seeded, n), random_payouts(seeded, n)) for n in range(7, 11)]
    header = shares[0][:80]
    status = {
        0: 0,
        1: ids[0],
        2: ids[1],
        3: 123_456,
        4: (2**100 + 7).to_bytes(16, "little"),
        5: 106_088,
        6: 1_700_000_000,
        7: AGENT,
    }
    status_names = ["chain_id", "tip", "share_height", "chain_work", "oldest_height", "clock", "agent"]
    no_chain = {0: 0, 1: ids[0], 2: bytes(32), 3: 0, 4: bytes(16), 5: 0, 6: 2**32 - 1, 7: b""}
    inventory_names = ["after", "start_height", "ids", "more"]
    block_names = ["header", "height", "coinbase", "short_ids"]
    return [
        *(described("gossip share", "share", ["share"], {0: share}) for share in shares),
        described("request", "status", [], {0: 0}),
        described("request", "inventory", ["locator"], {0: 1, 1: []}),
        described("request", "inventory", ["locator"], {0: 1, 1: ids[:64]}),
        described("request", "shares", ["ids"], {0: 2, 1: ids[:3]}),
        described("request", "headers", ["last"], {0: 3, 1: ids[5]}),
        described("request", "block transactions", ["block", "indexes"], {0: 4, 1: ids[6], 2: [1, 23, 24, 255, 256, 65535]}),
        described("response", "status", status_names, status),
        described("response", "status", status_names, no_chain),
        described("response", "inventory", inventory_names, {0: 1, 1: bytes(32), 2: 0, 3: ids[:30], 4: True}),
        described("response", "inventory", inventory_names, {0: 1, 1: ids[9], 2: 2**32 - 1, 3: [], 4: False}),
        described("response", "shares", ["shares"], {0: 2, 1: []}),
        described("response", "shares", ["shares"], {0: 2, 1: shares}),
        described("response", "headers", ["headers"], {0: 3, 1: [header] * 7}),
        described("response", "block transactions", ["transactions"], {0: 4, 1: [b"", b"\x01" * 23, b"\x02" * 256]}),
        described("request", "envelopes", ["above", "after"], {0: 5, 1: 2, 2: ids[7]}),
        described("response", "envelopes", ["envelopes"], {0: 7, 1: envelopes}),
        described("response", "envelopes", ["envelopes"], {0: 7, 1: []}),
        described("response", "unknown", [], {0: 5}),
        described("response", "busy", [], {0: 6}),
        described("block announcement", "block", block_names, {0: header, 1: 840_000, 2: b"\x03" * 300, 3: b"\x04" * 18}),
        described("block announcement", "block", block_names, {0: header, 1: 0, 2: b"", 3: b""}),
    ]


def rejected(message: str, why: str, data: bytes) -> dict:
    return {"message": message, "why": why, "cbor": data.hex()}


def build_rejected() -> list:
    seeded = Seeded("wire rejected")
    share = random_share(seeded, 5).encode()
    one = seeded.bytes(32)
    encode = cbor.encode
    inventory = {0: 1, 1: [one]}
    status = {0: 0, 1: one, 2: one, 3: 1, 4: bytes(16), 5: 0, 6: 1, 7: AGENT}
    block = {0: share[:80], 1: 1, 2: b"", 3: bytes(6)}
    good = encode(inventory)
    small = envelope(standard("mainnet").chain_id(), random_share(seeded, 0), [])
    return [
        rejected("request", "nothing", b""),
        rejected("request", "a byte is missing", good[:-1]),
        rejected("request", "a byte follows", good + b"\x00"),
        rejected("request", "an array instead of a map", encode([1, [one]])),
        rejected("request", "a text key", b"\xa1\x61\x30\x00"),
        rejected("request", "a negative key", b"\xa1\x20\x00"),
        rejected("request", "an unknown kind", encode({0: 6})),
        rejected("request", "a kind of 256", encode({0: 256})),
        rejected("request", "no kind", encode({1: [one]})),
        rejected("request", "an empty map", encode({})),
        rejected("request", "an unknown key", encode({**inventory, 2: 0})),
        rejected("request", "a key of another kind", encode({0: 0, 1: [one]})),
        rejected("request", "a key that is missing", encode({0: 4, 1: one})),
        rejected("request", "a key twice", b"\xa3\x00\x01" + good[3:] + good[3:]),
        rejected("request", "keys in another order", b"\xa2" + good[3:] + b"\x00\x01"),
        rejected("request", "a longer integer than needed", b"\xa1\x00\x18\x00"),
        rejected("request", "a longer key than needed", b"\xa1\x18\x00\x00"),
        rejected("request", "a longer length than needed", b"\xa2\x00\x02\x01\x98\x00"),
        rejected("request", "a map of indefinite length", b"\xbf\x00\x00\xff"),
        rejected("request", "a list of indefinite length", b"\xa2\x00\x02\x01\x9f\xff"),
        rejected("request", "bytes of indefinite length", b"\xa2\x00\x03\x01\x5f\x58\x20" + one + b"\xff"),
        rejected("request", "a tag", b"\xc0" + good),
        rejected("request", "a tag before a value", b"\xa2\x00\x03\x01\xd8\x20\x58\x20" + one),
        rejected("request", "a float for an integer", b"\xa1\x00\xf9\x00\x00"),
        rejected("request", "null for a list", b"\xa2\x00\x01\x01\xf6"),
        rejected("request", "text for bytes", b"\xa2\x00\x03\x01\x78\x20" + b"a" * 32),
        rejected("request", "an id of 31 bytes", encode({0: 2, 1: [one[1:]]})),
        rejected("request", "an id of 33 bytes", encode({0: 2, 1: [one + b"\x00"]})),
        rejected("request", "an id as a list", encode({0: 2, 1: [list(one)]})),
        rejected("request", "65 ids in a locator", encode({0: 1, 1: [one] * 65})),
        rejected("request", "257 shares", encode({0: 2, 1: [one] * 257})),
        rejected("request", "an index of 65536", encode({0: 4, 1: one, 2: [65_536]})),
        rejected("request", "a list that claims 2^63 items", b"\xa2\x00\x02\x01\x9b\x80" + bytes(7)),
        rejected("request", "bytes that claim 2^63", b"\xa2\x00\x03\x01\x5b\x80" + bytes(7)),
        rejected("request", "a thousand nested lists", b"\xa2\x00\x02\x01" + b"\x81" * 1000),
        rejected("response", "an unknown kind", encode({0: 8})),
        rejected("response", "an envelope of 118 bytes", encode({0: 7, 1: [bytes(118)]})),
        rejected("response", "five envelopes", encode({0: 7, 1: [small] * 5})),
        rejected("response", "a height of 2^32", encode({**status, 3: 2**32})),
        rejected("response", "work of 15 bytes", encode({**status, 4: bytes(15)})),
        rejected("response", "an agent of 65 bytes", encode({**status, 7: b"a" * 65})),
        rejected("response", "an agent with a line feed", encode({**status, 7: b"a\n"})),
        rejected("response", "an agent that is not ASCII", encode({**status, 7: "ä".encode()})),
        rejected("response", "a number for a boolean", encode({0: 1, 1: one, 2: 0, 3: [], 4: 1})),
        rejected("response", "eight headers", encode({0: 3, 1: [share[:80]] * 8})),
        rejected("response", "a header of 81 bytes", encode({0: 3, 1: [share[:81]]})),
        rejected("response", "a share with a byte too many", encode({0: 2, 1: [share + b"\x00"]})),
        rejected("gossip share", "no share", encode({0: b""})),
        rejected("gossip share", "a share without its last byte", encode({0: share[:-1]})),
        rejected("gossip share", "two shares", encode({0: share, 1: share})),
        rejected("gossip share", "a share in a list", encode({0: [share]})),
        rejected("block announcement", "five bytes of short ids", encode({**block, 3: bytes(5)})),
        rejected("block announcement", "a coinbase too long", encode({**block, 2: bytes(49_153)})),
        rejected("block announcement", "a header of 79 bytes", encode({**block, 0: share[:79]})),
        rejected("block announcement", "no short ids", encode({0: share[:80], 1: 1, 2: b""})),
    ]
