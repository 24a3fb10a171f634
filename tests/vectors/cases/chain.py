"""chain.json: a mined chain with forks and uncles, and mutants of its shares with the rule that each breaks."""

from model.chain import Chain, Unverified, rank
from model.hashing import as_number, display
from model.miner import draft_info, mine, next_anchor, regtest_genesis
from model.params import standard
from model.share import ZERO_ID

from . import mutants
from .seeded import SCRIPT_KINDS, Seeded, script

START = 1_700_000_000
# Simulated hash rate of the pool in hashes per second. A share of 30 s takes about 3,600 hashes.
RATE = 120
# Intervals in percent of the expected one: an exponential distribution without floating point.
INTERVALS = [5, 16, 29, 43, 60, 80, 105, 139, 190, 333]


class Recorder:
    """A chain that records the shares it received."""

    def __init__(self):
        params = standard("regtest").with_(chain_name="vectors", retarget_window=8, payout_window=20)
        self.chain = Chain(params)
        self.seeded = Seeded("chain g")
        self.payees = [script(SCRIPT_KINDS[i % 5], self.seeded.bytes(8)) for i in range(7)]
        self.shares = []
        self.now = START
        self.anchor = self.first_anchors()
        self.tip = ZERO_ID

    def first_anchors(self):
        anchor = regtest_genesis()
        self.chain.add_anchor(anchor)
        self.anchors = [anchor]
        for number in range(12):
            anchor = self.new_anchor(START - 7_200 + 600 * number)
        return anchor

    def new_anchor(self, time: int, parent=None):
        anchor = next_anchor(self.chain, parent or self.anchors[-1], time, self.seeded.bytes(32))
        self.anchors.append(anchor)
        return anchor

    def payee(self) -> bytes:
        # The first payees find more shares than the others.
        return self.payees[min(self.seeded.below(7), self.seeded.below(7))]

    def make(self, parent: bytes, time: int, k=None, on=None, **changes):
        chain = on or self.chain
        info = draft_info(chain, parent, time, self.anchor, self.payee(), k,
                          witness_commitment=self.seeded.bytes(32), **changes)  # fmt: skip
        branch = [self.seeded.bytes(32) for _ in range(self.seeded.choice([0, 0, 1, 2, 3]))]
        return mine(chain, info, time, self.anchor, self.seeded.bytes(12), branch)

    def add(self, share) -> bytes:
        raw = share.encode()
        self.now = max(self.now, share.header.time)
        id_, verdict = share.id(), "accepted"
        try:
            self.chain.receive(raw, self.now)
        except Unverified:
            verdict = "unverified"
        self.tip = self.chain.tip()
        self.shares.append({"id": id_, "raw": raw, "verdict": verdict, "tip": self.tip})
        return id_

    def grow(self, parent: bytes, time: int, k=None, **changes) -> bytes:
        return self.add(self.make(parent, time, k, **changes))

    def next_time(self, parent: bytes, on=None) -> int:
        """The time at which a pool of this hash rate finds the next share."""
        chain = on or self.chain
        if parent == ZERO_ID:
            return START
        interval = chain.work(parent) * self.seeded.choice(INTERVALS) // (100 * RATE)
        return chain.shares[parent].header.time + max(1, interval)

    def payouts(self, id_: bytes) -> list:
        share = self.chain.shares[id_]
        return self.chain.payouts(share.info, share.header.bits)

    def time(self, id_: bytes) -> int:
        return self.chain.shares[id_].header.time

    def extend(self, count: int):
        """Adds main-chain shares, some stale siblings that later shares name, and some Bitcoin blocks."""
        stale = []
        for _ in range(count):
            parent = self.tip
            uncles = stale[:2] if self.seeded.below(3) else []
            stale = [id_ for id_ in stale if id_ not in uncles]
            id_ = self.grow(parent, self.next_time(parent), uncles=uncles)
            if parent != ZERO_ID and self.seeded.below(4) == 0:
                sibling = self.stale_sibling(id_)
                stale = stale[-1:] + [sibling]
            stale = [s for s in stale if self.height(s) >= self.height(self.tip) - 1]
            if self.seeded.below(6) == 0:
                self.anchor = self.new_anchor(self.time(self.tip) + 1)

    def height(self, id_: bytes) -> int:
        return self.chain.shares[id_].info.share_height

    def parent(self, id_: bytes, generations: int = 1) -> bytes:
        for _ in range(generations):
            id_ = self.chain.shares[id_].info.parent
        return id_

    def stale_sibling(self, of: bytes, **changes) -> bytes:
        """Adds a sibling of `of` that does not become the tip: it has the same work and a higher id."""
        parent, time = self.parent(of), self.time(of) + 1
        k = 0 if self.chain.shares[of].info.share_bits == self.make_bits(parent, time, 0) else None
        while True:
            share = self.make(parent, time, k, **changes)
            if as_number(share.id()) > as_number(of):
                return self.add(share)

    def make_bits(self, parent: bytes, time: int, k: int) -> int:
        return draft_info(self.chain, parent, time, self.anchor, self.payees[0], k).share_bits


