//! An attacker against honest miners, without nodes or hashing: who finds the next share when, on which branch, and what
//! each is paid.
//!
//! The honest miners are many and follow the rules; they hear of each share after a second. The attacker hears of it at once
//! and plays an [`Attack`]. Shares are drawn at the rate that their targets give; times, targets, easing, uncles and ties
//! follow the rules.

use std::collections::VecDeque;

use p2pool_core::params::{ChainParams, Network, UNCLES_MAX, UNCLE_CREDIT, UNCLE_DEPTH_MAX};
use p2pool_core::sharechain::difficulty::{eased_bits, easings_allowed, RetargetSample};
use p2pool_core::units::{Bits, ShareHeight, UnixTime, Work};

use super::attack::{Attack, Names};
use super::measure::HASH_RATE;
use super::pool::{BEFORE_PARENT_MAX_S, JOB_REFRESH_S, MEDIAN_SHARES, PROPAGATION_S, START_S};
use super::retarget::Retarget;
use super::strategy::{Situation, Strategy, AHEAD_MAX_S};
use crate::random::Random;

/// Shares that are found before anything counts.
const WARM_UP_SHARES: u32 = 200;
/// The same before a ramp, of which there are many tries.
const RAMP_WARM_UP_SHARES: u32 = 40;
/// A ramp that has not overtaken by so many times the shares that it is to remove never will.
const GIVES_UP_AFTER: u32 = 10;
/// Shares that are looked at for uncles.
const RECENT_MAX: usize = 64;
const UNCLES: usize = UNCLES_MAX as usize;

/// The place of a share in [`Race::shares`].
type At = usize;

/// A share.
#[derive(Clone, Debug)]
struct Share {
    parent: At,
    sample: RetargetSample,
    chain_work: u128,
    /// Between equal chain works the lower one wins.
    id: f64,
    is_attackers: bool,
    is_published: bool,
    uncles: [Option<At>; UNCLES],
    /// The target of its children before easing, its work, and the earliest time that they may have.
    child_bits: Bits,
    child_work: Work,
    child_earliest: UnixTime,
}

/// What a miner works on until the job is renewed.
struct Job {
    parent: At,
    time: UnixTime,
    work: Work,
}

/// The race.
pub struct Race {
    params: ChainParams,
    rule: Retarget,
    random: Random,
    /// The attacker's part of the hash rate.
    part: f64,
    attack: Attack,
    now_s: f64,
    shares: Vec<Share>,
    /// Shares that may become uncles.
    recent: Vec<At>,
    /// The best published share.
    public: At,
    /// What the honest miners work on, and what they will hear of when.
    honest: At,
    news: VecDeque<(f64, At)>,
    /// The tip of the branch that the attacker keeps back, and the last published share below it.
    private: Option<At>,
    fork: At,
    attacker_found: u64,
}

impl Race {
    /// Steady miners with full windows.
    pub fn new(seed: u64, rule: Retarget, part: f64, attack: Attack) -> Self {
        let params = ChainParams::standard(Network::Mainnet);
        let right = Work((HASH_RATE * f64::from(params.share_period_s)) as u128);
        let count = params.retarget_window;
        let mut race = Self {
            rule,
            random: Random::new(seed),
            part,
            attack,
            now_s: 0.0,
            shares: Vec::new(),
            recent: Vec::new(),
            public: 0,
            honest: 0,
            news: VecDeque::new(),
            private: None,
            fork: 0,
            attacker_found: 0,
            params,
        };
        for number in 0..count {
            let time = UnixTime(START_S - (count - 1 - number) * race.params.share_period_s);
            let sample = RetargetSample {
                time,
                height: ShareHeight(number),
                work: right,
                base_work: right,
                work_with_uncles: right,
            };
            let share = Share {
                parent: (number as usize).saturating_sub(1),
                sample,
                chain_work: right.0 * u128::from(number + 1),
                id: 0.0,
                is_attackers: false,
                is_published: true,
                uncles: [None; UNCLES],
                child_bits: right.target().to_bits(),
                child_work: right,
                child_earliest: time.plus(1),
            };
            race.shares.push(share);
        }
        race.public = race.shares.len() - 1;
        race.honest = race.public;
        race.fork = race.public;
        race.prepare_children(race.public);
        race
    }

