"""difficulty.json: retarget windows, their base targets and easings."""

from model.difficulty import RetargetSample, allowed_bits, base_bits, bits_for_work, eased_bits, easings_allowed
from model.params import standard
from model.targets import work_of_bits

from .seeded import Seeded

START = 1_700_000_000
ELAPSED = [0, 1, 599, 600, 601, 1_199, 1_200, 6_000, 90_000]
EASINGS = 6


def case(why: str, params, newest_first: list) -> dict:
    base = base_bits(params, newest_first)
    for elapsed in ELAPSED:
        time = newest_first[0].time + elapsed
        k_max = easings_allowed(params, time, newest_first[0].time)
        expected = {eased_bits(params, base, k) for k in range(min(k_max, 256) + 1)}
        assert allowed_bits(params, newest_first, time) == expected
    return {
        "why": why,
        "easiest_bits": f"{params.easiest_bits:08x}",
        "share_period_s": params.share_period_s,
        "retarget_window": params.retarget_window,
        "newest_first": [
            [s.time, s.height, f"{s.bits:08x}", str(s.uncle_work), f"{s.base_bits:08x}"] for s in newest_first
        ],
        "base_bits": f"{base:08x}",
        "eased_bits": [f"{eased_bits(params, base, k):08x}" for k in range(EASINGS + 1)],
    }


def window(params, works: list, times: list, first_height: int = 0, uncles=None, base_works=None) -> list:
    """A window of works and times, which are given oldest first. No share is eased unless base works are given."""
    uncles = uncles or [0] * len(works)
    base_works = base_works or works
    shares = [
        RetargetSample(time, first_height + i, bits_for_work(params, work), uncle_work, bits_for_work(params, base_work))
        for i, (work, time, uncle_work, base_work) in enumerate(zip(works, times, uncles, base_works))
    ]
    return shares[::-1]


def even(count: int, step: int) -> list:
    return [START + step * i for i in range(count)]


def random_window(seeded: Seeded, params, count: int) -> list:
    """A random walk of work, random intervals, some uncles."""
    work = seeded.below(2 ** seeded.between(34, 100)) + 2**33
    time, works, times, uncles, base_works = START, [], [], [], []
    pace = seeded.choice([1, 5, 30, 31, 200])
    for _ in range(count):
        work = work * seeded.between(900, 1_110) // 1_000 + 1
        time += seeded.between(-pace, 3 * pace)
        works.append(work >> seeded.choice([0, 0, 0, 0, 0, 0, 0, 0, 1, 3]))
        base_works.append(work)
        times.append(time)
        uncles.append(work * seeded.choice([0, 0, 0, 1, 2]))
    return window(params, works, times, seeded.below(1_000_000), uncles, base_works)


def edge_cases() -> list:
    mainnet, regtest = standard("mainnet"), standard("regtest")
    w = 10**15
    cases = [case(f"{n} shares", mainnet, window(mainnet, [w] * n, even(n, 30))) for n in (1, 5, 6, 7)]
    cases += [
        case("steady pace leaves the target", mainnet, window(mainnet, [w] * 72, even(72, 30))),
        case("clamped up", mainnet, window(mainnet, [w] * 20, even(20, 1))),
        case("clamped down", mainnet, window(mainnet, [w] * 20, even(20, 3_000))),
        case("span zero", mainnet, window(mainnet, [w] * 8, [START] * 8)),
        case("times backwards", mainnet, window(mainnet, [w] * 8, even(8, -30))),
        case("one far timestamp at the end counts for nothing", mainnet,
             window(mainnet, [w] * 12, even(11, 30) + [START + 7_000])),
        case("one early timestamp at the start counts for nothing", mainnet,
             window(mainnet, [w] * 12, [START - 7_000] + even(12, 30)[1:])),
        case("middle ones out of order by height", mainnet,
             window(mainnet, [w] * 9, [START + t for t in (60, 0, 30, 90, 120, 150, 240, 180, 210)],
                    uncles=[w * i for i in range(9)])),
        case("equal times at the ends go by height", mainnet,
             window(mainnet, [w] * 9, [START + t for t in (0, 0, 0, 90, 120, 150, 240, 240, 240)],
                    uncles=[w * i for i in range(9)])),
        case("cut by a much harder share", mainnet, window(mainnet, [5 * w] + [w] * 10, even(11, 30))),
        case("cut by a much easier share", mainnet, window(mainnet, [w] * 3 + [w // 5] + [w] * 10, even(14, 20))),
        case("five remain after the cut", mainnet, window(mainnet, [w] * 9 + [5 * w] + [w] * 5, even(15, 10))),
        case("six remain after the cut", mainnet, window(mainnet, [w] * 9 + [5 * w] + [w] * 6, even(16, 10))),
        case("uncles count as work done", mainnet, window(mainnet, [w] * 12, even(12, 30), uncles=[w] * 12)),
        case("uncles' work does not cut", mainnet, window(mainnet, [w] * 12, even(12, 30), uncles=[9 * w] * 12)),
        case("easiest target on regtest", regtest, window(regtest, [2] * 12, even(12, 600))),
        case("regtest begins to be hard", regtest, window(regtest, [2] * 12, even(12, 1))),
        case("a quarter of 9 rounds down: 2 stays in the window", regtest,
             window(regtest, [2] * 8 + [9] * 6, even(14, 2))),
        case("a quarter of 9 rounds down: clamp at 2", regtest, window(regtest, [9] * 14, even(14, 3_000))),
        case("the step up reaches exactly four times", regtest,
             window(regtest, [36] * 4 + [9] * 6, even(10, 30))),
        case("one more than four times is cut", regtest, window(regtest, [37] * 4 + [9] * 6, even(10, 1))),
        case("an eased share does not cut the window", mainnet,
             window(mainnet, [w] * 10 + [w // 16], even(10, 30) + [START + 3_000], base_works=[w] * 11)),
        case("shares after an eased one stay within a step of the window's median", mainnet,
             window(mainnet, [w] * 12 + [w // 16] + [w // 4] + [w] * 5 + [4 * w], even(20, 1),
                    base_works=[w] * 19 + [4 * w])),
        case("the ramp ends at a step above the median", mainnet,
             window(mainnet, [w] * 10 + [2 * w, 3 * w, 4 * w], even(13, 1))),
        case("base works cut, works do not", mainnet,
             window(mainnet, [w] * 14, even(14, 30), base_works=[w] * 6 + [5 * w] + [w] * 7)),
        case("largest works", mainnet, window(mainnet, [2**105] * 72, even(72, 1), uncles=[3 * 2**105] * 72)),
        case("small chain", regtest.with_(share_period_s=1, retarget_window=6),
             window(regtest, [100] * 10, even(10, 2))[:6]),
    ]  # fmt: skip
    assert work_of_bits(bits_for_work(regtest, 9)) == 9 and work_of_bits(bits_for_work(regtest, 36)) == 36
    return cases


def easings() -> list:
    """Share period, seconds since the parent, and the easings allowed."""
    return [
        [period, elapsed, easings_allowed(standard("regtest").with_(share_period_s=period), START + elapsed, START)]
        for period in (30, 1)
        for elapsed in [-600, -1, 19, 20] + ELAPSED
    ]


def build() -> dict:
    seeded = Seeded("difficulty")
    cases = edge_cases()
    for number in range(36):
        params = standard(["mainnet", "testnet4", "signet"][number % 3])
        count = seeded.between(6, 72)
        cases.append(case(f"random {number}", params, random_window(seeded, params, count)))
    return {"easings_allowed": easings(), "windows": cases}
