//! Rate limits of single peers and of whole netgroups.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use p2pool_core::netgroup::Netgroup;
use p2pool_core::token_bucket::{Rate, TokenBucket};

/// A netgroup may do as much as this many peers: half of those that may be connected from it.
const PEERS_PER_NETGROUP: u32 = 4;
/// The same of an anonymous one: all that may be connected from it, so that honest members feel their own limits alone.
const PEERS_PER_ANONYMOUS: u32 = 8 * PEERS_PER_NETGROUP;
/// How many times as much of a [`SharedBucket`] an anonymous netgroup may take. All of them, Tor, onions and relays, take three
/// quarters of it, if the part of others is an eighth.
const ANONYMOUS_PARTS: u32 = 2;
/// Netgroups that are remembered. Past that, those whose buckets are full are forgotten.
const NETGROUPS_MAX: usize = 1_024;

/// What is rate limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Connecting to this node. Limited per netgroup only.
    Connect,
    /// Sending a request.
    Request,
    /// Relaying a share.
    Share,
    /// Relaying a block announcement.
    Block,
    /// Sending identify information.
    Identify,
    /// Sending a request or a response of the DHT.
    Dht,
}

impl Action {
    const ALL: [Self; 6] = [Self::Connect, Self::Request, Self::Share, Self::Block, Self::Identify, Self::Dht];

    /// Returns the rate limit of one peer.
    const fn rate(self) -> Rate {
        let (burst, interval_ms) = match self {
            // All nodes of a netgroup can reconnect at once after an outage, some of them twice. This also bounds what
            // GossipSub remembers of peers, see `gossip`.
            Self::Connect => (8, 20_000),
            // A new node fetches 17,280 shares at once with some 70 requests of `wire::limits::SHARES_MAX` shares.
            Self::Request => (100, 100),
            // At one share in 30 s, a hundred are most of an hour's shares.
            Self::Share => (100, 50),
            // Bitcoin has one block in ten minutes, test networks have more.
            Self::Block => (10, 2_000),
            // Once per connection, once in five minutes, and whenever the peer's addresses change.
            Self::Identify => (20, 10_000),
            // A node looks for others once a minute, with some ten requests to each of its peers. A response has up to 16 KB.
            Self::Dht => (600, 200),
        };
        Rate { burst, interval: Duration::from_millis(interval_ms) }
    }
}

/// The token buckets of a peer or a netgroup.
#[derive(Debug)]
pub struct RateLimiter {
    buckets: [TokenBucket<Instant>; Action::ALL.len()],
}

impl RateLimiter {
    /// Full buckets for what `peers` peers may do together.
    pub fn new(peers: u32, now: Instant) -> Self {
        Self { buckets: Action::ALL.map(|action| TokenBucket::new(action.rate().times(peers), now)) }
    }

    /// Takes a token; false if there is none.
    pub fn take(&mut self, action: Action, now: Instant) -> bool {
        self.buckets[action as usize].take(now)
    }

    /// Gives back a token for an action that turned out to be useful.
    pub fn give_back(&mut self, action: Action) {
        self.buckets[action as usize].give_back();
    }

    fn is_full(&self, now: Instant) -> bool {
        self.buckets.iter().all(|bucket| bucket.is_full(now))
    }
}

/// A rate limiter for each netgroup, so that a peer gains nothing by reconnecting under a new id. Peers without one are not
/// limited.
#[derive(Debug, Default)]
pub struct NetgroupLimiter {
    limiters: HashMap<Netgroup, RateLimiter>,
}

impl NetgroupLimiter {
    /// Takes a token of a netgroup; false if there is none.
    pub fn take(&mut self, netgroup: Option<Netgroup>, action: Action, now: Instant) -> bool {
        let Some(netgroup) = netgroup else { return true };
        if !self.limiters.contains_key(&netgroup) && self.limiters.len() >= NETGROUPS_MAX {
            self.limiters.retain(|_, limiter| !limiter.is_full(now));
        }
        let peers = if netgroup.is_anonymous() { PEERS_PER_ANONYMOUS } else { PEERS_PER_NETGROUP };
        self.limiters.entry(netgroup).or_insert_with(|| RateLimiter::new(peers, now)).take(action, now)
    }

