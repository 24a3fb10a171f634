//! Payout addresses without known keys.

use bitcoin::hashes::{sha256, Hash as _};
use bitcoin::{Address, Network, ScriptBuf, WitnessProgram, WitnessVersion};
use p2pool_test_bitcoind::Chain;

/// Returns the P2TR output script of payee `number`.
pub fn p2tr(number: u32) -> ScriptBuf {
    let program = sha256::Hash::hash(&number.to_le_bytes()).to_byte_array();
    let program = WitnessProgram::new(WitnessVersion::V1, &program);
    ScriptBuf::new_witness_program(&program.unwrap_or_else(|error| panic!("witness program: {error}")))
}

/// Returns the P2TR address of payee `number`.
pub fn p2tr_address(chain: Chain, number: u32) -> String {
    let network = match chain {
        Chain::Regtest => Network::Regtest,
        Chain::OpTrueSignet => Network::Signet,
    };
    let address = Address::from_script(&p2tr(number), network);
    address.unwrap_or_else(|error| panic!("address of payee {number}: {error}")).to_string()
}