def mine_branch(recorder: Recorder, root: bytes, count: int, k=None) -> list:
    """Mines a branch of shares without adding them to the recorder."""
    copy = Chain(recorder.chain.params)
    copy.anchors, copy.shares = recorder.chain.anchors, dict(recorder.chain.shares)
    branch, parent = [], root
    for _ in range(count):
        share = recorder.make(parent, recorder.next_time(parent, copy), k, on=copy)
        copy.verify(share, share.header.time, spam=False)
        branch.append(share)
        parent = share.id()
    return branch


def overtaken_fork(recorder: Recorder) -> dict:
    """A fork of five shares against six, which win.

    It leaves so far below the tip that the first five of the six stay unverified until the sixth claims more work than the tip.
    """
    root = left = recorder.tip
    for _ in range(5):
        left = recorder.grow(left, recorder.next_time(left))
    branch = mine_branch(recorder, root, 6)
    while rank(branch[4]) > rank(recorder.chain.shares[left]):
        branch = mine_branch(recorder, root, 6)
    for share in branch:
        right = recorder.add(share)
    assert [share["verdict"] for share in recorder.shares[-6:]] == ["unverified"] * 5 + ["accepted"]
    assert recorder.tip == right
    return {"left": left, "right": right}


def branches_of_uncles(recorder: Recorder) -> dict:
    """Two stale branches of two shares. The second share of one is named by the next share after the one that names the first;
    both shares of the other are named by one share."""
    ids = {}
    for together in (False, True):
        main = recorder.grow(recorder.tip, recorder.next_time(recorder.tip))
        first = recorder.stale_sibling(main)
        recorder.grow(recorder.tip, recorder.next_time(recorder.tip))
        nephew = recorder.grow(recorder.tip, recorder.next_time(recorder.tip), uncles=[] if together else [first])
        second = recorder.grow(first, recorder.next_time(first))
        assert recorder.tip == nephew
        if together:
            recorder.grow(recorder.tip, recorder.next_time(recorder.tip), uncles=[first, second])
        else:
            ids = {"on_named": second, "nephew": nephew}
            ids["after_nephew"] = recorder.grow(recorder.tip, recorder.next_time(recorder.tip))
            recorder.extend(1)
        ids |= {"pair": [first, second], "before_pair": nephew} if together else {}
    return ids


def uncle_of_an_uncle(recorder: Recorder) -> dict:
    """A stale share that names another one, and the main chain's share beside it. No share of the main chain names either."""
    oldest = recorder.stale_sibling(recorder.grow(recorder.tip, recorder.next_time(recorder.tip)))
    recorder.grow(recorder.tip, recorder.next_time(recorder.tip))
    beside = recorder.grow(recorder.tip, recorder.next_time(recorder.tip))
    return {"named_aside": oldest, "names_aside": recorder.stale_sibling(beside, uncles=[oldest]), "beside": beside}


