//! What an attacker may do within the rules, and a search for what pays best.

use p2pool_core::units::UnixTime;

use super::race::Race;
use super::retarget::Retarget;
use super::strategy::{Situation, Strategy, AHEAD_MAX_S};
use crate::figures::{mean_and_error, parallel};
use crate::random::Random;

/// How an attacker sets header times.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Times {
    /// As for shares that are published at once.
    Like(Strategy),
    /// A fixed number of seconds after the parent, another one for the first share of a private branch; as far as the rules
    /// allow when the branch is published, so many seconds from now.
    Steps { first_s: u32, then_s: u32, future_s: u32 },
}

impl Times {
    /// The header time of a share that is found now.
    pub fn of(self, situation: Situation, is_first: bool) -> UnixTime {
        match self {
            Self::Like(strategy) => strategy.time(situation),
            Self::Steps { first_s, then_s, future_s } => {
                let latest = situation.now.plus(AHEAD_MAX_S + future_s).max(situation.earliest);
                let step_s = if is_first { first_s } else { then_s };
                situation.parent.plus(step_s).max(situation.earliest).min(latest)
            }
        }
    }
}

/// Which uncles an attacker names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    All,
    Own,
    None,
}

/// What an attacker does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Attack {
    /// The times of the shares that it publishes at once, and of those that it keeps back.
    pub public_times: Times,
    pub private_times: Times,
    /// Whether it eases its targets as far as its times allow.
    pub eases: bool,
    pub names: Names,
    /// It keeps back a share on the public tip if its id is in this lowest part: nearly all siblings lose to such a share.
    pub withholds: f64,
    /// It publishes its branch when it has so many shares,
    pub length_max: u32,
    /// or when its lead over a public branch is at most so many shares,
    pub margin: f64,
    /// or as much of it as beats the public branch.
    pub reveals: bool,
    /// It gives its branch up when that is so many shares behind.
    pub gives_up: f64,
}

/// What a search may vary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    /// Times and easing, all shares published at once.
    Times,
    /// Keeping shares back, with honest times.
    Withholding,
    /// Both: among them ramps.
    All,
}

impl Attack {
    /// What the honest do.
    pub const fn honest() -> Self {
        Self {
            public_times: Times::Like(Strategy::Honest),
            private_times: Times::Like(Strategy::Honest),
            eases: true,
            names: Names::All,
            withholds: 0.0,
            length_max: u32::MAX,
            margin: 0.0,
            reveals: false,
            gives_up: 0.0,
        }
    }

    /// Selfish mining as it is known: it begins with any share, holds a lead of one or races for it, and gives up at once or
    /// when it is one share behind.
    const fn selfish() -> [Self; 4] {
        let selfish = Self { withholds: 1.0, ..Self::honest() };
        [
            Self { margin: 1.0, gives_up: 0.1, names: Names::Own, ..selfish },
            Self { margin: 1.0, reveals: true, ..selfish },
            Self { margin: 0.5, gives_up: 1.0, ..selfish },
            Self { margin: 0.5, gives_up: 1.0, reveals: true, ..selfish },
        ]
    }

    /// One at random.
    fn random(random: &mut Random, means: Means) -> Self {
        let mut attack = Self::honest();
        for part in 0..Self::PARTS {
            attack.vary(random, means, part);
        }
        attack
    }

    const PARTS: u64 = 9;

    /// Draws one of its settings again.
    fn vary(&mut self, random: &mut Random, means: Means, part: u64) {
        let mut pick = |values: &[f64]| random.pick(values).unwrap_or(0.0);
        match (part, means) {
            (2, _) => self.names = [Names::All, Names::All, Names::Own, Names::None][random.below(4) as usize],
            (0, Means::Times | Means::All) => self.public_times = Self::times(random, false),
            (1, Means::Times | Means::All) => self.eases = random.chance(0.7),
            (3, Means::All) => self.private_times = Self::times(random, true),
            (4, Means::Withholding | Means::All) => {
                self.withholds = pick(&[0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.0, 1.0]);
            }
            (5, Means::Withholding | Means::All) => {
                self.length_max = pick(&[2.0, 3.0, 4.0, 6.0, 10.0, 20.0, 1e9, 1e9, 1e9]) as u32;
            }
            (6, Means::Withholding | Means::All) => {
                self.margin = pick(&[-1.0, 0.0, 0.5, 1.0, 1.0, 1.1, 1.5, 2.0, 3.0, 5.0]);
            }
            (7, Means::Withholding | Means::All) => self.reveals = random.chance(0.5),
            (8, Means::Withholding | Means::All) => {
                self.gives_up = pick(&[0.0, 0.0, 0.1, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0]);
            }
            _ => {}
        }
    }

    fn times(random: &mut Random, is_private: bool) -> Times {
        const LIKE: [Strategy; 5] =
            [Strategy::Honest, Strategy::Latest, Strategy::Earliest, Strategy::Alternate, Strategy::EasingClaims];
        if random.chance(0.4) {
            return Times::Like(random.pick(&LIKE).unwrap_or(Strategy::Honest));
        }
        let mut pick = |values: &[u32]| random.pick(values).unwrap_or(0);
        let then_s = pick(&[0, 0, 1, 3, 7, 10, 15, 20, 30, 60, 120, 600]);
        let first_s = pick(&[then_s, then_s, 0, 120, 600, 1_200, 1_800, 3_600, 7_200]);
        let future_s = if is_private { pick(&[0, 0, 600, 3_600]) } else { 0 };
        Times::Steps { first_s, then_s, future_s }
    }

