"""Mutants for chain.json: shares that differ from a good one in one point, and good ones at the very edge of a rule."""

from dataclasses import replace
from itertools import takewhile

from model.chain import Chain, Held, Refused, Unverified, median
from model.hashing import as_number, shown
from model.miner import draft_info, mine
from model.share import ZERO_ID, Header, Share
from model.targets import bits_to_target


def prepare(recorder) -> dict:
    """Shares that mutants need around their parent P, made while P is the tip.

        A - B - N - P - ...     main chain; N names `named`, another stale sibling of B
        a   b   n   p           stale siblings of them: 4, 3, 2, 1 heights below a child of P
    """
    def sibling():
        id_ = recorder.grow(recorder.tip, recorder.next_time(recorder.tip))
        return recorder.stale_sibling(id_)

    place = {"a": sibling(), "b": sibling()}
    named = recorder.stale_sibling(recorder.tip)
    recorder.grow(recorder.tip, recorder.next_time(recorder.tip), uncles=[named])
    place["n"] = recorder.stale_sibling(recorder.tip)
    place["p"] = sibling()
    place |= {"P": recorder.tip, "named": named}
    return place


class Book:
    """Mutants with the verdict that the model gives, held against the one that is meant."""

    def __init__(self, recorder):
        self.recorder = recorder
        self.cases = []

    def chain_after(self, count: int) -> Chain:
        chain = Chain(self.recorder.chain.params)
        chain.anchors = dict(self.recorder.chain.anchors)
        for share in self.recorder.shares[:count]:
            judge(chain, share["raw"], self.recorder.now)
        return chain

    def while_new(self, share) -> int:
        """How many shares there are when a share is new: its parent has a child, and no grandchild yet."""
        parent = self.recorder.chain.shares.get(share.info.parent) if isinstance(share, Share) else None
        if parent is None:
            return len(self.recorder.shares)
        heights = (self.recorder.chain.shares[other["id"]].info.share_height for other in self.recorder.shares)
        older = takewhile(lambda height: height < parent.info.share_height + 2, heights)
        return sum(1 for _ in older)

    def add(self, why: str, meant, raw, after=None):
        """`meant` is the rule's number, or accepted, held, unverified."""
        after = self.while_new(raw) if after is None else after
        raw = raw.encode() if isinstance(raw, Share) else raw
        verdict = judge(self.chain_after(after), raw, self.recorder.now)
        assert verdict == meant, f"{why}: {verdict} where {meant} is meant"
        case = {"why": why, "after": after, "verdict": meant if isinstance(meant, str) else "refused"}
        if isinstance(meant, int):
            case["rule"] = meant
        if len(raw) >= 80:
            case["id"] = shown(Header.decode(raw[:80]).hash())
        self.cases.append({**case, "raw": raw.hex()})


def judge(chain: Chain, raw: bytes, now: int):
    known = set(chain.shares)
    try:
        id_ = chain.receive(raw, now)
    except Refused as refused:
        return refused.rule
    except Held:
        return "held"
    except Unverified:
        return "unverified"
    return "known" if id_ in known else "accepted"


class Workshop:
    """Makes children of one parent with one thing changed."""

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


def rule_1(book: Book, shop: Workshop):
    good = shop.child()
    book.add("a good share, for comparison", "accepted", good)
    book.add("a byte too many", 1, good.encode() + b"\x00")
    book.add("header version 3", 1, shop.child(version=3))
    book.add("header version 4", "accepted", shop.child(version=4))
    book.add("tag with a newline", 1, shop.child(info={"coinbase_tag": b"a\nb"}))
    book.add("tag of 20 bytes", "accepted", shop.child(info={"coinbase_tag": b"/garage pool, 20 by/"}))
    uncles = sorted([book.recorder.place["n"], book.recorder.place["p"]], key=as_number)
    two = shop.child(info={"uncles": uncles})
    book.add("two uncles", "accepted", two)
    book.add("two uncles, descending", 1, replace(two, info=replace(two.info, uncles=two.info.uncles[::-1])))
    book.add("branch of 16", "accepted", shop.child(branch=[shop.seeded.bytes(32) for _ in range(16)]))
    book.add("branch of 17", 1, shop.child(branch=[shop.seeded.bytes(32) for _ in range(17)]))


def rule_2(book: Book, shop: Workshop):
    info = draft_info(shop.chain, shop.parent, shop.time, shop.anchor, shop.payee, 0)
    target = bits_to_target(info.share_bits)
    book.add("hash above the share's target", 2, shop.child(met=lambda number: number > target))
    book.add("share_bits easier than the chain's easiest", 2, shop.child(info={"share_bits": 0x2100FFFF}))


def rule_3(book: Book, shop: Workshop):
    orphan = shop.child(info={"parent": shop.seeded.bytes(32)}, payouts=[(shop.payee, 5_000_000_000)])
    book.add("parent unknown", "held", orphan)
    book.add("a share of another chain, replayed", 8, shop.child(chain_id=shop.seeded.bytes(32)))


