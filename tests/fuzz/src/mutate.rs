//! Mutates inputs, deterministically.

/// Bytes at the limits of encodings.
const EDGES: [u8; 12] = [0x00, 0x01, 0x02, 0x10, 0x7f, 0x80, 0xfc, 0xfd, 0xfe, 0xff, b'0', b'9'];
/// Numbers at the limits of types, as text.
const NUMBERS: [&str; 10] =
    ["0", "1", "-1", "3", "2000", "65536", "4294967295", "2100000000000001", "18446744073709551615", "1e400"];
/// Largest number of changes to an input.
const CHANGES_MAX: usize = 4;
/// Largest length of an input, more than the longest share and the longest Stratum line.
const LEN_MAX: usize = 16_384;

/// A pseudo-random number generator (xorshift64*).
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// Starts a sequence from any seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `end`; 0 if `end` is 0.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap_or(0).checked_rem(end).unwrap_or(0)
    }

    /// An element of `all`, which must not be empty.
    pub fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

/// A seed with a few changes; `words` are strings that the parser knows.
pub fn mutate(seeds: &[Vec<u8>], words: &[&str], rng: &mut Rng) -> Vec<u8> {
    let mut input = rng.pick(seeds).clone();
    for _ in 0..=rng.below(CHANGES_MAX) {
        change(&mut input, seeds, words, rng);
    }
    input.truncate(LEN_MAX);
    input
}

fn change(input: &mut Vec<u8>, seeds: &[Vec<u8>], words: &[&str], rng: &mut Rng) {
    let at = rng.below(input.len() + 1);
    let end = at + rng.below((input.len() - at).min(64) + 1);
    match rng.below(9) {
        0 => {
            if let Some(byte) = input.get_mut(at) {
                *byte ^= 1 << rng.below(8);
            }
        }
        1 => {
            if let Some(byte) = input.get_mut(at) {
                *byte = *rng.pick(&EDGES);
            }
        }
        2 => {
            input.drain(at..end);
        }
        3 => {
            let copy = input[at..end].to_vec();
            input.splice(at..at, copy);
        }
        4 => {
            let other = rng.pick(seeds);
            let from = rng.below(other.len() + 1);
            input.truncate(at);
            input.extend_from_slice(&other[from..]);
        }
        5 => input.truncate(at),
        6 if !words.is_empty() => {
            let word = rng.pick(words).as_bytes().to_vec();
            input.splice(at..end, word);
        }
        7 => {
            // Replaces the next number in the text.
            let start = input.iter().skip(at).position(u8::is_ascii_digit).map_or(input.len(), |skip| at + skip);
            let len = input[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
            let number = if len > 0 { *rng.pick(&NUMBERS) } else { "" };
            input.splice(start..start + len, number.bytes());
        }
        _ => {
            let byte = *rng.pick(&EDGES);
            input.splice(at..at, std::iter::repeat_n(byte, 1 + rng.below(40)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_depend_only_on_the_seed() {
        let seeds = vec![b"one".to_vec(), (0..200).collect(), Vec::new()];
        let run = |seed| {
            let mut rng = Rng::new(seed);
            (0..2_000).map(|_| mutate(&seeds, &["word"], &mut rng)).collect::<Vec<_>>()
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
        let different: std::collections::HashSet<_> = run(1).into_iter().collect();
        assert!(different.len() > 1_000, "{} of 2000 inputs differ", different.len());
        assert!(different.iter().any(|input| input.windows(4).any(|part| part == b"word")));
    }
}
