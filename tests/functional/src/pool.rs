//! A running `p2pool`.

use std::fs::File;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use p2pool_miner::session::Session;
use p2pool_test_bitcoind::{wait_for, wait_until, Bitcoind, Chain, Port};
use serde_json::Value;
use tempfile::TempDir;

/// Timeout until miners can connect, which takes a fraction of a second on an idle machine.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// Timeout until there is work; a node that finds no peer waits for a minute.
const WORK_TIMEOUT: Duration = Duration::from_secs(120);
/// Timeout for the end after SIGTERM. The program ends within 5 s; the rest is for a busy machine.
const END_TIMEOUT: Duration = Duration::from_secs(15);
/// Timeout for one request to its API.
const API_TIMEOUT: Duration = Duration::from_secs(10);
/// Most starts, each with another port, in case another process takes the port.
const START_ATTEMPTS_MAX: usize = 5;
/// Environment variable with the path of another `p2pool`.
const EXE_VARIABLE: &str = "P2POOL_EXE";

/// Options of a test.
#[derive(Clone, Debug)]
pub struct Options {
    pub address: String,
    /// Flags besides those for bitcoind, data and ports, each `-name=value`. mDNS is off without `-mdns=true`.
    pub flags: Vec<String>,
    /// All environment variables of the node.
    pub environment: Vec<(String, String)>,
}

/// A `p2pool` process with a data directory of its own; killed when dropped.
#[derive(Debug)]
pub struct Pool {
    options: Options,
    bitcoind: Vec<String>,
    dir: TempDir,
    port: Port,
    p2p_port: Port,
    child: Option<Child>,
}

impl Pool {
    /// Starts a node with an empty sharechain; waits until miners can connect.
    pub fn start(bitcoind: &Bitcoind, options: Options) -> Self {
        let dir = tempfile::Builder::new().prefix("p2pool-node-").tempdir();
        let dir = dir.unwrap_or_else(|error| panic!("temporary directory: {error}"));
        let (port, p2p_port) = (Port::reserve(), Port::reserve());
        let mut pool = Self { options, bitcoind: bitcoind_flags(bitcoind), dir, port, p2p_port, child: None };
        let mut failures = Vec::new();
        for _ in 0..START_ATTEMPTS_MAX {
            match pool.try_launch() {
                Ok(()) => return pool,
                Err(failure) => failures.push(failure),
            }
            (pool.port, pool.p2p_port) = (Port::reserve(), Port::reserve());
        }
        panic!("p2pool does not start: {failures:#?}");
    }

    /// Starts the stopped node again with the same data; waits until miners can connect.
    #[track_caller]
    pub fn launch(&mut self) {
        assert!(self.child.is_none(), "this p2pool is running");
        if let Err(failure) = self.try_launch() {
            panic!("p2pool does not start again: {failure}");
        }
    }

    /// Changes the payout address from the next start on.
    pub fn set_address(&mut self, address: String) {
        self.options.address = address;
    }

    /// Flags for the next start.
    pub fn flags_mut(&mut self) -> &mut Vec<String> {
        &mut self.options.flags
    }

    /// Changes the port for peers from the next start on, to one that no peer knows.
    pub fn move_p2p_port(&mut self) {
        self.p2p_port = Port::reserve();
    }