    /// Private branches with honest times, given up sooner or later.
    pub fn patient() -> Vec<Self> {
        [20.0, 50.0, 130.0].map(|gives_up| Self { gives_up, ..Self::honest() }).to_vec()
    }

    /// The same without giving up soon: a hundred shares are to be removed.
    fn as_ramp(self) -> Self {
        Self { gives_up: 10.0 + 4.0 * self.gives_up, ..self }
    }

    /// One that differs in some settings.
    fn mutated(mut self, random: &mut Random, means: Means) -> Self {
        for _ in 0..1 + random.below(3) {
            let part = random.below(Self::PARTS);
            self.vary(random, means, part);
        }
        self
    }
}

/// How long each round of a search takes.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Attacks drawn at random, the best that go on, and the variants that are then made of these.
    pub drawn: usize,
    pub kept: usize,
    pub varied: usize,
    /// What is spent on each: main-chain shares, or tries.
    pub first: u32,
    pub then: u32,
    /// On each of the seeds, at the end, for the best three.
    pub last: u32,
    pub seeds: u64,
}

impl Effort {
    /// What the figures spend.
    pub const FULL: Self =
        Self { drawn: 160, kept: 10, varied: 80, first: 4_000, then: 10_000, last: 20_000, seeds: 16 };
}

/// The best attack found, and what it gains: mean and half width of the 95 % interval over fresh seeds.
#[derive(Clone, Copy, Debug)]
pub struct Best {
    pub attack: Attack,
    pub gain: (f64, f64),
}

/// Searches for the attacks with the highest score, among `known` ones and others; the best three. `score` gets a seed, an attack and what to spend.
fn search(
    seed: u64,
    means: Means,
    effort: Effort,
    known: &[Attack],
    score: impl Fn(u64, Attack, u32) -> f64 + Sync,
) -> Vec<Attack> {
    let mut random = Random::new(seed);
    let rank = |attacks: Vec<Attack>, seed: u64, spent: u32| {
        let scores = parallel(&attacks, |attack| score(seed, *attack, spent));
        let mut ranked: Vec<(Attack, f64)> = attacks.into_iter().zip(scores).collect();
        ranked.sort_by(|one, other| other.1.total_cmp(&one.1));
        ranked.into_iter().map(|(attack, _)| attack)
    };
    let drawn = (0..effort.drawn).map(|_| Attack::random(&mut random, means));
    let all = known.iter().copied().chain(drawn).collect();
    let kept: Vec<Attack> = rank(all, 1, effort.first).take(effort.kept).collect();
    let varied = (0..effort.varied).map(|at| kept[at % kept.len()].mutated(&mut random, means));
    let all: Vec<Attack> = varied.chain(kept.iter().copied()).chain(known.iter().copied()).collect();
    let second: Vec<Attack> = rank(all, 2, effort.then).take(effort.kept).collect();
    rank(second, 3, effort.then).take(3).collect()
}

/// The best of the finalists, on seeds that the search has not seen, so that it is not merely lucky.
fn best(finalists: Vec<Attack>, effort: Effort, score: impl Fn(u64, Attack) -> f64 + Sync) -> Best {
    let seeds: Vec<u64> = (100..100 + effort.seeds).collect();
    let scored = finalists.into_iter().map(|attack| {
        let gains = parallel(&seeds, |seed| score(*seed, attack));
        Best { attack, gain: mean_and_error(&gains) }
    });
    scored.max_by(|one, other| one.gain.0.total_cmp(&other.gain.0)).expect("there are finalists")
}

/// The attacks with some means that gain this part of the hash rate the most, of those found and of `known` ones.
pub fn best_attacks(rule: Retarget, part: f64, means: Means, known: &[Attack], effort: Effort) -> Vec<Attack> {
    let selfish = if means == Means::Times { Vec::new() } else { Attack::selfish().to_vec() };
    let known = [known, &selfish].concat();
    search(1, means, effort, &known, |seed, attack, shares| Race::new(seed, rule, part, attack).gain(shares))
}

/// What this part of the hash rate gains by the best of some attacks.
pub fn best_gain(rule: Retarget, part: f64, attacks: Vec<Attack>, effort: Effort) -> Best {
    best(attacks, effort, |seed, attack| Race::new(seed, rule, part, attack).gain(effort.last))
}

/// In what part of so many tries a private branch removes at least `shares` shares.
fn removed(rule: Retarget, part: f64, shares: u32, seed: u64, attack: Attack, tries: u32) -> f64 {
    let seeds = (0..u64::from(tries)).map(|number| seed << 32 | number);
    let removed = seeds.filter(|seed| Race::new(*seed, rule, part, attack).removes(shares)).count();
    removed as f64 / f64::from(tries)
}

/// The ramps with which this part of the hash rate most often removes a fifth of `shares` shares: to remove all of them is too
/// rare to be searched for.
pub fn best_ramps(rule: Retarget, part: f64, shares: u32, effort: Effort) -> Vec<Attack> {
    let effort = Effort { first: effort.first / 100, then: effort.then / 100, ..effort };
    let ramps = search(2, Means::All, effort, &[], |seed, attack, tries| {
        removed(rule, part, shares / 5, seed, attack.as_ramp(), tries)
    });
    ramps.into_iter().map(Attack::as_ramp).collect()
}

/// How often the best of some attacks removes at least `shares` shares: the part of the tries.
pub fn best_removal(rule: Retarget, part: f64, shares: u32, attacks: Vec<Attack>, effort: Effort) -> Best {
    best(attacks, effort, |seed, attack| removed(rule, part, shares, seed, attack, effort.last / 10))
}