    /// The attacker's part of what the main chain's next `shares` shares credit, over its part of the hash rate.
    pub fn gain(mut self, shares: u32) -> f64 {
        let from = self.height(self.public) + WARM_UP_SHARES;
        while self.height(self.public) < from + shares {
            self.step();
        }
        let mut credits = [0.0, 0.0];
        let mut at = self.public;
        while self.height(at) > from {
            let share = &self.shares[at];
            credits[usize::from(share.is_attackers)] += share.sample.work.0 as f64;
            for uncle in share.uncles.iter().flatten().map(|uncle| &self.shares[*uncle]) {
                let (of, all) = (f64::from(UNCLE_CREDIT.0), f64::from(UNCLE_CREDIT.1));
                let work = uncle.sample.work.0 as f64;
                credits[usize::from(uncle.is_attackers)] += work * of / all;
                credits[usize::from(share.is_attackers)] += work * (all - of) / all;
            }
            at = share.parent;
        }
        credits[1] / (credits[0] + credits[1]) / self.part
    }

    /// Whether a private branch, begun once the pool is steady, comes to outweigh a public one of at least `shares` shares
    /// before the attacker gives up.
    pub fn removes(mut self, shares: u32) -> bool {
        let attack = std::mem::replace(&mut self.attack, Attack::honest());
        let from = self.height(self.public) + RAMP_WARM_UP_SHARES;
        while self.height(self.public) < from {
            self.step();
        }
        self.attack =
            Attack { withholds: 1.0, length_max: u32::MAX, margin: f64::NEG_INFINITY, reveals: false, ..attack };
        while self.private.is_none() {
            self.step();
        }
        while let Some(tip) = self.private {
            let removed = self.height(self.public) - self.height(self.fork);
            if removed >= shares && self.beats(tip, self.public) && self.is_due(tip) {
                return true;
            }
            if removed > GIVES_UP_AFTER * shares {
                return false;
            }
            self.step();
        }
        false
    }

    fn height(&self, at: At) -> u32 {
        self.shares[at].sample.height.0
    }

