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

/// Until miners can connect; a start takes a fraction of a second, on a busy machine more.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// The program's own promise for its end after SIGTERM is 5 s; some to spare, on a machine that is busy with other tests.
const END_TIMEOUT: Duration = Duration::from_secs(15);
/// For one document of its API.
const API_TIMEOUT: Duration = Duration::from_secs(10);
/// Starts with another port, should another process snatch the one.
const START_ATTEMPTS_MAX: usize = 5;
/// Set when `p2pool` is not where cargo puts it.
const EXE_VARIABLE: &str = "P2POOL_EXE";

/// What a test may choose.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where this node's miners are paid.
    pub address: String,
    /// Flags beside those that say where bitcoind and data are, each `-name=value`.
    pub flags: Vec<String>,
    /// Environment variables; the node gets no others.
    pub environment: Vec<(String, String)>,
}

/// A `p2pool` that mines at a bitcoind, in a data folder of its own; killed when dropped.
#[derive(Debug)]
pub struct Pool {
    options: Options,
    bitcoind: Vec<String>,
    folder: TempDir,
    port: Port,
    p2p_port: Port,
    child: Option<Child>,
}

impl Pool {
    /// Starts a node with an empty sharechain; waits until miners can connect.
    pub fn start(bitcoind: &Bitcoind, options: Options) -> Self {
        let folder = tempfile::Builder::new().prefix("p2pool-node-").tempdir();
        let folder = folder.unwrap_or_else(|error| panic!("no temporary folder: {error}"));
        let (port, p2p_port) = (Port::reserve(), Port::reserve());
        let mut pool = Self { options, bitcoind: bitcoind_flags(bitcoind), folder, port, p2p_port, child: None };
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

    /// Starts the ended node again over the same data; waits until miners can connect.
    #[track_caller]
    pub fn launch(&mut self) {
        assert!(self.child.is_none(), "this p2pool is running");
        if let Err(failure) = self.try_launch() {
            panic!("p2pool does not start again: {failure}");
        }
    }

    /// Where its miners are paid from the next start on.
    pub fn set_address(&mut self, address: String) {
        self.options.address = address;
    }

    /// The flags of its next start.
    pub fn flags_mut(&mut self) -> &mut Vec<String> {
        &mut self.options.flags
    }

    /// Listens for other nodes on another port from the next start on, where nobody looks for it.
    pub fn move_p2p_port(&mut self) {
        self.p2p_port = Port::reserve();
    }

    /// Kills the node without warning (SIGKILL).
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself; waiting tells either way.
            drop(child.kill());
            drop(child.wait());
        }
    }

    /// Ends the node in good order (SIGTERM); panics if that takes far longer than it promises.
    #[track_caller]
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal("TERM");
        let status = wait_for("p2pool to end after SIGTERM", END_TIMEOUT, || self.ended());
        self.child = None;
        status
    }

    /// Sends the node a signal by name, `STOP` for one.
    #[track_caller]
    pub fn signal(&self, name: &str) {
        let id = self.process_id();
        let sent = Command::new("kill").args([format!("-{name}"), id.to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill -{name}");
    }

    /// Its process.
    #[track_caller]
    pub fn process_id(&self) -> u32 {
        self.child.as_ref().map_or_else(|| panic!("this p2pool is not running"), Child::id)
    }

    /// How the node ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.as_mut().and_then(|child| child.try_wait().ok().flatten())
    }

    /// `host:port` for miners.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port.number())
    }

    /// Where other nodes of this machine find it: `/ip4/127.0.0.1/tcp/PORT/p2p/ID`.
    #[track_caller]
    pub fn p2p_address(&self) -> String {
        let start = format!("/ip4/127.0.0.1/tcp/{}/p2p/", self.p2p_port.number());
        wait_for("p2pool to say where it listens", START_TIMEOUT, || {
            let log = self.log();
            let id = log.split(&start).nth(1)?.split_whitespace().next()?;
            Some(format!("{start}{id}"))
        })
    }

    /// A document of its API, `/api/status` for one; none while the node does not answer.
    pub fn api(&self, path: &str) -> Option<Value> {
        serde_json::from_str(&self.get(path)?).ok()
    }

    fn get(&self, path: &str) -> Option<String> {
        let config = ureq::Agent::config_builder().timeout_global(Some(API_TIMEOUT)).max_idle_connections(0).build();
        let agent = ureq::Agent::new_with_config(config);
        let mut answer = agent.get(format!("http://{}{path}", self.address())).call().ok()?;
        answer.body_mut().read_to_string().ok()
    }

    /// One of its metrics, by name with labels; none while the node does not answer.
    pub fn metric(&self, name: &str) -> Option<f64> {
        let text = self.get("/metrics")?;
        text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
    }

    /// A session with this node, ready for jobs.
    #[track_caller]
    pub fn session(&self, worker: &str) -> Session {
        self.session_with(worker, "x")
    }

    /// The same with wishes in the password, such as `d=0.01`.
    #[track_caller]
    pub fn session_with(&self, worker: &str, password: &str) -> Session {
        let session = Session::open(&self.address(), "p2pool-test", worker, password);
        session.unwrap_or_else(|error| panic!("no session: {error}"))
    }

    /// What `p2pool export` prints; works beside the running node.
    #[track_caller]
    pub fn export_text(&self) -> String {
        let output = Command::new(exe()).arg("export").args(self.chain_flags()).env_clear().output();
        let output = output.unwrap_or_else(|error| panic!("{}: {error}", exe().display()));
        assert!(output.status.success(), "export: {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The stored shares as `p2pool export` prints them, oldest first.
    #[track_caller]
    pub fn shares(&self) -> Vec<Value> {
        let parse = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("export: {error}: {line}"));
        // The first line is about the chain.
        self.export_text().lines().skip(1).map(parse).collect()
    }

    /// All that the node logged, over all its runs.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// Waits until the node has logged a line that contains `part`.
    #[track_caller]
    pub fn wait_log(&self, part: &str, timeout: Duration) {
        wait_until(&format!("p2pool to log {part:?}"), timeout, || self.log().contains(part));
    }

    /// The folder with all its data.
    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The file with its log.
    pub fn log_file(&self) -> PathBuf {
        self.folder.path().join("output.log")
    }

    /// Flags that say which chain and where its data are.
    fn chain_flags(&self) -> Vec<String> {
        let of_chain = |flag: &&String| {
            ["-network", "-signet-challenge", "-share-period", "-payout-window", "-retarget-window", "-chain-name"]
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
            .arg("-mdns=false")
            .args(&self.options.flags)
            // Variables of whoever runs the tests are stronger than flags.
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
            self.folder.disable_cleanup(true);
            eprintln!("p2pool's folder is kept: {}", self.folder.path().display());
        }
    }
}

