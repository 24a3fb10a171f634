// Numbers, times and names as a person reads them. Nothing here touches the page.

/** What stands where there is no value. */
export const NONE = '–';

const PREFIXES = ['', 'k', 'M', 'G', 'T', 'P', 'E', 'Z', 'Y'];
const SUPERSCRIPTS = { '-': '⁻', 0: '⁰', 1: '¹', 2: '²', 3: '³', 4: '⁴', 5: '⁵', 6: '⁶', 7: '⁷', 8: '⁸', 9: '⁹' };
const THIN = '\u202f';
const NBSP = '\u00a0';

const isNumber = value => typeof value === 'number' && Number.isFinite(value);

/** A whole number with its thousands apart. */
export function count(value) {
  return isNumber(value) ? String(Math.round(value)).replace(/\B(?=(\d{3})+$)/g, THIN) : NONE;
}

/** "1 miner", "2 miners". */
export function plural(value, one, many = `${one}s`) {
  return `${count(value)}${NBSP}${value === 1 ? one : many}`;
}

/** Three significant digits and an SI prefix: 1.23 TH/s. */
export function si(value, unit) {
  if (!isNumber(value)) return NONE;
  const join = text => (unit || /\D$/.test(text) ? text : text.trimEnd());
  if (value === 0) return join(`0${NBSP}${unit}`).trimEnd();
  let step = Math.max(0, Math.min(PREFIXES.length - 1, Math.floor(Math.log10(Math.abs(value)) / 3)));
  // 999.9 rounds to 1000, which is one prefix on.
  if (Math.abs(value) / 1000 ** step >= 999.5 && step < PREFIXES.length - 1) step += 1;
  const scaled = value / 1000 ** step;
  const digits = Math.abs(scaled) >= 100 ? 0 : Math.abs(scaled) >= 10 ? 1 : 2;
  return `${scaled.toFixed(digits)}${NBSP}${PREFIXES[step]}${unit}`.trimEnd();
}

/** Hashes per second. */
export const hashrate = value => si(value, 'H/s');

/** Hashes per second on an axis up to `greatest`, whose lines lie `step` apart: one unit and as many digits for all. */
export function hashrateAxis(greatest, step) {
  const power = Math.max(0, Math.min(PREFIXES.length - 1, Math.floor(Math.log10(greatest) / 3)));
  const size = 1000 ** power;
  const digits = [0, 1, 2].find(count => Math.abs((step / size) * 10 ** count - Math.round((step / size) * 10 ** count)) < 1e-6) ?? 3;
  return value => `${value === 0 ? 0 : (value / size).toFixed(digits)}${NBSP}${PREFIXES[power]}H/s`;
}

/** A difficulty: whole below a million, tiny ones (test networks) by a power of ten. */
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

/** Work in words. It comes as a decimal number that may be greater than what a double holds exactly. */
export function hashes(work) {
  const value = Number(work);
  if (!isNumber(value)) return NONE;
  return value < 1e6 ? plural(value, 'hash', 'hashes') : `${powerOfTen(value)}${NBSP}hashes`;
}

/** Satoshis as bitcoins, every digit. */
export function btc(sats) {
  if (!isNumber(sats)) return NONE;
  const whole = Math.floor(sats / 1e8);
  return `${count(whole)}.${String(sats - whole * 1e8).padStart(8, '0')}${NBSP}BTC`;
}

/** 12.3 %. */
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

/** A length of time in its two greatest units, or in `parts` of them. */
export function duration(seconds, parts = 2) {
  if (!isNumber(seconds)) return NONE;
  if (seconds > 0 && seconds < 1) return `<${NBSP}1${NBSP}s`;
  const years = seconds / 31557600;
  if (years >= 1e6) return `${si(years / 1e6, '')} million years`;
  if (years >= 2) return `${count(years)} years`;
  let rest = Math.max(0, Math.round(seconds));
  const words = [];
  for (const [name, size] of UNITS) {
    const whole = Math.floor(rest / size);
    rest -= whole * size;
    if (whole > 0) words.push(`${count(whole)}${NBSP}${name}`);
    else if (words.length > 0) break;
    // Hours beside hundreds of days, or seconds beside hours, say nothing.
    if (words.length === parts || (name === 'd' && whole >= 100)) break;
  }
  return words.join(' ') || `0${NBSP}s`;
}

/** How long before `now`. */
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

/** Local time of day. */
export const clock = time => (isNumber(time) ? CLOCK.format(date(time)) : NONE);
/** Local date and time. */
export const fullTime = time => (isNumber(time) ? FULL.format(date(time)) : NONE);

/** Local time of day, with the date if that is not today's. */
export function moment(time, now) {
  if (!isNumber(time) || !isNumber(now)) return fullTime(time);
  return date(time).toDateString() === date(now).toDateString() ? clock(time) : fullTime(time);
}

/** A label for an axis that spans `span` seconds. */
export function axisTime(time, span) {
  if (span <= 600) return CLOCK.format(date(time));
  if (span <= 86400 * 1.5) return SHORT_CLOCK.format(date(time));
  return (span <= 86400 * 3 ? DAY_CLOCK : DAY).format(date(time));
}

/** The two ends of a long hash, address or peer id. */
export function shorten(text, head = 8, tail = 8) {
  return text.length > head + tail + 1 ? `${text.slice(0, head)}…${text.slice(-tail)}` : text;
}