    /// A share and its ancestors, newest first.
    fn ancestry(&self, from: At) -> impl Iterator<Item = At> + '_ {
        std::iter::successors(Some(from), |at| Some(self.shares[*at].parent).filter(|parent| parent < at))
    }

    /// Notes the target of a share's children, and their earliest time.
    fn prepare_children(&mut self, at: At) {
        let samples: Vec<RetargetSample> =
            self.ancestry(at).take(self.params.retarget_window as usize).map(|at| self.shares[at].sample).collect();
        let mut times: Vec<UnixTime> = samples.iter().take(MEDIAN_SHARES).map(|sample| sample.time).collect();
        times.sort_unstable();
        let earliest = times[times.len() / 2].plus(1).max(samples[0].time.minus(BEFORE_PARENT_MAX_S));
        let share = &mut self.shares[at];
        share.child_bits = self.rule.base_bits(&self.params, &samples);
        share.child_work = work_of(share.child_bits);
        share.child_earliest = earliest;
    }

    fn clock(&self) -> UnixTime {
        UnixTime(START_S).plus(self.now_s as u32)
    }

    fn job(&self, parent: At, is_attackers: bool) -> Job {
        let share = &self.shares[parent];
        let situation = Situation {
            now: self.clock(),
            parent: share.sample.time,
            earliest: share.child_earliest,
            easing_interval_s: self.params.easing_interval_s(),
            found: self.attacker_found,
        };
        let (time, eases) = match is_attackers {
            true => {
                let is_private = self.private.is_some() || self.attack.withholds >= 1.0;
                let time = if is_private { self.attack.private_times } else { self.attack.public_times };
                (time.of(situation, self.private.is_none()), self.attack.eases)
            }
            false => (Strategy::Honest.time(situation), true),
        };
        let allowed = if eases { easings_allowed(&self.params, time.since(share.sample.time)) } else { 0 };
        let work = match allowed {
            0 => share.child_work,
            _ => work_of(eased_bits(&self.params, share.child_bits, allowed)),
        };
        Job { parent, time, work }
    }

    /// Something happens: a share is found, the honest miners hear of one, or jobs are renewed.
    fn step(&mut self) {
        let honest = self.job(self.honest, false);
        let own = self.job(self.private.unwrap_or(self.public), true);
        let rate = |part: f64, job: &Job| HASH_RATE * part / job.work.0 as f64;
        let rates = (rate(1.0 - self.part, &honest), rate(self.part, &own));
        let wait_s = self.random.exponential(rates.0 + rates.1);
        let news_s = self.news.front().map_or(f64::INFINITY, |(at_s, _)| at_s - self.now_s);
        // Waiting has no memory, so what was drawn beyond the next change can be forgotten.
        if wait_s > news_s.min(JOB_REFRESH_S) {
            self.now_s += news_s.clamp(0.0, JOB_REFRESH_S);
            if news_s <= JOB_REFRESH_S {
                self.honest = self.news.pop_front().map_or(self.honest, |(_, tip)| tip);
            }
        } else {
            self.now_s += wait_s;
            match self.random.unit() * (rates.0 + rates.1) < rates.1 {
                true => self.attacker_finds(&own),
                false => {
                    let found = self.link(&honest, false);
                    self.publish(found);
                }
            }
        }
        self.react();
    }

    fn attacker_finds(&mut self, job: &Job) {
        self.attacker_found += 1;
        let luck = self.random.unit();
        let found = self.link(job, true);
        self.shares[found].id = luck / job.work.0 as f64;
        match self.private {
            Some(_) => self.private = Some(found),
            None if luck < self.attack.withholds => (self.private, self.fork) = (Some(found), job.parent),
            None => self.publish(found),
        }
    }

    /// Puts a share on its parent; it names what uncles it can, the oldest first.
    fn link(&mut self, job: &Job, is_attackers: bool) -> At {
        let height = self.height(job.parent) + 1;
        let names = if is_attackers { self.attack.names } else { Names::All };
        let mut uncles = [None; UNCLES];
        let near: Vec<At> = self.ancestry(job.parent).take(UNCLE_DEPTH_MAX as usize + 1).collect();
        let is_nameable = |at: &At| {
            let (share, uncle_height) = (&self.shares[*at], self.height(*at));
            let is_known = is_attackers || share.is_published;
            let is_wanted = names == Names::All || (names == Names::Own && share.is_attackers);
            let is_named = |ancestor: &At| *ancestor == *at || self.shares[*ancestor].uncles.contains(&Some(*at));
            is_known
                && is_wanted
                && (uncle_height < height && height - uncle_height <= UNCLE_DEPTH_MAX)
                && !near.iter().any(is_named)
        };
        let mut candidates: Vec<At> = self.recent.iter().copied().filter(is_nameable).collect();
        candidates.sort_by_key(|at| self.height(*at));
        let mut work_with_uncles = job.work;
        let mut count = 0;
        for uncle in candidates {
            if count < UNCLES && self.may_have_uncles(&near, &uncles, self.shares[uncle].parent) {
                uncles[count] = Some(uncle);
                count += 1;
                work_with_uncles.0 += self.shares[uncle].sample.work.0;
            }
        }
        let base_work = self.shares[job.parent].child_work;
        let sample =
            RetargetSample { time: job.time, height: ShareHeight(height), work: job.work, base_work, work_with_uncles };
        let at = self.shares.len();
        self.shares.push(Share {
            parent: job.parent,
            sample,
            chain_work: self.shares[job.parent].chain_work + job.work.0,
            id: self.random.unit() / job.work.0 as f64,
            is_attackers,
            is_published: false,
            uncles,
            child_bits: Bits(0),
            child_work: Work::ZERO,
            child_earliest: UnixTime(0),
        });
        self.prepare_children(at);
        self.recent.push(at);
        if self.recent.len() > RECENT_MAX {
            // What can still be named is near the public tip or the attacker's, and beside the ancestors of one.
            let tips = [self.public, self.private.unwrap_or(self.public)].map(|tip| self.height(tip));
            let is_near =
                |at: &At| tips.iter().any(|tip| tip.abs_diff(self.shares[*at].sample.height.0) <= 2 * UNCLE_DEPTH_MAX);
            self.recent.retain(is_near);
            // Where false times have made shares very easy, hundreds are siblings: more than are ever named.
            let first = self.recent.len().saturating_sub(RECENT_MAX / 2);
            self.recent.drain(..first);
        }
        at
    }

    /// Whether a child of a share may be an uncle: the share is one of the nephew's nearest ancestors, or an uncle of the nephew
    /// or of one of these, on such a share in turn.
    fn may_have_uncles(&self, near: &[At], uncles: &[Option<At>; UNCLES], mut below: At) -> bool {
        while !near.contains(&below) {
            let is_named = |ancestor: &At| self.shares[*ancestor].uncles.contains(&Some(below));
            if !uncles.contains(&Some(below)) && !near.iter().any(is_named) {
                return false;
            }
            below = self.shares[below].parent;
        }
        true
    }

    /// Whether nodes prefer a share to another.
    fn beats(&self, one: At, other: At) -> bool {
        let (one, other) = (&self.shares[one], &self.shares[other]);
        one.chain_work > other.chain_work || (one.chain_work == other.chain_work && one.id < other.id)
    }

    /// Whether nodes take a share now.
    fn is_due(&self, at: At) -> bool {
        self.shares[at].sample.time <= self.clock().plus(AHEAD_MAX_S)
    }

    fn publish(&mut self, at: At) {
        self.shares[at].is_published = true;
        if self.beats(at, self.public) {
            self.public = at;
            self.news.push_back((self.now_s + PROPAGATION_S, at));
        }
    }

    /// The attacker decides what to publish of its branch.
    fn react(&mut self) {
        let Some(tip) = self.private else { return };
        let public = &self.shares[self.public];
        let unit = public.sample.base_work.0 as f64;
        let lead = (self.shares[tip].chain_work as f64 - public.chain_work as f64) / unit;
        let is_racing = self.public != self.fork;
        let length = self.height(tip) - self.height(self.fork);
        if is_racing && !self.beats(tip, self.public) {
            if -lead >= self.attack.gives_up {
                // What is left may be named as an uncle.
                self.publish_up_to(tip);
                self.private = None;
            }
        } else if length >= self.attack.length_max || (is_racing && lead <= self.attack.margin) {
            self.publish_up_to(tip);
        } else if is_racing && self.attack.reveals {
            let mut enough = tip;
            while self.beats(self.shares[enough].parent, self.public) {
                enough = self.shares[enough].parent;
            }
            self.publish_up_to(enough);
        }
    }

    /// Publishes the private branch up to a share, as far as it is due.
    fn publish_up_to(&mut self, to: At) {
        let mut branch: Vec<At> = self.ancestry(to).take_while(|at| !self.shares[*at].is_published).collect();
        branch.reverse();
        for at in branch {
            if !self.is_due(at) {
                return;
            }
            self.publish(at);
            self.fork = at;
        }
        if self.private == Some(to) {
            self.private = None;
        }
    }
}

fn work_of(bits: Bits) -> Work {
    bits.work().expect("the rules give only canonical targets")
}
