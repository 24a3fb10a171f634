// Miners that are connected and find nothing: by statistics, for no protocol tells.

/** Of the pauses between answers, one in 160,000 is by chance as long as twelve mean ones. */
const SILENT_INTERVALS = 12;
/** What nobody need look at yet, however short the mean: also the time that difficulties take to settle. */
const SILENT_MIN_S = 180;

/** For how many seconds a miner has been silent, if that is longer than chance has it and there is work; else null. */
export function silentFor(miner, { coinbase_value: value }, now) {
  const { shares, last_share_time: time, connected_secs: connected, hashrate, difficulty } = miner;
  const silent = time === null ? connected : Math.min(connected, now - time);
  // By what it did since it connected, and by what it is thought to do at its present difficulty, which may be new.
  const mean = shares > 0 ? (connected - silent) / shares : 0;
  const expected = hashrate > 0 ? (difficulty * 2 ** 32) / hashrate : 0;
  return value !== null && silent > Math.max(SILENT_MIN_S, SILENT_INTERVALS * mean, SILENT_INTERVALS * expected) ? silent : null;
}