    /// Kills the node without warning (SIGKILL).
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Fails only if it has ended already.
            drop(child.kill());
            drop(child.wait());
        }
    }

    /// Stops the node in order (SIGTERM); panics on a timeout.
    #[track_caller]
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal("TERM");
        let status = wait_for("p2pool to end after SIGTERM", END_TIMEOUT, || self.ended());
        self.child = None;
        status
    }

    /// Sends a signal by its name, such as `STOP`.
    #[track_caller]
    pub fn signal(&self, name: &str) {
        let id = self.process_id();
        let sent = Command::new("kill").args([format!("-{name}"), id.to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill -{name}");
    }

    /// Process id.
    #[track_caller]
    pub fn process_id(&self) -> u32 {
        self.child.as_ref().map_or_else(|| panic!("this p2pool is not running"), Child::id)
    }

    /// Returns the resident memory of the process in bytes: private memory, then mapped files, such as the program and the
    /// store.
    #[track_caller]
    pub fn resident_bytes(&self) -> (u64, u64) {
        let path = format!("/proc/{}/status", self.process_id());
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let bytes_of = |name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_suffix(" kB"));
            value.and_then(|kib| kib.parse::<u64>().ok()).map_or_else(|| panic!("no {name} in {path}"), |kib| kib << 10)
        };
        (bytes_of("RssAnon:"), bytes_of("RssFile:"))
    }

    /// Returns the exit status if the node has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.as_mut().and_then(|child| child.try_wait().ok().flatten())
    }

    /// `host:port` for miners.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port.number())
    }

    /// Address for peers on this machine: `/ip4/127.0.0.1/tcp/PORT/p2p/ID`.
    #[track_caller]
    pub fn p2p_address(&self) -> String {
        let start = format!("/ip4/127.0.0.1/tcp/{}/p2p/", self.p2p_port.number());
        wait_for("p2pool to log its address", START_TIMEOUT, || {
            let log = self.log();
            let id = log.split(&start).nth(1)?.split_whitespace().next()?;
            Some(format!("{start}{id}"))
        })
    }

    /// Requests a document of its API, such as `/api/v1/status`; `None` if the node does not respond.
    pub fn api(&self, path: &str) -> Option<Value> {
        serde_json::from_str(&self.get(path)?).ok()
    }

    fn get(&self, path: &str) -> Option<String> {
        let config = ureq::Agent::config_builder().timeout_global(Some(API_TIMEOUT)).max_idle_connections(0).build();
        let agent = ureq::Agent::new_with_config(config);
        let mut response = agent.get(format!("http://{}{path}", self.address())).call().ok()?;
        response.body_mut().read_to_string().ok()
    }

    /// Requests the health check; returns its status and reasons.
    pub fn health(&self) -> Option<(u16, Vec<String>)> {
        let config = ureq::Agent::config_builder().timeout_global(Some(API_TIMEOUT)).http_status_as_error(false);
        let agent = ureq::Agent::new_with_config(config.max_idle_connections(0).build());
        let mut response = agent.get(format!("http://{}/healthz", self.address())).call().ok()?;
        let health: Value = serde_json::from_str(&response.body_mut().read_to_string().ok()?).ok()?;
        let reasons = health["reasons"].as_array()?.iter().filter_map(|reason| reason.as_str().map(str::to_owned));
        Some((response.status().as_u16(), reasons.collect()))
    }

    /// Requests a metric by its name with labels; `None` if the node does not respond.
    pub fn metric(&self, name: &str) -> Option<f64> {
        let text = self.get("/metrics")?;
        text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
    }

    /// Opens a session as soon as the node accepts miners, which it does when there is work.
    #[track_caller]
    pub fn session(&self, worker: &str) -> Session {
        self.session_with(worker, "x")
    }

    /// Opens a session with options in the password, such as `d=0.01`.
    #[track_caller]
    pub fn session_with(&self, worker: &str, password: &str) -> Session {
        wait_for("a session", WORK_TIMEOUT, || Session::open(&self.address(), "p2pool-test", worker, password).ok())
    }

    /// Runs a command of the program for this node, such as `p2pool ban`, to its end.
    pub fn command(&self, words: &[&str]) -> Output {
        let flags = self.chain_flags();
        run_to_end(&words.iter().copied().chain(flags.iter().map(String::as_str)).collect::<Vec<_>>())
    }

    /// Returns the output of `p2pool export`; the node may be running.
    #[track_caller]
    pub fn export_text(&self) -> String {
        let output = Command::new(exe()).arg("export").args(self.chain_flags()).env_clear().output();
        let output = output.unwrap_or_else(|error| panic!("{}: {error}", exe().display()));
        assert!(output.status.success(), "export: {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Returns the stored shares from `p2pool export`, oldest first.
    #[track_caller]
    pub fn shares(&self) -> Vec<Value> {
        let parse = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("export: {error}: {line}"));
        // The first line has the parameters.
        self.export_text().lines().skip(1).map(parse).collect()
    }

    /// Returns the log of all runs.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// Waits until the node has logged a line that contains `part`.
    #[track_caller]
    pub fn wait_log(&self, part: &str, timeout: Duration) {
        wait_until(&format!("p2pool to log {part:?}"), timeout, || self.log().contains(part));
    }

    /// The data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// The log file.
    pub fn log_file(&self) -> PathBuf {
        self.dir.path().join("output.log")
    }

    /// Flags that identify the sharechain and its data directory.
    fn chain_flags(&self) -> Vec<String> {
        let of_chain = |flag: &&String| {
            [
                "-network",
                "-signet-challenge",
                "-share-period",
                "-payout-window",
                "-retarget-window",
                "-activation-height",
                "-chain-name",
            ]
            .iter()
            .any(|name| flag.starts_with(&format!("{name}=")))
        };
        let mut flags = vec![format!("-data-dir={}", self.data_dir().display())];
        flags.extend(self.bitcoind.iter().chain(&self.options.flags).filter(of_chain).cloned());
        flags
    }

    fn try_launch(&mut self) -> Result<(), String> {
        let open =
            || File::options().create(true).append(true).open(self.log_file()).map_err(|error| error.to_string());
        let child = Command::new(exe())
            .args(&self.bitcoind)
            .arg(format!("-address={}", self.options.address))
            .arg(format!("-data-dir={}", self.data_dir().display()))
            .arg(format!("-stratum-port={}", self.port.number()))
            .arg(format!("-p2p-port={}", self.p2p_port.number()))
            .args(Some("-mdns=false").filter(|_| !self.options.flags.iter().any(|flag| flag.starts_with("-mdns="))))
            // Nodes under test ask no router for a port.
            .arg("-upnp=false")
            .args(&self.options.flags)
            // Environment variables of the test would override flags.
            .env_clear()
            .envs(self.options.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(open()?)
            .stderr(open()?)
            .spawn()
            .map_err(|error| format!("{}: {error}", exe().display()))?;
        let (child, port) = (self.child.insert(child), self.port.number());
        let ended = wait_for("p2pool's port", START_TIMEOUT, || match child.try_wait() {
            Ok(Some(status)) => Some(Err(status)),
            _ => TcpStream::connect(("127.0.0.1", port)).ok().map(|_| Ok(())),
        });
        ended.map_err(|status| {
            self.child = None;
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(10).collect();
            format!("it ended with {status}: {tail:#?}")
        })
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            self.dir.disable_cleanup(true);
            eprintln!("p2pool's directory is kept: {}", self.dir.path().display());
        }
    }
}