def rule_4(book: Book, shop: Workshop):
    good = shop.child().info
    book.add("share_height one more", 4, shop.child(info={"share_height": good.share_height + 1}))
    book.add("share_height as the parent's", 4, shop.child(info={"share_height": good.share_height - 1}))
    book.add("share_height zero", 4, shop.child(info={"share_height": 0}))
    book.add("chain_work one more", 4, shop.child(info={"chain_work": good.chain_work + 1}))
    book.add("chain_work one less", 4, shop.child(info={"chain_work": good.chain_work - 1}))
    book.add("chain_work with an uncle's", 4, shop.child(
        info={"chain_work": good.chain_work + shop.chain.work(book.recorder.place["p"]),
              "uncles": [book.recorder.place["p"]]}))  # fmt: skip
    eased = draft_info(shop.chain, shop.parent, shop.time, shop.anchor, shop.payee, 1).share_bits
    assert eased != good.share_bits
    book.add("eased too early", 4, shop.child(info={"share_bits": eased}))
    late = shop.chain.shares[shop.parent].header.time + 599
    book.add("eased after 599 s", 4, shop.child(time=late, k=1))
    book.add("eased after 600 s", "accepted", shop.child(time=late + 1, k=1))
    book.add("not eased after 600 s", "accepted", shop.child(time=late + 1, k=0))
    book.add("eased twice after 600 s", 4, shop.child(time=late + 1, k=2))
    book.add("harder than the base target", 4, shop.child(info={"share_bits": good.share_bits - 1}))
    book.add("easier than the base target by the last place", 4, shop.child(info={"share_bits": good.share_bits + 1}))
    book.add("the easiest target", 4, shop.child(info={"share_bits": 0x207FFFFF}))


def rule_5(book: Book, shop: Workshop, jump: Workshop):
    before = shop.chain.last(shop.parent, 11)
    middle = median(other.header.time for other in before)
    book.add("time is the ancestors' median", 5, shop.child(time=middle))
    book.add("a second after the median", "accepted", shop.child(time=middle + 1))
    # The parent of these came long after its own parent, so the median is far back.
    parent_time = jump.chain.shares[jump.parent].header.time
    book.add("601 s before the parent", 5, jump.child(time=parent_time - 601))
    book.add("600 s before the parent", "accepted", jump.child(time=parent_time - 600))
    now = book.recorder.now
    ahead = Workshop(book.recorder, book.recorder.tip)
    book.add("121 s ahead of the clock", "held", ahead.child(time=now + 121, k=None))
    book.add("120 s ahead of the clock", "accepted", ahead.child(time=now + 120, k=None))


def rule_6(book: Book, shop: Workshop):
    recorder = book.recorder
    book.add("bits easier than the block needs", 6, shop.child(bits=0x2100FFFF))
    book.add("bits harder than the block needs", 6, shop.child(bits=0x207FFFFE))
    book.add("bits that are no target", 6, shop.child(bits=0, payouts=[]))
    good = shop.child().info
    book.add("block_height one more", 6, shop.child(info={"block_height": good.block_height + 1}))
    book.add("block_height one less", 6, shop.child(info={"block_height": good.block_height - 1}))
    book.add("Bitcoin block unknown", "held", shop.child(prev_block=shop.seeded.bytes(32)))
    book.add("on an old Bitcoin block (no floor on test networks)", "accepted", shop.child(anchor=recorder.anchors[12]))
    # A side branch of Bitcoin whose median time past is ahead of the share.
    side = shop.anchor
    for number in range(6):
        side = recorder.new_anchor(shop.time + 100 + number, side)
    assert side.median_time_past == shop.time + 100
    book.add("time is the median time past", 6, shop.child(time=shop.time + 100, anchor=side))
    book.add("a second after the median time past", "accepted", shop.child(time=shop.time + 101, anchor=side))


def rule_7(book: Book, shop: Workshop):
    place, recorder = book.recorder.place, book.recorder
    parent = place["P"]

    def naming(uncle: bytes) -> Share:
        return shop.child(info={"uncles": [uncle]})

    book.add("uncle one height below", "accepted", naming(place["p"]))
    book.add("uncle two heights below", "accepted", naming(place["n"]))
    book.add("uncle three heights below", "accepted", naming(place["b"]))
    book.add("uncle four heights below", 7, naming(place["a"]))
    book.add("uncle is the parent", 7, naming(parent))
    book.add("uncle is the grandparent", 7, naming(recorder.parent(parent)))
    book.add("uncle named by an ancestor", 7, naming(place["named"]))
    # The fork that lost: its second share was the tip for a while, and its first is no ancestor of the winners.
    winner = Workshop(recorder, place["right"])
    book.add("uncle on a stale share", 7, winner.child(info={"uncles": [place["left"]]}))
    main_child = next(id_ for id_, share in recorder.chain.shares.items() if share.info.parent == parent)
    book.add("uncle is a sibling", 7, naming(main_child))
    book.add("uncle unknown", "held", naming(shop.seeded.bytes(32)))
    genesis = Workshop(recorder, recorder.shares[0]["id"])
    book.add("uncle is the genesis share", 7, genesis.child(info={"uncles": [recorder.shares[0]["id"]]}))