def even_fork(recorder: Recorder):
    """Two branches of two shares with equal work: the lower id wins, although it is received last."""
    root = recorder.tip
    left = recorder.grow(recorder.grow(root, recorder.next_time(root), 0), recorder.time(recorder.tip) + 1, 0)
    (work, number), right = rank(recorder.chain.shares[left]), mine_branch(recorder, root, 2, 0)
    while not (rank(right[1])[0] == work and rank(right[1])[1] > number):
        right = mine_branch(recorder, root, 2, 0)
    for share in right:
        recorder.add(share)
    assert recorder.tip == right[-1].id()


def hash_rate_leaves(recorder: Recorder):
    """Gaps that allow easing, which is used in full, in part or not at all."""
    for gap, k in ((600, 1), (1_850, 3), (1_300, 1), (700, 0)):
        recorder.grow(recorder.tip, recorder.time(recorder.tip) + gap, k)


def three_uncles(recorder: Recorder):
    """Stale siblings one, two and three heights below a share that names them all."""
    siblings = []
    for _ in range(3):
        id_ = recorder.grow(recorder.tip, recorder.next_time(recorder.tip))
        siblings.append(recorder.stale_sibling(id_))
    recorder.grow(recorder.tip, recorder.next_time(recorder.tip), uncles=siblings)


def tie(recorder: Recorder):
    """Two shares with equal work: the lower id is the tip, in any order."""
    parent = recorder.tip
    first = recorder.grow(parent, recorder.next_time(parent), 0)
    while True:
        share = recorder.make(parent, recorder.time(first) + 2, 0)
        if as_number(share.id()) < as_number(first):
            break
    second = recorder.add(share)
    assert recorder.tip == second


def record() -> Recorder:
    recorder = Recorder()
    recorder.extend(18)
    fork = overtaken_fork(recorder)
    recorder.extend(6)
    hash_rate_leaves(recorder)
    recorder.extend(8)
    three_uncles(recorder)
    branches = branches_of_uncles(recorder)
    branches |= uncle_of_an_uncle(recorder)
    recorder.named_ids = {**fork, **branches, **mutants.prepare(recorder)}
    recorder.extend(14)
    tie(recorder)
    recorder.extend(1)
    even_fork(recorder)
    return recorder


def anchor_json(anchor) -> dict:
    return {"hash": display(anchor.header.hash()), "header": anchor.header.encode().hex(), "height": anchor.height,
            "median_time_past": anchor.median_time_past, "next_bits": f"{anchor.next_bits:08x}"}  # fmt: skip


def check_shuffled(recorder: Recorder):
    """Checks that the tip is the same in any order, with deferred shares retried."""
    for _ in range(3):
        chain = Chain(recorder.chain.params)
        chain.anchors = recorder.chain.anchors
        waiting = recorder.seeded.shuffle([share["raw"] for share in recorder.shares])
        before = None
        # Unverified shares help those above them on.
        while before != (len(waiting), len(chain.unverified)):
            before = len(waiting), len(chain.unverified)
            verdicts = [mutants.verdict_of(chain, raw, recorder.now) for raw in waiting]
            waiting = [raw for raw, verdict in zip(waiting, verdicts) if verdict not in ("accepted", "known")]
        assert chain.tip() == recorder.tip


def build() -> dict:
    recorder = record()
    check_shuffled(recorder)
    mutant_cases = mutants.build(recorder)
    params = recorder.chain.params
    payees = recorder.payees
    return {
        "params": params.to_json(),
        "chain_id": params.chain_id().hex(),
        "now": recorder.now,
        "tip": display(recorder.tip),
        "scripts": [payee.hex() for payee in payees],
        "anchors": [anchor_json(anchor) for anchor in recorder.anchors],
        "shares": [
            {"id": display(share["id"]), "verdict": share["verdict"], "tip_then": display(share["tip"]),
             "payouts": [[payees.index(payee), amount] for payee, amount in recorder.payouts(share["id"])],
             "raw": share["raw"].hex()}
            for share in recorder.shares
        ],
        "mutants": mutant_cases,
    }  # fmt: skip
