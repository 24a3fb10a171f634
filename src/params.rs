//! The parameters of a sharechain and the chain id derived from them (rules, section 2).

use bitcoin::hashes::Hash as _;
use bitcoin::hex::DisplayHex as _;
use serde::{Deserialize, Serialize};

use crate::bytes::{put_bytes, tagged_hash};
use crate::share::coinbase::Coinbase;
use crate::units::{Bits, BlockHeight};

/// The first version of the rules. Chain ids are computed with its parameters for ever (rules, section 10).
pub const RULES_VERSION_FIRST: u8 = 2;
/// A version of the rules for tests of activation. It differs from the first only in [`TEST_UNCLES_MAX`].
pub const RULES_VERSION_TEST: u8 = 255;
/// Largest number of uncles that a share of [`RULES_VERSION_TEST`] may name.
pub const TEST_UNCLES_MAX: usize = 2;
/// Largest factor by which work changes from one share to the next; also the trim factor of the retarget window.
pub const DIFFICULTY_STEP_MAX: u32 = 4;
/// Smallest number of shares that a retarget is based on.
pub const RETARGET_SHARES_MIN: u32 = 6;
/// The finder fee in thousandths of the coinbase value.
pub const FINDER_FEE_PERMILLE: u32 = 5;
/// Smallest payout output.
pub const DUST_LIMIT_SATS: u64 = 546;
/// Largest number of uncles that a share may name.
pub const UNCLES_MAX: u32 = 3;
/// Largest height difference between a share and an uncle it names.
pub const UNCLE_DEPTH_MAX: u32 = 3;
/// Fraction of an uncle's work credited to its own miner; the nephew's miner gets the rest.
pub const UNCLE_CREDIT: (u32, u32) = (9, 10);
/// Number of classes that the limit of payout outputs is chosen from by vote (rules, section 7).
pub const OUTPUTS_CLASSES: usize = 4;
/// Number of shares after which the class of payout outputs may change by one step.
pub const OUTPUTS_CLASS_INTERVAL: u32 = 120;
/// Bitcoin blocks after a version's height at which it begins without any signal.
pub const ACTIVATION_DELAY_MAX_BLOCKS: u32 = 4_032;
/// The easing interval (of difficulty decay) in share periods.
const EASING_PERIODS: u32 = 20;
/// Shares kept beyond two payout windows and a retarget window.
const KEPT_MARGIN: u32 = 16;

/// A Bitcoin network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    Mainnet,
    Testnet3,
    /// BIP-0094.
    Testnet4,
    /// The public signet or a custom one (BIP-0325).
    Signet,
    Regtest,
}

impl Network {
    pub const ALL: [Self; 5] = [Self::Mainnet, Self::Testnet3, Self::Testnet4, Self::Signet, Self::Regtest];

    /// The name used in flags and directories.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mainnet => "mainnet",
            Self::Testnet3 => "testnet3",
            Self::Testnet4 => "testnet4",
            Self::Signet => "signet",
            Self::Regtest => "regtest",
        }
    }

    /// The `bitcoin` crate's type for the same network.
    pub const fn to_bitcoin(self) -> bitcoin::Network {
        match self {
            Self::Mainnet => bitcoin::Network::Bitcoin,
            Self::Testnet3 => bitcoin::Network::Testnet,
            Self::Testnet4 => bitcoin::Network::Testnet4,
            Self::Signet => bitcoin::Network::Signet,
            Self::Regtest => bitcoin::Network::Regtest,
        }
    }

    /// Number of blocks between two halvings of the subsidy.
    pub const fn halving_interval_blocks(self) -> u32 {
        match self {
            Self::Regtest => 150,
            _ => 210_000,
        }
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// The parameters that distinguish one sharechain from another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainParams {
    /// The Bitcoin network whose blocks are mined.
    pub network: Network,
    /// `main`, or the name of a private pool.
    pub chain_name: String,
    /// The signet's block challenge script; empty on other networks.
    pub signet_challenge: Vec<u8>,
    /// The share period T: targeted seconds between two shares.
    pub share_period_s: u32,
    /// Number of shares whose times and work determine the next target.
    pub retarget_window: u32,
    /// Number of shares in the payout window.
    pub payout_window: u32,
    /// The payout window ends where its work reaches this multiple of a block's work; 0 disables the cut (test networks).
    pub work_cut_blocks: u32,
    /// Largest number of payout outputs in a coinbase by class, each 8 to 1000, ascending.
    pub payout_outputs: [u32; OUTPUTS_CLASSES],
    /// The easiest share target.
    pub easiest_bits: Bits,
    /// Seconds of age, by Bitcoin's median time past, after which a share counts a sixteenth in the choice between chains.
    pub age_step_s: u32,
    /// Later versions of the rules, ascending.
    pub activations: Vec<Activation>,
    /// The newest version of the rules that this software follows. No part of the chain id.
    pub rules_version_known: u8,
}

