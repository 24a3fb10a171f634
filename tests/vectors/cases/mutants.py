"""Mutants for chain.json: shares that break one rule, and valid shares at the limits of a rule."""

from dataclasses import replace
from itertools import takewhile

from model.chain import Chain, Deferred, Rejected, Unverified, median
from model.hashing import as_number, display
from model.miner import draft_info, mine
from model.share import ZERO_ID, Header, Share
from model.targets import bits_to_target


def prepare(recorder) -> dict:
    """Adds the shares that mutants need around their parent P, while P is the tip.

        A - B - N - P - ...     main chain; N names `named`, another stale sibling of B
        a   b   n   p           their stale siblings: 4, 3, 2, 1 heights below a child of P
    """
    def sibling():
        id_ = recorder.grow(recorder.tip, recorder.next_time(recorder.tip))
        return recorder.stale_sibling(id_)

    ids = {"a": sibling(), "b": sibling()}
    named = recorder.stale_sibling(recorder.tip)
    recorder.grow(recorder.tip, recorder.next_time(recorder.tip), uncles=[named])
    ids["n"] = recorder.stale_sibling(recorder.tip)
    ids["p"] = sibling()
    ids |= {"P": recorder.tip, "named": named}
    return ids


class Mutants:
    """Collects mutants. The model's verdict must be the expected one."""

    def __init__(self, recorder):
        self.recorder = recorder
        self.cases = []

    def chain_after(self, count: int) -> Chain:
        chain = Chain(self.recorder.chain.params)
        chain.anchors = dict(self.recorder.chain.anchors)
        for share in self.recorder.shares[:count]:
            verdict_of(chain, share["raw"], self.recorder.now)
        return chain

    def count_while_recent(self, share) -> int:
        """Number of recorded shares up to when the share is recent: its parent has a child but no grandchild yet."""
        parent = self.recorder.chain.shares.get(share.info.parent) if isinstance(share, Share) else None
        if parent is None:
            return len(self.recorder.shares)
        heights = (self.recorder.chain.shares[other["id"]].info.share_height for other in self.recorder.shares)
        older = takewhile(lambda height: height < parent.info.share_height + 2, heights)
        return sum(1 for _ in older)

    def add(self, why: str, expected, raw, after=None):
        """Adds a mutant. `expected` is the number of the rule, or accepted, deferred or unverified."""
        after = self.count_while_recent(raw) if after is None else after
        raw = raw.encode() if isinstance(raw, Share) else raw
        verdict = verdict_of(self.chain_after(after), raw, self.recorder.now)
        assert verdict == expected, f"{why}: {verdict}, expected {expected}"
        case = {"why": why, "after": after, "verdict": expected if isinstance(expected, str) else "rejected"}
        if isinstance(expected, int):
            case["rule"] = expected
        if len(raw) >= 80:
            case["id"] = display(Header.decode(raw[:80]).hash())
        self.cases.append({**case, "raw": raw.hex()})


def verdict_of(chain: Chain, raw: bytes, now: int):
    known = set(chain.shares)
    try:
        id_ = chain.receive(raw, now)
    except Rejected as rejected:
        return rejected.rule
    except Deferred:
        return "deferred"
    except Unverified:
        return "unverified"
    return "known" if id_ in known else "accepted"


class ShareFactory:
    """Mines children of a parent with single changes."""

    def __init__(self, recorder, parent: bytes, time=None):
        self.recorder, self.parent = recorder, parent
        self.chain, self.seeded = recorder.chain, recorder.seeded
        self.time = time or recorder.time(parent) + 20
        self.anchor = self.chain.anchors[self.chain.shares[parent].header.prev_block]
        self.payee = recorder.payees[2]

    def child(self, time=None, k=0, anchor=None, info=None, **mining) -> Share:
        time, anchor = time or self.time, anchor or self.anchor
        changes = {"witness_commitment": self.seeded.bytes(32), **(info or {})}
        parent = changes.pop("parent", self.parent)
        drafted = draft_info(self.chain, self.parent, time, anchor, self.payee, k, **changes).with_(parent=parent)
        mining.setdefault("branch", [self.seeded.bytes(32)])
        return mine(self.chain, drafted, time, anchor, self.seeded.bytes(12), **mining)


