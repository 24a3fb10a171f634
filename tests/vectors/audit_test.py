#!/usr/bin/env python3
"""Tests of audit.py: correct exports pass, complete or pruned, and every change to one is found."""

import json
from pathlib import Path
import sys
import unittest

sys.dont_write_bytecode = True

from audit import Audit, Difference, NotAnExport, audit, facts  # noqa: E402
from model.chain import Chain  # noqa: E402
from model.hashing import display, from_display  # noqa: E402
from model.params import Params  # noqa: E402
from model.share import Share  # noqa: E402
from model.targets import work_of_bits  # noqa: E402
from model.window import Window  # noqa: E402

VECTOR = json.loads((Path(__file__).resolve().parent / "chain.json").read_text())


def true_export(oldest: int = 0) -> list:
    """The lines that p2pool exports for the recorded chain, pruned below a height."""
    params = Params.from_json(VECTOR["params"])
    shares = [Share.decode(bytes.fromhex(share["raw"])) for share in VECTOR["shares"]]
    listed = {share["id"]: share["payouts"] for share in VECTOR["shares"]}
    chain = Chain(params)
    chain.shares = {share.id(): share for share in shares if share.info.share_height >= oldest}
    main = {id_ for id_, _ in chain.newest_first(chain.tip())}
    lines = [{**params.to_json(), "chain_id": params.chain_id().hex(), "tip": VECTOR["tip"]}]
    window = Window(chain)
    anchor_times = {anchor["hash"]: anchor["median_time_past"] for anchor in VECTOR["anchors"]}
    for share in sorted(chain.shares.values(), key=lambda share: (share.info.share_height, display(share.id()))):
        held = window.at(share.info.parent, work_of_bits(share.header.bits)) is not None
        payouts = [{"script": VECTOR["scripts"][payee], "address": "", "amount": amount}
                   for payee, amount in listed[display(share.id())]]  # fmt: skip
        lines.append({**facts(share), "anchor_median_time_past": anchor_times[display(share.header.prev_block)],
                      "payout_address": "", "main_chain": share.id() in main, "verified": True,
                      "payouts": payouts if held else None, "raw": share.encode().hex()})  # fmt: skip
    return lines


def run(lines: list) -> Audit:
    return audit(json.dumps(line) for line in lines)


class TrueExports(unittest.TestCase):
    def test_whole(self):
        found = run(true_export())
        self.assertEqual(len(found.chain.shares), len(VECTOR["shares"]))
        self.assertEqual(found.payouts_checked, len(VECTOR["shares"]))
        self.assertEqual(found.targets_checked, len(VECTOR["shares"]))
        tip = max(share.info.share_height for share in found.chain.shares.values())
        self.assertEqual(found.main_len, tip + 1)

    def test_pruned(self):
        for oldest in (1, 2, 15, 20, 30):
            found = run(true_export(oldest))
            self.assertTrue(0 < found.payouts_checked < len(found.chain.shares), oldest)
            self.assertTrue(0 < found.targets_checked < len(found.chain.shares), oldest)

    def test_empty(self):
        first = {**true_export()[0], "tip": None}
        self.assertEqual(run([first]).payouts_checked, 0)


class Windows(unittest.TestCase):
    """The incremental window against the definition, with forks and with the work cut."""

    def test_as_defined(self):
        for cut_blocks in (0, 1_000, 10_000):
            params = Params.from_json(VECTOR["params"]).with_(work_cut_blocks=cut_blocks)
            chain = Chain(params)
            window = Window(chain)
            for recorded in VECTOR["shares"]:
                share = Share.decode(bytes.fromhex(recorded["raw"]))
                chain.shares[share.id()] = share
                for bits in (0x207FFFFF, 0x2001FFFF):
                    credits = window.at(share.id(), work_of_bits(bits))
                    self.assertEqual(credits, chain.credits(share.id(), bits))


