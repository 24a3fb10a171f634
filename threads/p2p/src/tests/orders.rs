//! The operator's commands.

use libp2p::PeerId;
use p2pool_channels::CommandRefused;
use p2pool_core::operator::OperatorCommand;
use p2pool_core::status::Direction;

use super::support::{until, TestNode};
use crate::address::without_peer_id;
use crate::bans::BAN_S;
use crate::driver::BANS_FILE;

fn connect(node: &TestNode, address: &impl ToString) {
    node.operator.send(&OperatorCommand::Connect { address: address.to_string() }).unwrap();
}

fn ban(node: &TestNode, subject: &str, hours: u32) -> Result<String, CommandRefused> {
    node.operator.send(&OperatorCommand::Ban { subject: subject.to_owned(), hours })
}

fn unban(node: &TestNode, subject: &str) -> Result<String, CommandRefused> {
    node.operator.send(&OperatorCommand::Unban { subject: subject.to_owned() })
}

#[test]
fn a_peer_that_the_operator_bans_is_disconnected_and_stays_out_across_restarts_until_it_is_unbanned() {
    let (node, other) = (TestNode::start(&[]), TestNode::start(&[]));
    connect(&node, &other.address);
    node.await_peer(&other.id());
    assert_eq!(ban(&node, &other.id(), 48).unwrap(), format!("{} is banned for 48 h", other.id()));
    node.await_no_peer(&other.id());
    let bans = node.status.load().bans.clone();
    assert_eq!((bans.len(), &bans[0].subject, &*bans[0].reason), (1, &other.id(), "by the operator"));

    let node = node.stop_for_restart(&[]).go();
    assert!(node.file(BANS_FILE).contains(&other.id()));
    node.advance_clock(BAN_S);
    connect(&other, &node.address);
    connect(&node, &other.address);
    // A third peer comes in after both attempts have failed.
    let third = TestNode::start(&[&node.address]);
    node.await_peer(&third.id());
    assert!(!node.has_peer(&other.id()));
    assert_eq!(node.status.load().banned(), 1, "a day was not its end");

    unban(&node, &other.id()).unwrap();
    until("the end of the ban", || (node.status.load().banned() == 0).then_some(()));
    connect(&other, &node.address);
    node.await_peer(&other.id());
    assert_eq!(
        unban(&node, &other.id()).unwrap_err(),
        CommandRefused::NotFound(format!("{} is not banned", other.id()))
    );
}

#[test]
fn all_bans_are_lifted_at_once() {
    let node = TestNode::start(&[]);
    for subject in ["8.8.8.8", "2001:db8:1::/48", &PeerId::random().to_string()] {
        ban(&node, subject, 1).unwrap();
    }
    until("the bans", || (node.status.load().banned() == 3).then_some(()));
    unban(&node, "all").unwrap();
    until("the end of the bans", || node.status.load().bans.is_empty().then_some(()));
}

#[test]
fn a_peer_is_connected_on_command_with_or_without_its_id_and_disconnected() {
    let (node, other) = (TestNode::start(&[]), TestNode::start(&[]));
    connect(&node, &without_peer_id(&other.address));
    node.await_peer(&other.id());
    let direction = node.status.load().peers[0].direction;
    assert_eq!(direction, Direction::Outbound);
    node.operator.send(&OperatorCommand::Disconnect { peer: other.id() }).unwrap();
    node.await_no_peer(&other.id());
    let again = node.operator.send(&OperatorCommand::Disconnect { peer: other.id() });
    assert_eq!(again.unwrap_err(), CommandRefused::NotFound(format!("{} is not connected", other.id())));
    connect(&node, &other.address);
    node.await_peer(&other.id());
}
