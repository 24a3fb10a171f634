//! Limits on messages. Each bounds what a peer can make this node allocate.

/// Bytes of a gossiped share: at most 859 of the share and a few of the frame, with room to spare.
pub const SHARE_MESSAGE_LEN_MAX: usize = 4_096;
/// Bytes of a block announcement. The short ids of the largest block have 393,210 bytes and its coinbase [`COINBASE_LEN_MAX`]; a
/// peer that sends no more than the beginning occupies as much memory until it disconnects.
pub const BLOCK_MESSAGE_LEN_MAX: usize = 450_000;
/// Bytes of a request. The longest requests transactions, with three bytes each.
pub const REQUEST_LEN_MAX: usize = 64 << 10;
/// Bytes of a response. What does not fit has to be requested again.
pub const RESPONSE_LEN_MAX: usize = 1_000_000;

/// Ids in a locator: ten consecutive ones, then in doubling steps. 64 reach back 2^54 shares.
pub const LOCATOR_MAX: usize = 64;
/// Ids in one inventory: half a full chain, 280 KB.
pub const INVENTORY_MAX: usize = 8_192;
/// Shares in one request and its response: about 170 KB, a second on a slow line.
pub const SHARES_MAX: usize = 256;
/// Bitcoin headers in one response: the requested one and up to six before it (rules, section 5, rule 6).
pub const HEADERS_MAX: usize = 7;
/// Envelopes in one response: at most 400 KB, and usually 10 KB.
pub const ENVELOPES_MAX: usize = 4;
/// Transactions of a block without its coinbase. A merkle branch of sixteen hashes has no more leaves.
pub const BLOCK_TRANSACTIONS_MAX: usize = u16::MAX as usize;
/// Transactions in one request: more than the largest blocks so far have.
pub const TRANSACTIONS_REQUESTED_MAX: usize = 16_384;
/// Bytes of a block's transactions: no block has more weight units.
pub const BLOCK_LEN_MAX: usize = 4_000_000;
/// Bytes of one transaction. Nodes relay none larger by default (400,000 weight units), and it must fit a response.
pub const TRANSACTION_LEN_MAX: usize = 900_000;
/// Bytes of a coinbase with its witness. A chain has at most 1,000 payouts, of 43 bytes each.
pub const COINBASE_LEN_MAX: usize = 48 << 10;
/// Bytes of a node's agent string.
pub const AGENT_LEN_MAX: usize = 64;
