//! Parses the result of `getblocktemplate` (BIP-0022, BIP-0023, BIP-0145).

use std::fmt;
use std::marker::PhantomData;

use bitcoin::hashes::Hash as _;
use bitcoin::hex::{FromHex, HexToBytesIter};
use bitcoin::BlockHash;
use serde::de::{self, Deserializer, Visitor};
use serde::Deserialize;
use thiserror::Error;

use super::{Template, TemplateTx, Transactions};
use crate::params::Network;
use crate::share::{HEADER_VERSION_MIN, MERKLE_BRANCH_MAX};
use crate::units::{Bits, BlockHeight, Sats, UnixTime, MAX_MONEY};

/// Consensus rules that this program's blocks satisfy if bitcoind's transactions do.
const RULES_KNOWN: [&str; 4] = ["csv", "segwit", "signet", "taproot"];
/// Prefix of a rule that the user of a template must understand (BIP-0009).
const RULE_REQUIRED: char = '!';
/// Version bits that miners roll (BIP-0320) and that a template therefore cannot require.
const VERSION_BITS_ROLLED: u32 = 0x1fff_e000;
/// Heights are below this so that nLockTime can hold height - 1 (BIP-0054); the threshold of BIP-0065.
const HEIGHT_END: u32 = 500_000_000;
/// Largest number of transactions that, with the coinbase, a merkle branch can cover.
const TRANSACTIONS_MAX: usize = (1 << MERKLE_BRANCH_MAX) - 1;
/// Weight units per non-witness byte (BIP-0141).
const WITNESS_SCALE: u64 = 4;

