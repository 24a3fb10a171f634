// Graphs over time, drawn on canvas: pool hash rate, local hash rate and number of shares.

import { $, setAttr, setText } from './dom.js';
import { axisTime, clock, count, fullTime, hashrate, hashrateAxis } from './format.js';

/** Margins for labels, in CSS pixels. */
const LEFT = 62;
const RIGHT = 10;
const TOP = 10;
const BOTTOM = 22;
/** Most horizontal grid lines. */
const TICKS = 4;

const SERIES = [
  { id: 'pool', name: 'Pool hash rate', field: 'ph', format: hashrate, axis: hashrateAxis, colour: '--blue', fromZero: true },
  { id: 'local', name: 'Local hash rate', field: 'lh', format: hashrate, axis: hashrateAxis, colour: '--green', fromZero: true },
  { id: 'shares', name: 'Stored shares', field: 'shares', format: count, axis: () => count, colour: '--purple', fromZero: false },
];

/** The node keeps 60 live points. */
const LIVE_STEP_S = 10;
/** Seconds that each range spans. */
const SPANS = { live: 60 * LIVE_STEP_S, '1h': 3600, '1d': 86400, '7d': 604800, '30d': 2592000 };
/** Points more steps apart than this have a gap between them: the node was off. */
const GAP_STEPS = 3;
/** Radius of a point without neighbours, in CSS pixels. */
const DOT_RADIUS = 2.5;

/** All graphs, with one common time range. */
export class Graphs {
  constructor() {
    this.graphs = SERIES.map(series => new Graph($(`graph-${series.id}`), series));
  }

  /** Shows points `{t, ph, lh, shares}`, oldest first and `step` seconds apart; the range ends at `now`, in the node's time. */
  show(points, range, now, step = LIVE_STEP_S) {
    for (const graph of this.graphs) graph.show(points, range, now, step);
  }

  /** Shows why there is no data. */
  fail(reason) {
    for (const graph of this.graphs) graph.fail(reason);
  }
}

class Graph {
  constructor(figure, series) {
    this.series = series;
    this.figure = figure;
    this.canvas = figure.querySelector('canvas');
    this.readout = figure.querySelector('.readout');
    this.note = figure.querySelector('.note');
    this.points = [];
    /** Horizontal position of the pointer, or null. */
    this.pointer = null;
    /** Time of the point chosen by arrow keys, or null. */
    this.chosen = null;
    const style = getComputedStyle(document.documentElement);
    const colour = name => style.getPropertyValue(name).trim();
    this.colours = { line: colour(series.colour), grid: colour('--border-muted'), text: colour('--muted'), point: colour('--text') };
    this.canvas.addEventListener('pointermove', event => this.point(event.offsetX));
    this.canvas.addEventListener('pointerleave', () => this.point(null));
    this.canvas.addEventListener('keydown', event => this.onKey(event));
    this.canvas.addEventListener('blur', () => this.choose(null));
    new ResizeObserver(() => this.draw()).observe(this.canvas);
  }

  show(points, range, now, step) {
    const { field } = this.series;
    this.from = now - SPANS[range];
    this.to = now;
    this.range = range;
    this.step = step;
    this.points = points.filter(({ t, [field]: v }) => typeof v === 'number' && t >= this.from).map(({ t, [field]: v }) => ({ t, v }));
    this.describe();
    this.draw();
  }

  fail(reason) {
    this.points = [];
    this.draw();
    this.describeEmpty(`No history: ${reason}`);
  }

  describeEmpty(why) {
    setAttr(this.figure, 'data-empty', '');
    setText(this.readout, '');
    setText(this.note, why);
    setAttr(this.canvas, 'role', 'img');
    setAttr(this.canvas, 'tabindex', null);
    setAttr(this.canvas, 'aria-label', `${this.series.name}: ${why}`);
  }

