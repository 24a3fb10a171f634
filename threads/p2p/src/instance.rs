//! Notices that two running nodes have the same identity, as after a copy of a disk.
//!
//! A node draws a random instance number when it starts. With each new peer, and on the local network once a minute, it
//! exchanges a statement that it signs with its identity. A peer keeps the statements of the last instances of each
//! identity and returns that of the other one, so two nodes with one identity hear of each other through any peer that they
//! share. A statement also has a challenge of its author, and repeats the last challenge that its author heard from another
//! instance. A node that gets a statement of another instance, signed by its own identity, with one of its own recent
//! challenges, has proof: only a node that has the identity, and runs now, can make it. Statements of an earlier run of
//! this node, which a peer may still have, or may send on purpose, lack the challenge.
//!
//! A statement has 112 bytes: instance, challenge and repeated challenge (zero if none) of 16 bytes each, and the ed25519
//! signature of [`CONTEXT`], the chain id and these 48 bytes.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use libp2p::identity::Keypair;
use libp2p::PeerId;
use p2pool_core::params::ChainId;

/// Bytes of a statement.
pub const STATEMENT_LEN: usize = FACTS_LEN + 64;
/// Bytes that are signed, without context and chain id.
const FACTS_LEN: usize = 48;
/// Separates these signatures from others of the same key.
const CONTEXT: &[u8] = b"p2pool instance 1";
/// Age at which a challenge is replaced. The one before is still valid, so a repeated challenge is at most twice as old.
const CHALLENGE_TIME: Duration = Duration::from_secs(300);
/// Time without proof after which the other instance is gone. Longer than challenges are valid, so proof that is relayed
/// late makes no gap.
const PROOF_TIME: Duration = Duration::from_secs(900);
/// Identities whose statements are kept, in 170 KB. The one that was heard least recently is dropped.
const IDENTITIES_MAX: usize = 512;
/// Time for which statements are kept. Older ones have no valid challenge.
const KEEP_TIME: Duration = Duration::from_secs(3_600);

/// 16 random bytes: an instance or a challenge.
pub type Nonce = [u8; 16];

/// A statement without its signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Facts {
    instance: Nonce,
    challenge: Nonce,
    repeated: Nonce,
}

impl Facts {
    fn parse(statement: &[u8]) -> Option<Self> {
        if statement.len() != STATEMENT_LEN {
            return None;
        }
        let nonce = |index: usize| statement.get(16 * index..16 * (index + 1))?.try_into().ok();
        Some(Self { instance: nonce(0)?, challenge: nonce(1)?, repeated: nonce(2)? })
    }

    fn to_bytes(self) -> Vec<u8> {
        [self.instance, self.challenge, self.repeated].concat()
    }
}

/// Returns the instance that a well-formed statement is of.
fn instance_of(statement: &[u8]) -> Option<Nonce> {
    Facts::parse(statement).map(|facts| facts.instance)
}

/// This node's part: makes its statements, and judges those of other instances.
pub struct OwnInstance {
    key: Keypair,
    chain: ChainId,
    instance: Nonce,
    /// The present challenge and the one before.
    challenges: [Nonce; 2],
    challenged_at: Instant,
    /// The last challenge of another instance; zero before the first.
    repeated: Nonce,
    /// When there was proof of another instance last.
    proof_at: Option<Instant>,
}

impl OwnInstance {
    /// Starts with random numbers.
    pub const fn new(key: Keypair, chain: ChainId, instance: Nonce, challenge: Nonce, now: Instant) -> Self {
        let challenges = [challenge; 2];
        Self { key, chain, instance, challenges, challenged_at: now, repeated: [0; 16], proof_at: None }
    }

    /// Replaces the challenge by a random number if it is due.
    pub fn tick(&mut self, random: impl FnOnce() -> Nonce, now: Instant) {
        if now.duration_since(self.challenged_at) >= CHALLENGE_TIME {
            self.challenges = [random(), self.challenges[0]];
            self.challenged_at = now;
        }
    }

