#!/usr/bin/env python3
"""Audits an exported sharechain: recomputes every share and every payout from the raw shares.

    p2pool export ... | python3 tests/vectors/audit.py
    python3 tests/vectors/audit.py export.jsonl

It needs only Python 3 and the model of the rules beside it, which shares no code with p2pool. Exit status: 0 if there
is no difference, 1 at the first difference, which is printed, 2 if the input is not an export.

A pruned export does not contain everything. Parents, targets and times of the oldest shares are not checked where too
few shares precede them, nor payouts where a share or an uncle of the payout window is missing; the result says how many
were checked. Whether the Bitcoin blocks that shares build on are valid, and their median times past, needs a Bitcoin node;
here they must only be consistent.

The tip must be the best by recent work (section 6). Bitcoin's time at the moment of the export is not in it: the tip must be
the best at some time from that of the newest Bitcoin block that a share builds on to two days (an age step) later.
"""

import json
from pathlib import Path
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))

from model.chain import MEDIAN_SHARES, Chain, Rejected, rank  # noqa: E402
from model.hashing import as_number, display  # noqa: E402
from model.params import UNCLE_DEPTH_MAX, Params  # noqa: E402
from model.share import ZERO_ID, Share, header_to_json, info_to_json  # noqa: E402
from model.targets import bits_to_target, work_of_bits  # noqa: E402
from model.window import Window  # noqa: E402


class Difference(Exception):
    """The export contradicts the rules or its raw shares."""


class NotAnExport(Exception):
    """The input is not an export."""


def expect(what: str, found, computed):
    if found != computed:
        raise Difference(f"{what} is {found!r} in the export, expected {computed!r}")


def facts(share: Share) -> dict:
    """The fields of a line that follow from the raw share."""
    header = header_to_json(share.header)
    return {
        "id": display(share.id()),
        "version": header["header_version"],
        "prev_block": header["prev_block"],
        "merkle_root": header["merkle_root"],
        "time": header["time"],
        "bits": header["header_bits"],
        "nonce": header["nonce"],
        "header": share.header.encode().hex(),
        **info_to_json(share.info),
        "extranonce": share.extranonce.hex(),
        "merkle_branch": [node.hex() for node in share.merkle_branch],
        "is_block": is_block(share),
    }


def is_block(share: Share) -> bool:
    """Whether the header meets its own Bitcoin target."""
    try:
        return as_number(share.id()) <= bits_to_target(share.header.bits)
    except ValueError:
        return False


# Fields that are the node's view, or another form of other fields.
OTHER_FIELDS = {"anchor_median_time_past", "payout_address", "main_chain", "verified", "payouts", "raw"}
BITS_PER_AGE_STEP = 4


