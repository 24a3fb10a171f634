"""targets.json: compact targets with their work, and works with their targets."""

from model.targets import LIMIT, WORK_BITS_MAX, bits_to_target, target_of_work, target_to_bits, work_of_target

from .seeded import Seeded

KNOWN = [0x1D00FFFF, 0x1F00FFFF, 0x207FFFFF, 0x1E0377AE, 0x1B0404CB, 0x170331DB, 0x1A05DB8B, 0x01010000, 0x017F0000,
         0x02008000, 0x027FFF00, 0x03008000, 0x037FFFFF, 0x04008000, 0x04123456, 0x2000FFFF, 0x20008000, 0x2100FFFF,
         0x21008000, 0x05009234]  # fmt: skip
REFUSED = {
    0x00000000: "zero", 0x01000000: "zero", 0x1D000000: "zero", 0x01003456: "zero after the shift",
    0x1D80FFFF: "negative", 0x01810000: "negative", 0x04923456: "negative", 0xFFFFFFFF: "negative",
    0x1D00001F: "a shorter form exists", 0x1D007FFF: "a shorter form exists", 0x01123456: "bits below the point",
    0x02123456: "bits below the point", 0x00123456: "bits below the point",
    0x21010000: "above 256 bits", 0x217FFFFF: "above 256 bits", 0x22000100: "above 256 bits",
    0x22010000: "above 256 bits", 0x23000001: "above 256 bits", 0x7F123456: "above 256 bits",
    0x220000FF: "a shorter form exists", 0x02000080: "bits below the point",
}  # fmt: skip


def of_bits(bits: int) -> dict:
    target = bits_to_target(bits)
    work = work_of_target(target)
    return {
        "bits": f"{bits:08x}",
        "target": f"{target:064x}",
        "work": str(work) if work.bit_length() <= WORK_BITS_MAX else None,
    }


def of_target(target: int) -> dict:
    work = work_of_target(target)
    return {
        "target": f"{target:064x}",
        "truncated_bits": f"{target_to_bits(target):08x}",
        "work": str(work) if work.bit_length() <= WORK_BITS_MAX else None,
    }


def of_work(work: int) -> dict:
    target = target_of_work(work)
    return {"work": str(work), "target": f"{target:064x}", "truncated_bits": f"{target_to_bits(target):08x}"}


def build() -> dict:
    seeded = Seeded("targets")
    bits = list(KNOWN)
    targets = [LIMIT - 1, LIMIT - 2, LIMIT // 2, LIMIT // 2 - 1, 1, 0x7F, 0x80, 0xFF, 0x8000, 0x7FFFFF, 0x800000,
               0xFFFFFF, 0x1000000]  # fmt: skip
    works = [1, 2, 3, 4, 5, 7, 255, 256, 257, 65_536, 65_537, 2**32, 4_295_032_833, 2**64 - 1, 2**96 + 12_345,
             2**WORK_BITS_MAX - 1]  # fmt: skip
    for _ in range(60):
        target = seeded.below(2 ** seeded.between(1, 256)) + 1
        target = min(target, LIMIT - 1)
        targets.append(target)
        bits.append(target_to_bits(target))
        works.append(seeded.below(2 ** seeded.between(2, WORK_BITS_MAX)) + 1)
    rejected = []
    for word, why in REFUSED.items():
        try:
            bits_to_target(word)
        except ValueError:
            rejected.append({"bits": f"{word:08x}", "why": why})
            continue
        raise AssertionError(f"{word:08x} should be rejected: {why}")
    return {
        "bits": [of_bits(word) for word in bits],
        "rejected_bits": rejected,
        "targets": [of_target(target) for target in targets],
        "works": [of_work(work) for work in works],
    }
