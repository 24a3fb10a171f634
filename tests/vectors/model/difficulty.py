"""The target of the next share (rules, section 6)."""

from dataclasses import dataclass

from .params import RETARGET_SHARES_MIN, STEP_MAX, Params
from .targets import bits_to_target, target_of_work, target_to_bits, work_of_bits


@dataclass(frozen=True)
class RetargetSample:
    """The fields of a share that a retarget uses."""

    time: int
    height: int
    bits: int
    # Sum of the work of the uncles that the share names.
    uncle_work: int
    # The target before easing.
    base_bits: int

    @property
    def work(self) -> int:
        return work_of_bits(self.bits)

    @property
    def base_work(self) -> int:
        return work_of_bits(self.base_bits)


def bits_for_work(params: Params, work: int) -> int:
    """The compact target of a work, which is raised to at least work(easiest) and 1; never above the easiest target."""
    easiest = bits_to_target(params.easiest_bits)
    work = max(work, work_of_bits(params.easiest_bits), 1)
    return target_to_bits(min(target_of_work(work), easiest))


def middle(three) -> RetargetSample:
    return sorted(three, key=lambda share: (share.time, share.height))[1]


def base_bits(params: Params, newest_first) -> int:
    """The base target, in compact form, after the share newest_first[0].

    `newest_first` holds that share and its ancestors, all of them or at least a retarget window.
    """
    window = list(newest_first)[: params.retarget_window]
    if len(window) < RETARGET_SHARES_MIN:
        return params.easiest_bits
    parent = window[0]
    ramp_max = STEP_MAX * sorted(share.work for share in window)[len(window) // 2]
    for length, share in enumerate(window):
        if not parent.base_work // STEP_MAX <= share.base_work <= parent.base_work * STEP_MAX:
            window = window[:length]
            break
    if len(window) < RETARGET_SHARES_MIN:
        return parent.bits
    a, b = middle(window[-3:]), middle(window[:3])
    work = sum(share.work + share.uncle_work for share in window if a.height < share.height <= b.height)
    span = max(1, b.time - a.time)
    next_work = work * params.share_period_s // span
    next_work = min(max(next_work, parent.work // STEP_MAX), parent.work * STEP_MAX)
    return bits_for_work(params, min(next_work, ramp_max))


def eased_bits(params: Params, base: int, k: int) -> int:
    """The base target eased by 2^k; k = 0 leaves it."""
    return base if k == 0 else bits_for_work(params, work_of_bits(base) >> k)


def easings_allowed(params: Params, time: int, parent_time: int) -> int:
    return max(0, (time - parent_time) // params.easing_interval_s)


def allowed_bits(params: Params, newest_first, time: int) -> set:
    """All share_bits that a child with this header time may have."""
    if not newest_first:
        return {params.easiest_bits}
    base = base_bits(params, newest_first)
    most = easings_allowed(params, time, newest_first[0].time)
    # More than 256 halvings have no further effect.
    return {eased_bits(params, base, k) for k in range(min(most, 256) + 1)}
