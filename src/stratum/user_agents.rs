//! Known firmware, from the table `user_agents.txt`.

use super::difficulty::Difficulty;

/// The table. It is short, so each new session parses it.
const TABLE: &str = include_str!("user_agents.txt");
/// Name of what matches no other line.
const UNKNOWN: &str = "unknown firmware";

/// A line of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FirmwareId(pub(super) usize);

/// The difficulties that a firmware needs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct DifficultyRange {
    /// The lowest difficulty that suits it. A lower share difficulty counts more, see [`Self::least`].
    pub floor: Option<Difficulty>,
    /// The greatest difficulty that it represents.
    pub ceiling: Option<Difficulty>,
}

impl DifficultyRange {
    /// The lowest difficulty that it is ever sent: its floor, but not above 1, which is the lowest integer.
    ///
    /// Above the share difficulty a miner does not submit all shares that it finds, so that its owner is paid less.
    pub fn least(&self) -> Option<Difficulty> {
        self.floor.map(|floor| floor.min(Difficulty::ONE))
    }
}

/// Properties of a firmware.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Firmware {
    pub id: FirmwareId,
    /// Its name for people: the pattern of its user agents.
    pub name: &'static str,
    /// Largest coinbase that it is known to support, in bytes without witness.
    pub coinbase_len_max: usize,
    /// Whether a larger coinbase makes its work worthless or damages it, so that it is sent no such job.
    pub is_len_strict: bool,
    /// Start difficulty, used if it is below the operator's.
    pub start_difficulty: Option<Difficulty>,
    pub difficulties: DifficultyRange,
    /// Whether it can be sent `client.show_message`.
    pub bears_messages: bool,
}

/// Looks up a user agent.
pub fn firmware_for(user_agent: &str) -> Firmware {
    let unknown = Firmware {
        id: FirmwareId(0),
        name: UNKNOWN,
        coinbase_len_max: 0,
        is_len_strict: false,
        start_difficulty: None,
        difficulties: DifficultyRange::default(),
        bears_messages: true,
    };
    table().find(|(pattern, _)| matches(pattern, user_agent)).map_or(unknown, |(_, firmware)| firmware)
}

/// All firmware of the table, each at its [`FirmwareId`].
pub fn all_firmware() -> impl Iterator<Item = Firmware> {
    table().map(|(_, firmware)| firmware)
}

/// The patterns of user agents with their firmware.
fn table() -> impl Iterator<Item = (&'static str, Firmware)> {
    lines()
        .filter_map(parse)
        .enumerate()
        .map(|(at, (pattern, firmware))| (pattern, Firmware { id: FirmwareId(at), ..firmware }))
}

fn lines() -> impl Iterator<Item = &'static str> {
    TABLE.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
}

fn parse(line: &'static str) -> Option<(&'static str, Firmware)> {
    let mut fields = line.split('|').map(str::trim);
    let pattern = fields.next()?;
    let coinbase_len_max = fields.next()?;
    let is_len_strict = coinbase_len_max.ends_with('!');
    let coinbase_len_max = coinbase_len_max.trim_end_matches('!').parse().ok()?;
    let mut difficulty = || match fields.next()? {
        "-" => Some(None),
        number => Difficulty::new(number.parse().ok()?).map(Some),
    };
    let (start_difficulty, floor, ceiling) = (difficulty()?, difficulty()?, difficulty()?);
    let difficulties = DifficultyRange { floor, ceiling };
    let bears_messages = match fields.next()? {
        "yes" => true,
        "no" => false,
        _ => return None,
    };
    let name = match pattern.trim_matches(['*', '/', '-']) {
        "" => UNKNOWN,
        name => name,
    };
    let firmware = Firmware {
        id: FirmwareId(0),
        name,
        coinbase_len_max,
        is_len_strict,
        start_difficulty,
        difficulties,
        bears_messages,
    };
    fields.next().is_none().then_some((pattern, firmware))
}

