"""windows.json: trees of shares, with credits and payouts of windows, uncles and the work cut."""

from model.hashing import as_number, sha256, display
from model.params import standard
from model.payouts import payout_list, window_credits
from model.targets import target_of_work, target_to_bits, work_of_bits

from .seeded import SCRIPT_KINDS, Seeded, script


class Tree:
    """A tree of shares with the fields that the payout window uses."""

    def __init__(self, label: str):
        self.shares = {}
        self.label = label.encode("ascii")

    def add(self, parent, payee: bytes, work: int, uncles=()) -> bytes:
        id_ = sha256(self.label + len(self.shares).to_bytes(4, "little"))
        self.shares[id_] = (parent, payee, work, sorted(uncles, key=as_number))
        return id_

    def newest_first(self, id_):
        while id_ != bytes(32):
            parent, payee, work, uncles = self.shares[id_]
            yield payee, work, [self.shares[uncle][1:3] for uncle in uncles]
            id_ = parent


def query(params, tree: Tree, payees: list, parent: bytes, bits: int, value: int, finder: bytes) -> dict:
    credits = window_credits(params, tree.newest_first(parent), work_of_bits(bits))
    payouts = payout_list(params.payout_outputs[0], credits, value, finder, parent)
    return {
        "parent": display(parent),
        "header_bits": f"{bits:08x}",
        "value": value,
        "finder": payees.index(finder),
        "credits": [[payees.index(payee), str(credits[payee])] for payee in sorted(credits)],
        "payouts": [[payees.index(payee), amount] for payee, amount in payouts],
    }


def describe(why: str, params, tree: Tree, payees: list, queries: list) -> dict:
    return {
        "why": why,
        "params": params.to_json(),
        "scripts": [payee.hex() for payee in payees],
        "shares": [
            {"id": display(id_), "parent": display(parent), "script": payees.index(payee), "work": str(work),
             "uncles": [display(uncle) for uncle in uncles]}
            for id_, (parent, payee, work, uncles) in tree.shares.items()
        ],
        "queries": queries,
    }  # fmt: skip


def grow(seeded: Seeded, label: str, count: int, payees: list):
    """A chain with stale siblings, some of them named as uncles later, and one longer fork."""
    tree, tip, main, stale = Tree(label), bytes(32), [], []
    for number in range(count):
        work = seeded.between(10**6, 2 * 10**6)
        if main and seeded.below(4) == 0:
            grandparent = tree.shares[tip][0]
            if grandparent != bytes(32):
                stale.append(tree.add(grandparent, seeded.choice(payees), work + 7))
        named = [stale.pop() for _ in range(min(len(stale), seeded.below(4)))]
        tip = tree.add(tip, seeded.choice(payees), work, named)
        main.append(tip)
    fork = main[count - 12]
    branch = []
    for _ in range(9):
        fork = tree.add(fork, seeded.choice(payees), seeded.between(10**6, 2 * 10**6))
        branch.append(fork)
    return tree, main, branch


def build() -> list:
    seeded = Seeded("windows")
    payees = [script(SCRIPT_KINDS[i % 5], seeded.bytes(8)) for i in range(12)]
    cases = []
    for label, params in [
        ("no cut", standard("regtest").with_(payout_window=20, retarget_window=8)),
        ("mainnet's work cut", standard("mainnet")),
        ("work cut in a short window", standard("mainnet").with_(chain_name="short", payout_window=25)),
    ]:
        tree, main, branch = grow(seeded, label, 60, payees)
        # The cut is within the last share, at its end, between other shares, or beyond all of them.
        works = [10**5, 10**6, 5 * 10**6, 11 * 10**6, 20 * 10**6, 35 * 10**6, 10**9]
        bits = [target_to_bits(target_of_work(work)) for work in works]
        walk = main[:3] + main[19:22] + main[50:] + branch + main[-11:-9] + branch[3:5] + [main[-1]] * len(bits)
        queries = [
            query(params, tree, payees, parent, bits[i % len(bits)] if i % 3 else bits[4], seeded.between(0, 10**9),
                  seeded.choice(payees))
            for i, parent in enumerate(walk)
        ]  # fmt: skip
        cases.append(describe(label, params, tree, payees, queries))
    cases.append(exact_cut(payees))
    return cases


def exact_cut(payees: list) -> dict:
    """Sums that reach the cut exactly or miss it by one. The share that reaches the cut counts in full."""
    params = standard("mainnet").with_(chain_name="exact", payout_window=20)
    tree, tip = Tree("exact"), bytes(32)
    # Mainnet's easiest target has work 4,295,032,833; twice that is 8,590,065,666.
    bits = 0x1D00FFFF
    cut = 2 * work_of_bits(bits)
    uncle_parent = tip = tree.add(tip, payees[0], 10**9)
    tip = tree.add(tip, payees[1], 10**9)
    uncle = tree.add(uncle_parent, payees[2], 10**9)
    queries = []
    reaching = tree.add(tip, payees[3], 10**9, [uncle])
    for last in (cut - 2 * 10**9, cut - 2 * 10**9 - 1, cut, cut - 1):
        parent = tree.add(reaching, payees[4], last)
        queries.append(query(params, tree, payees, parent, bits, 625_000_000, payees[5]))
    return describe("sums that reach the cut exactly", params, tree, payees, queries)
