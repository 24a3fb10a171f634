//! A stratum thread of our own, with made-up jobs, so that no bitcoind is needed.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{bounded, RecvTimeoutError, Sender};
use p2pool_core::config::Config;
use p2pool_core::metrics::Metrics;
use p2pool_core::params::{ChainParams, Network};
use p2pool_core::units::Bits;
use p2pool_core::work::WorkUpdate;
use p2pool_stratum::{StopHandle, Stratum, StratumError, StratumSinks};

use crate::fixtures::{JobSpec, HARDEST};

/// How often there is a new job, each on another Bitcoin block so that none waits.
const JOB_INTERVAL: Duration = Duration::from_secs(1);

/// A running thread; ends when dropped.
pub struct Alone {
    /// Its port.
    pub address: SocketAddr,
    stop: StopHandle,
    /// Dropped to end the maker of jobs.
    _jobs: Sender<()>,
}

/// Starts it.
pub fn start(max_sessions: usize) -> Result<Alone, StratumError> {
    let (chain, shares) = bounded(1024);
    let (submit, blocks) = bounded(16);
    let config = Config::for_tests(ChainParams::standard(Network::Regtest), "/nowhere");
    let config = Config { start_difficulty: 1e6, max_sessions, ..config };
    let stratum = Stratum::open(&config, StratumSinks { chain, submit }, Arc::new(Metrics::default()))?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, stratum.local_addr().port()));
    let (stop, jobs) = (stratum.stop_handle(), stratum.jobs());
    let (keep, ended) = bounded::<()>(0);
    thread::spawn(move || {
        // Shares and blocks of difficulty 1 do not happen with nonces that nobody searched.
        let _inboxes = (shares, blocks);
        for id in 1.. {
            let share_bits = Bits(0x1a00_ffff);
            let spec = JobSpec { id, tip: id as u8, block_bits: HARDEST, share_bits, payees: 48, ..JobSpec::default() };
            jobs.put(WorkUpdate::Job(spec.make()));
            if ended.recv_timeout(JOB_INTERVAL) != Err(RecvTimeoutError::Timeout) {
                return;
            }
        }
    });
    thread::spawn(move || {
        if let Err(error) = stratum.run() {
            eprintln!("{error}");
        }
    });
    Ok(Alone { address, stop, _jobs: keep })
}

impl Drop for Alone {
    fn drop(&mut self) {
        self.stop.stop();
    }
}
