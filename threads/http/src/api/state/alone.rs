//! A node without others, and what can be done about that.

use p2pool_core::status::LooksBy;

use super::{Code, Level, State};
use crate::view::View;

/// What is to be done depends on how others are looked for. Without work nobody mines, alone or not.
pub fn alone(view: &View) -> State {
    let (level, why, advice) = match view.peers.looks_by {
        LooksBy { bootnodes: true, .. } => (
            Level::Warning,
            "no other node can be reached",
            "Check that those in -bootnodes run and can be reached, and that -p2p-port of this machine can be reached \
             from outside. What is found meanwhile may earn less than it could.",
        ),
        LooksBy { known: true, .. } => (
            Level::Warning,
            "no other node can be reached",
            "Check that this machine is online: none of the nodes known from before answers. The address of one that \
             runs, given in -bootnodes, helps. What is found meanwhile may earn less than it could.",
        ),
        LooksBy { mdns: true, .. } => (
            Level::Warning,
            "no other node is found on the local network",
            "Others elsewhere are not looked for: to mine with them, give the address of one in -bootnodes. If this node \
             is meant to be alone, -mdns=false ends the warning.",
        ),
        LooksBy { bootnodes: false, known: false, mdns: false } => (
            Level::Info,
            "this node looks for no others",
            "Nothing is needed if that is intended. Otherwise give the address of another node in -bootnodes.",
        ),
    };
    let text = match (view.job(), why.split_at(1)) {
        (Some(_), _) => format!("Mining alone: {why}."),
        (None, (first, rest)) => format!("{}{rest}.", first.to_uppercase()),
    };
    State::new(Code::Alone, level, text, advice)
}
