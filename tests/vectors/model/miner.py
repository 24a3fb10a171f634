"""Mines shares and Bitcoin headers for the vectors, with real proof of work at easy targets."""

from hashlib import sha256

from .chain import Anchor, Chain, median
from .coinbase import merkle_root
from .difficulty import base_bits, eased_bits, easings_allowed
from .hashing import as_number, from_display
from .params import RULES_VERSION, subsidy
from .share import ZERO_ID, Header, Info, Share
from .targets import bits_to_target, work_of_bits

REGTEST_BITS = 0x207FFFFF
VERSION = 0x20000000


def grind(header: Header, met, first_nonce: int = 0) -> Header:
    """Sets the first nonce with which the hash, as a number, satisfies `met`."""
    bytes_ = header.encode()
    start = sha256(bytes_[:64])
    for nonce in range(first_nonce, 1 << 32):
        inner = start.copy()
        inner.update(bytes_[64:76] + nonce.to_bytes(4, "little"))
        if met(as_number(sha256(inner.digest()).digest())):
            return Header(header.version, header.prev_block, header.merkle_root, header.time, header.bits, nonce)
    raise AssertionError("no nonce found")


def regtest_genesis() -> Anchor:
    root = from_display("4a5e1e4baab89f3a32518a88c31bc87f618f76673e2cc77ab2127b7afdeda33b")
    header = Header(1, bytes(32), root, 1_296_688_602, REGTEST_BITS, 2)
    return Anchor(header, 0, header.time, REGTEST_BITS)


def next_anchor(chain: Chain, parent: Anchor, time: int, merkle: bytes) -> Anchor:
    """Mines a Bitcoin header on `parent`; there is no block for it."""
    target = bits_to_target(REGTEST_BITS)
    header = grind(
        Header(VERSION, parent.header.hash(), merkle, time, REGTEST_BITS, 0), lambda number: number <= target
    )
    return adopt_anchor(chain, parent, header)


def adopt_anchor(chain: Chain, parent: Anchor, header: Header) -> Anchor:
    """Adds the header to the chain as an anchor on `parent`."""
    times, walk = [header.time], parent
    while walk is not None and len(times) < 11:
        times.append(walk.header.time)
        walk = chain.anchors.get(walk.header.prev_block)
    assert header.time > parent.median_time_past
    anchor = Anchor(header, parent.height + 1, median(times), REGTEST_BITS)
    chain.add_anchor(anchor)
    return anchor


def bits_after(chain: Chain, parent: bytes, time: int, k=None) -> int:
    """The base target eased k times; by default as often as is allowed."""
    samples = chain.retarget_samples(parent)
    base = base_bits(chain.params, samples)
    if not samples:
        return base
    return eased_bits(chain.params, base, easings_allowed(chain.params, time, samples[0].time) if k is None else k)


def draft_info(chain: Chain, parent: bytes, time: int, anchor: Anchor, payee: bytes, k=None, **changes) -> Info:
    """The info of an honest miner, with `changes`."""
    bits = changes.get("share_bits", bits_after(chain, parent, time, k))
    work = work_of_bits(bits)
    before = chain.shares[parent].info if parent != ZERO_ID else None
    info = Info(
        rules_version=chain.rules_version(parent, anchor.height + 1, anchor.next_bits),
        base_bits=base_bits(chain.params, chain.retarget_samples(parent)),
        signal=RULES_VERSION,
        outputs_vote=0,
        outputs_class=chain.outputs_class(parent, anchor.next_bits),
        parent=parent,
        uncles=(),
        share_height=before.share_height + 1 if before else 0,
        chain_work=(before.chain_work if before else 0) + work,
        share_bits=bits,
        block_height=anchor.height + 1,
        coinbase_value=subsidy(chain.params, anchor.height + 1),
        payout_script=payee,
        witness_commitment=bytes(32),
        coinbase_tag=b"",
    )
    if "uncles" in changes:
        changes["uncles"] = tuple(sorted(changes["uncles"], key=as_number))
    return info.with_(**changes)


def mine(chain: Chain, info: Info, time: int, anchor: Anchor, extranonce: bytes, branch=(), payouts=None,
         chain_id=None, met=None, **header_changes) -> Share:  # fmt: skip
    """Mines a share with this info. `payouts` and `chain_id` are the honest ones unless given."""
    bits = header_changes.get("bits", anchor.next_bits)
    if payouts is None:
        payouts = chain.payouts(info, bits)
    root = merkle_root(chain_id or chain.chain_id, info, extranonce, branch, payouts)
    fields = {"version": VERSION, "prev_block": anchor.header.hash(), "merkle_root": root, "time": time,
              "bits": bits, "nonce": 0, **header_changes}  # fmt: skip
    target = bits_to_target(info.share_bits)
    header = grind(Header(**fields), met or (lambda number: number <= target))
    return Share(header, info, extranonce, tuple(branch))
