//! The work of a node's miners by firmware, and the class of payout outputs that the node votes for (rules, section 7).

use super::difficulty::Difficulty;
use super::user_agents::{all_firmware, Firmware, FirmwareId};
use crate::params::ChainParams;
use crate::status::FirmwareStatus;
use crate::units::SteadyTime;

/// The work of the current hour and of this number of hours before it counts.
const FULL_HOURS: usize = 24;
/// A firmware that did less of the work, in per cent, does not decide the vote: the few miners that cannot bear a large
/// coinbase must not hold the others back.
const PART_PERCENT_MIN: f64 = 1.0;
const HOUR_MS: u64 = 3_600_000;

/// The work of this node's miners in the last 24 to 25 hours by firmware. Of fixed size: it has one sum per hour and line
/// of the firmware table. A restart clears it.
#[derive(Debug)]
pub struct FirmwareWork {
    /// The firmware table, with the class that each line bears.
    table: Vec<(Firmware, u8)>,
    /// Sums of credited difficulties by line of the table: those of hour `h` since the clock's origin at `h` modulo length.
    hours: [Vec<f64>; FULL_HOURS + 1],
    /// The current hour since the clock's origin.
    hour: u64,
}

impl FirmwareWork {
    /// Starts without work.
    pub fn new(params: &ChainParams) -> Self {
        let table: Vec<_> =
            all_firmware().map(|firmware| (firmware, params.outputs_class_within(firmware.coinbase_len_max))).collect();
        let hours = std::array::from_fn(|_| vec![0.0; table.len()]);
        Self { table, hours, hour: 0 }
    }

    /// Adds the work of an accepted submit. Does not allocate.
    pub fn add(&mut self, firmware: FirmwareId, credit: Difficulty, now: SteadyTime) {
        self.advance(now);
        if let Some(work) = self.current().get_mut(firmware.0) {
            *work += credit.get();
        }
    }

    /// Lists the firmware that did any of the work, most first.
    pub fn status(&mut self, now: SteadyTime) -> Vec<FirmwareStatus> {
        self.advance(now);
        let work_of = |line: usize| self.hours.iter().filter_map(|hour| hour.get(line)).sum::<f64>();
        let works: Vec<f64> = (0..self.table.len()).map(work_of).collect();
        let total: f64 = works.iter().sum();
        let all = self.table.iter().zip(works).filter(|(_, work)| *work > 0.0);
        let mut list: Vec<FirmwareStatus> = all
            .map(|((firmware, outputs_class), work)| FirmwareStatus {
                name: firmware.name,
                outputs_class: *outputs_class,
                work_percent: work * 100.0 / total,
            })
            .collect();
        list.sort_by(|left, right| right.work_percent.total_cmp(&left.work_percent));
        list
    }

    /// Empties the hours that have begun since the last call.
    fn advance(&mut self, now: SteadyTime) {
        let hour = now.as_ms() / HOUR_MS;
        let begun = hour.saturating_sub(self.hour).min(self.hours.len() as u64);
        for _ in 0..begun {
            self.hour += 1;
            self.current().fill(0.0);
        }
        self.hour = self.hour.max(hour);
    }

    fn current(&mut self) -> &mut [f64] {
        let at = (self.hour % self.hours.len() as u64) as usize;
        &mut self.hours[at]
    }
}

/// Returns the class of payout outputs to vote for: the least that is borne by firmware that did at least 1 % of the work;
/// 0 without any work.
pub fn outputs_vote(firmware: &[FirmwareStatus]) -> u8 {
    firmware.iter().filter(|part| decides(part)).map(|part| part.outputs_class).min().unwrap_or(0)
}

/// Whether a firmware did enough of the work to decide the vote.
pub fn decides(firmware: &FirmwareStatus) -> bool {
    firmware.work_percent >= PART_PERCENT_MIN
}

#[cfg(test)]
mod tests {
    use super::super::user_agents::firmware_for;
    use super::*;
    use crate::params::Network;

    const HOUR_S: u32 = 3_600;