/// When a version of the rules may begin (rules, section 10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Activation {
    /// Greater than [`RULES_VERSION_FIRST`].
    pub version: u8,
    /// Bitcoin height from which a share may begin the version.
    pub height: BlockHeight,
}

/// Block challenge of the public signet.
const PUBLIC_SIGNET_CHALLENGE: [u8; 71] = [
    0x51, 0x21, 0x03, 0xad, 0x5e, 0x0e, 0xda, 0xd1, 0x8c, 0xb1, 0xf0, 0xfc, 0x0d, 0x28, 0xa3, 0xd4, 0xf1, 0xf3, 0xe4,
    0x45, 0x64, 0x03, 0x37, 0x48, 0x9a, 0xbb, 0x10, 0x40, 0x4f, 0x2d, 0x1e, 0x08, 0x6b, 0xe4, 0x30, 0x21, 0x03, 0x59,
    0xef, 0x50, 0x21, 0x96, 0x4f, 0xe2, 0x2d, 0x6f, 0x8e, 0x05, 0xb2, 0x46, 0x3c, 0x95, 0x40, 0xce, 0x96, 0x88, 0x3f,
    0xe3, 0xb2, 0x78, 0x76, 0x0f, 0x04, 0x8f, 0x51, 0x89, 0xf2, 0xe6, 0xc4, 0x52, 0xae,
];

/// Name of the default chain.
pub const MAIN_CHAIN_NAME: &str = "main";
/// Name of the chain for small miners, whose shares are easier than those of [`MAIN_CHAIN_NAME`] because fewer mine there.
pub const MINI_CHAIN_NAME: &str = "mini";

impl ChainParams {
    /// The parameters of the default chain on `network`.
    pub fn standard(network: Network) -> Self {
        Self {
            network,
            chain_name: MAIN_CHAIN_NAME.to_owned(),
            signet_challenge: if network == Network::Signet { PUBLIC_SIGNET_CHALLENGE.to_vec() } else { Vec::new() },
            share_period_s: 30,
            retarget_window: 72,
            payout_window: 8_640,
            work_cut_blocks: if network == Network::Mainnet { 2 } else { 0 },
            payout_outputs: [48, 146, 366, 1_000],
            easiest_bits: Bits(match network {
                Network::Mainnet => 0x1d00_ffff,
                Network::Testnet3 | Network::Testnet4 | Network::Signet => 0x1f00_ffff,
                Network::Regtest => 0x207f_ffff,
            }),
            age_step_s: 2 * 24 * 60 * 60,
            activations: Vec::new(),
            rules_version_known: RULES_VERSION_FIRST,
        }
    }

    /// Whether the parameters may differ from the standard ones: on regtest and on custom signets.
    pub fn is_custom(&self) -> bool {
        self.network == Network::Regtest || self.is_custom_signet()
    }

    /// The largest number of payout outputs in a class. A class that does not exist has the limit of class 0.
    pub fn payout_outputs_max(&self, class: u8) -> u32 {
        let [least, ..] = self.payout_outputs;
        self.payout_outputs.get(usize::from(class)).copied().unwrap_or(least)
    }

    /// The greatest class whose largest coinbase has at most this number of bytes, without witness; 0 if there is none.
    pub fn outputs_class_within(&self, coinbase_len_max: usize) -> u8 {
        let fits =
            |outputs: &&u32| Coinbase::len_max(usize::try_from(**outputs).unwrap_or(usize::MAX)) <= coinbase_len_max;
        let fitting = self.payout_outputs.iter().take_while(fits).count();
        u8::try_from(fitting.saturating_sub(1)).unwrap_or(0)
    }

    /// Whether this is a signet other than the public one.
    pub fn is_custom_signet(&self) -> bool {
        self.network == Network::Signet && self.signet_challenge != PUBLIC_SIGNET_CHALLENGE
    }

    /// Whether blocks need a signet signature, which a share's coinbase cannot carry.
    pub fn needs_block_signature(&self) -> bool {
        self.network == Network::Signet && self.signet_challenge != [0x51]
    }