class Differences(unittest.TestCase):
    def assert_difference(self, lines: list, *words):
        with self.assertRaises(Difference) as raised:
            run(lines)
        for word in words:
            self.assertIn(word, str(raised.exception))

    def test_every_field_is_compared(self):
        others = {"version": 5, "time": 1, "nonce": 1, "share_height": 3, "block_height": 9, "coinbase_value": 1,
                  "uncles": ["00" * 32], "merkle_branch": ["00" * 32], "is_block": False, "chain_work": "1",
                  "coinbase_tag": "x"}  # fmt: skip
        fields = facts(Share.decode(bytes.fromhex(VECTOR["shares"][40]["raw"])))
        for field in fields:
            lines = true_export()
            lines[41][field] = others.get(field, "00" * 32)
            self.assert_difference(lines, "line 42", field)
            del lines[41][field]
            self.assert_difference(lines, "line 42", field)

    def test_parameters(self):
        lines = true_export()
        lines[0]["payout_window"] = 21
        self.assert_difference(lines, "line 1", "chain_id")
        # A chain id for wrong parameters does not match the shares.
        params = Params.from_json(lines[0])
        lines[0]["chain_id"] = params.chain_id().hex()
        self.assert_difference(lines, "line 2", "rule 8")

    def test_payouts(self):
        for change in (
            lambda payouts: payouts[0].update(amount=payouts[0]["amount"] + 1),
            lambda payouts: payouts[0].update(script=payouts[1]["script"]),
            lambda payouts: payouts.reverse(),
            lambda payouts: payouts.pop(),
        ):
            lines = true_export()
            change(lines[50]["payouts"])
            self.assert_difference(lines, "line 51", "payouts")
        lines = true_export()
        lines[50]["payouts"] = None
        self.assert_difference(lines, "line 51", "payouts")
        lines = true_export(20)
        lines[3]["payouts"] = []
        self.assert_difference(lines, "line 4", "payouts")

    def test_raw_bytes(self):
        """Changes bytes of the raw share, and the other fields with them."""
        raw = bytes.fromhex(true_export()[60]["raw"])
        for at in range(0, len(raw), 3):
            lines = true_export()
            changed = raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]
            try:
                lines[60].update(facts(Share.decode(changed)), raw=changed.hex())
            except ValueError:
                lines[60].update(raw=changed.hex())
            self.assert_difference(lines, "line 61")

    def test_a_share_is_missing(self):
        lines = true_export()
        named = {uncle for line in lines[1:] for uncle in line["uncles"]}
        # A stale share that is not named as an uncle may be missing.
        needed = [at for at, line in enumerate(lines) if at and (line["main_chain"] or line["id"] in named)]
        self.assertGreater(len(needed), 60)
        for at in needed:
            self.assert_difference(lines[:at] + lines[at + 1 :])

    def test_a_share_too_many(self):
        lines = true_export()
        self.assert_difference(lines[:30] + [lines[29]] + lines[30:], "line 31", "twice")

    def test_order(self):
        lines = true_export()
        at = next(at for at in range(2, len(lines)) if lines[at]["share_height"] == lines[at + 1]["share_height"])
        lines[at], lines[at + 1] = lines[at + 1], lines[at]
        self.assert_difference(lines, f"line {at + 2}", "newer")

    def test_tip_and_main_chain(self):
        lines = true_export()
        lines[0]["tip"] = "00" * 32
        self.assert_difference(lines, "tip")
        # A tip with a better share on it, and one beside it.
        chain = run(true_export()).chain
        parent = next(line["parent"] for line in lines[1:] if line["id"] == VECTOR["tip"])
        beside = next(line["id"] for line in reversed(lines) if not line["main_chain"])
        for tip in (parent, beside):
            lines = true_export()
            lines[0]["tip"] = tip
            self.assert_difference(lines, "main_chain of")
            main = {display(id_) for id_, _ in chain.newest_first(from_display(tip))}
            for line in lines[1:]:
                line["main_chain"] = line["id"] in main
            self.assert_difference(lines, f"tip {tip} has less recent work")
        lines = true_export()
        lines[7]["main_chain"] = not lines[7]["main_chain"]
        self.assert_difference(lines, "main_chain", lines[7]["id"])

    def test_recent_work(self):
        """A branch whose Bitcoin block is two age steps newer is better than the main chain, unless it may age as well."""
        lines = true_export()
        branch = next(line for line in reversed(lines) if line["share_height"] == 26 and not line["main_chain"])
        newest, step = lines[1]["anchor_median_time_past"], lines[0]["age_step_s"]

        def date(branch_time: int):
            for line in lines[1:]:
                time = newest if line["prev_block"] == lines[1]["prev_block"] else newest - 2 * step
                line["anchor_median_time_past"] = branch_time if line["prev_block"] == branch["prev_block"] else time

        date(newest)
        run(lines)
        # Shares that the node has not verified weigh nothing: here those of the main chain on the same Bitcoin block.
        for line in lines[1:]:
            line["verified"] = not line["main_chain"] or line["prev_block"] != branch["prev_block"]
        self.assert_difference(lines, "less recent work")
        date(newest - step + 1000)
        run(lines)

    def test_anchor_times(self):
        for change in (1, -1):
            lines = true_export()
            lines[50]["anchor_median_time_past"] += change
            self.assert_difference(lines, "line", "anchor_median_time_past")
        for value in (None, "1", True):
            lines = true_export()
            lines[50]["anchor_median_time_past"] = value
            self.assert_difference(lines, "line 51", "anchor_median_time_past")
        lines = true_export()
        for line in lines[1:]:
            line["anchor_median_time_past"] = max(line["time"] for line in lines[1:])
        self.assert_difference(lines, "line 2", "rule 6")

    def test_mutants_of_the_recorded_chain(self):
        """Each share that breaks a rule, in place of a valid one, is rejected by that rule.

        Rule 6 needs a Bitcoin node, except for inconsistent block heights.
        """
        seen = set()
        for mutant in VECTOR["mutants"]:
            if mutant.get("rule") in (None, 6) or mutant["after"] == 0:
                continue
            lines = true_export()
            try:
                share = Share.decode(bytes.fromhex(mutant["raw"]))
                height = share.info.share_height
            except ValueError:
                share, height = None, 0
            times = [other["anchor_median_time_past"] for other in lines[1:] if share
                     and other["prev_block"] == display(share.header.prev_block)]  # fmt: skip
            line = {**(facts(share) if share else {}), "anchor_median_time_past": next(iter(times), 0), "main_chain": False, "payouts": [], "raw": mutant["raw"]}
            # The first of its height, so that a false height does not violate the order first.
            place = next((i for i, other in enumerate(lines[1:], 1) if other["share_height"] >= height), len(lines))
            parent = share and display(share.info.parent)
            after_parent = 1 + max((i for i, other in enumerate(lines) if share and other.get("id") == parent), default=0)
            lines = lines[: max(place, after_parent)] + [line]
            with self.assertRaises(Difference) as raised:
                run(lines)
            # False heights, and uncles that are not older than the share, violate the order of the lines.
            text = str(raised.exception)
            if not any(words in text for words in ("follows a newer", "not among the shares before it")):
                self.assertIn(f"rule {mutant['rule']}:", text, mutant["why"])
                seen.add(mutant["rule"])
        self.assertEqual(seen, {1, 2, 4, 5, 7, 8})


class OtherInput(unittest.TestCase):
    def test_no_export(self):
        for text in ("", "hello\n", "{}\n", "[]\n", '{"network":"regtest"}\n'):
            with self.assertRaises(NotAnExport):
                audit(text.splitlines())
        lines = [json.dumps(line) for line in true_export()]
        with self.assertRaises(NotAnExport):
            audit(lines[:5] + ["{}"])


if __name__ == "__main__":
    unittest.main()
