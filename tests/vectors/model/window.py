"""The payout window, updated from one share to its child, for chains too long to compute it from scratch each time.

`Chain.credits` is the definition; `audit_test.py` compares the two.
"""

from collections import deque

from .params import UNCLE_CREDIT
from .share import ZERO_ID


class Window:
    """The most recent window."""

    def __init__(self, chain):
        self.chain = chain
        self.reset(None)

    def reset(self, cut):
        self.newest, self.cut = ZERO_ID, cut
        # Entries, oldest first: (credits of the share and its uncles, sum of their work). Credits by script: (sum,
        # count).
        self.entries, self.credits, self.work = deque(), {}, 0
        self.complete = True

    def at(self, parent: bytes, block_work: int):
        """Credits of the window that ends at `parent`, or None if a share in it is missing."""
        blocks = self.chain.params.work_cut_blocks
        cut = blocks * block_work if blocks else None
        if parent != self.newest or cut != self.cut or parent == ZERO_ID:
            self.move(parent, cut)
        return {script: work for script, (work, _) in self.credits.items()} if self.complete else None

    def move(self, parent: bytes, cut):
        share = self.chain.shares.get(parent)
        follows = share is not None and share.info.parent == self.newest != ZERO_ID
        entry = self.entry(parent) if share is not None else None
        if follows and cut == self.cut and self.complete and entry is not None:
            self.entries.append(entry)
            self.add(entry, 1)
            self.newest = parent
            self.trim()
        else:
            self.rebuild(parent, cut)

    def rebuild(self, parent: bytes, cut):
        self.reset(cut)
        at = parent
        while at != ZERO_ID and not self.is_full():
            entry = self.entry(at) if at in self.chain.shares else None
            if entry is None:
                self.complete = False
                break
            self.entries.appendleft(entry)
            self.add(entry, 1)
            at = self.chain.shares[at].info.parent
        self.newest = parent

    def entry(self, id_: bytes):
        """A share's contribution, or None if an uncle it names is missing."""
        info, chain = self.chain.shares[id_].info, self.chain
        if any(uncle not in chain.shares for uncle in info.uncles):
            return None
        own = total = chain.work(id_)
        credits = []
        for uncle in info.uncles:
            work = chain.work(uncle)
            part = work * UNCLE_CREDIT[0] // UNCLE_CREDIT[1]
            credits.append((chain.shares[uncle].info.payout_script, part))
            own += work - part
            total += work
        return [(info.payout_script, own), *credits], total

    def add(self, entry, sign: int):
        credits, total = entry
        for script, work in credits:
            left, entries = self.credits.get(script, (0, 0))
            left, entries = left + sign * work, entries + sign
            if entries:
                self.credits[script] = (left, entries)
            else:
                del self.credits[script]
        self.work += sign * total

    def is_full(self) -> bool:
        return len(self.entries) == self.chain.params.payout_window or self.cut is not None and self.work >= self.cut

    def trim(self):
        """Drops the oldest shares while the window is complete without them."""
        while len(self.entries) > self.chain.params.payout_window or (
            self.cut is not None and self.work - self.entries[0][1] >= self.cut
        ):
            self.add(self.entries.popleft(), -1)