def rule_1(mutants: Mutants, make: ShareFactory):
    good = make.child()
    mutants.add("a good share, for comparison", "accepted", good)
    mutants.add("a byte too many", 1, good.encode() + b"\x00")
    mutants.add("header version 3", 1, make.child(version=3))
    mutants.add("header version 4", "accepted", make.child(version=4))
    mutants.add("tag with a newline", 1, make.child(info={"coinbase_tag": b"a\nb"}))
    mutants.add("tag of 20 bytes", "accepted", make.child(info={"coinbase_tag": b"/garage pool, 20 by/"}))
    uncles = sorted([mutants.recorder.named_ids["n"], mutants.recorder.named_ids["p"]], key=as_number)
    two = make.child(info={"uncles": uncles})
    mutants.add("two uncles", "accepted", two)
    mutants.add("two uncles, descending", 1, replace(two, info=replace(two.info, uncles=two.info.uncles[::-1])))
    mutants.add("branch of 16", "accepted", make.child(branch=[make.seeded.bytes(32) for _ in range(16)]))
    mutants.add("branch of 17", 1, make.child(branch=[make.seeded.bytes(32) for _ in range(17)]))


def rule_2(mutants: Mutants, make: ShareFactory):
    info = draft_info(make.chain, make.parent, make.time, make.anchor, make.payee, 0)
    target = bits_to_target(info.share_bits)
    mutants.add("hash above the share's target", 2, make.child(met=lambda number: number > target))
    mutants.add("share_bits easier than the chain's easiest", 2, make.child(info={"share_bits": 0x2100FFFF}))


def rule_3(mutants: Mutants, make: ShareFactory):
    orphan = make.child(info={"parent": make.seeded.bytes(32)}, payouts=[(make.payee, 5_000_000_000)])
    mutants.add("parent unknown", "deferred", orphan)
    mutants.add("a share of another chain, replayed", 8, make.child(chain_id=make.seeded.bytes(32)))


def rule_4(mutants: Mutants, make: ShareFactory):
    good = make.child().info
    mutants.add("base_bits one more", 4, make.child(info={"base_bits": good.base_bits + 1}))
    mutants.add("base_bits eased with share_bits", 4, make.child(info={"base_bits": 0x207FFFFF, "share_bits": 0x207FFFFF}))
    mutants.add("class of payout outputs too high", 4, make.child(info={"outputs_class": 1}))
    mutants.add("a vote for the highest class and a high signal", "accepted",
                make.child(info={"outputs_vote": 3, "signal": 255}))  # fmt: skip
    mutants.add("share_height one more", 4, make.child(info={"share_height": good.share_height + 1}))
    mutants.add("share_height as the parent's", 4, make.child(info={"share_height": good.share_height - 1}))
    mutants.add("share_height zero", 4, make.child(info={"share_height": 0}))
    mutants.add("chain_work one more", 4, make.child(info={"chain_work": good.chain_work + 1}))
    mutants.add("chain_work one less", 4, make.child(info={"chain_work": good.chain_work - 1}))
    mutants.add("chain_work with an uncle's", 4, make.child(
        info={"chain_work": good.chain_work + make.chain.work(mutants.recorder.named_ids["p"]),
              "uncles": [mutants.recorder.named_ids["p"]]}))  # fmt: skip
    eased = draft_info(make.chain, make.parent, make.time, make.anchor, make.payee, 1).share_bits
    assert eased != good.share_bits
    mutants.add("eased too early", 4, make.child(info={"share_bits": eased}))
    late = make.chain.shares[make.parent].header.time + 599
    mutants.add("eased after 599 s", 4, make.child(time=late, k=1))
    mutants.add("eased after 600 s", "accepted", make.child(time=late + 1, k=1))
    mutants.add("not eased after 600 s", "accepted", make.child(time=late + 1, k=0))
    mutants.add("eased twice after 600 s", 4, make.child(time=late + 1, k=2))
    mutants.add("harder than the base target", 4, make.child(info={"share_bits": good.share_bits - 1}))
    mutants.add("easier than the base target by the last digit", 4, make.child(info={"share_bits": good.share_bits + 1}))
    mutants.add("the easiest target", 4, make.child(info={"share_bits": 0x207FFFFF}))


def rule_5(mutants: Mutants, make: ShareFactory, jump: ShareFactory):
    before = make.chain.last(make.parent, 11)
    middle = median(other.header.time for other in before)
    mutants.add("time is the ancestors' median", 5, make.child(time=middle))
    mutants.add("a second after the median", "accepted", make.child(time=middle + 1))
    # The parent is much later than its own parent, so the median is far back.
    parent_time = jump.chain.shares[jump.parent].header.time
    mutants.add("601 s before the parent", 5, jump.child(time=parent_time - 601))
    mutants.add("600 s before the parent", "accepted", jump.child(time=parent_time - 600))
    now = mutants.recorder.now
    ahead = ShareFactory(mutants.recorder, mutants.recorder.tip)
    mutants.add("121 s ahead of the clock", "deferred", ahead.child(time=now + 121, k=None))
    mutants.add("120 s ahead of the clock", "accepted", ahead.child(time=now + 120, k=None))