    /// Gives back a token for an action that turned out to be useful.
    pub fn give_back(&mut self, netgroup: Option<Netgroup>, action: Action) {
        if let Some(limiter) = netgroup.and_then(|netgroup| self.limiters.get_mut(&netgroup)) {
            limiter.give_back(action);
        }
    }
}

/// A token bucket of all, of which each netgroup has a part, so that few of them do not use it up. Peers without a netgroup are
/// limited by that of all alone.
#[derive(Debug)]
pub struct SharedBucket {
    of_all: TokenBucket<Instant>,
    part: Rate,
    parts: HashMap<Netgroup, TokenBucket<Instant>>,
}

impl SharedBucket {
    /// A full bucket. An anonymous netgroup's part is [`ANONYMOUS_PARTS`] times as large.
    pub fn new(of_all: Rate, part: Rate, now: Instant) -> Self {
        Self { of_all: TokenBucket::new(of_all, now), part, parts: HashMap::new() }
    }

    /// Takes a token of a netgroup's part and of all. False if one has none; then none is taken.
    pub fn take(&mut self, netgroup: Option<Netgroup>, now: Instant) -> bool {
        let Some(netgroup) = netgroup else { return self.of_all.take(now) };
        if !self.parts.contains_key(&netgroup) && self.parts.len() >= NETGROUPS_MAX {
            self.parts.retain(|_, bucket| !bucket.is_full(now));
            if self.parts.len() >= NETGROUPS_MAX {
                return false;
            }
        }
        let rate = if netgroup.is_anonymous() { self.part.times(ANONYMOUS_PARTS) } else { self.part };
        let part = self.parts.entry(netgroup).or_insert_with(|| TokenBucket::new(rate, now));
        if !part.take(now) {
            return false;
        }
        let is_taken = self.of_all.take(now);
        if !is_taken {
            part.give_back();
        }
        is_taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Option<Netgroup> {
        Netgroup::of(text.parse().unwrap())
    }

    #[test]
    fn a_netgroup_shares_one_limit_per_action() {
        let (mut limiter, now) = (NetgroupLimiter::default(), Instant::now());
        let taken = (0..1_000).take_while(|_| limiter.take(at("8.8.8.8"), Action::Request, now)).count();
        assert_eq!(taken, 400, "as much as four peers");
        assert!(!limiter.take(at("8.8.8.200"), Action::Request, now));
        assert!(limiter.take(at("8.8.8.200"), Action::Share, now), "actions are counted separately");
        assert!(limiter.take(at("8.8.9.8"), Action::Request, now));
        assert!((0..1_000).all(|_| limiter.take(at("192.168.1.1"), Action::Request, now)));
        let of_tor = (0..10_000).take_while(|_| limiter.take(Some(Netgroup::Tor), Action::Request, now)).count();
        assert_eq!(of_tor, 3_200, "as much as 32 peers");
        limiter.give_back(at("8.8.8.1"), Action::Request);
        assert!(limiter.take(at("8.8.8.8"), Action::Request, now));
    }

    #[test]
    fn what_is_refused_takes_no_token_of_a_shared_bucket() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let rate = |burst, interval| Rate { burst, interval };
        let mut bucket = SharedBucket::new(rate(16, second), rate(2, 100 * second), start);
        let mut taken = |netgroup, now| (0..100).filter(|_| bucket.take(netgroup, now)).count();
        assert_eq!(taken(at("8.8.8.8"), start), 2);
        assert_eq!(taken(Some(Netgroup::Tor), start), 4);
        assert_eq!(taken(None, start), 16 - 2 - 4);
        assert_eq!(taken(at("9.9.9.9"), start), 0);
        assert_eq!(taken(at("9.9.9.9"), start + 2 * second), 2, "its own part is still full");
    }

    #[test]
    fn netgroups_with_full_buckets_are_forgotten() {
        let (mut limiter, start) = (NetgroupLimiter::default(), Instant::now());
        for number in 0..4 * NETGROUPS_MAX as u32 {
            let netgroup = Netgroup::of((0x0800_0000 + number * 256).to_be_bytes().into());
            assert!(limiter.take(netgroup, Action::Connect, start + Duration::from_secs(5) * number));
        }
        assert!(limiter.limiters.len() <= NETGROUPS_MAX);
    }
}