def rule_8(book: Book, shop: Workshop):
    good = shop.child(branch=[shop.seeded.bytes(32)] * 2)
    info = good.info
    for why, mutant in {
        "another payout script": replace(good, info=replace(info, payout_script=book.recorder.payees[3])),
        "another coinbase value": replace(good, info=replace(info, coinbase_value=info.coinbase_value + 1)),
        "another tag": replace(good, info=replace(info, coinbase_tag=b"mine")),
        "another witness commitment": replace(good, info=replace(info, witness_commitment=bytes(32))),
        "an uncle more": replace(good, info=replace(info, uncles=(book.recorder.place["p"],))),
        "another extranonce": replace(good, extranonce=bytes(12)),
        "branch one shorter": replace(good, merkle_branch=good.merkle_branch[:1]),
        "branch one longer": replace(good, merkle_branch=good.merkle_branch + (bytes(32),)),
        "another branch": replace(good, merkle_branch=(good.merkle_branch[0], bytes(32))),
    }.items():
        book.add(f"same header, {why}", 8, mutant)
    dishonest_coinbases(book, shop)


def dishonest_coinbases(book: Book, shop: Workshop):
    info = shop.child().info
    value, me = info.coinbase_value, info.payout_script
    honest = shop.chain.payouts(info, shop.anchor.next_bits)
    assert len(honest) >= 3
    book.add("a coinbase that pays only its finder", 8, shop.child(payouts=[(me, value)]))
    book.add("a coinbase that pays itself a satoshi of another's", 8, shop.child(
        payouts=[(payee, amount + (payee == me) - (payee == honest[0][0] != me)) for payee, amount in honest]))
    book.add("a coinbase without its last output", 8, shop.child(payouts=honest[:-1]))
    book.add("a coinbase with 21 million bitcoins more", 8, shop.child(
        payouts=[(payee, amount + 21 * 10**14 * (payee == me)) for payee, amount in honest]))  # fmt: skip
    book.add("coinbase_value one below the subsidy", 8, shop.child(info={"coinbase_value": value - 1}))
    book.add("coinbase_value above the subsidy", "accepted", shop.child(info={"coinbase_value": value + 12_345}))
    book.add("coinbase_value of 21 million bitcoins", "accepted", shop.child(info={"coinbase_value": 21 * 10**14}))
    book.add("coinbase_value above 21 million bitcoins", 8, shop.child(info={"coinbase_value": 21 * 10**14 + 1}))


def beginnings(book: Book):
    """Genesis shares, and the header of a real block in a share's clothes."""
    recorder = book.recorder
    chain, seeded, time = recorder.chain, recorder.seeded, recorder.time(recorder.shares[0]["id"])
    anchor, payee = recorder.anchors[12], recorder.payees[4]

    def genesis(payouts=None, **changes) -> Share:
        info = draft_info(chain, ZERO_ID, time, anchor, payee, **changes)
        return mine(chain, info, time, anchor, seeded.bytes(12), payouts=payouts)

    book.add("another genesis share, before there is a chain", "accepted", genesis(), after=0)
    book.add("genesis share of height 1", 4, genesis(share_height=1), after=0)
    book.add("genesis share with work before it", 4, genesis(chain_work=3), after=0)
    book.add("genesis share with a hard target", 4, genesis(share_bits=0x200FFFFF), after=0)
    book.add("genesis share that pays somebody else", 8, genesis(payouts=[(recorder.payees[5], 50 * 10**8)]), after=0)
    book.add("a second genesis share", "unverified", genesis())
    # A block of others, on a share that is still at the easiest target and older than it.
    parent = recorder.shares[0]["id"]
    block = next(other for other in recorder.anchors if other.header.time > time)
    below = chain.anchors[block.header.prev_block]
    info = draft_info(chain, parent, block.header.time, below, payee, 0)
    book.add("a real block's header as a share", 8, Share(block.header, info, bytes(12), ()))


def build(recorder) -> list:
    book, place = Book(recorder), recorder.place
    shop = Workshop(recorder, place["P"])
    # The share after the gap of 1,850 s: the greatest gap there is.
    gap = max(recorder.chain.shares, key=lambda id_: recorder.time(id_) - time_of_parent(recorder, id_))
    rule_1(book, shop)
    rule_2(book, shop)
    rule_3(book, shop)
    rule_4(book, shop)
    rule_5(book, shop, Workshop(recorder, gap))
    rule_6(book, shop)
    rule_7(book, shop)
    rule_8(book, shop)
    beginnings(book)
    return book.cases


def time_of_parent(recorder, id_: bytes) -> int:
    parent = recorder.chain.shares[id_].info.parent
    return recorder.time(parent) if parent != ZERO_ID else recorder.time(id_)
