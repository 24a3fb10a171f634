use std::cell::RefCell;

use bitcoin::consensus::deserialize;
use bitcoin::Block;

use super::super::fixtures::{
    chain, full_template, job, many_p2tr, next_share, p2pkh, p2tr, split, template, tx, SUBSIDY,
};
use super::super::Submit;
use super::*;
use crate::units::BlockHeight;

const NOW: UnixTime = UnixTime(1_700_000_200);

/// The block of a submit for the job, deserialised and checked with every check of the `bitcoin` crate.
fn checked_block(job: &Job) -> Block {
    let submit = Submit { extranonce: [0xab; 12], time: job.time.0, nonce: 7, version: job.template.version };
    let hashed = job.hash_header(&submit);
    let bytes = job.block(&hashed.header, &submit.extranonce).unwrap();
    let block: Block = deserialize(&bytes).unwrap();
    assert!(block.check_merkle_root());
    assert!(block.check_witness_commitment());
    assert!(block.weight().to_wu() <= job.template.weight_limit, "{}", block.weight());
    let height = bitcoin::script::Builder::new().push_int(i64::from(job.template.height.0)).into_script();
    assert!(block.txdata[0].input[0].script_sig.as_bytes().starts_with(height.as_bytes()));
    let paid: u64 = block.txdata[0].output.iter().map(|output| output.value.to_sat()).sum();
    assert_eq!(paid, job.info.coinbase_value.0);
    assert_eq!(paid, job.template.coinbase_value.0);
    let fees: u64 = job.template.transactions.iter().map(|tx| tx.fee.0).sum();
    assert_eq!(paid, SUBSIDY + fees);
    block
}

#[test]
fn empty_blocks_at_low_and_boundary_heights_are_valid() {
    for height in (1..=17).chain([127, 128, 255, 256, 32_767, 32_768, 840_000]) {
        let job = job(template(height, vec![]), &[p2tr(1)]);
        assert!(job.merkle_branch.is_empty());
        let block = checked_block(&job);
        assert_eq!(block.txdata.len(), 1);
        // The crate does not read heights encoded as OP_1 to OP_16.
        if height > 16 {
            assert_eq!(block.bip34_block_height().unwrap(), u64::from(height));
        }
    }
}

#[test]
fn a_template_that_fits_is_not_copied() {
    let whole = Arc::new(template(500, (0..9).map(|n| tx(n, 50, 20, 100 + n)).collect()));
    let job = make_job(JobId(1), &chain(), &whole, &next_share(), NOW, |value| split(value, &[p2tr(1)])).unwrap();
    assert!(Arc::ptr_eq(&job.template, &whole));
    assert_eq!(checked_block(&job).txdata.len(), 10);
    assert_eq!(job.merkle_branch.len(), 4);
}

#[test]
fn a_full_template_with_the_most_p2tr_payouts_of_a_class_makes_a_valid_block() {
    let full = full_template(840_000);
    let before = full.transactions.len();
    let one_payee = job(full.clone(), &[p2tr(0)]);
    assert_eq!(one_payee.template.transactions.len(), before, "Bitcoin Core's reserved weight is enough for one payee");
    checked_block(&one_payee);

    let full = Arc::new(full);
    let p2tr = |n: u32| PayoutScript::new(&[&[0x51, 0x20][..], &n.to_le_bytes().repeat(8)].concat()).unwrap();
    for (outputs_class, outputs) in (0..).zip(chain().payout_outputs) {
        let facts = NextShare { outputs_class, ..next_share() };
        let make = |payees: u32| {
            let scripts: Vec<_> = (0..payees).map(p2tr).collect();
            make_job(JobId(1), &chain(), &full, &facts, NOW, |value| split(value, &scripts))
        };
        let job = make(outputs).unwrap();
        assert!(job.template.transactions.len() < before, "the template is trimmed");
        assert_eq!(job.template.transactions[..], full.transactions[..job.template.transactions.len()]);
        assert!(job.coinbase.len_bytes() <= Coinbase::len_max(outputs as usize), "{outputs} outputs");
        let block = checked_block(&job);
        assert_eq!(block.txdata[0].output.len(), outputs as usize + 1);
        let next = full.transactions[job.template.transactions.len()].weight;
        assert!(block.weight().to_wu() + next > 4_000_000, "{} leaves room for {next}", block.weight());
        let (count, max) = (outputs as usize + 1, outputs as usize);
        assert_eq!(make(outputs + 1).unwrap_err(), JobError::TooManyPayouts { count, max });
    }
}