/// Why a block template cannot be used.
#[derive(Debug, Error)]
pub enum TemplateError {
    /// Invalid JSON, or a field is missing or of the wrong type.
    #[error("not a block template: {}", short(.0))]
    Json(#[from] serde_json::Error),
    #[error("bitcoind requires the consensus rule '{}', unknown to this version: upgrade p2pool", short(.0))]
    UnknownRule(String),
    /// A field has an invalid value.
    #[error("the template's {field} is {}, expected {expected}", short(value))]
    Field { field: &'static str, value: String, expected: &'static str },
}

/// Number of characters that an error quotes from the beginning and from the end of foreign text.
const QUOTED_MAX: usize = 100;

/// Shortens a text to its beginning and end; JSON errors state the problem at the beginning and the position at the end.
fn short(text: impl fmt::Display) -> String {
    let text = text.to_string();
    let after_start = text.char_indices().nth(QUOTED_MAX).map(|(at, _)| at);
    let before_end = text.char_indices().nth_back(QUOTED_MAX - 1).map(|(at, _)| at);
    match (after_start.and_then(|at| text.get(..at)), before_end.and_then(|at| text.get(at..))) {
        (Some(start), Some(end)) if start.len() + end.len() < text.len() => format!("{start} ... {end}"),
        _ => text,
    }
}

/// Returns an error for the field unless `valid`.
fn check(
    valid: bool,
    field: &'static str,
    value: impl fmt::Display,
    expected: &'static str,
) -> Result<(), TemplateError> {
    if valid {
        return Ok(());
    }
    Err(TemplateError::Field { field, value: value.to_string(), expected })
}

/// The result of `getblocktemplate`.
#[derive(Deserialize)]
struct RawTemplate {
    version: i32,
    previousblockhash: Hex<[u8; 32]>,
    height: u32,
    bits: Hex<[u8; 4]>,
    mintime: u32,
    curtime: u32,
    coinbasevalue: u64,
    transactions: Vec<RawTx>,
    weightlimit: u64,
    sigoplimit: u64,
    rules: Vec<String>,
    #[serde(default)]
    vbrequired: u32,
    default_witness_commitment: Option<Hex<Vec<u8>>>,
    signet_challenge: Option<Hex<Vec<u8>>>,
}

#[derive(Deserialize)]
struct RawTx {
    data: Hex<Vec<u8>>,
    txid: Hex<[u8; 32]>,
    hash: Hex<[u8; 32]>,
    fee: u64,
    weight: u64,
    sigops: u64,
    depends: Vec<usize>,
}

impl Template {
    /// Parses the result of `getblocktemplate` and checks its values.
    ///
    /// # Errors
    /// If it is not a valid template for `network` whose rules this program knows.
    pub fn from_json(text: &str, network: Network) -> Result<Self, TemplateError> {
        let raw: RawTemplate = serde_json::from_str(text)?;
        check_rules(&raw)?;
        check_numbers(&raw)?;
        let has_challenge = raw.signet_challenge.is_some();
        check(
            has_challenge == (network == Network::Signet),
            "signet_challenge",
            if has_challenge { "present" } else { "absent" },
            if network == Network::Signet { "a challenge on signet" } else { "none outside signet" },
        )?;
        let transactions = transactions(raw.transactions)?;
        check_fees(&transactions, raw.coinbasevalue)?;
        if let Some(Hex(script)) = raw.default_witness_commitment {
            check(
                script.ends_with(&transactions.witness_commitment()),
                "default_witness_commitment",
                "a different hash",
                "the one computed from the transactions' wtxids",
            )?;
        }
        Ok(Self {
            version: raw.version,
            prev_block: BlockHash::from_byte_array(reversed(raw.previousblockhash.0)),
            height: BlockHeight(raw.height),
            bits: Bits(u32::from_be_bytes(raw.bits.0)),
            min_time: UnixTime(raw.mintime),
            cur_time: UnixTime(raw.curtime),
            response_s: 0,
            coinbase_value: Sats(raw.coinbasevalue),
            transactions,
            weight_limit: raw.weightlimit,
            sigops_limit: raw.sigoplimit,
        })
    }
}

fn check_rules(raw: &RawTemplate) -> Result<(), TemplateError> {
    let unknown = |rule: &&str| !RULES_KNOWN.contains(rule);
    if let Some(rule) = raw.rules.iter().filter_map(|rule| rule.strip_prefix(RULE_REQUIRED)).find(unknown) {
        return Err(TemplateError::UnknownRule(rule.to_owned()));
    }
    let segwit = raw.rules.iter().any(|rule| rule.trim_start_matches(RULE_REQUIRED) == "segwit");
    check(segwit, "rules", raw.rules.join(", "), "segwit among them, since the coinbase has a witness")
}

fn check_numbers(raw: &RawTemplate) -> Result<(), TemplateError> {
    check(raw.version >= HEADER_VERSION_MIN, "version", raw.version, "4 or more")?;
    let version_bits = u32::from_le_bytes(raw.version.to_le_bytes());
    check(
        raw.vbrequired & (VERSION_BITS_ROLLED | !version_bits) == 0,
        "vbrequired",
        format_args!("{:08x}", raw.vbrequired),
        "bits that are set in version and that miners do not roll (13 to 28)",
    )?;
    check((1..HEIGHT_END).contains(&raw.height), "height", raw.height, "1 to 499999999")?;
    let bits = Bits(u32::from_be_bytes(raw.bits.0));
    check(bits.target().is_ok(), "bits", bits, "a positive, canonical compact target")?;
    check(raw.coinbasevalue <= MAX_MONEY.0, "coinbasevalue", raw.coinbasevalue, "at most 21 million bitcoins")?;
    check(raw.weightlimit > 0, "weightlimit", raw.weightlimit, "a number above 0")?;
    check(raw.sigoplimit > 0, "sigoplimit", raw.sigoplimit, "a number above 0")
}

fn check_fees(transactions: &[TemplateTx], coinbase_value: u64) -> Result<(), TemplateError> {
    let fees = transactions.iter().fold(0u64, |sum, tx| sum.saturating_add(tx.fee.0));
    check(fees <= coinbase_value, "coinbasevalue", coinbase_value, "at least the sum of the fees")
}

fn transactions(raw: Vec<RawTx>) -> Result<Transactions, TemplateError> {
    check(raw.len() <= TRANSACTIONS_MAX, "transactions", format_args!("{} long", raw.len()), "at most 65535")?;
    let mut transactions = Vec::with_capacity(raw.len());
    for (before, tx) in raw.into_iter().enumerate() {
        // Positions count from 1, and a parent precedes its child.
        let depends_valid = tx.depends.iter().all(|parent| (1..=before).contains(parent));
        check(
            depends_valid,
            "transactions' depends",
            format_args!("{:?}", tx.depends),
            "positions of earlier transactions",
        )?;
        let len = u64::try_from(tx.data.0.len()).unwrap_or(u64::MAX);
        let weight_valid = tx.weight > len && tx.weight <= len.saturating_mul(WITNESS_SCALE);
        check(
            weight_valid,
            "transactions' weight",
            tx.weight,
            "more than the data length in bytes, at most four times that",
        )?;
        transactions.push(TemplateTx {
            data: tx.data.0,
            txid: reversed(tx.txid.0),
            wtxid: reversed(tx.hash.0),
            fee: Sats(tx.fee),
            weight: tx.weight,
            sigops_cost: tx.sigops,
        });
    }
    Ok(Transactions::new(transactions))
}

/// Converts a hash from display order to internal byte order.
fn reversed(mut hash: [u8; 32]) -> [u8; 32] {
    hash.reverse();
    hash
}

/// Bytes deserialised from hexadecimal without an intermediate string.
struct Hex<T>(T);

/// A byte string of any or of a fixed length.
trait HexTarget: Sized {
    /// The expected form, for error messages.
    const EXPECTED: &'static str;
    fn read(text: &str) -> Option<Self>;
}

impl HexTarget for Vec<u8> {
    const EXPECTED: &'static str = "bytes in hexadecimal";

    fn read(text: &str) -> Option<Self> {
        // Exact capacity: a template holds megabytes of transactions for as long as a job uses it.
        let mut bytes = Self::with_capacity(text.len() / 2);
        for byte in HexToBytesIter::new(text).ok()? {
            bytes.push(byte.ok()?);
        }
        Some(bytes)
    }
}

impl HexTarget for [u8; 4] {
    const EXPECTED: &'static str = "8 hexadecimal digits";

    fn read(text: &str) -> Option<Self> {
        Self::from_hex(text).ok()
    }
}

impl HexTarget for [u8; 32] {
    const EXPECTED: &'static str = "64 hexadecimal digits";

    fn read(text: &str) -> Option<Self> {
        Self::from_hex(text).ok()
    }
}

struct HexVisitor<T>(PhantomData<T>);

impl<T: HexTarget> Visitor<'_> for HexVisitor<T> {
    type Value = Hex<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Hex<T>, E> {
        let shown: String = text.chars().take(80).collect();
        T::read(text).map(Hex).ok_or_else(|| E::invalid_value(de::Unexpected::Str(&shown), &self))
    }
}

impl<'de, T: HexTarget> Deserialize<'de> for Hex<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(HexVisitor(PhantomData))
    }
}

#[cfg(test)]
mod tests;
