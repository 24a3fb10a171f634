"""The payouts of a share (rules, section 7)."""

from bisect import bisect_left, bisect_right
from itertools import accumulate

from .hashing import tagged_hash
from .params import DUST_LIMIT, FEE_PERMILLE, UNCLE_CREDIT, Params


def window_credits(params: Params, newest_first, block_work: int) -> dict:
    """Credit per script in the payout window.

    `newest_first` yields (script, work, [(uncle's script, uncle's work), ...]) for the shares ending at the parent.
    `block_work` is work(header.bits) of the paying share.
    """
    credits = {}
    summed = 0
    for count, (script, work, uncles) in enumerate(newest_first):
        if count == params.payout_window:
            break
        own = work
        for uncle_script, uncle_work in uncles:
            part = uncle_work * UNCLE_CREDIT[0] // UNCLE_CREDIT[1]
            credits[uncle_script] = credits.get(uncle_script, 0) + part
            own += uncle_work - part
        credits[script] = credits.get(script, 0) + own
        summed += work + sum(uncle_work for _, uncle_work in uncles)
        if params.work_cut_blocks and summed >= params.work_cut_blocks * block_work:
            break
    return credits


def threshold(amounts, limit: int):
    """Step 3: tau with its n, s and number of tickets."""
    ascending = sorted(amounts)
    sums = [0, *accumulate(ascending)]

    def at(tau):
        small = bisect_left(ascending, tau)
        s = sums[small]
        tickets = 0 if s == 0 else max(1, s // tau)
        return len(ascending) - small, s, tickets

    # n + tickets never grows with tau: an amount that falls below tau reduces n by one and, being less than the new
    # tau, adds at most one ticket. So a binary search finds the smallest tau; `threshold_naive` checks that.
    low, high = DUST_LIMIT, max(DUST_LIMIT, sums[-1] + 1)
    while low < high:
        tau = (low + high) // 2
        n, _, tickets = at(tau)
        if n + tickets <= limit:
            high = tau
        else:
            low = tau + 1
    return low, *at(low)


def threshold_naive(amounts, limit: int) -> int:
    tau = DUST_LIMIT
    while True:
        n = sum(1 for amount in amounts if amount >= tau)
        s = sum(amount for amount in amounts if amount < tau)
        if n + (0 if s == 0 else max(1, s // tau)) <= limit:
            return tau
        tau += 1


def draw(small, s: int, m: int, parent: bytes) -> list:
    """Step 4: the scripts that win a ticket; the first is the winner of k = 0."""
    seed = tagged_hash("p2pool/lots", parent)
    ordered = sorted(small, key=lambda entry: (tagged_hash("p2pool/lot-order", seed + entry[0]), entry[0]))
    ends, total = [], 0
    for _, amount in ordered:
        total += m * amount
        ends.append(total)
    u = int.from_bytes(seed, "big") * s >> 256
    # Entry i owns [ends[i-1], ends[i]), so the first entry whose end is above the point wins it.
    return [ordered[bisect_right(ends, u + k * s)][0] for k in range(m)]


def finder_fee(value: int) -> int:
    """Step 1."""
    fee = value * FEE_PERMILLE // 1000
    return fee if fee >= DUST_LIMIT else 0


def split(credits: dict, value: int) -> dict:
    """Step 2: splits the value without the finder fee in proportion to credit."""
    rest = value - finder_fee(value)
    total = sum(credits.values())
    amounts, before = {}, 0
    for script in sorted(credits):
        upto = before + credits[script]
        amounts[script] = rest * upto // total - rest * before // total
        before = upto
    return amounts


def payout_list(outputs_max: int, credits: dict, value: int, finder: bytes, parent: bytes) -> list:
    """(script, amount) pairs, amount descending, then script ascending. A genesis share has no credits."""
    if not credits:
        return [(finder, value)] if value else []
    amounts = split(credits, value)
    tau, _, s, tickets = threshold(amounts.values(), outputs_max - 1)
    paid = {script: amount for script, amount in amounts.items() if amount >= tau}
    small = [(script, amount) for script, amount in amounts.items() if amount < tau]
    if 0 < s < DUST_LIMIT:
        if paid:
            largest = min(paid, key=lambda script: (-paid[script], script))
            paid[largest] += s
        else:
            paid = {finder: value}
    elif s > 0:
        winners = draw(small, s, tickets, parent)
        for winner in winners:
            paid[winner] = paid.get(winner, 0) + s // tickets
        paid[winners[0]] += s - tickets * (s // tickets)
    if fee := finder_fee(value):
        paid[finder] = paid.get(finder, 0) + fee
    return sorted(paid.items(), key=lambda payout: (-payout[1], payout[0]))
