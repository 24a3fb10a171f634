"""Chain parameters and the chain id (rules, section 2)."""

from dataclasses import dataclass, replace
import struct

from .codec import with_length
from .hashing import tagged_hash, from_display

RULES_VERSION = 2
TEST_RULES_VERSION = 255
TEST_UNCLES_MAX = 2
OUTPUTS_CLASS_INTERVAL = 120
ACTIVATION_DELAY_MAX = 4_032
STEP_MAX = 4
EASING_PERIODS = 20
RETARGET_SHARES_MIN = 6
KEPT_MARGIN = 16
FEE_PERMILLE = 5
DUST_LIMIT = 546
UNCLES_MAX = 3
UNCLE_DEPTH_MAX = 3
UNCLE_CREDIT = (9, 10)

GENESIS = {
    "mainnet": "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f",
    "testnet3": "000000000933ea01ad0ee984209779baaec3ced90fa3f408719526f8d77f4943",
    "testnet4": "00000000da84f2bafbbc53dee25a72ae507ff4914b867c565be350b0da8bf043",
    "signet": "00000008819873e925422c1ff0f99f7cc9bbb232af63a077a480a3633bee1ef6",
    "regtest": "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206",
}
EASIEST = {
    "mainnet": 0x1D00FFFF,
    "testnet3": 0x1F00FFFF,
    "testnet4": 0x1F00FFFF,
    "signet": 0x1F00FFFF,
    "regtest": 0x207FFFFF,
}
PUBLIC_SIGNET_CHALLENGE = bytes.fromhex(
    "512103ad5e0edad18cb1f0fc0d28a3d4f1f3e445640337489abb10404f2d1e086be430"
    "210359ef5021964fe22d6f8e05b2463c9540ce96883fe3b278760f048f5189f2e6c452ae"
)


@dataclass(frozen=True)
class Params:
    network: str
    chain_name: str
    signet_challenge: bytes
    share_period_s: int
    retarget_window: int
    payout_window: int
    work_cut_blocks: int
    payout_outputs: tuple
    easiest_bits: int
    age_step_s: int
    # Pairs of a version and the Bitcoin height from which it may begin, ascending.
    activations: tuple = ()

    @property
    def easing_interval_s(self) -> int:
        return EASING_PERIODS * self.share_period_s

    @property
    def shares_kept(self) -> int:
        return 2 * self.payout_window + self.retarget_window + KEPT_MARGIN

    @property
    def halving_interval(self) -> int:
        return 150 if self.network == "regtest" else 210_000

    @property
    def is_custom(self) -> bool:
        return self.network == "regtest" or (
            self.network == "signet" and self.signet_challenge != PUBLIC_SIGNET_CHALLENGE
        )

    def chain_id_preimage(self) -> bytes:
        """The layout documented at ChainParams::chain_id_preimage in src/params.rs."""
        return (
            bytes([RULES_VERSION])
            + with_length(self.chain_name.encode("utf-8"))
            + from_display(GENESIS[self.network])
            + with_length(self.signet_challenge)
            + struct.pack(
                "<8I",
                self.share_period_s,
                self.retarget_window,
                STEP_MAX,
                self.easing_interval_s,
                self.payout_window,
                self.work_cut_blocks,
                self.shares_kept,
                FEE_PERMILLE,
            )
            + struct.pack("<Q", DUST_LIMIT)
            + struct.pack(
                "<11I",
                *self.payout_outputs,
                OUTPUTS_CLASS_INTERVAL,
                UNCLES_MAX,
                UNCLE_DEPTH_MAX,
                *UNCLE_CREDIT,
                self.easiest_bits,
                self.age_step_s,
            )
            + self.encoded_activations()
        )

    def encoded_activations(self) -> bytes:
        if not self.is_custom:
            return b""
        heights = (struct.pack("<BI", version, height) for version, height in self.activations)
        return bytes([len(self.activations)]) + b"".join(heights)

    def chain_id(self) -> bytes:
        return tagged_hash("p2pool/chain", self.chain_id_preimage())

    def with_(self, **changes) -> "Params":
        return replace(self, **changes)

    def to_json(self) -> dict:
        return {
            "network": self.network,
            "chain_name": self.chain_name,
            "signet_challenge": self.signet_challenge.hex(),
            "share_period_s": self.share_period_s,
            "retarget_window": self.retarget_window,
            "payout_window": self.payout_window,
            "work_cut_blocks": self.work_cut_blocks,
            "payout_outputs": list(self.payout_outputs),
            "easiest_bits": f"{self.easiest_bits:08x}",
            "age_step_s": self.age_step_s,
            "activations": [list(activation) for activation in self.activations],
        }

    @staticmethod
    def from_json(fields: dict) -> "Params":
        return Params(
            network=fields["network"],
            chain_name=fields["chain_name"],
            signet_challenge=bytes.fromhex(fields["signet_challenge"]),
            share_period_s=fields["share_period_s"],
            retarget_window=fields["retarget_window"],
            payout_window=fields["payout_window"],
            work_cut_blocks=fields["work_cut_blocks"],
            payout_outputs=tuple(fields["payout_outputs"]),
            easiest_bits=int(fields["easiest_bits"], 16),
            age_step_s=fields["age_step_s"],
            activations=tuple(tuple(activation) for activation in fields["activations"]),
        )


def standard(network: str) -> Params:
    """The parameters of the default chain on `network`."""
    return Params(
        network=network,
        chain_name="main",
        signet_challenge=PUBLIC_SIGNET_CHALLENGE if network == "signet" else b"",
        share_period_s=30,
        retarget_window=72,
        payout_window=8_640,
        work_cut_blocks=2 if network == "mainnet" else 0,
        payout_outputs=(48, 146, 366, 1_000),
        easiest_bits=EASIEST[network],
        age_step_s=172_800,
    )


def subsidy(params: Params, block_height: int) -> int:
    """Bitcoin's block subsidy in satoshis."""
    halvings = block_height // params.halving_interval
    return 0 if halvings >= 64 else 50 * 100_000_000 >> halvings
