#!/usr/bin/env python3
"""Audits what `p2pool export` prints, and Bitcoin blocks, against the model of the rules in tests/vectors/model.

    p2pool export ... | python3 tests/functional/audit.py [blocks.jsonl]

Every share is decoded from its raw bytes and held to rules 1, 2, 4, 5, 7 and 8 (rules, section 5) with nothing taken from
the other fields, which must all agree. Needs the chain from its genesis on. Each line of blocks.jsonl is a block that
this pool mined: {"hash", "bits", "outputs": [[script, satoshis], ...]}, its coinbase's outputs. A block that is a share
must pay as that share does; another (its hash misses the share target) as a child of some main-chain share would.

Prints one line of JSON that counts what was checked; the first difference ends it with status 1.
"""

import json
from pathlib import Path
import sys

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "vectors"))

from model.coinbase import merkle_root, outputs  # noqa: E402
from model.difficulty import Pace, allowed_bits  # noqa: E402
from model.hashing import as_number, shown, unshown  # noqa: E402
from model.params import Params, UNCLE_DEPTH_MAX, subsidy  # noqa: E402
from model.payouts import payout_list, window_credits  # noqa: E402
from model.share import Share, ZERO_ID, header_to_json, info_to_json  # noqa: E402
from model.targets import bits_to_target, work_of_bits  # noqa: E402

MEDIAN_SHARES = 11
STEP_BACK_S_MAX = 600


class Difference(Exception):
    """Something is not as the rules say."""


def require(condition, *words):
    if not condition:
        raise Difference(" ".join(str(word) for word in words))