    /// Returns this node's present statement.
    pub fn statement(&self) -> Vec<u8> {
        let facts =
            Facts { instance: self.instance, challenge: self.challenges[0], repeated: self.repeated }.to_bytes();
        // Signing with an ed25519 key does not fail; without a signature the statement is not well formed, and ignored.
        let signature = self.key.sign(&self.signed(&facts)).unwrap_or_default();
        [facts, signature].concat()
    }

    /// Judges a statement, perhaps of another instance. Returns whether this node's own statement has changed: the other
    /// instance should get it.
    pub fn hear(&mut self, statement: &[u8], now: Instant) -> bool {
        let Some(facts) = Facts::parse(statement).filter(|facts| facts.instance != self.instance) else { return false };
        let Some((signed, signature)) = statement.split_at_checked(FACTS_LEN) else { return false };
        if !self.key.public().verify(&self.signed(signed), signature) {
            return false;
        }
        if self.challenges.contains(&facts.repeated) {
            self.proof_at = Some(now);
        }
        std::mem::replace(&mut self.repeated, facts.challenge) != facts.challenge
    }

    /// Whether another node with this identity runs.
    pub fn is_duplicated(&self, now: Instant) -> bool {
        self.proof_at.is_some_and(|at| now.duration_since(at) < PROOF_TIME)
    }

    fn signed(&self, facts: &[u8]) -> Vec<u8> {
        [CONTEXT, &self.chain.0, facts].concat()
    }
}

/// The statements of other nodes, which are passed on and not judged.
#[derive(Debug, Default)]
pub struct Statements {
    of: HashMap<PeerId, Vec<Kept>>,
}

#[derive(Debug)]
struct Kept {
    statement: Vec<u8>,
    at: Instant,
}

