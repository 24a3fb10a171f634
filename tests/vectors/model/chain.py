"""The tree of valid shares: rules 1 to 8 (section 5) and the tip (section 6)."""

from dataclasses import dataclass
from itertools import islice

from .coinbase import merkle_root
from .difficulty import RetargetSample, allowed_bits, base_bits
from .hashing import as_number, display
from .params import (
    ACTIVATION_DELAY_MAX,
    OUTPUTS_CLASS_INTERVAL,
    RULES_VERSION,
    TEST_RULES_VERSION,
    TEST_UNCLES_MAX,
    UNCLES_MAX,
    UNCLE_DEPTH_MAX,
    Params,
    subsidy,
)
from .payouts import payout_list, window_credits
from .share import ZERO_ID, Header, Info, Share
from .targets import bits_to_target, work_of_bits

MEDIAN_SHARES = 11
BACKWARDS_MAX_S = 600
AHEAD_MAX_S = 120
HEIGHT_FLOOR_SLACK = 2
VALUE_MAX = 21 * 10**14
SPAM_DEPTH = 4
TESTNET_GAP_S = 1_200


class Rejected(Exception):
    """The share breaks a rule."""

    def __init__(self, rule: int, why: str):
        super().__init__(f"rule {rule}: {why}")
        self.rule = rule


class Deferred(Exception):
    """The share waits for another share, a Bitcoin header or its time."""


class Unverified(Exception):
    """The share is kept unverified until its branch claims to be better than the tip's (section 5, spam)."""


@dataclass(frozen=True)
class Anchor:
    """A Bitcoin block and what its child must match, as bitcoind reports them."""

    header: Header
    height: int
    median_time_past: int
    next_bits: int
    # Bits of a child more than 20 minutes later (test networks).
    next_bits_late: int = None

    def required_bits(self, child_time: int) -> int:
        if self.next_bits_late is not None and child_time > self.header.time + TESTNET_GAP_S:
            return self.next_bits_late
        return self.next_bits


def rank(share: Share):
    """Sort key of the fork choice: most chain_work, then the lowest id."""
    return share.info.chain_work, -as_number(share.id())


