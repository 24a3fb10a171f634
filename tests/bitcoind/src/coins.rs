//! Coins that need no key, and transactions made of them: for blocks with something in them, and for full ones.

use bitcoin::absolute::LockTime;
use bitcoin::consensus::encode::serialize_hex;
use bitcoin::opcodes::all::OP_RETURN;
use bitcoin::opcodes::OP_TRUE;
use bitcoin::script::{Builder, PushBytesBuf};
use bitcoin::transaction::Version;
use bitcoin::{Address, Amount, Network, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Txid, Witness};
use serde_json::json;

use crate::{Bitcoind, Chain};

/// Blocks above a coinbase before it can be spent.
const COINBASE_MATURITY: u32 = 100;
/// Outputs of one transaction that divides a coin: 43 bytes each, so it stays far below the standard size.
const DIVIDED_OUTPUTS_MAX: usize = 1_000;
/// Fees paid, in satoshis per virtual byte; well above the least that is relayed.
const FEE_RATE_SATS: u64 = 2;
/// Bytes that an `OP_RETURN` output's script and its lengths take beside its data, at most.
const PADDING_OVERHEAD_BYTES: u64 = 10;

/// `OP_TRUE`, the script behind every coin here.
pub fn anyone_can_spend() -> ScriptBuf {
    Builder::new().push_opcode(OP_TRUE).into_script()
}

/// The address of [`anyone_can_spend`] (P2WSH): to spend from it is standard and needs no key.
pub fn anyone_can_spend_address(chain: Chain) -> Address {
    let network = match chain {
        Chain::Regtest => Network::Regtest,
        Chain::OpTrueSignet => Network::Signet,
    };
    Address::p2wsh(&anyone_can_spend(), network)
}

/// An unspent output to [`anyone_can_spend_address`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coin {
    pub outpoint: OutPoint,
    pub value: Amount,
}

/// Makes transactions that depend on no unconfirmed one, so that a template can end anywhere among them.
#[derive(Debug)]
pub struct MempoolFiller {
    coins: Vec<Coin>,
    made: u64,
}

impl MempoolFiller {
    /// Readies `count` confirmed coins, by mining blocks: 102, and one more for each further thousand.
    pub fn new(node: &Bitcoind, count: usize) -> Self {
        let divisions = count.div_ceil(DIVIDED_OUTPUTS_MAX);
        let mined = node.mine(u32::try_from(divisions).unwrap_or(u32::MAX));
        node.mine(COINBASE_MATURITY);
        let coins = mined.iter().flat_map(|hash| divide_coinbase(node, &node.block(hash).txdata[0])).take(count);
        let coins = coins.collect();
        node.mine(1);
        Self { coins, made: 0 }
    }

    /// Puts transactions of nearly `tx_weight` each into the node's mempool until they weigh `total_weight` or
    /// more. Fee rates differ from one to the next.
    ///
    /// Returns the transactions in the order they were made.
    pub fn fill(&mut self, node: &Bitcoind, total_weight: u64, tx_weight: u64) -> Vec<Transaction> {
        let mut weight = 0;
        let mut made = Vec::new();
        while weight < total_weight {
            let transaction = self.send_one(node, tx_weight);
            weight += transaction.weight().to_wu();
            made.push(transaction);
        }
        made
    }

    /// Puts one transaction of nearly `weight` into the node's mempool.
    pub fn send_one(&mut self, node: &Bitcoind, weight: u64) -> Transaction {
        let coin = self.coins.pop().unwrap_or_else(|| panic!("all coins of the filler are spent"));
        let fee = Amount::from_sat(weight / 4 * FEE_RATE_SATS + self.made % 1_000);
        self.made += 1;
        let transaction = padded_spend(coin, weight, fee);
        send(node, &transaction);
        transaction
    }
}

/// Sends a transaction that divides a matured coinbase; returns its outputs.
fn divide_coinbase(node: &Bitcoind, coinbase: &Transaction) -> Vec<Coin> {
    let outpoint = OutPoint { txid: coinbase.compute_txid(), vout: 0 };
    let total = coinbase.output[0].value;
    let size = DIVIDED_OUTPUTS_MAX as u64 * 43 + 200;
    let each = (total - Amount::from_sat(size * FEE_RATE_SATS)) / DIVIDED_OUTPUTS_MAX as u64;
    let outputs = vec![TxOut { value: each, script_pubkey: address_script() }; DIVIDED_OUTPUTS_MAX];
    let transaction = spend(outpoint, outputs);
    let txid = send(node, &transaction);
    let coin = |vout| Coin { outpoint: OutPoint { txid, vout }, value: each };
    (0..).take(DIVIDED_OUTPUTS_MAX).map(coin).collect()
}

/// A transaction of at most `weight`, and hardly less, that pays `fee` and gives the rest back.
fn padded_spend(coin: Coin, weight: u64, fee: Amount) -> Transaction {
    let with_padding = |len: u64| {
        let data = PushBytesBuf::try_from(vec![0xaa; usize::try_from(len).unwrap_or(usize::MAX)]);
        let data = data.unwrap_or_else(|error| panic!("padding of {len} bytes: {error}"));
        let padding = Builder::new().push_opcode(OP_RETURN).push_slice(data).into_script();
        let rest = coin.value.checked_sub(fee).unwrap_or_else(|| panic!("a coin of {} cannot pay {fee}", coin.value));
        spend(
            coin.outpoint,
            vec![
                TxOut { value: rest, script_pubkey: address_script() },
                TxOut { value: Amount::ZERO, script_pubkey: padding },
            ],
        )
    };
    let bare = with_padding(0).weight().to_wu();
    with_padding((weight.saturating_sub(bare) / 4).saturating_sub(PADDING_OVERHEAD_BYTES))
}

fn spend(outpoint: OutPoint, output: Vec<TxOut>) -> Transaction {
    let witness = Witness::from_slice(&[anyone_can_spend().into_bytes()]);
    let input = TxIn { previous_output: outpoint, script_sig: ScriptBuf::new(), sequence: Sequence::MAX, witness };
    Transaction { version: Version::TWO, lock_time: LockTime::ZERO, input: vec![input], output }
}

/// The script of the address, which is the same on every chain.
fn address_script() -> ScriptBuf {
    ScriptBuf::new_p2wsh(&anyone_can_spend().wscript_hash())
}

fn send(node: &Bitcoind, transaction: &Transaction) -> Txid {
    node.call("sendrawtransaction", json!([serialize_hex(transaction), 0]));
    transaction.compute_txid()
}