def rule_6(mutants: Mutants, make: ShareFactory):
    recorder = mutants.recorder
    mutants.add("bits easier than the block needs", 6, make.child(bits=0x2100FFFF))
    mutants.add("bits harder than the block needs", 6, make.child(bits=0x207FFFFE))
    mutants.add("bits that are no target", 6, make.child(bits=0, payouts=[]))
    good = make.child().info
    mutants.add("block_height one more", 6, make.child(info={"block_height": good.block_height + 1}))
    mutants.add("block_height one less", 6, make.child(info={"block_height": good.block_height - 1}))
    mutants.add("Bitcoin block unknown", "deferred", make.child(prev_block=make.seeded.bytes(32)))
    mutants.add("on an old Bitcoin block (no floor on test networks)", "accepted", make.child(anchor=recorder.anchors[12]))
    # A Bitcoin side branch whose median time past is later than the share.
    side = make.anchor
    for number in range(6):
        side = recorder.new_anchor(make.time + 100 + number, side)
    assert side.median_time_past == make.time + 100
    mutants.add("time is the median time past", 6, make.child(time=make.time + 100, anchor=side))
    mutants.add("a second after the median time past", "accepted", make.child(time=make.time + 101, anchor=side))


def rule_7(mutants: Mutants, make: ShareFactory):
    ids, recorder = mutants.recorder.named_ids, mutants.recorder
    parent = ids["P"]

    def naming(uncle: bytes) -> Share:
        return make.child(info={"uncles": [uncle]})

    mutants.add("uncle one height below", "accepted", naming(ids["p"]))
    mutants.add("uncle two heights below", "accepted", naming(ids["n"]))
    mutants.add("uncle three heights below", "accepted", naming(ids["b"]))
    mutants.add("uncle four heights below", 7, naming(ids["a"]))
    mutants.add("uncle is the parent", 7, naming(parent))
    mutants.add("uncle is the grandparent", 7, naming(recorder.parent(parent)))
    mutants.add("uncle named by an ancestor", 7, naming(ids["named"]))
    # The losing fork: its last share was the tip.
    winner = ShareFactory(recorder, ids["right"])
    mutants.add("uncle on a stale share", 7, winner.child(info={"uncles": [ids["left"]]}))
    after_nephew, later = ShareFactory(recorder, ids["nephew"]), ShareFactory(recorder, ids["after_nephew"])
    mutants.add("uncle on an uncle of an ancestor", "accepted", after_nephew.child(info={"uncles": [ids["on_named"]]}))
    mutants.add("uncle whose branch leaves five heights below", 7, later.child(info={"uncles": [ids["on_named"]]}))
    pair = ShareFactory(recorder, ids["before_pair"])
    mutants.add("uncle on another uncle", "accepted", pair.child(info={"uncles": ids["pair"]}))
    mutants.add("uncle on a share that is not named", 7, pair.child(info={"uncles": ids["pair"][1:]}))
    beside, both = ShareFactory(recorder, ids["beside"]), [ids["named_aside"], ids["names_aside"]]
    mutants.add("uncle that names another uncle", "accepted", beside.child(info={"uncles": both}))
    mutants.add("uncle that names one which no share of the chain names", 7, beside.child(info={"uncles": both[1:]}))
    main_child = next(id_ for id_, share in recorder.chain.shares.items() if share.info.parent == parent)
    mutants.add("uncle is a sibling", 7, naming(main_child))
    mutants.add("uncle unknown", "deferred", naming(make.seeded.bytes(32)))
    genesis = ShareFactory(recorder, recorder.shares[0]["id"])
    mutants.add("uncle is the genesis share", 7, genesis.child(info={"uncles": [recorder.shares[0]["id"]]}))


