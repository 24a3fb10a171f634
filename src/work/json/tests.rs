use proptest::prelude::*;

use super::*;
use crate::units::U256;

const EMPTY: &str = include_str!("../../../tests/vectors/templates/regtest-height-1.json");
const FIVE: &str = include_str!("../../../tests/vectors/templates/regtest-transactions.json");
const SIGNET: &str = include_str!("../../../tests/vectors/templates/signet-op-true-height-1.json");

fn error(text: &str, network: Network) -> String {
    Template::from_json(text, network).unwrap_err().to_string()
}

/// The error for the template with five transactions after a replacement, which must change it.
fn error_after(from: &str, to: &str) -> String {
    let changed = FIVE.replace(from, to);
    assert_ne!(changed, FIVE, "nothing to replace for {from}");
    error(&changed, Network::Regtest)
}

#[test]
fn parses_an_empty_template_at_height_1() {
    let template = Template::from_json(EMPTY, Network::Regtest).unwrap();
    assert_eq!(template.height, BlockHeight(1));
    assert_eq!(template.prev_block.to_string(), "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206");
    assert_eq!(template.bits.target().unwrap().0, U256::from(0x7f_ffffu32) << 232);
    assert_eq!((template.version, template.coinbase_value), (0x2000_0000, Sats(5_000_000_000)));
    assert_eq!((template.weight_limit, template.sigops_limit), (4_000_000, 80_000));
    assert_eq!(template.min_time, UnixTime(1_296_688_603));
    assert!(template.cur_time > template.min_time);
    assert!(template.transactions.is_empty());
    assert!(template.transactions.merkle_branch().is_empty());
}

#[test]
fn transaction_ids_and_weights_match_the_data() {
    let template = Template::from_json(FIVE, Network::Regtest).unwrap();
    assert_eq!(template.transactions.len(), 5);
    for tx in template.transactions.iter() {
        let read: bitcoin::Transaction = bitcoin::consensus::deserialize(&tx.data).unwrap();
        assert_eq!(read.compute_txid().to_byte_array(), tx.txid);
        assert_eq!(read.compute_wtxid().to_byte_array(), tx.wtxid);
        assert_eq!(read.weight().to_wu(), tx.weight);
        assert_eq!(tx.data.capacity(), tx.data.len(), "the buffer has no spare capacity");
    }
    assert!(template.transactions.iter().any(|tx| tx.txid != tx.wtxid), "one has a witness");
    let sums = template.transactions.iter().fold((0, 0), |sum, tx| (sum.0 + tx.fee.0, sum.1 + tx.sigops_cost));
    assert_eq!(sums, (22_000, 12));
    assert_eq!(template.coinbase_value, Sats(5_000_022_000));
}

#[test]
fn signet_needs_a_challenge_and_other_networks_must_not_have_one() {
    let template = Template::from_json(SIGNET, Network::Signet).unwrap();
    assert_eq!(template.bits, Bits(0x1e03_77ae));
    assert!(error(SIGNET, Network::Regtest).contains("signet_challenge is present, expected none"));
    assert!(error(EMPTY, Network::Signet).contains("signet_challenge is absent, expected a challenge"));
}

#[test]
fn unknown_required_rules_are_an_error() {
    assert_eq!(
        error_after("\"!segwit\"", "\"!segwit\", \"!newfork\""),
        "bitcoind requires the consensus rule 'newfork', unknown to this version: upgrade p2pool"
    );
    assert!(error_after("\"!segwit\",", "").contains("rules is csv, taproot, expected segwit"));
    // An unknown rule that is not required is fine.
    let other = FIVE.replace("\"!segwit\"", "\"!segwit\", \"newfork\"");
    assert!(Template::from_json(&other, Network::Regtest).is_ok());
}

