//! Reads what `getblocktemplate` answers (BIP-0022, BIP-0023, BIP-0145).

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

/// Consensus rules that a block of ours keeps when bitcoind's transactions do.
const RULES_KNOWN: [&str; 4] = ["csv", "segwit", "signet", "taproot"];
/// A rule whose name starts so must be understood by whoever uses the template (BIP-0009).
const RULE_DEMANDED: char = '!';
/// Version bits that miners roll (BIP-0320), which therefore cannot be demanded of them.
const VERSION_BITS_ROLLED: u32 = 0x1fff_e000;
/// nLockTime holds a height below this only (BIP-0054 puts height - 1 there); BIP-0065's threshold.
const HEIGHT_END: u32 = 500_000_000;
/// With the coinbase as many as a merkle branch can reach.
const TRANSACTIONS_MAX: usize = (1 << MERKLE_BRANCH_MAX) - 1;
/// Weight units of a byte that is no witness (BIP-0141).
const WITNESS_SCALE: u64 = 4;

/// Why a text is no template that this program can use.
#[derive(Debug, Error)]
pub enum TemplateError {
    /// No JSON, a field is missing or of the wrong kind.
    #[error("not a block template: {}", short(.0))]
    Json(#[from] serde_json::Error),
    /// A rule that must be understood is not.
    #[error("bitcoind demands the consensus rule '{}', which this version does not know; a newer one is needed", short(.0))]
    UnknownRule(String),
    /// A value that cannot be.
    #[error("the template's {field} is {}, expected {expected}", short(value))]
    Field {
        /// The field's name.
        field: &'static str,
        /// What it holds.
        value: String,
        /// What it should hold.
        expected: &'static str,
    },
}

/// Characters at either end of somebody else's text that an error repeats: a template is megabytes, a log line is not.
const SHOWN_MAX: usize = 100;

/// Beginning and end of a text, which is where the reader of JSON says what and where.
fn short(text: impl fmt::Display) -> String {
    let text = text.to_string();
    let after_start = text.char_indices().nth(SHOWN_MAX).map(|(at, _)| at);
    let before_end = text.char_indices().nth_back(SHOWN_MAX - 1).map(|(at, _)| at);
    match (after_start.and_then(|at| text.get(..at)), before_end.and_then(|at| text.get(at..))) {
        (Some(start), Some(end)) if start.len() + end.len() < text.len() => format!("{start} ... {end}"),
        _ => text,
    }
}

/// The error for a field's value; `Ok` if it is right.
fn check(
    right: bool,
    field: &'static str,
    value: impl fmt::Display,
    expected: &'static str,
) -> Result<(), TemplateError> {
    if right {
        return Ok(());
    }
    Err(TemplateError::Field { field, value: value.to_string(), expected })
}

/// The answer as it is written.
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
    /// Reads the result of `getblocktemplate`, and checks what can be checked of it.
    ///
    /// # Errors
    /// Anything but a template for `network` whose rules this program knows.
    pub fn from_json(text: &str, network: Network) -> Result<Self, TemplateError> {
        let raw: RawTemplate = serde_json::from_str(text)?;
        check_rules(&raw)?;
        check_numbers(&raw)?;
        let signet_challenge = raw.signet_challenge.map(|challenge| challenge.0);
        check(
            signet_challenge.is_some() == (network == Network::Signet),
            "signet_challenge",
            if signet_challenge.is_some() { "present" } else { "absent" },
            if network == Network::Signet { "one, for this is signet" } else { "none, for this is not signet" },
        )?;
        let transactions = transactions(raw.transactions)?;
        check_fees(&transactions, raw.coinbasevalue)?;
        if let Some(Hex(script)) = raw.default_witness_commitment {
            check(
                script.ends_with(&transactions.witness_commitment()),
                "default_witness_commitment",
                "another hash",
                "the one that the transactions' witness ids give",
            )?;
        }
        Ok(Self {
            version: raw.version,
            prev_block: BlockHash::from_byte_array(reversed(raw.previousblockhash.0)),
            height: BlockHeight(raw.height),
            bits: Bits(u32::from_be_bytes(raw.bits.0)),
            min_time: UnixTime(raw.mintime),
            cur_time: UnixTime(raw.curtime),
            coinbase_value: Sats(raw.coinbasevalue),
            transactions,
            weight_limit: raw.weightlimit,
            sigops_limit: raw.sigoplimit,
            signet_challenge: signet_challenge.unwrap_or_default(),
        })
    }
}

fn check_rules(raw: &RawTemplate) -> Result<(), TemplateError> {
    let unknown = |rule: &&str| !RULES_KNOWN.contains(rule);
    if let Some(rule) = raw.rules.iter().filter_map(|rule| rule.strip_prefix(RULE_DEMANDED)).find(unknown) {
        return Err(TemplateError::UnknownRule(rule.to_owned()));
    }
    let segwit = raw.rules.iter().any(|rule| rule.trim_start_matches(RULE_DEMANDED) == "segwit");
    check(segwit, "rules", raw.rules.join(", "), "segwit among them, for the coinbase has a witness")
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
    check(bits.target().is_ok(), "bits", bits, "a positive target written the shortest way")?;
    check(raw.coinbasevalue <= MAX_MONEY.0, "coinbasevalue", raw.coinbasevalue, "at most 21 million bitcoins")?;
    check(raw.weightlimit > 0, "weightlimit", raw.weightlimit, "a number above 0")?;
    check(raw.sigoplimit > 0, "sigoplimit", raw.sigoplimit, "a number above 0")
}

fn check_fees(transactions: &[TemplateTx], coinbase_value: u64) -> Result<(), TemplateError> {
    let fees = transactions.iter().fold(0u64, |sum, tx| sum.saturating_add(tx.fee.0));
    check(fees <= coinbase_value, "coinbasevalue", coinbase_value, "at least the transactions' fees")
}

fn transactions(raw: Vec<RawTx>) -> Result<Transactions, TemplateError> {
    check(raw.len() <= TRANSACTIONS_MAX, "transactions", format_args!("{} long", raw.len()), "at most 65535")?;
    let mut transactions = Vec::with_capacity(raw.len());
    for (before, tx) in raw.into_iter().enumerate() {
        // Counted from 1: a parent stands before its child.
        let depends_fine = tx.depends.iter().all(|parent| (1..=before).contains(parent));
        check(
            depends_fine,
            "transactions' depends",
            format_args!("{:?}", tx.depends),
            "places of earlier transactions",
        )?;
        let len = u64::try_from(tx.data.0.len()).unwrap_or(u64::MAX);
        let weight_fine = tx.weight > len && tx.weight <= len.saturating_mul(WITNESS_SCALE);
        check(
            weight_fine,
            "transactions' weight",
            tx.weight,
            "more than the bytes of data, at most four times as much",
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

/// Hashes are shown last byte first.
fn reversed(mut hash: [u8; 32]) -> [u8; 32] {
    hash.reverse();
    hash
}

/// Bytes that are written in hexadecimal, read without a string in between.
struct Hex<T>(T);

/// Bytes, as many as there are or exactly so many.
trait HexTarget: Sized {
    /// What is expected, for error messages.
    const EXPECTED: &'static str;
    /// Reads all of `text`.
    fn read(text: &str) -> Option<Self>;
}

impl HexTarget for Vec<u8> {
    const EXPECTED: &'static str = "bytes in hexadecimal";

    fn read(text: &str) -> Option<Self> {
        // Reserved exactly: megabytes of transactions are kept for as long as a job on them is.
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