class Chain:
    def __init__(self, params: Params):
        self.params = params
        self.chain_id = params.chain_id()
        self.shares = {}
        self.payouts = {}

    def ancestors(self, share_id: bytes):
        """The share and its ancestors, newest first."""
        while share_id != ZERO_ID:
            require(share_id in self.shares, "share", shown(share_id), "is missing")
            yield self.shares[share_id]
            share_id = self.shares[share_id].info.parent

    def newest(self, share_id: bytes, count: int) -> list:
        return [share for share, _ in zip(self.ancestors(share_id), range(count))]

    def uncle_work(self, share: Share) -> int:
        return sum(work_of_bits(self.shares[uncle].info.share_bits) for uncle in share.info.uncles)

    def credits(self, parent: bytes, block_bits: int) -> dict:
        def entry(share):
            uncles = [self.shares[uncle].info for uncle in share.info.uncles]
            return (
                share.info.payout_script,
                work_of_bits(share.info.share_bits),
                [(uncle.payout_script, work_of_bits(uncle.share_bits)) for uncle in uncles],
            )

        return window_credits(self.params, map(entry, self.ancestors(parent)), work_of_bits(block_bits))

    def children_pay(self, parent: bytes, block_bits: int, value: int, finder: bytes) -> list:
        return payout_list(self.params, self.credits(parent, block_bits), value, finder, parent)

    def add(self, share: Share):
        info, header, own_id = share.info, share.header, share.id()
        require(own_id not in self.shares, "it comes twice")
        require(as_number(own_id) <= bits_to_target(info.share_bits), "its hash misses the share target")
        parents = self.newest(info.parent, self.params.retarget_window)
        work = work_of_bits(info.share_bits)
        require(info.share_height == (parents[0].info.share_height + 1 if parents else 0), "share_height")
        require(info.chain_work == (parents[0].info.chain_work if parents else 0) + work, "chain_work")
        self.check_time(header.time, info.parent)
        paces = [
            Pace(each.header.time, each.info.share_height, each.info.share_bits, self.uncle_work(each)) for each in parents
        ]
        require(info.share_bits in allowed_bits(self.params, paces, header.time), "share_bits")
        self.check_uncles(share)
        require(subsidy(self.params, info.block_height) <= info.coinbase_value <= 21 * 10**14, "coinbase_value")
        pays = self.children_pay(info.parent, header.bits, info.coinbase_value, info.payout_script)
        require(sum(amount for _, amount in pays) == info.coinbase_value, "the model's payouts do not add up")
        root = merkle_root(self.chain_id, info, share.extranonce, share.merkle_branch, pays)
        require(root == header.merkle_root, "its coinbase does not pay as the rules say")
        self.shares[own_id], self.payouts[own_id] = share, pays

    def check_time(self, time: int, parent: bytes):
        newest = self.newest(parent, MEDIAN_SHARES)
        if newest:
            times = sorted(each.header.time for each in newest)
            require(time > times[len(times) // 2], "its time is not after the median")
            require(time >= newest[0].header.time - STEP_BACK_S_MAX, "its time is far before its parent's")

    def check_uncles(self, share: Share):
        info = share.info
        # Anything that names an uncle of this height range, or is one, is among these.
        near = self.newest(info.parent, 2 * UNCLE_DEPTH_MAX + 1)
        ancestors = {each.id() for each in near}
        named = {uncle for each in near for uncle in each.info.uncles}
        for uncle_id in info.uncles:
            uncle = self.shares.get(uncle_id)
            require(uncle is not None, "uncle", shown(uncle_id), "is missing")
            height = uncle.info.share_height
            require(info.share_height - UNCLE_DEPTH_MAX <= height <= info.share_height - 1, "an uncle's height")
            require(uncle_id not in ancestors and uncle_id not in named, "an uncle that counts already")
            require(uncle.info.parent in ancestors, "an uncle from elsewhere")


def read_share(line: dict) -> Share:
    """The share that the raw bytes are; every other field must say the same."""
    share = Share.decode(bytes.fromhex(line["raw"]))
    expected = {**header_to_json(share.header), **info_to_json(share.info), "id": shown(share.id())}
    expected["version"], expected["bits"] = expected.pop("header_version"), expected.pop("header_bits")
    expected["header"] = share.header.encode().hex()
    expected["extranonce"] = share.extranonce.hex()
    expected["merkle_branch"] = [node.hex() for node in share.merkle_branch]
    expected["is_block"] = as_number(share.id()) <= bits_to_target(share.header.bits)
    for field, value in expected.items():
        require(line[field] == value, field, "is", line[field], "and its bytes say", value)
    return share


def audit_shares(lines) -> tuple:
    first = json.loads(next(lines))
    chain = Chain(Params.from_json(first))
    require(first["chain_id"] == chain.chain_id.hex(), "the chain id is", chain.chain_id.hex())
    main_chain = []
    for line in map(json.loads, lines):
        try:
            share = read_share(line)
            if line["verified"]:
                chain.add(share)
                pays = [{"script": script.hex(), "amount": amount} for script, amount in chain.payouts[share.id()]]
                shown_pays = [{"script": each["script"], "amount": each["amount"]} for each in line["payouts"]]
                require(shown_pays == pays, "the export's payouts are not the model's")
        except (Difference, ValueError) as error:
            raise Difference(f"share {line['id']}: {error}") from error
        if line["main_chain"]:
            main_chain.append(share.id())
    if chain.shares:
        best = max(chain.shares, key=lambda id_: (chain.shares[id_].info.chain_work, -as_number(id_)))
        require(first["tip"] == shown(best), "the tip should be", shown(best))
        expected = [share.id() for share in chain.ancestors(best)][::-1]
        require(main_chain == expected, "main_chain does not mark the tip's ancestors")
    return chain, main_chain


def audit_blocks(chain: Chain, main_chain: list, lines) -> dict:
    counts = {"blocks": 0, "blocks_that_are_shares": 0, "outputs_max": 0}
    finders = sorted({share.info.payout_script for share in chain.shares.values()})
    for block in map(json.loads, lines):
        block_id, paid = unshown(block["hash"]), [(bytes.fromhex(script), amount) for script, amount in block["outputs"]]
        pays, commitment = paid[:-1], paid[-1]
        require(commitment[1] == 0 and commitment[0][:6].hex() == "6a24aa21a9ed", block["hash"], "has no commitment")
        if block_id in chain.shares:
            expected = outputs(chain.shares[block_id].info, chain.payouts[block_id])
            require(paid == expected, "block", block["hash"], "does not pay as its share says")
            counts["blocks_that_are_shares"] += 1
        else:
            value, bits = sum(amount for _, amount in pays), int(block["bits"], 16)
            require(
                any(
                    pays == chain.children_pay(parent, bits, value, finder)
                    for parent in [*reversed(main_chain), ZERO_ID]
                    for finder in finders
                ),
                "block", block["hash"], "pays as no child of the main chain would",
            )  # fmt: skip
        counts["blocks"] += 1
        counts["outputs_max"] = max(counts["outputs_max"], len(pays))
    return counts


def main() -> int:
    try:
        chain, main_chain = audit_shares(iter(sys.stdin))
        blocks = Path(sys.argv[1]).read_text().splitlines() if len(sys.argv) > 1 else []
        counts = audit_blocks(chain, main_chain, blocks)
    except Difference as difference:
        print(difference, file=sys.stderr)
        return 1
    print(json.dumps({"shares": len(chain.shares), "main_chain": len(main_chain), **counts}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