  /** Describes the graph in words, for screen readers too. */
  describe() {
    const { name, format, fromZero } = this.series;
    if (this.points.length === 0) {
      this.describeEmpty(this.range === 'live' ? 'The first point appears within seconds.' : 'No data for this time range yet.');
      return;
    }
    setAttr(this.figure, 'data-empty', null);
    const values = this.points.map(point => point.v);
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    const now = format(values.at(-1));
    let parts = fromZero ? [`min ${format(Math.min(...values))}`, `mean ${format(mean)}`, `max ${format(Math.max(...values))}`] : [`from ${format(values[0])} to ${now}`];
    if (values.length === 1) parts = [`one point so far, at ${this.timeOf(this.points[0].t)}`];
    setText(this.note, parts.join(' · '));
    // Arrow keys select a point, which ARIA calls a slider.
    setAttr(this.canvas, 'role', 'slider');
    setAttr(this.canvas, 'tabindex', 0);
    setAttr(this.canvas, 'aria-label', `${name} from ${fullTime(this.points[0].t)} to ${fullTime(this.points.at(-1).t)}: ${parts.join(', ')}, now ${now}`);
    this.showReadout();
  }

  timeOf(t) {
    return this.range === 'live' || this.range === '1h' ? clock(t) : fullTime(t);
  }

  /** Shows the selected value, or the newest. */
  showReadout() {
    const selected = this.selected();
    const shown = selected ?? this.points.at(-1);
    if (shown === undefined) return;
    setText(this.readout, selected ? `${this.series.format(selected.v)} at ${this.timeOf(selected.t)}` : this.series.format(shown.v));
    setAttr(this.canvas, 'aria-valuemin', 1);
    setAttr(this.canvas, 'aria-valuemax', this.points.length);
    setAttr(this.canvas, 'aria-valuenow', this.points.indexOf(shown) + 1);
    setAttr(this.canvas, 'aria-valuetext', `${this.series.format(shown.v)} at ${this.timeOf(shown.t)}`);
  }

  point(x) {
    this.pointer = x;
    this.draw();
    this.showReadout();
  }

  choose(time) {
    this.chosen = time;
    this.draw();
    this.showReadout();
  }

  /** Arrow keys move by one point, Page keys by ten. */
  onKey(event) {
    const last = this.points.length - 1;
    const current = this.points.indexOf(this.selected() ?? this.points[last]);
    const target = { ArrowLeft: current - 1, ArrowRight: current + 1, PageDown: current - 10, PageUp: current + 10, Home: 0, End: last }[event.key];
    if (target === undefined || last < 0) return;
    event.preventDefault();
    this.pointer = null;
    this.choose(this.points[Math.max(0, Math.min(last, target))].t);
  }

  /** The point nearest to the pointer, or the one chosen by arrow keys; null if neither applies. */
  selected() {
    if (this.points.length === 0 || !this.scale || (this.pointer === null && this.chosen === null)) return null;
    const distance = this.pointer === null ? ({ t }) => Math.abs(t - this.chosen) : ({ t }) => Math.abs(this.scale.x(t) - this.pointer);
    return this.points.reduce((best, point) => (distance(point) < distance(best) ? point : best));
  }

  draw() {
    const { canvas } = this;
    const width = canvas.clientWidth;
    const height = canvas.clientHeight;
    if (width === 0 || height === 0) return;
    const ratio = window.devicePixelRatio || 1;
    // Setting the size clears the canvas, so do it only when the size has changed.
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    const context = canvas.getContext('2d');
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    if (this.points.length === 0) return;
    this.scale = this.makeScale(width, height);
    this.drawGrid(context, width, height);
    for (const run of runs(this.points, GAP_STEPS * this.step)) this.drawRun(context, run, height);
    this.drawMark(context, this.selected() ?? this.points.at(-1), height);
  }