def median(times) -> int:
    times = sorted(times)
    return times[len(times) // 2]


class Chain:
    def __init__(self, params: Params):
        self.params = params
        self.chain_id = params.chain_id()
        self.shares = {}
        self.unverified = {}
        self.anchors = {}

    def add_anchor(self, anchor: Anchor):
        self.anchors[anchor.header.hash()] = anchor

    # Walks and sums

    def newest_first(self, id_: bytes):
        """The share and its ancestors, as far as they are known."""
        while id_ in self.shares:
            share = self.shares[id_]
            yield id_, share
            id_ = share.info.parent

    def last(self, id_: bytes, count: int) -> list:
        return [share for _, share in zip(range(count), (share for _, share in self.newest_first(id_)))]

    def work(self, id_: bytes) -> int:
        return work_of_bits(self.shares[id_].info.share_bits)

    def retarget_samples(self, parent: bytes) -> list:
        return [
            RetargetSample(share.header.time, share.info.share_height, share.info.share_bits,
                 sum(self.work(uncle) for uncle in share.info.uncles), share.info.base_bits)
            for share in self.last(parent, self.params.retarget_window)
        ]  # fmt: skip

    def allowed_bits(self, parent: bytes, time: int) -> set:
        return allowed_bits(self.params, self.retarget_samples(parent), time)

    def window(self, parent: bytes, header_bits: int) -> list:
        """The shares of the payout window that ends at the parent, newest first."""
        shares, work = [], 0
        cut = self.params.work_cut_blocks * work_of_bits(header_bits)
        for id_, share in self.newest_first(parent):
            if len(shares) == self.params.payout_window or cut and work >= cut:
                break
            shares.append(share)
            work += self.work(id_) + sum(self.work(uncle) for uncle in share.info.uncles)
        return shares

    def vote(self, parent: bytes, header_bits: int, counts) -> tuple:
        """The work in the payout window of the shares whose info satisfies `counts`, and all of it. Uncles do not vote."""
        works = [(work_of_bits(share.info.share_bits), share.info) for share in self.window(parent, header_bits)]
        return sum(work for work, info in works if counts(info)), sum(work for work, _ in works)

    def outputs_class(self, parent: bytes, header_bits: int) -> int:
        """The class of payout outputs of a child."""
        if parent == ZERO_ID:
            return 0
        info = self.shares[parent].info
        height, class_ = info.share_height + 1, info.outputs_class
        if height < self.params.payout_window:
            return 0
        if height % OUTPUTS_CLASS_INTERVAL:
            return class_
        higher, total = self.vote(parent, header_bits, lambda info: info.outputs_vote > class_)
        if class_ < 3 and 100 * higher >= 95 * total:
            return class_ + 1
        as_high, _ = self.vote(parent, header_bits, lambda info: info.outputs_vote >= class_)
        return class_ if 100 * as_high >= 90 * total else max(0, class_ - 1)

    def rules_version(self, parent: bytes, block_height: int, header_bits: int) -> int:
        """The version of the rules of a child with this block height."""
        version = RULES_VERSION if parent == ZERO_ID else self.shares[parent].info.rules_version
        for later, height in self.params.activations:
            signalling, total = self.vote(parent, header_bits, lambda info: info.signal >= later)
            is_ready = total > 0 and 100 * signalling >= 80 * total
            if block_height >= height + (0 if is_ready else ACTIVATION_DELAY_MAX):
                version = max(version, later)
        return version

    def credits(self, parent: bytes, header_bits: int) -> dict:
        entries = (
            (share.info.payout_script, self.work(id_),
             [(self.shares[uncle].info.payout_script, self.work(uncle)) for uncle in share.info.uncles])
            for id_, share in self.newest_first(parent)
        )  # fmt: skip
        return window_credits(self.params, entries, work_of_bits(header_bits))

    def payouts(self, info: Info, header_bits: int, credits=None) -> list:
        """The payouts of a share with this info, as (script, amount)."""
        if credits is None:
            credits = self.credits(info.parent, header_bits)
        return payout_list(self.params.payout_outputs[info.outputs_class], credits, info.coinbase_value, info.payout_script, info.parent)

    def tip(self):
        return max(self.shares, key=lambda id_: rank(self.shares[id_]), default=None)

    # The rules

    def receive(self, raw: bytes, now: int) -> bytes:
        """Adds a share, unless it is known, and returns its id; raises Rejected, Deferred or Unverified."""
        try:
            share = Share.decode(raw)
        except ValueError as error:
            raise Rejected(1, str(error)) from error
        id_ = share.id()
        if id_ in self.shares and self.shares[id_] == share:
            return id_
        self.check_work(share)
        if share.info.parent in self.unverified:
            self.verify_branch(share, now)
        else:
            self.verify(share, now, spam=True)
        return id_

    def verify(self, share: Share, now: int, spam: bool):
        """Rules 3 to 8."""
        self.check_parent(share)
        if spam:
            self.check_spam(share, now)
        self.check_before_uncles(share, now)
        self.check_uncles(share, now)
        self.check_votes(share)
        self.check_coinbase(share)
        self.unverified.pop(share.id(), None)
        self.shares[share.id()] = share

    def check_before_uncles(self, share: Share, now: int):
        """Rules 4 to 6, apart from what the payout window decides."""
        self.check_links(share)
        self.check_bits(share)
        self.check_time(share)
        self.check_due(share, now)
        self.check_anchor(share)

    def verify_branch(self, share: Share, now: int):
        """Verifies a share on unverified ones together with them once the branch claims to be better than the tip's."""
        if not self.claims_better(share):
            self.unverified[share.id()] = share
            raise Unverified("its branch does not claim to be better than the tip's")
        branch = [share]
        while branch[-1].info.parent in self.unverified:
            branch.append(self.unverified[branch[-1].info.parent])
        for member in reversed(branch):
            self.verify(member, now, spam=False)

    def claims_better(self, share: Share) -> bool:
        """Whether the share would be the tip if its claims were true."""
        tip = self.tip()
        return tip is None or rank(share) > rank(self.shares[tip])

    def check_work(self, share: Share):
        target = bits_to_target(share.info.share_bits)
        if target > bits_to_target(self.params.easiest_bits):
            raise Rejected(2, f"share_bits {share.info.share_bits:08x} are easier than the easiest target")
        if as_number(share.id()) > target:
            raise Rejected(2, f"hash {display(share.id())} does not meet {share.info.share_bits:08x}")

    def check_parent(self, share: Share):
        parent = share.info.parent
        if parent != ZERO_ID and parent not in self.shares:
            raise Deferred(f"parent {display(parent)} is unknown")

    def check_links(self, share: Share):
        info, work = share.info, work_of_bits(share.info.share_bits)
        height, chain_work = 0, work
        if info.parent != ZERO_ID:
            parent = self.shares[info.parent].info
            height, chain_work = parent.share_height + 1, parent.chain_work + work
        if info.share_height != height:
            raise Rejected(4, f"share_height is {info.share_height}, {height} follows from the parent")
        if info.chain_work != chain_work:
            raise Rejected(4, f"chain_work is {info.chain_work}, {chain_work} follows from the parent")

    def check_bits(self, share: Share):
        base = base_bits(self.params, self.retarget_samples(share.info.parent))
        if share.info.base_bits != base:
            raise Rejected(4, f"base_bits are {share.info.base_bits:08x}, section 6 gives {base:08x}")
        allowed = self.allowed_bits(share.info.parent, share.header.time)
        if share.info.share_bits not in allowed:
            texts = ", ".join(f"{bits:08x}" for bits in sorted(allowed))
            raise Rejected(4, f"share_bits {share.info.share_bits:08x} are not allowed, section 6 allows {texts}")

    def check_time(self, share: Share):
        time, parent = share.header.time, share.info.parent
        if parent == ZERO_ID:
            return
        before = self.last(parent, min(MEDIAN_SHARES, share.info.share_height))
        if time <= median(other.header.time for other in before):
            raise Rejected(5, f"time {time} is not later than the median of its ancestors")
        if time < before[0].header.time - BACKWARDS_MAX_S:
            raise Rejected(5, f"time {time} is more than {BACKWARDS_MAX_S} s before the parent's")

    def check_due(self, share: Share, now: int):
        anchor = self.anchors.get(share.header.prev_block)
        latest = now + AHEAD_MAX_S
        if anchor is not None:
            latest = max(latest, anchor.median_time_past + 1)
        if share.header.time > latest:
            raise Deferred(f"time {share.header.time} is in the future")

    def check_anchor(self, share: Share):
        header, info = share.header, share.info
        anchor = self.anchors.get(header.prev_block)
        if anchor is None:
            raise Deferred(f"Bitcoin block {display(header.prev_block)} is unknown")
        if info.block_height != anchor.height + 1:
            raise Rejected(6, f"block_height {info.block_height} on a block of height {anchor.height}")
        if header.bits != anchor.required_bits(header.time):
            raise Rejected(6, f"bits {header.bits:08x} are not the required ones")
        if header.time <= anchor.median_time_past:
            raise Rejected(6, f"time {header.time} is not later than the median time past")
        self.check_height_floor(share)

    def check_height_floor(self, share: Share):
        info = share.info
        if self.params.network != "regtest" and info.parent != ZERO_ID:
            before = self.last(info.parent, self.params.retarget_window)
            floor = median(other.info.block_height for other in before) - HEIGHT_FLOOR_SLACK
            if info.block_height < floor:
                raise Rejected(6, f"block_height {info.block_height} is below the floor of {floor}")

    def check_votes(self, share: Share):
        info, bits = share.info, share.header.bits
        version = self.rules_version(info.parent, info.block_height, bits)
        if info.rules_version < version:
            raise Rejected(10, f"rules_version is {info.rules_version}, {version} is in force")
        if info.rules_version != version:
            raise Rejected(4, f"rules_version is {info.rules_version}, {version} is in force")
        class_ = self.outputs_class(info.parent, bits)
        if info.outputs_class != class_:
            raise Rejected(4, f"outputs_class is {info.outputs_class}, {class_} is in force")

    def check_uncles(self, share: Share, now: int):
        limit = TEST_UNCLES_MAX if share.info.rules_version == TEST_RULES_VERSION else UNCLES_MAX
        if len(share.info.uncles) > limit:
            raise Rejected(7, f"{len(share.info.uncles)} uncles, at most {limit} in this version")
        # One that another is built on first.
        height = {id_: uncle.info.share_height for id_, uncle in self.unverified.items()}
        for id_ in sorted(share.info.uncles, key=lambda id_: height.get(id_, 0)):
            if id_ in self.unverified and self.claims_better(share):
                self.verify(self.unverified[id_], now, spam=False)
            if id_ not in self.shares:
                raise Deferred(f"uncle {display(id_)} is unknown")
            self.check_uncle(share.info, id_)

    def check_uncle(self, info: Info, id_: bytes):
        uncle = self.shares[id_].info
        if uncle.parent == ZERO_ID:
            raise Rejected(7, "an uncle is a genesis share")
        if uncle.rules_version > info.rules_version:
            raise Rejected(7, "an uncle has a newer rules version")
        if not info.share_height - UNCLE_DEPTH_MAX <= uncle.share_height <= info.share_height - 1:
            raise Rejected(7, f"an uncle has height {uncle.share_height}, the share {info.share_height}")
        # Older ancestors can neither be nor name the uncle, nor may its branch leave there.
        before = self.recent_ancestors(info.parent)
        named = {other for ancestor in before.values() for other in ancestor.info.uncles}
        if id_ in before:
            raise Rejected(7, "an uncle is an ancestor")
        if id_ in named:
            raise Rejected(7, "an uncle is named by an ancestor")
        below = uncle.parent
        while below not in before:
            if below not in named and below not in info.uncles:
                raise Rejected(7, "an uncle's parent is neither a recent ancestor nor an uncle")
            if below not in self.shares:
                raise Deferred(f"uncle {display(below)} is unknown")
            below = self.shares[below].info.parent
        # What an uncle names must be on the main chain already, or beside it with the same share at the latest.
        near = dict(islice(self.newest_first(info.parent), 2 * UNCLE_DEPTH_MAX))
        known = set(near) | set(info.uncles) | {other for ancestor in near.values() for other in ancestor.info.uncles}
        if not known.issuperset(uncle.uncles):
            raise Rejected(7, "an uncle names an uncle that neither the share nor an ancestor names")

    def recent_ancestors(self, parent: bytes) -> dict:
        """The share and its ancestors that the uncles of a child depend on, by id."""
        return dict(islice(self.newest_first(parent), UNCLE_DEPTH_MAX + 1))

    def check_spam(self, share: Share, now: int):
        if self.claims_better(share):
            return
        if share.header.prev_block not in self.anchors:
            raise Deferred(f"Bitcoin block {display(share.header.prev_block)} is unknown")
        recent = [id_ for id_, _ in islice(self.newest_first(self.tip()), SPAM_DEPTH)]
        if not any(id_ in recent for id_, _ in islice(self.newest_first(share.info.parent), UNCLE_DEPTH_MAX)):
            # Its claims are checked as far as they need no payout window.
            self.check_before_uncles(share, now)
            self.unverified[share.id()] = share
            raise Unverified("on no recent share or uncle of the main chain and not better than the tip")

    def check_coinbase(self, share: Share, credits=None) -> list:
        """Returns the payouts. `credits` are those of the payout window, if the caller has computed them."""
        info = share.info
        least = subsidy(self.params, info.block_height)
        if not least <= info.coinbase_value <= VALUE_MAX:
            raise Rejected(8, f"coinbase_value {info.coinbase_value} is outside {least}..{VALUE_MAX}")
        payouts = self.payouts(info, share.header.bits, credits)
        root = merkle_root(self.chain_id, info, share.extranonce, share.merkle_branch, payouts)
        if root != share.header.merkle_root:
            raise Rejected(8, f"merkle root is {display(share.header.merkle_root)}, the payouts give {display(root)}")
        return payouts