class Audit:
    """Checks the lines in order; raises Difference at the first that is wrong."""

    def __init__(self, first_line: dict):
        try:
            self.params = Params.from_json(first_line)
            self.tip = first_line["tip"]
        except (KeyError, TypeError, ValueError) as error:
            raise NotAnExport(f"the first line is not the header of an export: {error!r}") from error
        self.chain = Chain(self.params)
        expect("chain_id", first_line.get("chain_id"), self.chain.chain_id.hex())
        self.window = Window(self.chain)
        self.oldest_height = None
        self.last_order = None
        # Of each Bitcoin block that shares build on: the height of its child, and its median time past.
        self.blocks = {}
        self.anchor_times = {}
        self.main_flags = {}
        self.verified = {}
        self.payouts_checked = self.targets_checked = 0

    def line(self, line: dict):
        share = self.read(line)
        id_ = share.id()
        if id_ in self.chain.shares:
            raise Difference("the share is in the export twice")
        self.check_order(share)
        try:
            self.check_rules(share)
            self.check_anchor_time(share, line)
            self.check_payouts(share, line)
        except Rejected as rejected:
            raise Difference(str(rejected)) from rejected
        self.chain.shares[id_] = share
        self.main_flags[id_] = line.get("main_chain")
        self.verified[id_] = line.get("verified")

    def read(self, line: dict) -> Share:
        """Decodes the raw share and compares the other fields with it."""
        if not isinstance(line.get("raw"), str):
            raise NotAnExport("a line has no raw share")
        try:
            share = Share.decode(bytes.fromhex(line["raw"]))
        except ValueError as error:
            raise Difference(f"rule 1: {error}") from error
        computed = facts(share)
        for field, value in computed.items():
            expect(field, line.get(field), value)
        unknown = line.keys() - computed.keys() - OTHER_FIELDS
        if unknown:
            raise Difference(f"unknown field {sorted(unknown)[0]!r}")
        return share

    def check_order(self, share: Share):
        order = (share.info.share_height, as_number(share.id()))
        if self.last_order is not None and order < self.last_order:
            raise Difference("the share follows a newer one")
        self.last_order = order
        if self.oldest_height is None:
            self.oldest_height = share.info.share_height

    def check_rules(self, share: Share):
        """Rules 1 to 7, as far as the preceding shares are in the export."""
        chain, info = self.chain, share.info
        chain.check_work(share)
        if info.parent != ZERO_ID and info.parent not in chain.shares:
            if info.share_height != self.oldest_height:
                raise Difference(f"parent {display(info.parent)} is not among the shares before it")
            return
        chain.check_links(share)
        if self.has_retarget_window(share):
            chain.check_bits(share)
            self.targets_checked += 1
        if len(chain.last(info.parent, MEDIAN_SHARES)) == min(MEDIAN_SHARES, info.share_height):
            chain.check_time(share)
        self.check_bitcoin_block(share)
        chain.check_height_floor(share)
        for uncle in info.uncles:
            self.check_uncle(share, uncle)

    def has_retarget_window(self, share: Share) -> bool:
        """Whether all shares that the retarget uses are in the export, uncles included."""
        height = share.info.share_height
        before = self.chain.last(share.info.parent, self.params.retarget_window)
        uncles_held = all(uncle in self.chain.shares for other in before for uncle in other.info.uncles)
        return uncles_held and len(before) == min(self.params.retarget_window, height)

    def check_bitcoin_block(self, share: Share):
        """Shares on the same Bitcoin block have the same block_height, one more than that block's if it is a share."""
        prev_block, height = share.header.prev_block, share.info.block_height
        if prev_block in self.chain.shares:
            expect("block_height", height, self.chain.shares[prev_block].info.block_height + 1)
        expect("block_height", height, self.blocks.setdefault(prev_block, height))

    def check_anchor_time(self, share: Share, line: dict):
        """The median time past of the Bitcoin block below is the same in all lines, and before the share (rule 6)."""
        time = line.get("anchor_median_time_past")
        if type(time) is not int:
            raise Difference(f"anchor_median_time_past is {time!r}")
        expect("anchor_median_time_past", time, self.anchor_times.setdefault(share.header.prev_block, time))
        if share.header.time <= time:
            raise Difference(f"rule 6: time {share.header.time} is not later than the median time past")

    def check_uncle(self, share: Share, uncle: bytes):
        held = self.chain.shares.get(uncle)
        if held is not None:
            if self.has_fork(share, held):
                self.chain.check_uncle(share.info, uncle)
        # Uncles on branches that leave below the oldest share may be pruned.
        elif self.oldest_height == 0 or share.info.share_height - UNCLE_DEPTH_MAX > self.oldest_height:
            raise Difference(f"uncle {display(uncle)} is not among the shares before it")

    def has_fork(self, share: Share, uncle: Share) -> bool:
        """Whether the share where the uncle's branch leaves the ancestors of its nephew is not pruned."""
        before = self.chain.recent_ancestors(share.info.parent)
        for _ in range(UNCLE_DEPTH_MAX):
            parent = uncle.info.parent
            if parent == ZERO_ID or parent in before:
                return True
            if parent not in self.chain.shares:
                return False
            uncle = self.chain.shares[parent]
        return True

    def check_payouts(self, share: Share, line: dict):
        """Rule 8."""
        try:
            block_work = work_of_bits(share.header.bits)
        except ValueError as error:
            raise Difference(f"rule 6: {error}") from error
        window = self.window.at(share.info.parent, block_work)
        listed = line.get("payouts")
        if window is None:
            # The payouts cannot be computed from the export, so the node cannot have known them.
            expect("payouts", listed, None)
            return
        self.chain.check_votes(share)
        payouts = self.chain.check_coinbase(share, credits=window)
        if listed is None:
            raise Difference("payouts are missing although the payout window is in the export")
        found = [[payout.get("script"), payout.get("amount")] for payout in listed]
        expect("payouts", found, [[script.hex(), amount] for script, amount in payouts])
        self.payouts_checked += 1

    def finish(self):
        """Checks the main chain, and that no branch is better."""
        shares = self.chain.shares
        tip = next((id_ for id_ in shares if display(id_) == self.tip), None)
        if tip is None and (shares or self.tip is not None):
            raise Difference(f"tip {self.tip!r} is not among the shares")
        main = dict(self.chain.newest_first(tip))
        for id_, flag in self.main_flags.items():
            expect(f"main_chain of {display(id_)}", flag, id_ in main)
        self.main_len = len(main)
        if tip is not None:
            self.check_choice(tip, main)

    def check_choice(self, tip: bytes, main: dict):
        """No branch has more recent work than the tip's, at some time of Bitcoin."""
        newest = max(self.anchor_times.values())
        step = self.params.age_step_s
        # Weights change when a share's age becomes a multiple of the step.
        ages = {(time - newest) % step for time in self.anchor_times.values()}
        better = None
        for later in sorted(ages | {0}):
            found = self.better_branch(tip, main, newest + later)
            if found is None:
                return
            better = better or found
        raise Difference(f"tip {self.tip} has less recent work than the branch of {display(better)}")

    def better_branch(self, tip: bytes, main: dict, bitcoin_time: int):
        """The first share whose branch is better than the main chain at this time of Bitcoin, or None."""
        shares = self.chain.shares

        def weight(id_: bytes) -> int:
            age = max(0, bitcoin_time - self.anchor_times[shares[id_].header.prev_block])
            return self.chain.work(id_) >> BITS_PER_AGE_STEP * (age // self.params.age_step_s) if self.verified[id_] else 0

        # What the main chain weighs above each of its shares; above none of them if a branch leaves below the oldest.
        above, total = {}, 0
        for id_ in main:
            above[id_] = total
            total += weight(id_)
        branches = {}
        # Parents come before their children.
        for id_, share in shares.items():
            if id_ in above:
                continue
            parent = share.info.parent
            join, sum_ = branches.get(parent, (above.get(parent, total), 0))
            branches[id_] = join, sum_ + weight(id_)
            if (branches[id_][1], rank(share)) > (join, rank(shares[tip])):
                return id_
        return None

    def verdict(self) -> str:
        return (
            f"chain {self.chain.chain_id.hex()[:16]} ({self.params.network}, {self.params.chain_name}): no difference\n"
            f"{len(self.chain.shares)} shares checked, {self.main_len} of them on the main chain, tip {self.tip}\n"
            f"{self.payouts_checked} coinbases and their payouts recomputed, {self.targets_checked} targets"
        )


def audit(lines) -> Audit:
    """Audits the lines of an export; returns the audit with its counts, or raises Difference with the line number."""
    found = None
    for number, text in enumerate(lines, 1):
        try:
            line = json.loads(text)
            if not isinstance(line, dict):
                raise NotAnExport("a line is not a JSON object")
            if found is None:
                found = Audit(line)
            else:
                found.line(line)
        except Difference as difference:
            name = f", share {line['id']}" if isinstance(line.get("id"), str) else ""
            raise Difference(f"line {number}{name}: {difference}") from difference
        except json.JSONDecodeError as error:
            raise NotAnExport(f"line {number} is not JSON: {error}") from error
    if found is None:
        raise NotAnExport("it has no lines")
    found.finish()
    return found


def main() -> int:
    arguments = sys.argv[1:]
    if len(arguments) > 1 or arguments[:1] in (["-h"], ["--help"]):
        print(__doc__, file=sys.stderr)
        return 2
    try:
        with open(arguments[0] if arguments else 0, encoding="utf-8") as lines:
            print(audit(lines).verdict())
    except Difference as difference:
        print(f"DIFFERENCE: {difference}", file=sys.stderr)
        return 1
    except (NotAnExport, OSError, UnicodeDecodeError) as error:
        print(f"not an export: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