#[test]
fn each_invalid_value_is_named() {
    for (from, to, expected) in [
        ("\"version\": 536870912", "\"version\": 3", "version is 3, expected 4 or more"),
        ("\"version\": 536870912", "\"version\": -1", "version is -1"),
        ("\"vbrequired\": 0", "\"vbrequired\": 1", "vbrequired is 00000001, expected bits that are set in version"),
        ("\"height\": 111", "\"height\": 0", "height is 0, expected 1 to 499999999"),
        ("\"height\": 111", "\"height\": 500000000", "height is 500000000"),
        ("\"bits\": \"207fffff\"", "\"bits\": \"217fffff\"", "bits is 217fffff, expected a positive, canonical"),
        ("\"bits\": \"207fffff\"", "\"bits\": \"20ffffff\"", "bits is 20ffffff"),
        ("\"bits\": \"207fffff\"", "\"bits\": \"00000000\"", "bits is 00000000"),
        ("\"bits\": \"207fffff\"", "\"bits\": \"207ffff\"", "expected 8 hexadecimal digits"),
        ("\"coinbasevalue\": 5000022000", "\"coinbasevalue\": 2100000000000001", "coinbasevalue is 2100000000000001"),
        ("\"coinbasevalue\": 5000022000", "\"coinbasevalue\": 21999", "expected at least the sum of the fees"),
        ("\"coinbasevalue\": 5000022000", "\"coinbasevalue\": -1", "not a block template"),
        ("\"weightlimit\": 4000000", "\"weightlimit\": 0", "weightlimit is 0"),
        ("\"sigoplimit\": 80000", "\"sigoplimit\": 0", "sigoplimit is 0"),
        ("\"weight\": 684", "\"weight\": 171", "weight is 171, expected more than the data length"),
        ("\"weight\": 684", "\"weight\": 685", "weight is 685"),
        ("        1\n", "        2\n", "depends is [2], expected positions of earlier"),
        ("        1\n", "        0\n", "depends is [0]"),
        ("\"hash\": \"17", "\"hash\": \"18", "default_witness_commitment is a different hash"),
        ("\"hash\": \"17", "\"hash\": \"1", "expected 64 hexadecimal digits"),
        ("\"hash\": \"17", "\"hash\": \"zz", "expected 64 hexadecimal digits"),
        ("\"data\": \"02", "\"data\": \"0", "expected bytes in hexadecimal"),
        ("\"data\": \"02", "\"data\": \"\u{20ac}", "expected bytes in hexadecimal"),
        ("\"previousblockhash\"", "\"previous\"", "missing field `previousblockhash`"),
        ("\"mintime\"", "\"curtime\"", "duplicate field `curtime`"),
    ] {
        let error = error_after(from, to);
        assert!(error.contains(expected), "{to}: {error}");
        assert!(error.len() < 300, "{error}");
    }
}

#[test]
fn required_version_bits_must_not_be_ones_that_miners_roll() {
    let required = FIVE.replace("\"vbrequired\": 0", "\"vbrequired\": 536870912");
    assert!(Template::from_json(&required, Network::Regtest).is_ok());
    let rolled = FIVE.replace("\"vbrequired\": 0", "\"vbrequired\": 8192").replace("536870912", "536879104");
    assert!(error(&rolled, Network::Regtest).contains("vbrequired is 00002000"));
}

#[test]
fn errors_quote_a_bounded_part_of_the_input() {
    let long = "é1".repeat(50_000);
    let fee = error_after("\"fee\": 5000", &format!("\"fee\": \"{long}\""));
    assert!(fee.starts_with("not a block template: invalid type: string \"é1é1"), "{fee}");
    assert!(fee.contains(" ... ") && fee.contains("expected u64 at line "), "{fee}");
    let rule = error_after("!segwit", &format!("!{long}"));
    let depends = error_after("\"depends\": [", &format!("\"depends\": [{}9", "9,".repeat(50_000)));
    for text in [fee, rule, depends] {
        assert!(text.chars().count() < 400, "{text}");
    }
    assert_eq!(short("x".repeat(200)), "x".repeat(200));
    assert_eq!(short("x".repeat(201)).len(), 200 + " ... ".len());
}

#[test]
fn other_input_is_an_error() {
    for text in ["", "null", "[]", "{}", "true", "\"text\"", "{\"version\":1e400}", "\u{0}", "[[[[[[[[[["] {
        assert!(error(text, Network::Regtest).starts_with("not a block template"), "{text}");
    }
    for len in (0..FIVE.trim_end().len()).filter(|len| FIVE.is_char_boundary(*len)) {
        assert!(Template::from_json(&FIVE[..len], Network::Regtest).is_err(), "{len} bytes");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn damaged_templates_do_not_panic(at in 0..FIVE.len(), byte in 0x20u8..0x7f, cut in 0..40usize) {
        let mut bytes = FIVE.as_bytes().to_vec();
        bytes[at] = byte;
        bytes.drain(at..(at + cut).min(FIVE.len()));
        if let Ok(text) = std::str::from_utf8(&bytes) {
            let _ = Template::from_json(text, Network::Regtest);
        }
    }
}