/// Flags that say which chain a bitcoind is on and how to reach it.
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

/// Runs `p2pool` with just these words and no environment, to its end.
pub fn run_to_end(words: &[&str]) -> Output {
    let output = Command::new(exe()).args(words).env_clear().stdin(Stdio::null()).output();
    output.unwrap_or_else(|error| panic!("{}: {error}", exe().display()))
}

/// The `p2pool` of this tree, in this test's profile: cargo is asked to build it first, so that no test runs a stale one.
pub fn exe() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    if let Some(path) = std::env::var_os(EXE_VARIABLE) {
        return path.into();
    }
    BUILT.get_or_init(build).clone()
}

fn build() -> PathBuf {
    let test = std::env::current_exe().unwrap_or_else(|error| panic!("this test has no path: {error}"));
    // target/<profile>/deps/<test>, or target/<profile>/<program>
    let is_profile = |folder: &&Path| folder.join(".fingerprint").is_dir();
    let folder = test.ancestors().find(is_profile);
    let folder = folder.unwrap_or_else(|| panic!("{} is in no target folder of cargo", test.display()));
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") => "dev",
        Some(profile) => profile,
        None => panic!("{} is no profile's folder", folder.display()),
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--locked", "--quiet", "--package", "p2pool", "--profile", profile]);
    command.arg("--target-dir").arg(folder.parent().unwrap_or(folder));
    let built = command.current_dir(env!("CARGO_MANIFEST_DIR")).status();
    assert!(built.is_ok_and(|status| status.success()), "{command:?} failed");
    folder.join("p2pool")
}
