"""payouts.json: credits and their payout lists."""

from model.hashing import as_number, sha256
from model.payouts import payout_list, split, threshold, threshold_naive

from .seeded import SCRIPT_KINDS, Seeded, script

# Maximum length of a list in the file. Longer lists are given only as a hash.
LISTED_MAX = 60


def generated_credits(label: str, count: int, least: int, spread: int) -> dict:
    """Many payees from a rule that is easy to implement in any language.

    Payee i has the P2WPKH script of the first 20 bytes of SHA256(label || i as u32) and the credit
    least + (SHA256(label || i) as a little-endian number) mod spread.
    """
    credits = {}
    for i in range(count):
        digest = sha256(label.encode("ascii") + i.to_bytes(4, "little"))
        credits[b"\x00\x14" + digest[:20]] = least + as_number(digest) % spread
    return credits


def list_bytes(payouts: list) -> bytes:
    """The bytes that are hashed: for each payout the script, then the amount as u64."""
    return b"".join(payee + amount.to_bytes(8, "little") for payee, amount in payouts)


def result(payouts: list) -> dict:
    fields = {"count": len(payouts), "sha256": sha256(list_bytes(payouts)).hex()}
    if len(payouts) <= LISTED_MAX:
        fields["payouts"] = [[payee.hex(), amount] for payee, amount in payouts]
    return fields


def check(limit: int, credits: dict, value: int, payouts: list):
    """Checks the invariants of section 7."""
    assert sum(amount for _, amount in payouts) == value
    assert len(payouts) <= limit
    assert len({payee for payee, _ in payouts}) == len(payouts)
    assert value < 546 or all(amount >= 546 for _, amount in payouts)


def case(why, limit, credits, value, finder, parent, generated=None) -> dict:
    payouts = payout_list(limit, credits, value, finder, parent)
    check(limit, credits, value, payouts)
    amounts = split(credits, value) if credits else {finder: value}
    tau, _, _, tickets = threshold(amounts.values(), limit - 1)
    if tau < 5_000 and len(amounts) < 200:
        assert tau == threshold_naive(amounts.values(), limit - 1)
    given = {"generated": generated} if generated else {"credits": [[s.hex(), str(c)] for s, c in credits.items()]}
    return {"why": why, "payout_outputs_max": limit, **given, "value": value, "finder": finder.hex(),
            "parent": parent.hex(), "tau": tau, "tickets": tickets, **result(payouts)}  # fmt: skip


def many(why, limit, label, count, least, spread, value, parent) -> dict:
    credits = generated_credits(label, count, least, spread)
    rule = {"label": label, "count": count, "least": least, "spread": spread}
    return case(why, limit, credits, value, min(credits), parent, rule)


def small_values(a, b, c, parent) -> list:
    credits = {a: 500, b: 300, c: 200}
    values = [0, 1, 2, 199, 200, 545, 546, 547, 548, 1_000, 1_091, 1_092, 1_093, 1_200, 1_638, 2_000, 2_730, 5_000]
    return [case(f"three payees, {value} sat", 48, credits, value, c, parent) for value in values]


def edge_cases(seeded: Seeded) -> list:
    a, b, c, d = sorted(script(kind, seeded.bytes(8)) for kind in SCRIPT_KINDS[:4])
    parent, value = seeded.bytes(32), 312_500_000
    thousand = {a: 1_000, b: 1_000, c: 1_000}
    cases = [
        case("genesis: the finder gets everything", 48, {}, value, a, bytes(32)),
        case("genesis, less than dust", 48, {}, 545, a, bytes(32)),
        case("genesis, nothing", 48, {}, 0, a, bytes(32)),
        case("one payee who is the finder", 48, {a: 7}, value, a, parent),
        case("one payee, another finds", 48, {a: 7}, value, b, parent),
        case("fee is added to the finder's amount", 48, thousand, value, b, parent),
        case("finder not in the window", 48, thousand, value, d, parent),
        case("finder absent, fee below dust", 48, thousand, 100_000, d, parent),
        case("the largest value without a fee", 48, thousand, 109_199, d, parent),
        case("the smallest value with a fee", 48, thousand, 109_200, d, parent),
        case("finder absent, fee and everything below dust", 48, thousand, 540, d, parent),
        case("indivisible by three", 48, thousand, 1_000_000_001, a, parent),
        case("credit zero", 48, {a: 0, b: 5}, value, b, parent),
        case("only the finder has credit and gets the fee", 48, {a: 0, b: 5}, value, a, parent),
        case("dust is added to the largest amount", 48, {a: 10**9, b: 10**9 + 1, c: 1_000}, value, a, parent),
        case("dust is added to the lowest script of equal amounts", 48, {a: 10**9, b: 10**9, c: 1_000, d: 600}, value,
             script("p2tr", b"someone else"), parent),
        case("works near 2^108", 48, {a: 2**108 - 1, b: 2**107 + 1, c: 3}, 2_100_000_000_000_000, c, parent),
        case("works near 2^124", 8, {a: 2**124 - 1, b: 2**123 + 1, c: 3}, 2_100_000_000_000_000, c, parent),
    ]  # fmt: skip
    # Small amounts that are exactly one ticket.
    for number in range(4):
        credits = {a: 10**9, b: 1_000, c: 900, d: 1_100}
        cases.append(case(f"m = 1, draw {number}", 48, credits, value, a, seeded.bytes(32)))
    # No amount reaches the dust limit, so all are in the lottery.
    for number in range(4):
        credits = generated_credits("dust", 20, 100, 100)
        cases.append(case(f"all small, draw {number}", 48, credits, 8_000, min(credits), seeded.bytes(32)))
    return cases + small_values(a, b, c, parent)


def random_case(seeded: Seeded, number: int) -> dict:
    limit = seeded.choice([8, 9, 20, 48])
    credits = {
        script(seeded.choice(SCRIPT_KINDS), seeded.bytes(8)): seeded.below(2 ** seeded.between(1, 80)) + 1
        for _ in range(seeded.between(1, 24))
    }
    finder = seeded.choice(sorted(credits) + [script("p2tr", seeded.bytes(8))])
    value = seeded.below(2 ** seeded.between(1, 50)) + 1
    return case(f"random {number}", limit, credits, value, finder, seeded.bytes(32))


def build() -> list:
    seeded = Seeded("payouts")
    cases = edge_cases(seeded)
    for limit in (8, 48, 1_000):
        value = 312_500_000
        cases += [
            many("5,000 small equal payees", limit, "alike", 5_000, 1_000, 1, value, seeded.bytes(32)),
            many("5,000 payees of all sizes", limit, "spread", 5_000, 1, 2**62, value, seeded.bytes(32)),
            many("exactly as many as fit", limit, "fit", limit - 1, 1_000, 50, value, seeded.bytes(32)),
            many("one more than fits", limit, "fit", limit, 1_000, 50, value, seeded.bytes(32)),
            many("3,000 payees with small credits", limit, "little", 3_000, 1, 1_000, 100_000, seeded.bytes(32)),
        ]
    return cases + [random_case(seeded, number) for number in range(40)]