/// Returns the flags for a bitcoind.
fn bitcoind_flags(bitcoind: &Bitcoind) -> Vec<String> {
    let mut flags = vec![
        format!("-network={}", bitcoind.chain().name()),
        format!("-rpc-port={}", bitcoind.rpc_port()),
        format!("-rpc-cookie-file={}", bitcoind.cookie_file().display()),
    ];
    if bitcoind.chain() == Chain::OpTrueSignet {
        flags.push("-signet-challenge=51".to_owned());
    }
    flags
}

/// Runs `p2pool` with these arguments and no environment variables, to its end.
pub fn run_to_end(words: &[&str]) -> Output {
    let output = Command::new(exe()).args(words).env_clear().stdin(Stdio::null()).output();
    output.unwrap_or_else(|error| panic!("{}: {error}", exe().display()))
}

/// Returns the path of `p2pool` in the profile of this test. cargo builds it first, so that no test runs a stale one.
pub fn exe() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    if let Some(path) = std::env::var_os(EXE_VARIABLE) {
        return path.into();
    }
    BUILT.get_or_init(build).clone()
}

fn build() -> PathBuf {
    let test = std::env::current_exe().unwrap_or_else(|error| panic!("path of this test: {error}"));
    // target/<profile>/deps/<test>, or target/<profile>/<program>
    let is_profile = |dir: &&Path| dir.join(".fingerprint").is_dir();
    let dir = test.ancestors().find(is_profile);
    let dir = dir.unwrap_or_else(|| panic!("{} is not in a target directory of cargo", test.display()));
    let profile = match dir.file_name().and_then(|name| name.to_str()) {
        Some("debug") => "dev",
        Some(profile) => profile,
        None => panic!("{} is not the directory of a profile", dir.display()),
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--locked", "--quiet", "--package", "p2pool", "--profile", profile]);
    command.arg("--target-dir").arg(dir.parent().unwrap_or(dir));
    let built = command.current_dir(env!("CARGO_MANIFEST_DIR")).status();
    assert!(built.is_ok_and(|status| status.success()), "{command:?} failed");
    dir.join("p2pool")
}
