"""shares.json: shares with all their hashed bytes."""

from model.coinbase import coinbase_parts, envelope, fold, with_witness
from model.hashing import as_number, double_sha256, display
from model.params import EASIEST, standard
from model.share import Header, Info, Share
from model.targets import target_to_bits

from .seeded import SCRIPT_KINDS, Seeded, script

HEIGHTS = [1, 2, 16, 17, 127, 128, 255, 256, 32_767, 32_768, 65_536, 840_000, 8_388_607, 8_388_608]
TAGS = [b"", b"x", b" ~", b"/garage pool, 20 by/"]


def random_share(seeded: Seeded, number: int) -> Share:
    """A share whose shape depends on `number`, so that every value of every list occurs; the rest is random."""
    uncles = sorted((seeded.bytes(32) for _ in range(number % 4)), key=as_number)
    tag = TAGS[number % len(TAGS)] if number < 20 else bytes(seeded.between(0x20, 0x7E) for _ in range(seeded.below(21)))
    genesis = number % 9 == 8
    rules_version = seeded.choice([2, 2, 255])
    info = Info(
        rules_version=rules_version,
        base_bits=target_to_bits(seeded.below(2 ** seeded.between(150, 256)) + 2),
        signal=seeded.between(rules_version, 255),
        outputs_vote=seeded.below(4),
        outputs_class=seeded.below(4),
        parent=bytes(32) if genesis else seeded.bytes(32),
        uncles=() if genesis else tuple(uncles),
        share_height=0 if genesis else seeded.below(2 ** seeded.between(1, 32)) or 1,
        chain_work=seeded.below(2 ** seeded.between(1, 128)),
        share_bits=target_to_bits(seeded.below(2 ** seeded.between(150, 256)) + 2),
        block_height=HEIGHTS[number % len(HEIGHTS)],
        coinbase_value=seeded.choice([0, 1, 5_000_000_000, 2_100_000_000_000_000, seeded.below(2**40)]),
        payout_script=script(SCRIPT_KINDS[number % 5], seeded.bytes(8)),
        witness_commitment=seeded.bytes(32),
        coinbase_tag=tag,
    )
    header = Header(
        version=seeded.choice([4, 0x20000000, 0x3FFFE000, 0x7FFFFFFF]),
        prev_block=seeded.bytes(32),
        merkle_root=seeded.bytes(32),
        time=seeded.below(2**32),
        bits=seeded.choice([0x170331DB, 0x1D00FFFF, 0x207FFFFF]),
        nonce=seeded.below(2**32),
    )
    branch = tuple(seeded.bytes(32) for _ in range(number % 17))
    return Share(header, info, seeded.bytes(12), branch)


def random_payouts(seeded: Seeded, number: int) -> list:
    """Payouts to serialise, some with equal amounts, so that the order by script matters."""
    count = 48 if number == 7 else [0, 1, 2, 3, 6][number % 5]
    amounts = [546, 1_000, 5_000_000_000, 2**40]
    return [(script(seeded.choice(SCRIPT_KINDS), seeded.bytes(8)), seeded.choice(amounts)) for _ in range(count)]


def describe(params, share: Share, payouts: list) -> dict:
    chain_id = params.chain_id()
    prefix, suffix = coinbase_parts(chain_id, share.info, payouts)
    transaction = prefix + share.extranonce + suffix
    txid = double_sha256(transaction)
    ordered = sorted(payouts, key=lambda payout: (-payout[1], payout[0]))
    return {
        "chain_id": chain_id.hex(),
        "fields": share.to_json(),
        "raw": share.encode().hex(),
        "id": display(share.id()),
        "digest": share.digest().hex(),
        "commitment": share.info.commitment(chain_id).hex(),
        "payouts": [{"script": payee.hex(), "amount": amount} for payee, amount in ordered],
        "coinbase_prefix": prefix.hex(),
        "coinbase_suffix": suffix.hex(),
        "coinbase_txid": display(txid),
        "coinbase_with_witness_hash": display(double_sha256(with_witness(transaction))),
        "envelope_hash": display(double_sha256(envelope(chain_id, share, payouts))),
        "folded_merkle_root": display(fold(txid, share.merkle_branch)),
    }


def build() -> list:
    seeded = Seeded("shares")
    networks = list(EASIEST)
    cases = []
    for number in range(34):
        share = random_share(seeded, number)
        assert Share.decode(share.encode()) == share
        payouts = random_payouts(seeded, number)
        cases.append(describe(standard(networks[number % 5]), share, payouts))
    return cases
