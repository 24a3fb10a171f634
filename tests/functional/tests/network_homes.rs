//! Nodes in homes, behind routers that let no connection in.

use std::collections::BTreeMap;

use p2pool_test_bitcoind::internet::{Host, Internet, Nat};
use p2pool_test_bitcoind::{wait_until, Bitcoind, Chain};
use p2pool_test_functional::namespaces::forward_port;
use p2pool_test_functional::network::{id, start, status, wait_tip, ManualMiner, TIMEOUT};
use p2pool_test_functional::pool::Pool;

use crate::network::options;

/// A node and the host that it is on.
pub struct Placed<'a> {
    pub node: Pool,
    pub host: &'a Host,
}

impl<'a> Placed<'a> {
    pub fn start(host: &'a Host, bitcoind: &Bitcoind, payee: u32, flags: impl IntoIterator<Item = String>) -> Self {
        let mut options = options(payee);
        options.flags.push("-log-level=debug".to_owned());
        options.flags.extend(flags);
        Self { node: host.inside(|| start(bitcoind, options, &[])), host }
    }

    /// Address for peers on the internet.
    pub fn p2p_address(&self) -> String {
        self.node.p2p_address().replace("127.0.0.1", &self.host.address.to_string())
    }

    fn wait_state(&self, state: &str) {
        let is_state = || status(&self.node)["reach"]["state"] == state;
        self.host.inside(|| wait_until(&format!("the state {state}"), TIMEOUT, is_state));
    }

    /// How the peers of the node are connected.
    fn routes(&self) -> BTreeMap<String, String> {
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let status = self.host.inside(|| status(&self.node));
        let peers = status["peers"].as_array().into_iter().flatten();
        peers.map(|peer| (text(&peer["id"]), text(&peer["route"]))).collect()
    }

    /// Finds a share here, which reaches the other node.
    pub fn mine_for(&self, other: &Self) {
        let share = self.host.inside(|| ManualMiner::at(&self.node).mine(&self.node));
        other.host.inside(|| wait_tip(&[&other.node], &share));
    }
}

#[test]
fn nodes_in_two_homes_exchange_shares_and_say_how_they_are_reached() {
    let Some(mut net) = Internet::new_or_skip() else { return };
    let bitcoind = Bitcoind::start(Chain::OpTrueSignet);
    let hosts = [net.public(1), net.home(2, Nat::KeepsPorts), net.home(3, Nat::KeepsPorts)];
    let _ports = hosts.each_ref().map(|host| forward_port(host.namespace.clone(), bitcoind.rpc_port()));
    let mut public = Placed::start(&hosts[0], &bitcoind, 1, None);
    let boot = public.p2p_address();
    let port = boot.split('/').nth(4).unwrap();
    let one = Placed::start(&hosts[1], &bitcoind, 2, Some(format!("-bootnodes={boot}")));
    let two = Placed::start(&hosts[2], &bitcoind, 3, Some(format!("-add-peer={}:{port}", hosts[0].address)));
    for home in [&one, &two] {
        home.wait_state("relayed");
    }
    public.wait_state("reachable");
    let (first, second) = (id(&one.node), id(&two.node));
    wait_until("a hole", TIMEOUT, || {
        let is_punched = |routes: BTreeMap<String, String>, id| routes.get(id).is_some_and(|route| route == "punched");
        is_punched(one.routes(), &second) && is_punched(two.routes(), &first)
    });
    one.mine_for(&two);
    two.mine_for(&one);
    let metric = |name| one.host.inside(|| one.node.metric(name));
    assert_eq!((metric("p2pool_peers_punched"), metric("p2pool_relays")), (Some(1.0), Some(1.0)));
    // They need the public node no more.
    assert!(public.node.terminate().success());
    one.wait_state("outbound_only");
    one.mine_for(&two);
    two.mine_for(&one);
    assert!(!one.routes().contains_key(&id(&public.node)));
}
