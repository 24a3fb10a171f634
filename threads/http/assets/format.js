// Formats numbers, times and names for the reader. Nothing here touches the page.

/** Shown in place of a missing value. */
export const NONE = '–';

const PREFIXES = ['', 'k', 'M', 'G', 'T', 'P', 'E', 'Z', 'Y'];
const SUPERSCRIPTS = { '-': '⁻', 0: '⁰', 1: '¹', 2: '²', 3: '³', 4: '⁴', 5: '⁵', 6: '⁶', 7: '⁷', 8: '⁸', 9: '⁹' };
const THIN = '\u202f';
const NBSP = '\u00a0';

const isNumber = value => typeof value === 'number' && Number.isFinite(value);

/** Formats a whole number with separated thousands. */
export function count(value) {
  return isNumber(value) ? String(Math.round(value)).replace(/\B(?=(\d{3})+$)/g, THIN) : NONE;
}

/** Formats a count with its noun: "1 miner", "2 miners". */
export function plural(value, one, many = `${one}s`) {
  return `${count(value)}${NBSP}${value === 1 ? one : many}`;
}

/** Formats with three significant digits and an SI prefix: 1.23 TH/s. */
export function si(value, unit) {
  if (!isNumber(value)) return NONE;
  const join = text => (unit || /\D$/.test(text) ? text : text.trimEnd());
  if (value === 0) return join(`0${NBSP}${unit}`).trimEnd();
  let step = Math.max(0, Math.min(PREFIXES.length - 1, Math.floor(Math.log10(Math.abs(value)) / 3)));
  // 999.9 rounds to 1000, which takes the next prefix.
  if (Math.abs(value) / 1000 ** step >= 999.5 && step < PREFIXES.length - 1) step += 1;
  const scaled = value / 1000 ** step;
  const digits = Math.abs(scaled) >= 100 ? 0 : Math.abs(scaled) >= 10 ? 1 : 2;
  return `${scaled.toFixed(digits)}${NBSP}${PREFIXES[step]}${unit}`.trimEnd();
}

/** Formats a hash rate given in hashes per second. */
export const hashrate = value => si(value, 'H/s');

/** Returns a formatter for the ticks of a hash rate axis up to `max` in steps of `step`: all get the same unit and digits. */
export function hashrateAxis(max, step) {
  const power = Math.max(0, Math.min(PREFIXES.length - 1, Math.floor(Math.log10(max) / 3)));
  const size = 1000 ** power;
  const digits = [0, 1, 2].find(count => Math.abs((step / size) * 10 ** count - Math.round((step / size) * 10 ** count)) < 1e-6) ?? 3;
  return value => `${value === 0 ? 0 : (value / size).toFixed(digits)}${NBSP}${PREFIXES[power]}H/s`;
}

/** Formats a difficulty: whole below a million; tiny ones (test networks) as a power of ten. */
export function difficulty(value) {
  if (!isNumber(value)) return NONE;
  if (value >= 999_999.5) return si(value, '');
  if (value >= 1000) return count(value);
  if (value === 0) return '0';
  return value >= 0.001 ? String(Number(value.toPrecision(3))) : powerOfTen(value);
}

function powerOfTen(value) {
  const [mantissa, exponent] = value.toExponential(2).split('e');
  const power = [...exponent.replace('+', '')].map(digit => SUPERSCRIPTS[digit]).join('');
  return `${mantissa}${NBSP}×${NBSP}10${power}`;
}

/** Formats work, given as a decimal string that may exceed the exact range of a double. */
export function hashes(work) {
  const value = Number(work);
  if (!isNumber(value)) return NONE;
  return value < 1e6 ? plural(value, 'hash', 'hashes') : `${powerOfTen(value)}${NBSP}hashes`;
}

/** Formats satoshis as bitcoins with all eight digits. */
export function btc(sats) {
  if (!isNumber(sats)) return NONE;
  const whole = Math.floor(sats / 1e8);
  return `${count(whole)}.${String(sats - whole * 1e8).padStart(8, '0')}${NBSP}BTC`;
}

/** Formats per cent: 12.3 %. */
export function percent(value) {
  if (!isNumber(value)) return NONE;
  if (value !== 0 && value < 0.01) return `<${NBSP}0.01${NBSP}%`;
  const digits = value >= 99.995 || value === 0 ? 0 : value >= 10 ? 1 : 2;
  return `${value.toFixed(digits)}${NBSP}%`;
}

const UNITS = [
  ['d', 86400, 100],
  ['h', 3600, 24],
  ['min', 60, 60],
  ['s', 1, 60],
];

/** Formats a duration in its `parts` largest units. */
export function duration(seconds, parts = 2) {
  if (!isNumber(seconds)) return NONE;
  if (seconds > 0 && seconds < 1) return `<${NBSP}1${NBSP}s`;
  const years = seconds / 31557600;
  if (years >= 1e6) return `${si(years / 1e6, '')} million years`;
  if (years >= 2) return `${count(years)} years`;
  let rest = Math.max(0, Math.round(seconds));
  const units = [];
  for (const [name, size] of UNITS) {
    const whole = Math.floor(rest / size);
    rest -= whole * size;
    if (whole > 0) units.push(`${count(whole)}${NBSP}${name}`);
    else if (units.length > 0) break;
    // Hours do not matter next to hundreds of days.
    if (units.length === parts || (name === 'd' && whole >= 100)) break;
  }
  return units.join(' ') || `0${NBSP}s`;
}

/** Formats how long ago `time` was at `now`. */
export function ago(time, now) {
  if (!isNumber(time)) return NONE;
  return now - time < 1 ? 'just now' : `${duration(now - time, 1)} ago`;
}

const CLOCK = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit' });
const SHORT_CLOCK = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });
const DAY_CLOCK = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit' });
const DAY = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short' });
const FULL = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' });

const date = time => new Date(time * 1000);

/** Formats the local time of day. */
export const clock = time => (isNumber(time) ? CLOCK.format(date(time)) : NONE);
/** Formats the local date and time. */
export const fullTime = time => (isNumber(time) ? FULL.format(date(time)) : NONE);

/** Formats the local time of day, with the date unless it is that of `now`. */
export function moment(time, now) {
  if (!isNumber(time) || !isNumber(now)) return fullTime(time);
  return date(time).toDateString() === date(now).toDateString() ? clock(time) : fullTime(time);
}

/** Formats a tick of a time axis that spans `span` seconds. */
export function axisTime(time, span) {
  if (span <= 600) return CLOCK.format(date(time));
  if (span <= 86400 * 1.5) return SHORT_CLOCK.format(date(time));
  return (span <= 86400 * 3 ? DAY_CLOCK : DAY).format(date(time));
}

/** Shortens a long hash, address or peer id to its two ends. */
export function shorten(text, head = 8, tail = 8) {
  return text.length > head + tail + 1 ? `${text.slice(0, head)}…${text.slice(-tail)}` : text;
}
