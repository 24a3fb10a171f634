//! Buckets of known peers, as in Bitcoin Core's address manager: which known peers compete for the same room.
//!
//! Peers are in buckets by a keyed hash of the group of their address, new ones also by that of the peer that this node
//! heard of them from. A party with addresses in few groups reaches few buckets, and cannot find out which: the key is secret.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bitcoin::hashes::siphash24;

/// Entries per bucket.
pub const BUCKET_LEN: usize = 8;
/// Buckets of each table: a table of 512 peers, 50 KB on the disk.
const BUCKETS: u64 = 64;
/// Buckets of the tried table that one group of addresses reaches: a sixteenth.
const TRIED_BUCKETS_PER_GROUP: u64 = 4;
/// Buckets of the new table that one group of sources reaches: a sixteenth.
const NEW_BUCKETS_PER_GROUP: u64 = 4;
/// The same for all that is heard from the DHT, whose responses do not show which peer they are of: a quarter.
const NEW_BUCKETS_OF_DHT: u64 = 16;

/// A party easily obtains many addresses of one group: an IPv4 /16, an IPv6 /32; `None` for names. Own networks have groups
/// too.
pub type Group = Option<IpAddr>;

/// Returns the group of an address.
pub fn group(address: Option<IpAddr>) -> Group {
    Some(match address?.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & 0xffff_0000)),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !(u128::MAX >> 32))),
    })
}

/// Where this node heard of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeardFrom {
    /// From a connected peer of this group.
    Peer(Group),
    /// From the DHT.
    Dht,
}

/// A bucket of one of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bucket {
    /// Peers that this node has not dialled successfully.
    New(u8),
    /// Peers that it has.
    Tried(u8),
}

/// The secret key of the buckets' hashes.
#[derive(Clone, Copy, Debug)]
pub struct Key(pub [u8; 16]);

impl Key {
    /// Returns a keyed hash of some bytes.
    pub fn hash(&self, parts: &[&[u8]]) -> u64 {
        let (first, second) = self.0.split_at(8);
        let number = |bytes: &[u8]| bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        // A part is never longer than 255 bytes: an address, a group or a peer id.
        let bytes: Vec<u8> = parts.iter().flat_map(|part| [&[part.len() as u8], *part].concat()).collect();
        siphash24::Hash::hash_to_u64_with_keys(number(first), number(second), &bytes)
    }

    /// Returns the bucket of a peer that this node has heard of.
    pub fn new_bucket(&self, address: Group, from: HeardFrom) -> Bucket {
        let (source, buckets) = match from {
            HeardFrom::Peer(group) => (bytes(group), NEW_BUCKETS_PER_GROUP),
            HeardFrom::Dht => (b"dht".to_vec(), NEW_BUCKETS_OF_DHT),
        };
        let which = self.hash(&[b"new", &source, &bytes(address)]) % buckets;
        Bucket::New(bucket(self.hash(&[b"new bucket", &source, &which.to_be_bytes()])))
    }

    /// Returns the bucket of a peer that this node has dialled. `peer` stands for one address of the group.
    pub fn tried_bucket(&self, address: Group, peer: &[u8]) -> Bucket {
        let which = self.hash(&[b"tried", peer]) % TRIED_BUCKETS_PER_GROUP;
        Bucket::Tried(bucket(self.hash(&[b"tried bucket", &bytes(address), &which.to_be_bytes()])))
    }
}

fn bucket(hash: u64) -> u8 {
    // Less than the number of buckets.
    (hash % BUCKETS) as u8
}

fn bytes(group: Group) -> Vec<u8> {
    match group {
        Some(IpAddr::V4(v4)) => v4.octets().to_vec(),
        Some(IpAddr::V6(v6)) => v6.octets().to_vec(),
        None => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const KEY: Key = Key([7; 16]);

    fn of(text: &str) -> Group {
        group(Some(text.parse().unwrap()))
    }

    #[test]
    fn groups_are_16_and_32_bits_wide() {
        assert_eq!(of("8.8.8.8"), of("8.8.255.1"));
        assert_eq!(of("8.8.8.8"), of("::ffff:8.8.1.1"));
        assert_ne!(of("8.8.8.8"), of("8.9.8.8"));
        assert_eq!(of("2001:db8:1::1"), of("2001:db8:ffff::1"));
        assert_ne!(of("2001:db8::1"), of("2001:db9::1"));
        assert_ne!(of("127.1.0.1"), of("127.2.0.1"));
        assert_eq!(group(None), None);
    }

    #[test]
    fn one_group_reaches_few_buckets_of_each_table_and_another_group_others() {
        let tried = |group| -> BTreeSet<Bucket> {
            (0..1_000_u32).map(|peer| KEY.tried_bucket(of(group), &peer.to_be_bytes())).collect()
        };
        assert!(tried("8.8.8.8").len() <= TRIED_BUCKETS_PER_GROUP as usize);
        assert_ne!(tried("8.8.8.8"), tried("8.9.8.8"));
        let new = |from| -> BTreeSet<Bucket> {
            let groups = (0..=255_u8).map(|second| group(Some([8, second, 0, 1].into())));
            groups.map(|address| KEY.new_bucket(address, from)).collect()
        };
        assert!(new(HeardFrom::Peer(of("8.8.8.8"))).len() <= NEW_BUCKETS_PER_GROUP as usize);
        assert!((5..=NEW_BUCKETS_OF_DHT as usize).contains(&new(HeardFrom::Dht).len()));
        let all: BTreeSet<Bucket> =
            (0..=255_u8).flat_map(|second| new(HeardFrom::Peer(group(Some([9, second, 0, 1].into()))))).collect();
        assert_eq!(all.len(), BUCKETS as usize);
    }

    #[test]
    fn the_buckets_depend_on_the_key() {
        let buckets: BTreeSet<Bucket> =
            (0..100).map(|key| Key([key; 16]).tried_bucket(of("8.8.8.8"), b"peer")).collect();
        assert!(buckets.len() > 30, "{}", buckets.len());
    }
}