#[test]
fn weight_is_exact_to_the_unit() {
    for (transactions, payees) in [(0, 1), (1, 1), (5, 48), (251, 3), (252, 3), (253, 48)] {
        let mut whole = template(200, (0..transactions).map(|n| tx(n, 10, 9, 5)).collect());
        let weight = checked_block(&job(whole.clone(), &many_p2tr(payees))).weight().to_wu();
        whole.weight_limit = weight;
        let block = checked_block(&job(whole.clone(), &many_p2tr(payees)));
        assert_eq!(block.weight().to_wu(), weight, "{transactions} transactions, {payees} payees");
        whole.weight_limit = weight - 1;
        let facts = next_share();
        let tighter =
            make_job(JobId(1), &chain(), &Arc::new(whole), &facts, NOW, |value| split(value, &many_p2tr(payees)));
        match transactions {
            0 => assert!(matches!(tighter, Err(JobError::CoinbaseTooLarge { .. })), "{tighter:?}"),
            _ => assert_eq!(checked_block(&tighter.unwrap()).txdata.len() as u64, transactions),
        }
    }
}

#[test]
fn sigops_of_p2pkh_payouts_are_counted_as_in_bitcoin() {
    let scripts: Vec<_> = (0..24).map(p2pkh).chain((0..24).map(p2tr)).collect();
    let mut transactions: Vec<_> = (0..3).map(|n| tx(n, 10, 0, 5)).collect();
    transactions.iter_mut().for_each(|tx| tx.sigops_cost = 100);
    let mut whole = template(200, transactions);
    let coinbase = checked_block(&job(whole.clone(), &scripts)).txdata.remove(0);
    let outputs: usize = coinbase.output.iter().map(|output| output.script_pubkey.count_sigops_legacy()).sum();
    let cost = 4 * (outputs + coinbase.input[0].script_sig.count_sigops_legacy()) as u64;
    assert_eq!(cost, 96);
    whole.sigops_limit = cost + 300;
    assert_eq!(job(whole.clone(), &scripts).template.transactions.len(), 3);
    whole.sigops_limit = cost + 299;
    assert_eq!(job(whole, &scripts).template.transactions.len(), 2);
}

#[test]
fn payouts_that_grow_as_transactions_are_dropped_still_fit() {
    let mut whole = template(200, (0..400).map(|n| tx(n, 10, 0, 1)).collect());
    whole.weight_limit = 400 * whole.transactions[0].weight;
    let most = Sats(whole.coinbase_value.0);
    let calls = RefCell::new(Vec::new());
    let job = make_job(JobId(1), &chain(), &Arc::new(whole), &next_share(), NOW, |value| {
        calls.borrow_mut().push(value);
        // One more payee for each missing satoshi, so every round drops more transactions.
        let payees = (1 + most.0 - value.0).min(48);
        split(value, &many_p2tr(payees as u8))
    })
    .unwrap();
    checked_block(&job);
    assert!(calls.borrow().len() <= TRIM_ROUNDS_MAX + 1, "{:?}", calls.borrow());
}

#[test]
fn payouts_that_never_settle_get_room_for_the_largest_coinbase() {
    let mut whole = template(200, (0..400).map(|n| tx(n, 10, 0, 1)).collect());
    whole.weight_limit = 400 * whole.transactions[0].weight;
    let whole = Arc::new(whole);
    let calls = RefCell::new(0u8);
    let job = make_job(JobId(1), &chain(), &whole, &next_share(), NOW, |value| {
        *calls.borrow_mut() += 1;
        split(value, &many_p2tr(*calls.borrow() * 8))
    })
    .unwrap();
    assert_eq!(*calls.borrow() as usize, TRIM_ROUNDS_MAX + 1);
    assert_eq!(job.payouts.len(), 40);
    let spare = job.template.weight_limit - checked_block(&job).weight().to_wu();
    assert!(spare >= 8 * 43 * 4, "room for 48 outputs is reserved, {spare} weight units are left");
}

#[test]
fn facts_are_copied_to_the_share() {
    let facts = next_share();
    let job = job(template(77, vec![tx(1, 2, 3, 4)]), &[p2tr(1), p2tr(2)]);
    let own = facts.share_bits.target().unwrap().work().unwrap();
    let expected = ShareInfo {
        rules_version: facts.rules_version,
        parent: facts.parent,
        share_bits: facts.share_bits,
        base_bits: facts.base_bits,
        signal: facts.finder.signal,
        outputs_vote: facts.finder.outputs_vote,
        outputs_class: facts.outputs_class,
        uncles: facts.uncles.clone(),
        share_height: facts.share_height,
        chain_work: Work(facts.parent_work.0 + own.0),
        block_height: BlockHeight(77),
        coinbase_value: Sats(SUBSIDY + 4),
        payout_script: facts.finder.payout_script,
        witness_commitment: job.template.transactions.witness_commitment(),
        coinbase_tag: facts.finder.coinbase_tag.clone(),
    };
    assert_eq!(job.info, expected);
    assert_eq!(job.coinbase, Coinbase::new(&chain().chain_id(), &expected, &job.payouts));
    assert_eq!(job.share_target, facts.share_bits.target().unwrap());
    assert_eq!(job.block_target, job.template.bits.target().unwrap());
    assert_eq!((job.id, job.template.height, job.template.version), (JobId(0x1f), BlockHeight(77), 0x2000_0000));
}