impl Statements {
    /// Keeps a peer's statement and returns the last one of another instance of it; empty if there is none.
    pub fn exchange(&mut self, peer: PeerId, statement: Vec<u8>, now: Instant) -> Vec<u8> {
        let Some(instance) = instance_of(&statement) else { return Vec::new() };
        if !self.of.contains_key(&peer) && self.of.len() >= IDENTITIES_MAX {
            let heard = |kept: &Vec<Kept>| kept.iter().map(|kept| kept.at).max();
            if let Some(oldest) = self.of.iter().min_by_key(|(_, kept)| heard(kept)).map(|(peer, _)| *peer) {
                self.of.remove(&oldest);
            }
        }
        let kept = self.of.entry(peer).or_default();
        kept.retain(|kept| instance_of(&kept.statement) != Some(instance) && now.duration_since(kept.at) < KEEP_TIME);
        // One other instance: of three, each hears of another sooner or later.
        if kept.len() > 1 {
            kept.remove(0);
        }
        let other = kept.last().map(|kept| kept.statement.clone());
        kept.push(Kept { statement, at: now });
        other.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHAIN: ChainId = ChainId([7; 32]);

    fn instance(key: &Keypair, number: u8, now: Instant) -> OwnInstance {
        OwnInstance::new(key.clone(), CHAIN, [number; 16], [number.wrapping_add(100); 16], now)
    }

    /// An instance connects to the peer that keeps `statements`.
    fn connect(own: &mut OwnInstance, statements: &mut Statements, now: Instant) {
        let peer = own.key.public().to_peer_id();
        let other = statements.exchange(peer, own.statement(), now);
        if own.hear(&other, now) {
            statements.exchange(peer, own.statement(), now);
        }
    }

    #[test]
    fn two_instances_that_share_a_peer_have_proof_of_each_other() {
        let (now, key) = (Instant::now(), Keypair::generate_ed25519());
        let (mut one, mut two) = (instance(&key, 1, now), instance(&key, 2, now));
        let mut statements = Statements::default();
        for _ in 0..2 {
            connect(&mut one, &mut statements, now);
            connect(&mut two, &mut statements, now);
        }
        assert!(one.is_duplicated(now) && two.is_duplicated(now));
        assert!(!one.is_duplicated(now + PROOF_TIME), "the other one is gone");
    }

    #[test]
    fn two_instances_that_hear_each_other_directly_have_proof_after_three_statements() {
        let (now, key) = (Instant::now(), Keypair::generate_ed25519());
        let (mut one, mut two) = (instance(&key, 1, now), instance(&key, 2, now));
        assert!(two.hear(&one.statement(), now));
        assert!(one.hear(&two.statement(), now));
        assert!(!two.hear(&one.statement(), now), "nothing new to say: no exchange without end");
        assert!(one.is_duplicated(now) && two.is_duplicated(now));
    }

    #[test]
    fn restarts_of_one_node_are_no_proof() {
        let (now, key) = (Instant::now(), Keypair::generate_ed25519());
        let mut statements = Statements::default();
        for number in 0..50 {
            let mut run = instance(&key, number, now);
            for _ in 0..3 {
                connect(&mut run, &mut statements, now);
            }
            assert!(!run.is_duplicated(now), "run {number}");
        }
    }

    #[test]
    fn statements_of_an_instance_that_is_gone_prove_nothing_after_some_minutes() {
        let (start, key) = (Instant::now(), Keypair::generate_ed25519());
        let (mut one, mut two) = (instance(&key, 1, start), instance(&key, 2, start));
        two.hear(&one.statement(), start);
        let replayed = two.statement();
        let after = |periods: u32| start + CHALLENGE_TIME * periods;
        one.tick(|| [201; 16], after(1));
        one.hear(&replayed, after(1));
        assert!(one.is_duplicated(after(1)), "the last challenge is still valid");
        one.tick(|| [202; 16], after(2));
        one.hear(&replayed, after(2));
        assert!(!one.is_duplicated(after(1) + PROOF_TIME));
    }

    #[test]
    fn nobody_else_can_make_a_statement() {
        let (now, key) = (Instant::now(), Keypair::generate_ed25519());
        let mut own = instance(&key, 1, now);
        let mut other = instance(&Keypair::generate_ed25519(), 2, now);
        other.hear(&own.statement(), now);
        other.repeated = own.challenges[0];
        assert!(!own.hear(&other.statement(), now));
        let mut on_another_chain = OwnInstance { chain: ChainId([8; 32]), ..instance(&key, 2, now) };
        on_another_chain.repeated = own.challenges[0];
        assert!(!own.hear(&on_another_chain.statement(), now));
        let mut true_one = instance(&key, 2, now);
        true_one.repeated = own.challenges[0];
        let statement = true_one.statement();
        for index in 0..STATEMENT_LEN {
            let mut changed = statement.clone();
            changed[index] ^= 1;
            assert!(!own.hear(&changed, now), "byte {index}");
        }
        assert!(!own.hear(&statement[1..], now) && !own.hear(&[], now));
        assert!(!own.is_duplicated(now));
        own.hear(&statement, now);
        assert!(own.is_duplicated(now));
    }

    #[test]
    fn statements_of_others_are_bounded() {
        let (now, key) = (Instant::now(), Keypair::generate_ed25519());
        let mut statements = Statements::default();
        for number in 0..200 {
            statements.exchange(key.public().to_peer_id(), instance(&key, number, now).statement(), now);
        }
        assert_eq!(statements.of.values().map(Vec::len).sum::<usize>(), 2);
        for _ in 0..2 * IDENTITIES_MAX {
            statements.exchange(PeerId::random(), vec![1; STATEMENT_LEN], now);
        }
        assert_eq!(statements.of.len(), IDENTITIES_MAX);
        assert!(statements.exchange(PeerId::random(), vec![1; STATEMENT_LEN + 1], now).is_empty());
        assert_eq!(statements.of.len(), IDENTITIES_MAX);
    }
}
