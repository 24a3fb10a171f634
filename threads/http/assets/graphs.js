// Graphs over time on canvas: pool and local hash rate and the number of shares.

import { $, setAttr, setText } from './dom.js';
import { axisTime, clock, count, fullTime, hashrate } from './format.js';

/** Room for labels, in CSS pixels. */
const LEFT = 62;
const RIGHT = 10;
const TOP = 10;
const BOTTOM = 22;
/** Lines across at most. */
const TICKS = 4;

const SERIES = [
  { id: 'pool', name: 'Pool hash rate', field: 'ph', format: hashrate, colour: '--blue', fromZero: true },
  { id: 'local', name: 'Local hash rate', field: 'lh', format: hashrate, colour: '--green', fromZero: true },
  { id: 'shares', name: 'Shares', field: 'shares', format: count, colour: '--purple', fromZero: false },
];

/** All graphs, over one range of time. */
export class Graphs {
  constructor() {
    this.graphs = SERIES.map(series => new Graph($(`graph-${series.id}`), series));
  }

  /** Shows points `{t, ph, lh, shares}`, oldest first. */
  show(points, range) {
    for (const graph of this.graphs) graph.show(points, range);
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
    this.pointer = null;
    const style = getComputedStyle(document.documentElement);
    const colour = name => style.getPropertyValue(name).trim();
    this.colours = { line: colour(series.colour), grid: colour('--border-muted'), text: colour('--muted'), point: colour('--text') };
    this.canvas.addEventListener('pointermove', event => this.point(event.offsetX));
    this.canvas.addEventListener('pointerleave', () => this.point(null));
    new ResizeObserver(() => this.draw()).observe(this.canvas);
  }

  show(points, range) {
    const { field } = this.series;
    this.points = points.filter(point => typeof point[field] === 'number').map(point => ({ t: point.t, v: point[field] }));
    this.range = range;
    this.describe();
    this.draw();
  }

  fail(reason) {
    this.points = [];
    this.draw();
    setAttr(this.figure, 'data-empty', '');
    setText(this.readout, '');
    setText(this.note, `No history: ${reason}`);
    setAttr(this.canvas, 'aria-label', `${this.series.name}: no history`);
  }

  /** In words what the line shows, for all who cannot see it. */
  describe() {
    const { name, format } = this.series;
    setAttr(this.figure, 'data-empty', this.points.length < 2 ? '' : null);
    if (this.points.length < 2) {
      setText(this.note, this.range === 'live' ? 'The first points come within a minute or two.' : 'Nothing stored for this time yet.');
      setText(this.readout, this.points.length ? format(this.points[0].v) : '');
      setAttr(this.canvas, 'aria-label', `${name}: not enough points yet`);
      return;
    }
    const values = this.points.map(point => point.v);
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    const least = format(Math.min(...values));
    const most = format(Math.max(...values));
    const now = format(values.at(-1));
    const parts = this.series.fromZero ? [`min ${least}`, `mean ${format(mean)}`, `max ${most}`] : [`from ${format(values[0])} to ${now}`];
    setText(this.note, parts.join(' · '));
    setAttr(this.canvas, 'aria-label', `${name} from ${fullTime(this.points[0].t)} to ${fullTime(this.points.at(-1).t)}: ${parts.join(', ')}, now ${now}`);
    if (this.pointer === null) setText(this.readout, now);
  }

  point(x) {
    this.pointer = x;
    this.draw();
    const at = this.nearest();
    const last = this.points.at(-1);
    if (at) setText(this.readout, `${this.series.format(at.v)} at ${this.range === 'live' || this.range === '1h' ? clock(at.t) : fullTime(at.t)}`);
    else if (last) setText(this.readout, this.series.format(last.v));
  }

  nearest() {
    if (this.pointer === null || this.points.length < 2 || !this.scale) return null;
    const distance = point => Math.abs(this.scale.x(point.t) - this.pointer);
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
    if (this.points.length < 2) return;
    this.scale = this.makeScale(width, height);
    this.drawGrid(context, width, height);
    for (const run of runs(this.points)) this.drawRun(context, run, height);
    this.drawMark(context, this.nearest() ?? this.points.at(-1), height);
  }

  makeScale(width, height) {
    const values = this.points.map(point => point.v);
    const ticks = niceTicks(this.series.fromZero ? 0 : Math.min(...values), Math.max(...values), !this.series.fromZero);
    const [low, high] = [ticks[0], ticks.at(-1)];
    const [first, last] = [this.points[0].t, this.points.at(-1).t];
    return {
      ticks,
      first,
      last,
      x: t => LEFT + ((t - first) / Math.max(1, last - first)) * (width - LEFT - RIGHT),
      y: v => height - BOTTOM - ((v - low) / (high - low)) * (height - BOTTOM - TOP),
    };
  }

  drawGrid(context, width, height) {
    const { ticks, first, last, x, y } = this.scale;
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
      context.fillText(this.series.format(tick), LEFT - 8, at);
    }
    context.textBaseline = 'alphabetic';
    for (const [time, align] of [[first, 'left'], [(first + last) / 2, 'center'], [last, 'right']]) {
      context.textAlign = align;
      context.fillText(axisTime(time, last - first), x(time), height - 5);
    }
  }

  drawRun(context, run, height) {
    const { x, y } = this.scale;
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
    if (this.pointer !== null) {
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
function runs(points) {
  const steps = points.slice(1).map((point, index) => point.t - points[index].t).sort((a, b) => a - b);
  const gap = 3 * Math.max(1, steps[Math.floor(steps.length / 2)]);
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