    fn work() -> FirmwareWork {
        FirmwareWork::new(&ChainParams::standard(Network::Mainnet))
    }

    fn add(work: &mut FirmwareWork, user_agent: &str, credit: f64, at_s: u32) {
        work.add(firmware_for(user_agent).id, Difficulty::new(credit).unwrap(), SteadyTime::from_s(at_s));
    }

    /// The vote after this work at the same moment.
    fn vote(parts: &[(&str, f64)]) -> u8 {
        let mut work = work();
        parts.iter().for_each(|(user_agent, credit)| add(&mut work, user_agent, *credit, 0));
        outputs_vote(&work.status(SteadyTime::default()))
    }

    #[test]
    fn the_least_capable_firmware_with_a_hundredth_of_the_work_decides() {
        assert_eq!(vote(&[]), 0, "without work");
        assert_eq!(vote(&[("xminer-1.2", 5.0)]), 2);
        assert_eq!(vote(&[("xminer-1.2", 50.0), ("bitaxe/BM1370", 50.0)]), 1);
        assert_eq!(vote(&[("xminer-1.2", 98.0), ("bitaxe/BM1370", 1.0), ("Antminer S21/x", 1.0)]), 0);
        assert_eq!(vote(&[("xminer-1.2", 98.5), ("bitaxe/BM1370", 1.0), ("Antminer S21/x", 0.5)]), 1);
        assert_eq!(vote(&[("xminer-1.2", 99.01), ("bitaxe/BM1370", 0.99)]), 2, "below a hundredth");
        assert_eq!(vote(&[("whatsminer/v1", 99.0), ("anything else", 1.0)]), 0, "unknown firmware");
        assert_eq!(vote(&[("whatsminer/v1", 99.0), ("a", 0.5), ("b", 0.5)]), 0, "all unknown firmware together");
        assert_eq!(vote(&[("whatsminer/v1", 99.1), ("a", 0.5), ("b", 0.4)]), 1);
        assert_eq!(vote(&[("NerdMinerV2", 1.0)]), 0, "class 0 is the least, even if its coinbase is too large");
    }

    #[test]
    fn a_day_counts() {
        let mut work = work();
        add(&mut work, "Antminer S21/x", 1.0, HOUR_S / 2);
        add(&mut work, "bitaxe/BM1370", 1.0, HOUR_S);
        let vote_at = |work: &mut FirmwareWork, at_s: u32| outputs_vote(&work.status(SteadyTime::from_s(at_s)));
        assert_eq!(vote_at(&mut work, 24 * HOUR_S + HOUR_S / 2), 0, "24 hours later");
        assert_eq!(vote_at(&mut work, 25 * HOUR_S - 1), 0);
        assert_eq!(vote_at(&mut work, 25 * HOUR_S), 1);
        assert_eq!(vote_at(&mut work, 26 * HOUR_S), 0, "without work again");
        add(&mut work, "xminer-1.2", 1.0, 26 * HOUR_S);
        assert_eq!(vote_at(&mut work, 26 * HOUR_S), 2);
        assert_eq!(vote_at(&mut work, 400 * HOUR_S), 0, "after a long pause");
        add(&mut work, "bitaxe/BM1370", 1.0, 400 * HOUR_S);
        assert_eq!(vote_at(&mut work, 400 * HOUR_S), 1);
    }

    #[test]
    fn the_list_has_the_parts_of_the_work() {
        let mut work = work();
        add(&mut work, "bitaxe/BM1370", 15.0, 0);
        add(&mut work, "Antminer S21/x", 10.0, 0);
        add(&mut work, "bitaxe/BM1368", 5.0, HOUR_S);
        add(&mut work, "something", 70.0, HOUR_S);
        let list: Vec<_> = work
            .status(SteadyTime::from_s(HOUR_S))
            .into_iter()
            .map(|part| (part.name, part.outputs_class, part.work_percent))
            .collect();
        assert_eq!(list, [("unknown firmware", 0, 70.0), ("bitaxe", 1, 20.0), ("Antminer S21", 0, 10.0)]);
    }
}
