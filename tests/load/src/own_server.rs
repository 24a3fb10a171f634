//! A stratum thread with synthetic jobs, so that no bitcoind is needed; in a process of its own, whose memory can be measured.

use std::io::{self, BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
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

/// Interval of new jobs.
const JOB_INTERVAL: Duration = Duration::from_secs(1);
/// Number of jobs on the same Bitcoin tip, as on mainnet: a share in 30 s, a block in 600 s.
const JOBS_PER_TIP: u64 = 20;

/// A running stratum thread, stopped on drop.
pub struct OwnServer {
    pub address: SocketAddr,
    metrics: Arc<Metrics>,
    stop: StopHandle,
    /// Dropping it ends the thread that makes jobs.
    _jobs: Sender<()>,
}

/// Starts the thread, whose jobs have this number of payees.
pub fn start(max_sessions: usize, payees: u32) -> Result<OwnServer, StratumError> {
    let (chain, shares) = bounded(1024);
    let (submit, blocks) = bounded(16);
    let config = Config::for_tests(ChainParams::standard(Network::Regtest), "/nowhere");
    let config = Config { start_difficulty: 1e6, max_sessions, ..config };
    let metrics = Arc::new(Metrics::default());
    let stratum = Stratum::open(&config, StratumSinks { chain, submit }, Arc::clone(&metrics), Limits::default())?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, stratum.local_addr().port()));
    let (stop, work) = (stratum.stop_handle(), stratum.work_sender());
    let (keep, ended) = bounded::<()>(0);
    thread::spawn(move || {
        // With arbitrary nonces, no submit meets difficulty 1, so nothing arrives in the inboxes.
        let _inboxes = (shares, blocks);
        for id in 1.. {
            let share_bits = Bits(0x1a00_ffff);
            let spec = JobSpec {
                id,
                tip: (id / JOBS_PER_TIP) as u8,
                block_bits: HARDEST,
                share_bits,
                payees,
                ..JobSpec::default()
            };
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
    Ok(OwnServer { address, metrics, stop, _jobs: keep })
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        self.stop.stop();
    }
}

/// Runs the thread as a process: prints its address, serves until its standard input ends, and prints the server's own figures.
pub fn serve(max_sessions: usize, payees: u32) -> Result<(), StratumError> {
    let server = start(max_sessions, payees)?;
    println!("{}", server.address);
    io::copy(&mut io::stdin().lock(), &mut io::sink())?;
    let fanout = &server.metrics.job_fanout;
    let mean_ms = fanout.get_sample_sum() * 1_000.0 / fanout.get_sample_count() as f64;
    println!("server: {mean_ms:.2} ms on average to send a job to all sessions");
    Ok(())
}

/// A server in another process.
pub struct ServerProcess {
    child: Child,
    pub address: String,
    output: BufReader<std::process::ChildStdout>,
}

impl ServerProcess {
    /// Starts this program as a server.
    pub fn start(max_sessions: usize, payees: u32) -> io::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--serve", "--sessions", &max_sessions.to_string(), "--payees", &payees.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = child.stdout.take().ok_or_else(|| io::Error::other("the server has no output"))?;
        let mut server = Self { child, address: String::new(), output: BufReader::new(output) };
        server.address = server.line()?;
        Ok(server)
    }

    /// Its resident memory in bytes: now, and at most so far.
    pub fn resident_bytes(&self) -> io::Result<(u64, u64)> {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let bytes_of = |name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_suffix(" kB"));
            value.and_then(|kib| kib.parse::<u64>().ok()).map(|kib| kib << 10)
        };
        bytes_of("VmRSS:").zip(bytes_of("VmHWM:")).ok_or_else(|| io::Error::other("no memory in its status"))
    }

    /// Ends it; returns its own figures.
    pub fn finish(mut self) -> io::Result<String> {
        drop(self.child.stdin.take());
        self.line()
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // Its input ends, and with it the process; an error means that it has ended already.
        drop(self.child.stdin.take());
        drop(self.child.wait());
    }
}
