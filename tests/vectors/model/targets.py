"""Targets, work and the compact form of targets, Bitcoin's "nBits" (rules, section 6)."""

from functools import lru_cache

LIMIT = 1 << 256
# The work of a share is below 2^108 (section 3).
WORK_BITS_MAX = 108


def target_to_bits(target: int) -> int:
    """The compact form of the greatest representable target that is not above `target`."""
    size = (target.bit_length() + 7) // 8
    if size <= 3:
        mantissa = target << 8 * (3 - size)
    else:
        mantissa = target >> 8 * (size - 3)
    # The highest bit of the mantissa is a sign.
    if mantissa & 0x800000:
        mantissa >>= 8
        size += 1
    return size << 24 | mantissa


def bits_to_target(bits: int) -> int:
    """The target; raises ValueError unless `bits` is the canonical form of a positive target below 2^256."""
    size, mantissa = bits >> 24, bits & 0xFFFFFF
    if mantissa & 0x800000:
        raise ValueError(f"compact target {bits:08x} is negative")
    target = mantissa >> 8 * (3 - size) if size <= 3 else mantissa << 8 * (size - 3)
    if target == 0:
        raise ValueError(f"compact target {bits:08x} is zero")
    if target >= LIMIT:
        raise ValueError(f"compact target {bits:08x} is above 256 bits")
    if target_to_bits(target) != bits:
        raise ValueError(f"compact target {bits:08x} is not canonical")
    return target


def work_of_target(target: int) -> int:
    return LIMIT // (target + 1)


@lru_cache(maxsize=4096)
def work_of_bits(bits: int) -> int:
    return work_of_target(bits_to_target(bits))


def target_of_work(work: int) -> int:
    return LIMIT // work - 1
