//! A stratum thread within this program, with synthetic jobs, so that no bitcoind is needed.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{bounded, RecvTimeoutError, Sender};
use p2pool_core::config::Config;
use p2pool_core::metrics::Metrics;
use p2pool_core::params::{ChainParams, Network};
use p2pool_core::stratum::Limits;
use p2pool_core::units::Bits;
use p2pool_core::work::WorkUpdate;
use p2pool_stratum::{StopHandle, Stratum, StratumError, StratumSinks};

use crate::fixtures::{JobSpec, HARDEST};

/// Interval of new jobs, each on another Bitcoin block, so that each is sent at once.
const JOB_INTERVAL: Duration = Duration::from_secs(1);

/// A running stratum thread, stopped on drop.
pub struct OwnServer {
    pub address: SocketAddr,
    stop: StopHandle,
    /// Dropping it ends the thread that makes jobs.
    _jobs: Sender<()>,
}

/// Starts the thread.
pub fn start(max_sessions: usize) -> Result<OwnServer, StratumError> {
    let (chain, shares) = bounded(1024);
    let (submit, blocks) = bounded(16);
    let config = Config::for_tests(ChainParams::standard(Network::Regtest), "/nowhere");
    let config = Config { start_difficulty: 1e6, max_sessions, ..config };
    let stratum =
        Stratum::open(&config, StratumSinks { chain, submit }, Arc::new(Metrics::default()), Limits::default())?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, stratum.local_addr().port()));
    let (stop, work) = (stratum.stop_handle(), stratum.work_sender());
    let (keep, ended) = bounded::<()>(0);
    thread::spawn(move || {
        // With arbitrary nonces, no submit meets difficulty 1, so nothing arrives in the inboxes.
        let _inboxes = (shares, blocks);
        for id in 1.. {
            let share_bits = Bits(0x1a00_ffff);
            let spec = JobSpec { id, tip: id as u8, block_bits: HARDEST, share_bits, payees: 48, ..JobSpec::default() };
            work.put(WorkUpdate::Job(spec.make()));
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
    Ok(OwnServer { address, stop, _jobs: keep })
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        self.stop.stop();
    }
}