    /// Seconds without a share after which the share difficulty may be halved (difficulty decay; rules, section 6).
    pub const fn easing_interval_s(&self) -> u32 {
        EASING_PERIODS.saturating_mul(self.share_period_s)
    }

    /// Number of shares kept: two payout windows, a retarget window and a margin.
    pub const fn shares_kept(&self) -> u32 {
        self.payout_window.saturating_mul(2).saturating_add(self.retarget_window).saturating_add(KEPT_MARGIN)
    }

    /// Tagged hash `p2pool/chain` of [`Self::chain_id_preimage`].
    pub fn chain_id(&self) -> ChainId {
        ChainId(tagged_hash(b"p2pool/chain", &self.chain_id_preimage()))
    }

    /// The bytes that the chain id is a hash of.
    ///
    /// In order, integers little-endian, byte strings with a CompactSize length: first rules version u8 · chain
    /// name · genesis block hash, 32 bytes in internal order · signet challenge · share period u32 · retarget window
    /// u32 · largest step u32 · easing interval u32 · payout window u32 · work cut u32 · shares kept
    /// u32 · finder fee u32 · dust limit u64 · payout outputs of each class u32 · class interval u32 · uncles u32 · uncle
    /// depth u32 · uncle credit numerator u32, denominator u32 · easiest share target u32 · age step u32. Custom networks
    /// append the number of later versions u8 and, for each, the version u8 and its height u32.
    pub fn chain_id_preimage(&self) -> Vec<u8> {
        let genesis = bitcoin::blockdata::constants::genesis_block(self.network.to_bitcoin()).block_hash();
        let mut out = vec![RULES_VERSION_FIRST];
        put_bytes(&mut out, self.chain_name.as_bytes());
        out.extend_from_slice(genesis.as_raw_hash().as_byte_array());
        put_bytes(&mut out, &self.signet_challenge);
        for value in [
            self.share_period_s,
            self.retarget_window,
            DIFFICULTY_STEP_MAX,
            self.easing_interval_s(),
            self.payout_window,
            self.work_cut_blocks,
            self.shares_kept(),
            FINDER_FEE_PERMILLE,
        ] {
            out.extend_from_slice(&value.to_le_bytes());
        }
        out.extend_from_slice(&DUST_LIMIT_SATS.to_le_bytes());
        for value in self.payout_outputs.into_iter().chain([
            OUTPUTS_CLASS_INTERVAL,
            UNCLES_MAX,
            UNCLE_DEPTH_MAX,
            UNCLE_CREDIT.0,
            UNCLE_CREDIT.1,
            self.easiest_bits.0,
            self.age_step_s,
        ]) {
            out.extend_from_slice(&value.to_le_bytes());
        }
        if self.is_custom() {
            out.push(u8::try_from(self.activations.len()).unwrap_or(u8::MAX));
            for Activation { version, height } in &self.activations {
                out.push(*version);
                out.extend_from_slice(&height.0.to_le_bytes());
            }
        }
        out
    }
}

/// Identifies a chain: nodes with different rules, networks or chain names have different ids and never connect.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChainId(pub [u8; 32]);

impl ChainId {
    /// The first eight bytes in hexadecimal, used in directory and topic names.
    pub fn prefix(&self) -> String {
        self.to_string().chars().take(16).collect()
    }
}

impl std::fmt::Display for ChainId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.as_hex().fmt(f)
    }
}

impl std::fmt::Debug for ChainId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ChainId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chain_ids_are_unique() {
        let mut all: Vec<ChainParams> =
            [Network::Mainnet, Network::Testnet3, Network::Testnet4, Network::Signet, Network::Regtest]
                .into_iter()
                .map(ChainParams::standard)
                .collect();
        all.push(ChainParams { chain_name: "garage".into(), ..ChainParams::standard(Network::Mainnet) });
        all.push(ChainParams { share_period_s: 2, ..ChainParams::standard(Network::Regtest) });
        all.push(ChainParams { signet_challenge: vec![0x51], ..ChainParams::standard(Network::Signet) });
        let ids: std::collections::HashSet<_> = all.iter().map(ChainParams::chain_id).collect();
        assert_eq!(ids.len(), all.len());
    }

    #[test]
    fn the_public_signet_needs_a_signature_and_an_op_true_signet_does_not() {
        let signet = ChainParams::standard(Network::Signet);
        assert!(signet.needs_block_signature() && !signet.is_custom_signet());
        let custom = ChainParams { signet_challenge: vec![0x51], ..signet };
        assert!(!custom.needs_block_signature() && custom.is_custom_signet());
    }
}