fn matches(pattern: &str, user_agent: &str) -> bool {
    let starts_at = |from: usize, pattern: &str| {
        user_agent
            .as_bytes()
            .get(from..from + pattern.len())
            .is_some_and(|part| part.eq_ignore_ascii_case(pattern.as_bytes()))
    };
    match pattern.strip_prefix('*') {
        Some(pattern) => (0..=user_agent.len()).any(|from| starts_at(from, pattern)),
        None => starts_at(0, pattern),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::{ChainParams, Network};

    #[test]
    fn every_line_of_the_table_parses() {
        for line in lines() {
            let (_, firmware) = parse(line).unwrap_or_else(|| panic!("{line}"));
            let DifficultyRange { floor, ceiling } = firmware.difficulties;
            for difficulty in [firmware.start_difficulty, floor, ceiling].into_iter().flatten() {
                assert_eq!(difficulty, difficulty.announced(), "{line}");
            }
            assert!(floor.zip(ceiling).is_none_or(|(floor, ceiling)| floor < ceiling), "{line}");
        }
        assert_eq!(lines().last().and_then(parse).unwrap().0, "*", "the last line matches all");
    }

    #[test]
    fn each_firmware_bears_a_class_of_outputs() {
        let params = ChainParams::standard(Network::Mainnet);
        for (user_agent, class) in [
            ("NerdMinerV2", 0),
            ("NiceHash/1.0", 0),
            ("unknown", 0),
            ("Antminer S21/x", 0),
            ("bosminer", 0),
            ("whatsminer", 1),
            ("bitaxe", 1),
            ("xminer", 2),
            ("vnish", 2),
        ] {
            let firmware = firmware_for(user_agent);
            assert_eq!(params.outputs_class_within(firmware.coinbase_len_max), class, "{user_agent}");
            assert_eq!(all_firmware().nth(firmware.id.0), Some(firmware));
        }
    }

    #[test]
    fn asics_have_a_floor() {
        let range = |user_agent| {
            let DifficultyRange { floor, ceiling } = firmware_for(user_agent).difficulties;
            (floor.map(Difficulty::get), ceiling.map(Difficulty::get))
        };
        assert_eq!(range("NiceHash/1.0.0"), (Some(524_288.0), None));
        for asic in [
            "whatsminer/v1.0",
            "Antminer S21/x",
            "Antminer S19 XP/x",
            "bosminer",
            "Braiins OS",
            "xminer",
            "vnish",
            "bmminer/2.0.0",
            "cgminer/4.11.1",
        ] {
            assert_eq!(range(asic), (Some(1.0), None), "{asic}");
        }
        for integers in ["bitaxe/BM1370", "NerdQAxe++", "NerdAxe", "NerdOCTAXE", "NerdQX/BM1370/x", "LuckyMiner"] {
            assert_eq!(range(integers), (Some(1.0), Some(2_140_000_000.0)), "{integers}");
        }
        for small in ["cpuminer/2.5.1", "NerdMinerV2", "p2pool-miner", "unknown", ""] {
            assert_eq!(range(small), (None, None), "{small}");
        }
        assert_eq!(firmware_for("NiceHash/1.0.0").difficulties.least(), Some(Difficulty::ONE));
    }

    #[test]
    fn microcontrollers_have_strict_limits() {
        for (user_agent, is_strict) in [
            ("NerdMinerV2/V1.8.3", true),
            ("HAN_SOLOminer/V1.8.3", true),
            ("SparkMiner/v2.9.5", true),
            ("NMMiner", false),
            ("Antminer S19", false),
            ("unknown", false),
        ] {
            assert_eq!(firmware_for(user_agent).is_len_strict, is_strict, "{user_agent}");
        }
    }

    #[test]
    fn firmware_is_found_by_its_user_agent() {
        for (user_agent, coinbase_len_max, start_difficulty) in [
            ("NiceHash/1.0.0", 500, None),
            ("Antminer S21/Mon Sep 2 2024", 2_250, None),
            ("2024-07-12-0-fc9fe388-24.06-plus;bosminer-plus-tuner 0.9.0", 2_250, None),
            ("whatsminer/v1.0", 6_500, None),
            ("bitaxe/BM1370/v2.4.0", 6_500, Some(1_000.0)),
            ("BITAXE", 6_500, Some(1_000.0)),
            ("xminer-1.2.7", 16_000, None),
            ("PowerPlay-BMS/1.24.0", 16_000, None),
            ("NerdMinerV2/1.7.0", 255, Some(0.001)),
            ("NerdQAxe++/BM1370/v1.0", 6_500, Some(1_000.0)),
            ("cpuminer/2.5.1", 16_000, Some(0.001)),
            ("bmminer/2.0.0", 755, None),
            ("not a bitaxe", 755, None),
            ("γ", 755, None),
            ("Antminer S21 Pro/Fri Aug 30 2024", 755, None),
            ("Antminer S21|LUXminer 2026.3.2", 755, None),
            ("cgminer/4.11.1", 6_144, None),
            ("bfgminer/5.4.2", 2_250, None),
            ("ckpool/0.9.9", 2_250, None),
            ("NerdHaxe-γ/BM1370/v1.0.37", 6_500, Some(1_000.0)),
            ("NerdEKO/BM1370/v1.0.37", 6_500, Some(1_000.0)),
            ("Q1373/BM1373/v1.1.0", 6_500, Some(1_000.0)),
            ("Zyber8S/BM1368/Zyber-v2.8.0-TCH", 6_500, Some(1_000.0)),
            ("HAN_SOLOminer/V1.8.3", 255, Some(0.001)),
            ("SparkMiner/v2.9.5", 190, Some(0.001)),
            ("NMMiner", 755, Some(0.001)),
            ("", 755, None),
        ] {
            let firmware = firmware_for(user_agent);
            assert_eq!(firmware.coinbase_len_max, coinbase_len_max, "{user_agent}");
            assert_eq!(firmware.start_difficulty.map(Difficulty::get), start_difficulty, "{user_agent}");
        }
    }
}
