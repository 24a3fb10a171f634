//! Templates, share facts and jobs for the tests of this module.

use std::sync::Arc;

use bitcoin::absolute::LockTime;
use bitcoin::consensus::serialize;
use bitcoin::hashes::Hash as _;
use bitcoin::transaction::Version;
use bitcoin::{Amount, BlockHash, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Txid, Witness};

use super::{make_job, Finder, Job, JobId, NextShare, Template, TemplateTx};
use crate::bytes::tagged_hash;
use crate::params::{ChainParams, Network};
use crate::share::coinbase::Payout;
use crate::share::{CoinbaseTag, PayoutScript, ShareId};
use crate::units::{Bits, BlockHeight, Sats, ShareHeight, UnixTime, Work};

/// Block subsidy of the templates.
pub const SUBSIDY: u64 = 5_000_000_000;

/// A valid transaction, unique for each `seed`, with `padding` bytes of weight 4 and `witness` bytes of weight 1.
pub fn tx(seed: u64, padding: usize, witness: usize, fee: u64) -> TemplateTx {
    let previous_output = OutPoint::new(Txid::from_byte_array(tagged_hash(b"test/tx", &seed.to_le_bytes())), 0);
    let witness = if witness == 0 { Witness::new() } else { Witness::from_slice(&[vec![0x51; witness]]) };
    let tx = Transaction {
        version: Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![TxIn { previous_output, script_sig: ScriptBuf::new(), sequence: Sequence::MAX, witness }],
        output: vec![TxOut { value: Amount::from_sat(1_000), script_pubkey: ScriptBuf::from(vec![0x51; padding]) }],
    };
    TemplateTx {
        data: serialize(&tx),
        txid: tx.compute_txid().to_byte_array(),
        wtxid: tx.compute_wtxid().to_byte_array(),
        fee: Sats(fee),
        weight: tx.weight().to_wu(),
        sigops_cost: 0,
    }
}

/// A regtest template with these transactions and Bitcoin's block limits.
pub fn template(height: u32, transactions: Vec<TemplateTx>) -> Template {
    let fees: u64 = transactions.iter().map(|tx| tx.fee.0).sum();
    Template {
        version: 0x2000_0000,
        prev_block: BlockHash::from_byte_array(tagged_hash(b"test/prev", &height.to_le_bytes())),
        height: BlockHeight(height),
        bits: Bits(0x207f_ffff),
        min_time: UnixTime(1_700_000_000),
        cur_time: UnixTime(1_700_000_100),
        response_s: 0,
        coinbase_value: Sats(SUBSIDY + fees),
        transactions: transactions.into(),
        weight_limit: 4_000_000,
        sigops_limit: 80_000,
    }
}

/// A template as full as Bitcoin Core makes it: 4,000,000 weight units minus the reserved 8,000.
pub fn full_template(height: u32) -> Template {
    // 94 to 3,000 bytes without witness; every other transaction has a witness.
    let mut transactions = Vec::new();
    let mut room = 4_000_000 - 8_000;
    for seed in 0.. {
        let next = tx(seed, 30 + (seed as usize * 7_919) % 900, (seed as usize % 2) * 107, 1_000 + seed % 500);
        if next.weight > room {
            break;
        }
        room -= next.weight;
        transactions.push(next);
    }
    // The last transaction fills the rest to within 4 weight units.
    let smallest = tx(u64::MAX, 0, 0, 777);
    if room >= smallest.weight {
        transactions.push(tx(u64::MAX, ((room - smallest.weight) / 4).min(252) as usize, 0, 777));
    }
    template(height, transactions)
}

/// A P2TR script, one of the longest types.
pub fn p2tr(n: u8) -> PayoutScript {
    PayoutScript::new(&[&[0x51, 0x20][..], &[n; 32]].concat()).unwrap()
}

/// A P2PKH script, the only type with a signature operation.
pub fn p2pkh(n: u8) -> PayoutScript {
    PayoutScript::new(&[&[0x76, 0xa9, 0x14][..], &[n; 20], &[0x88, 0xac]].concat()).unwrap()
}

/// Splits `value` equally; the first payout gets the remainder.
pub fn split(value: Sats, scripts: &[PayoutScript]) -> Vec<Payout> {
    let part = value.0 / scripts.len() as u64;
    let mut payouts: Vec<Payout> =
        scripts.iter().map(|script| Payout { script: *script, amount: Sats(part) }).collect();
    payouts[0].amount.0 += value.0 % scripts.len() as u64;
    payouts
}

/// `count` different P2TR scripts.
pub fn many_p2tr(count: u8) -> Vec<PayoutScript> {
    (0..count).map(p2tr).collect()
}

/// The facts of a share in the middle of a chain.
pub fn next_share() -> NextShare {
    NextShare {
        rules_version: 2,
        parent: ShareId([5; 32]),
        uncles: vec![ShareId([6; 32])],
        share_height: ShareHeight(1_000),
        parent_work: Work(123_456),
        share_bits: Bits(0x1f00_ffff),
        base_bits: Bits(0x1e00_ffff),
        outputs_class: 0,
        finder: Finder { coinbase_tag: CoinbaseTag::new(b"twenty bytes of text").unwrap(), ..Finder::new(p2tr(9)) },
        min_time: UnixTime(1_700_000_050),
    }
}

/// The chain parameters of the fixtures.
pub fn chain() -> ChainParams {
    ChainParams::standard(Network::Regtest)
}

/// Makes a job that splits the template's value among these scripts.
pub fn job(template: Template, scripts: &[PayoutScript]) -> Job {
    let now = UnixTime(1_700_000_200);
    make_job(JobId(0x1f), &chain(), &Arc::new(template), &next_share(), now, |value| split(value, scripts)).unwrap()
}
