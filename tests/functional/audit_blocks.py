#!/usr/bin/env python3
"""Verifies an exported sharechain and the Bitcoin blocks that its pool mined.

    p2pool export ... | python3 tests/functional/audit_blocks.py blocks.jsonl

The shares are verified by tests/vectors/audit.py. Each line of blocks.jsonl is a block's coinbase:
{"hash", "bits", "outputs": [[script, satoshis], ...]}. A block that is a share must pay as that share does. A block that is not,
because its hash missed the share target, must pay as a child of some share of the main chain would (or as a genesis share).

Prints one line of JSON with counts; exits with status 1 at the first difference.
"""

import json
from pathlib import Path
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "vectors"))

from audit import Difference, audit  # noqa: E402
from model.coinbase import outputs  # noqa: E402
from model.hashing import from_display  # noqa: E402
from model.payouts import payout_list  # noqa: E402
from model.share import ZERO_ID  # noqa: E402

WITNESS_COMMITMENT = bytes.fromhex("6a24aa21a9ed")


def pays_as_some_child(chain, pays: list, bits: int) -> bool:
    """Returns whether a child of a share on the main chain, found by any known miner, would pay this."""
    value = sum(amount for _, amount in pays)
    finders = {share.info.payout_script for share in chain.shares.values()}
    for parent in [*(id_ for id_, _ in chain.newest_first(chain.tip())), ZERO_ID]:
        credits, limit = chain.credits(parent, bits), chain.params.payout_outputs[chain.outputs_class(parent, bits)]
        if any(pays == payout_list(limit, credits, value, finder, parent) for finder in finders):
            return True
    return False


def audit_block(chain, block: dict) -> bool:
    """Returns whether the block is a share; raises Difference if its payouts do not follow the rules."""
    paid = [(bytes.fromhex(script), amount) for script, amount in block["outputs"]]
    share = chain.shares.get(from_display(block["hash"]))
    if share is not None:
        if paid != outputs(share.info, chain.payouts(share.info, share.header.bits)):
            raise Difference(f"block {block['hash']} does not pay as its share does")
        return True
    *pays, (script, amount) = paid
    if amount != 0 or not script.startswith(WITNESS_COMMITMENT):
        raise Difference(f"block {block['hash']} does not end with a witness commitment")
    if not pays_as_some_child(chain, pays, int(block["bits"], 16)):
        raise Difference(f"block {block['hash']} does not pay as a child of the main chain would")
    return False


def main() -> int:
    try:
        audited = audit(sys.stdin)
        blocks = [json.loads(line) for line in Path(sys.argv[1]).read_text().splitlines()]
        shares_among_blocks = sum(audit_block(audited.chain, block) for block in blocks)
    except Difference as difference:
        print(difference, file=sys.stderr)
        return 1
    counts = {
        "shares": audited.payouts_checked,
        "main_chain": audited.main_len,
        "blocks": len(blocks),
        "blocks_that_are_shares": shares_among_blocks,
        "outputs_max": max((len(block["outputs"]) - 1 for block in blocks), default=0),
    }
    print(json.dumps(counts))
    return 0


if __name__ == "__main__":
    sys.exit(main())