def rule_8(mutants: Mutants, make: ShareFactory):
    good = make.child(branch=[make.seeded.bytes(32)] * 2)
    info = good.info
    for why, mutant in {
        "another payout script": replace(good, info=replace(info, payout_script=mutants.recorder.payees[3])),
        "another coinbase value": replace(good, info=replace(info, coinbase_value=info.coinbase_value + 1)),
        "another tag": replace(good, info=replace(info, coinbase_tag=b"mine")),
        "another witness commitment": replace(good, info=replace(info, witness_commitment=bytes(32))),
        "an uncle more": replace(good, info=replace(info, uncles=(mutants.recorder.named_ids["p"],))),
        "another extranonce": replace(good, extranonce=bytes(12)),
        "branch one shorter": replace(good, merkle_branch=good.merkle_branch[:1]),
        "branch one longer": replace(good, merkle_branch=good.merkle_branch + (bytes(32),)),
        "another branch": replace(good, merkle_branch=(good.merkle_branch[0], bytes(32))),
    }.items():
        mutants.add(f"same header, {why}", 8, mutant)
    dishonest_coinbases(mutants, make)


def dishonest_coinbases(mutants: Mutants, make: ShareFactory):
    info = make.child().info
    value, me = info.coinbase_value, info.payout_script
    honest = make.chain.payouts(info, make.anchor.next_bits)
    assert len(honest) >= 3
    mutants.add("a coinbase that pays only its finder", 8, make.child(payouts=[(me, value)]))
    mutants.add("a coinbase that pays itself a satoshi of another's", 8, make.child(
        payouts=[(payee, amount + (payee == me) - (payee == honest[0][0] != me)) for payee, amount in honest]))
    mutants.add("a coinbase without its last output", 8, make.child(payouts=honest[:-1]))
    mutants.add("a coinbase with 21 million bitcoins more", 8, make.child(
        payouts=[(payee, amount + 21 * 10**14 * (payee == me)) for payee, amount in honest]))  # fmt: skip
    mutants.add("coinbase_value one below the subsidy", 8, make.child(info={"coinbase_value": value - 1}))
    mutants.add("coinbase_value above the subsidy", "accepted", make.child(info={"coinbase_value": value + 12_345}))
    mutants.add("coinbase_value of 21 million bitcoins", "accepted", make.child(info={"coinbase_value": 21 * 10**14}))
    mutants.add("coinbase_value above 21 million bitcoins", 8, make.child(info={"coinbase_value": 21 * 10**14 + 1}))


def beginnings(mutants: Mutants):
    """Genesis shares, and the header of a real block as a share."""
    recorder = mutants.recorder
    chain, seeded, time = recorder.chain, recorder.seeded, recorder.time(recorder.shares[0]["id"])
    anchor, payee = recorder.anchors[12], recorder.payees[4]

    def genesis(payouts=None, **changes) -> Share:
        info = draft_info(chain, ZERO_ID, time, anchor, payee, **changes)
        return mine(chain, info, time, anchor, seeded.bytes(12), payouts=payouts)

    mutants.add("another genesis share, before there is a chain", "accepted", genesis(), after=0)
    mutants.add("genesis share of height 1", 4, genesis(share_height=1), after=0)
    mutants.add("genesis share with work before it", 4, genesis(chain_work=3), after=0)
    mutants.add("genesis share with a hard target", 4, genesis(share_bits=0x200FFFFF), after=0)
    mutants.add("genesis share that pays another script", 8, genesis(payouts=[(recorder.payees[5], 50 * 10**8)]), after=0)
    mutants.add("a second genesis share", "unverified", genesis())
    # A block that was not found by the pool, on an older share with the easiest target.
    parent = recorder.shares[0]["id"]
    block = next(other for other in recorder.anchors if other.header.time > time)
    below = chain.anchors[block.header.prev_block]
    info = draft_info(chain, parent, block.header.time, below, payee, 0)
    mutants.add("a real block's header as a share", 8, Share(block.header, info, bytes(12), ()))


def build(recorder) -> list:
    mutants, ids = Mutants(recorder), recorder.named_ids
    make = ShareFactory(recorder, ids["P"])
    # The share after the largest gap, 1,850 s.
    gap = max(recorder.chain.shares, key=lambda id_: recorder.time(id_) - time_of_parent(recorder, id_))
    rule_1(mutants, make)
    rule_2(mutants, make)
    rule_3(mutants, make)
    rule_4(mutants, make)
    rule_5(mutants, make, ShareFactory(recorder, gap))
    rule_6(mutants, make)
    rule_7(mutants, make)
    rule_8(mutants, make)
    beginnings(mutants)
    return mutants.cases


def time_of_parent(recorder, id_: bytes) -> int:
    parent = recorder.chain.shares[id_].info.parent
    return recorder.time(parent) if parent != ZERO_ID else recorder.time(id_)
