//! What the operator asks of the running node, besides reading its state.

/// Length of a ban by the operator if none is given. As long as one for misbehaviour.
pub const BAN_HOURS: u32 = 24;
/// Longest ban by the operator: a year, after which an address has changed hands.
pub const BAN_HOURS_MAX: u32 = 366 * 24;

/// A command for the network thread, in the operator's words, which only that thread's crate can read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OperatorCommand {
    /// Ban a peer id, an IP address, or an IPv6 /64 or /48, and disconnect it.
    Ban { subject: String, hours: u32 },
    /// Lift a ban, or all.
    Unban { subject: String },
    /// Dial a multiaddr once.
    Connect { address: String },
    /// Close the connection to a peer.
    Disconnect { peer: String },
}
