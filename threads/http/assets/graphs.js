// Graphs over time on canvas: pool and local hash rate and the number of shares.

import { $, setAttr, setText } from './dom.js';
import { axisTime, clock, count, fullTime, hashrate, hashrateAxis } from './format.js';

/** Room for labels, in CSS pixels. */
const LEFT = 62;
const RIGHT = 10;
const TOP = 10;
const BOTTOM = 22;
/** Lines across at most. */
const TICKS = 4;

const SERIES = [
  { id: 'pool', name: 'Pool hash rate', field: 'ph', format: hashrate, axis: hashrateAxis, colour: '--blue', fromZero: true },
  { id: 'local', name: 'Local hash rate', field: 'lh', format: hashrate, axis: hashrateAxis, colour: '--green', fromZero: true },
  { id: 'shares', name: 'Shares held', field: 'shares', format: count, axis: () => count, colour: '--purple', fromZero: false },
];

/** The node keeps 60 live points. */
const LIVE_STEP_S = 10;
/** Seconds that each range spans. */
const SPANS = { live: 60 * LIVE_STEP_S, '1h': 3600, '1d': 86400, '7d': 604800, '30d': 2592000 };
/** Points further apart than so many steps have a time between them when the node was off. */
const GAP_STEPS = 3;
/** A point that no line leads to, pixels. */
const DOT = 2.5;

/** All graphs, over one range of time. */
export class Graphs {
  constructor() {
    this.graphs = SERIES.map(series => new Graph($(`graph-${series.id}`), series));
  }

  /** Shows points `{t, ph, lh, shares}`, oldest first and `step` seconds apart, of a range that ends at `now` by the node's clock. */
  show(points, range, now, step = LIVE_STEP_S) {
    for (const graph of this.graphs) graph.show(points, range, now, step);
  }

  /** Says why there is nothing to show. */
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
    /** Where the pointer is, or null. */
    this.pointer = null;
    /** The time that arrow keys have led to, or null. */
    this.chosen = null;
    const style = getComputedStyle(document.documentElement);
    const colour = name => style.getPropertyValue(name).trim();
    this.colours = { line: colour(series.colour), grid: colour('--border-muted'), text: colour('--muted'), point: colour('--text') };
    this.canvas.addEventListener('pointermove', event => this.point(event.offsetX));
    this.canvas.addEventListener('pointerleave', () => this.point(null));
    this.canvas.addEventListener('keydown', event => this.walk(event));
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
    this.describeNothing(`No history: ${reason}`);
  }

  describeNothing(why) {
    setAttr(this.figure, 'data-empty', '');
    setText(this.readout, '');
    setText(this.note, why);
    setAttr(this.canvas, 'role', 'img');
    setAttr(this.canvas, 'tabindex', null);
    setAttr(this.canvas, 'aria-label', `${this.series.name}: ${why}`);
  }

  /** In words what the line shows, for all who cannot see it. */
  describe() {
    const { name, format, fromZero } = this.series;
    if (this.points.length === 0) {
      this.describeNothing(this.range === 'live' ? 'The first point comes within some seconds.' : 'Nothing is stored for this time yet.');
      return;
    }
    setAttr(this.figure, 'data-empty', null);
    const values = this.points.map(point => point.v);
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    const now = format(values.at(-1));
    let parts = fromZero ? [`min ${format(Math.min(...values))}`, `mean ${format(mean)}`, `max ${format(Math.max(...values))}`] : [`from ${format(values[0])} to ${now}`];
    if (values.length === 1) parts = [`one point so far, at ${this.timeOf(this.points[0].t)}`];
    setText(this.note, parts.join(' · '));
    // A value that arrow keys choose: what the web calls a slider.
    setAttr(this.canvas, 'role', 'slider');
    setAttr(this.canvas, 'tabindex', 0);
    setAttr(this.canvas, 'aria-label', `${name} from ${fullTime(this.points[0].t)} to ${fullTime(this.points.at(-1).t)}: ${parts.join(', ')}, now ${now}`);
    this.readOut();
  }

  timeOf(t) {
    return this.range === 'live' || this.range === '1h' ? clock(t) : fullTime(t);
  }

  /** Says the value that is pointed at, else the newest. */
  readOut() {
    const at = this.pointedAt();
    const shown = at ?? this.points.at(-1);
    if (shown === undefined) return;
    setText(this.readout, at ? `${this.series.format(at.v)} at ${this.timeOf(at.t)}` : this.series.format(shown.v));
    setAttr(this.canvas, 'aria-valuemin', 1);
    setAttr(this.canvas, 'aria-valuemax', this.points.length);
    setAttr(this.canvas, 'aria-valuenow', this.points.indexOf(shown) + 1);
    setAttr(this.canvas, 'aria-valuetext', `${this.series.format(shown.v)} at ${this.timeOf(shown.t)}`);
  }

  point(x) {
    this.pointer = x;
    this.draw();
    this.readOut();
  }

  choose(time) {
    this.chosen = time;
    this.draw();
    this.readOut();
  }

  /** Arrow keys go from point to point, Page keys by ten. */
  walk(event) {
    const last = this.points.length - 1;
    const here = this.points.indexOf(this.pointedAt() ?? this.points[last]);
    const target = { ArrowLeft: here - 1, ArrowRight: here + 1, PageDown: here - 10, PageUp: here + 10, Home: 0, End: last }[event.key];
    if (target === undefined || last < 0) return;
    event.preventDefault();
    this.pointer = null;
    this.choose(this.points[Math.max(0, Math.min(last, target))].t);
  }

  /** The point next to the pointer, or to what arrow keys chose. */
  pointedAt() {
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
    // Setting a canvas' size clears it, so only when it changed.
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
    this.drawMark(context, this.pointedAt() ?? this.points.at(-1), height);
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
      // Half a pixel, so that a line of one pixel is sharp.
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
      context.arc(x(run[0].t), y(run[0].v), DOT, 0, 2 * Math.PI);
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
    if (this.pointedAt() !== null) {
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

/** The points in runs without a gap: where the node was off, no line is drawn. */
function runs(points, gap) {
  const found = [[points[0]]];
  for (const [index, point] of points.slice(1).entries()) {
    if (point.t - points[index].t > gap) found.push([point]);
    else found.at(-1).push(point);
  }
  return found;
}

/** Round numbers that enclose low and high, at most a few. */
export function niceTicks(low, high, whole) {
  const span = Math.max(high - low, whole ? 1 : 0, Math.abs(high) * 1e-9) || 1;
  const power = 10 ** Math.floor(Math.log10(span / TICKS));
  let step = [1, 2, 2.5, 5, 10].map(factor => factor * power).find(size => span / size <= TICKS) ?? 10 * power;
  if (whole) step = Math.max(1, Math.ceil(step));
  const first = Math.floor(low / step);
  const last = Math.max(Math.ceil(high / step), first + 1);
  return Array.from({ length: last - first + 1 }, (_, index) => (first + index) * step);
}