  makeScale(width, height) {
    const values = this.points.map(point => point.v);
    const ticks = niceTicks(this.series.fromZero ? 0 : Math.min(...values), Math.max(...values), !this.series.fromZero);
    const [low, high] = [ticks[0], ticks.at(-1)];
    const { from, to } = this;
    return {
      ticks,
      label: this.series.axis(high, ticks[1] - low),
      x: t => LEFT + ((Math.min(t, to) - from) / (to - from)) * (width - LEFT - RIGHT),
      y: v => height - BOTTOM - ((v - low) / (high - low)) * (height - BOTTOM - TOP),
    };
  }

  drawGrid(context, width, height) {
    const { from, to } = this;
    const { ticks, label, x, y } = this.scale;
    context.font = `11px ${getComputedStyle(this.canvas).fontFamily}`;
    context.fillStyle = this.colours.text;
    context.strokeStyle = this.colours.grid;
    context.lineWidth = 1;
    context.textBaseline = 'middle';
    context.textAlign = 'right';
    for (const tick of ticks) {
      // On a half pixel, a line of one pixel is sharp.
      const at = Math.round(y(tick)) + 0.5;
      context.beginPath();
      context.moveTo(LEFT, at);
      context.lineTo(width - RIGHT, at);
      context.stroke();
      context.fillText(label(tick), LEFT - 8, at);
    }
    context.textBaseline = 'alphabetic';
    for (const [time, align] of [[from, 'left'], [(from + to) / 2, 'center'], [to, 'right']]) {
      context.textAlign = align;
      context.fillText(axisTime(time, to - from), x(time), height - 5);
    }
  }

  drawRun(context, run, height) {
    const { x, y } = this.scale;
    if (run.length === 1) {
      context.beginPath();
      context.arc(x(run[0].t), y(run[0].v), DOT_RADIUS, 0, 2 * Math.PI);
      context.fillStyle = this.colours.line;
      context.fill();
      return;
    }
    context.beginPath();
    for (const { t, v } of run) context.lineTo(x(t), y(v));
    context.strokeStyle = this.colours.line;
    context.lineWidth = 2;
    context.lineJoin = 'round';
    context.stroke();
    context.lineTo(x(run.at(-1).t), height - BOTTOM);
    context.lineTo(x(run[0].t), height - BOTTOM);
    const shade = context.createLinearGradient(0, TOP, 0, height - BOTTOM);
    shade.addColorStop(0, `${this.colours.line}40`);
    shade.addColorStop(1, `${this.colours.line}05`);
    context.fillStyle = shade;
    context.fill();
  }

  drawMark(context, { t, v }, height) {
    const { x, y } = this.scale;
    if (this.selected() !== null) {
      context.beginPath();
      context.moveTo(x(t), TOP);
      context.lineTo(x(t), height - BOTTOM);
      context.strokeStyle = this.colours.text;
      context.lineWidth = 1;
      context.stroke();
    }
    context.beginPath();
    context.arc(x(t), y(v), 3.5, 0, 2 * Math.PI);
    context.fillStyle = this.colours.point;
    context.fill();
  }
}

/** Splits the points into runs without a gap: no line is drawn where the node was off. */
function runs(points, gap) {
  const found = [[points[0]]];
  for (const [index, point] of points.slice(1).entries()) {
    if (point.t - points[index].t > gap) found.push([point]);
    else found.at(-1).push(point);
  }
  return found;
}

/** Returns a few round numbers that enclose `low` and `high`. */
export function niceTicks(low, high, whole) {
  const span = Math.max(high - low, whole ? 1 : 0, Math.abs(high) * 1e-9) || 1;
  const power = 10 ** Math.floor(Math.log10(span / TICKS));
  let step = [1, 2, 2.5, 5, 10].map(factor => factor * power).find(size => span / size <= TICKS) ?? 10 * power;
  if (whole) step = Math.max(1, Math.ceil(step));
  const first = Math.floor(low / step);
  const last = Math.max(Math.ceil(high / step), first + 1);
  return Array.from({ length: last - first + 1 }, (_, index) => (first + index) * step);
}
