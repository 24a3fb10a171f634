"""chains.json: chain ids of every network and of private chains."""

from model.params import EASIEST, standard


def build() -> list:
    chains = [standard(network) for network in EASIEST]
    mainnet, signet, regtest = standard("mainnet"), standard("signet"), standard("regtest")
    chains += [
        mainnet.with_(chain_name="garage"),
        mainnet.with_(chain_name="g" * 64),
        mainnet.with_(payout_outputs=(8, 8, 8, 1_000)),
        mainnet.with_(age_step_s=3_600),
        signet.with_(signet_challenge=b"\x51"),
        signet.with_(signet_challenge=b"\x51", share_period_s=1, retarget_window=6, payout_window=20),
        signet.with_(signet_challenge=bytes([0x4C, 0xFF] + [0x51] * 255)),
        regtest.with_(share_period_s=2, retarget_window=8, payout_window=20),
        regtest.with_(activations=((255, 200),)),
        signet.with_(signet_challenge=b"\x51", activations=((3, 1), (255, 2**31))),
        regtest.with_(chain_name="short", work_cut_blocks=2, easiest_bits=0x1F00FFFF),
    ]
    return [
        {**params.to_json(), "preimage": params.chain_id_preimage().hex(), "chain_id": params.chain_id().hex()}
        for params in chains
    ]
