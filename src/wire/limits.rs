//! How much of anything one message may hold. Each is a limit on what a stranger can make us allocate.

/// Bytes of a gossiped share: a canonical share has at most 859, the rest is for the frame around it.
pub const SHARE_MESSAGE_LEN_MAX: usize = 4_096;
/// Bytes of a block announcement: short ids of the largest block are 400 KB.
pub const BLOCK_MESSAGE_LEN_MAX: usize = 1_000_000;
/// Bytes of a request: the longest asks for transactions, three bytes each.
pub const REQUEST_LEN_MAX: usize = 64 << 10;
/// Bytes of a response. What is asked for and does not fit is asked for again.
pub const RESPONSE_LEN_MAX: usize = 1_000_000;

/// Ids in a locator: ten one by one, then doubling, reach back 2^54 shares with 64.
pub const LOCATOR_MAX: usize = 64;
/// Ids in one inventory: half a full chain, 280 KB.
pub const INVENTORY_MAX: usize = 8_192;
/// Shares in one request and its response: about 170 KB, a second on a slow line.
pub const SHARES_MAX: usize = 256;
/// Bitcoin headers in one response: the one asked for and up to six before it (rules, section 5, rule 6).
pub const HEADERS_MAX: usize = 7;
/// Transactions of a block: as many as a merkle branch of sixteen levels has leaves, the coinbase apart.
pub const BLOCK_TRANSACTIONS_MAX: usize = u16::MAX as usize;
/// Transactions asked for at once; more than the largest blocks hold that were ever seen.
pub const TRANSACTIONS_ASKED_MAX: usize = 16_384;
/// Bytes of one transaction: none larger is relayed by default (400,000 weight units), and it must fit a response.
pub const TRANSACTION_LEN_MAX: usize = 900_000;
/// Bytes of a coinbase with its witness: 1,000 payouts of 43 bytes are the most a chain may have.
pub const COINBASE_LEN_MAX: usize = 48 << 10;
/// Bytes of the text by which a node says what it runs.
pub const AGENT_LEN_MAX: usize = 64;
