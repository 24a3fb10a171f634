// Detects miners that are connected but find no shares. Stratum has no message for it, so this is statistics.

/** By chance, one pause between shares in 160,000 is as long as twelve mean ones. */
const SILENT_INTERVALS = 12;
/** Shorter silence is never reported: the difficulty needs this time to settle. */
const SILENT_MIN_S = 180;

/** Returns for how many seconds a miner has been silent, or null if chance explains it or there is no work. */
export function silentFor(miner, { coinbase_value: value }, now) {
  const { shares, last_share_time: time, connected_secs: connected, hashrate, difficulty } = miner;
  const silent = time === null ? connected : Math.min(connected, now - time);
  // The mean pause so far, and the expected one at the current difficulty, which may be new.
  const mean = shares > 0 ? (connected - silent) / shares : 0;
  const expected = hashrate > 0 ? (difficulty * 2 ** 32) / hashrate : 0;
  return value !== null && silent > Math.max(SILENT_MIN_S, SILENT_INTERVALS * mean, SILENT_INTERVALS * expected) ? silent : null;
}