fn times(network: Network, template: Template, facts_min: u32, now: u32) -> (u32, u32) {
    let facts = NextShare { min_time: UnixTime(facts_min), ..next_share() };
    let chain = ChainParams { network, ..chain() };
    let payouts = |value| split(value, &[p2tr(1)]);
    let job = make_job(JobId(1), &chain, &Arc::new(template), &facts, UnixTime(now), payouts).unwrap();
    (job.min_time.0, job.time.0)
}

#[test]
fn header_time_is_now_but_not_before_the_earliest_allowed() {
    let at = |min_time| Template { min_time: UnixTime(min_time), cur_time: UnixTime(150), ..template(1, vec![]) };
    assert_eq!(times(Network::Mainnet, at(100), 120, 200), (120, 200));
    assert_eq!(times(Network::Mainnet, at(130), 120, 200), (130, 200));
    assert_eq!(times(Network::Regtest, at(100), 300, 200), (300, 300));
    // On testnets, where 20 minutes without a block change the target, the template's time is the earliest.
    assert_eq!(times(Network::Testnet4, at(100), 120, 140), (150, 150));
    assert_eq!(times(Network::Testnet3, at(100), 160, 140), (160, 160));
}

/// The header time in the job's `mining.notify`.
fn notified_time(job: &Job) -> u32 {
    let mut line = Vec::new();
    job.write_notify(0, false, &mut line);
    let text = String::from_utf8(line).unwrap().rsplit('"').nth(1).unwrap().to_owned();
    u32::from_str_radix(&text, 16).unwrap()
}

#[test]
fn a_latest_time_bounds_the_notified_time() {
    let job = job(template(9, vec![tx(1, 2, 3, 4)]), &[p2tr(1)]);
    assert_eq!((job.max_time, notified_time(&job)), (UnixTime(u32::MAX), job.time.0));
    let later = job.clone().until(job.time.plus(5)).unwrap();
    assert_eq!((later.time, later.max_time, notified_time(&later)), (job.time, job.time.plus(5), job.time.0));
    let earlier = job.clone().until(job.min_time).unwrap();
    assert_eq!((earlier.time, earlier.max_time), (job.min_time, job.min_time));
    assert_eq!(notified_time(&earlier), job.min_time.0);
    let none = job.clone().until(job.min_time.minus(1)).unwrap_err();
    assert_eq!(none, JobError::NoTime { min: job.min_time, max: job.min_time.minus(1) });
}

#[test]
fn each_reason_for_no_job_is_an_error() {
    let whole = Arc::new(template(1, vec![tx(1, 2, 3, 400)]));
    let make = |template: &Arc<Template>, facts: NextShare, payouts: Vec<Payout>| {
        make_job(JobId(1), &chain(), template, &facts, NOW, move |_| payouts.clone()).unwrap_err()
    };
    let right = split(whole.coinbase_value, &[p2tr(1)]);

    let broken = Arc::new(Template { bits: Bits(0), ..(*whole).clone() });
    assert_eq!(make(&broken, next_share(), right.clone()), JobError::BlockBits(BitsError(Bits(0))));
    let facts = NextShare { share_bits: Bits(0x1d80_ffff), ..next_share() };
    assert_eq!(make(&whole, facts, right.clone()), JobError::ShareBits(BitsError(Bits(0x1d80_ffff))));
    let facts = NextShare { parent_work: Work(u128::MAX), ..next_share() };
    assert_eq!(make(&whole, facts, right.clone()), JobError::Work(next_share().share_bits));
    let facts = NextShare { share_bits: Bits(0x0101_0000), ..next_share() };
    assert_eq!(make(&whole, facts.clone(), right.clone()), JobError::Work(facts.share_bits));
    assert_eq!(
        make(&whole, next_share(), split(Sats(7), &[p2tr(1)])),
        JobError::PayoutSum { sum: Sats(7), value: whole.coinbase_value }
    );
    assert_eq!(
        make(&whole, next_share(), split(whole.coinbase_value, &many_p2tr(49))),
        JobError::TooManyPayouts { count: 49, max: 48 }
    );
    let tight = Template { coinbase_value: Sats(399), weight_limit: 1_300, ..(*whole).clone() };
    let error = make(&Arc::new(tight), next_share(), split(Sats(399), &[p2tr(1)]));
    assert_eq!(error, JobError::Fees(Sats(399)));
}

#[test]
fn a_coinbase_of_value_zero_has_no_payouts() {
    let worthless = Arc::new(Template { coinbase_value: Sats(0), ..template(3, vec![]) });
    let job = make_job(JobId(1), &chain(), &worthless, &next_share(), NOW, |_| Vec::new()).unwrap();
    assert!(job.payouts.is_empty());
    let header = job.hash_header(&Submit { extranonce: [0; 12], time: 1, nonce: 1, version: 4 }).header;
    let block: Block = deserialize(&job.block(&header, &[0; 12]).unwrap()).unwrap();
    assert_eq!(block.txdata[0].output.len(), 1);
}
