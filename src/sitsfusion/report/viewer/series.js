"use strict";
// The time series of one pixel, drawn as SVG.

const MARGIN = { left: 58, right: 14, top: 26, bottom: 26 };
const MONTH = { month: "short", timeZone: "UTC" };

// The pixel of a layer at a place, as an index into its arrays; null outside.
function pixelAt(layer, x, y) {
  if (x < layer.left || x >= layer.right || y > layer.top || y <= layer.bottom) return null;
  return Math.floor((layer.top - y) / layer.dy) * layer.width + Math.floor((x - layer.left) / layer.dx);
}

// What every layer with a comparable band says at a place: [{ layer, band, points: [{ day, value, clear }] }].
async function readSeries(x, y, name) {
  const found = meta.layers.map((layer) => ({ layer, band: bandOf(layer, name), at: pixelAt(layer, x, y) }));
  const usable = found.filter(({ band, at }) => band && at !== null);
  return Promise.all(
    usable.map(async ({ layer, band, at }) => {
      const read = layer.dates.map((day) => Promise.all([bandPixels(layer, day, band), clearPixels(layer, day)]));
      const points = (await Promise.all(read)).map(([values, clear], i) => {
        return { day: layer.dates[i], value: physical(band, values[at]), clear: clear[at] === 1 };
      });
      return { layer, band, points };
    }),
  );
}

const describePoint = (layer, band, point) =>
  `${layer.name}, ${point.day}: ${formatted(point.value, band.unit)}, ${stateOf(point)}`;

function stateOf(point) {
  if (point.value === null) return "never observed";
  return point.clear ? "clear" : "not clear";
}

function svgElement(parent, tag, attributes, text) {
  const element = document.createElementNS(parent.namespaceURI, tag);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return parent.appendChild(element);
}

const layerColour = (layer) => (layer.kind === "truth" ? "var(--truth)" : `var(--layer-${layer.index % 6})`);

// One path per kind of marker, centred on 0: circle, square, triangle, diamond.
const SHAPES = ["M-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0Z", "M-3.6 -3.6h7.2v7.2h-7.2Z", "M0 -4.6L4.4 3.4H-4.4Z", "M0 -5L5 0L0 5L-5 0Z"];
const DOT = "M-2.5 0a2.5 2.5 0 1 0 5 0a2.5 2.5 0 1 0 -5 0Z";
const markerShape = (layer) => (layer.kind === "input" ? SHAPES[layer.index % SHAPES.length] : DOT);

function drawMarker(parent, layer, clear, x, y, size = 1) {
  const colour = layerColour(layer);
  const look = { fill: clear ? colour : "var(--panel)", stroke: colour, "stroke-width": 1.5 };
  return svgElement(parent, "path", { d: markerShape(layer), transform: `translate(${x} ${y}) scale(${size})`, ...look });
}

// Draws all series of the band called `name`; `day` gets a vertical line; a click on a marker calls `choose(day)`.
function drawSeries(svg, name, series, day, choose) {
  svg.replaceChildren();
  const [width, height] = [svg.clientWidth, svg.clientHeight];
  const seen = series.flatMap(({ points }) => points).filter((p) => p.value !== null);
  if (!width || !seen.length) return;
  const x = scaleOf([...seen.map((p) => days(p.day)), days(day)], MARGIN.left, width - MARGIN.right, 0.02);
  const y = scaleOf(seen.map((p) => p.value), height - MARGIN.bottom, MARGIN.top, 0.06);
  drawAxes(svg, x, y, `${name}, ${axisUnit(series[0].band)}`, { width, height });
  const at = x(days(day));
  svgElement(svg, "line", { class: "today", x1: at, x2: at, y1: MARGIN.top, y2: height - MARGIN.bottom });
  const of = (kind) => series.filter(({ layer }) => layer.kind === kind);
  for (const one of [...of("prediction"), ...of("truth")]) drawLine(svg, one, x, y);
  for (const one of [...of("prediction"), ...of("truth"), ...of("input")]) drawMarkers(svg, one, x, y, choose);
}

// A linear scale over the numbers' range, widened on both sides by a share of it.
function scaleOf(numbers, from, to, margin) {
  let [low, high] = [Math.min(...numbers), Math.max(...numbers)];
  const extra = margin * (high - low) || 0.5 * Math.abs(high) || 1;
  [low, high] = [low - extra, high + extra];
  return Object.assign((n) => from + ((n - low) / (high - low)) * (to - from), { low, high });
}

function drawLine(svg, { layer, points }, x, y) {
  const seen = points.filter((p) => p.value !== null);
  const path = seen.map((p, i) => `${i ? "L" : "M"}${x(days(p.day)).toFixed(1)} ${y(p.value).toFixed(1)}`).join("");
  svgElement(svg, "path", { class: `line ${layer.kind}`, d: path, stroke: layerColour(layer) });
}

// The truth is a thin line alone, unless it has a single date.
function drawMarkers(svg, { layer, band, points }, x, y, choose) {
  if (layer.kind === "truth" && points.length > 1) return;
  const group = svgElement(svg, "g", { class: `markers ${layer.kind}`, "data-layer": layer.name });
  const size = points.length > 60 ? 0.75 : 1;
  for (const point of points.filter((p) => p.value !== null)) {
    const marker = drawMarker(group, layer, point.clear, x(days(point.day)), y(point.value), size);
    Object.assign(marker.dataset, { day: point.day, value: point.value, clear: point.clear });
    svgElement(marker, "title", {}, describePoint(layer, band, point));
    marker.addEventListener("click", () => choose(point.day));
  }
}

const axisUnit = (band) => (band.unit === "kelvin" ? "temperature (K)" : UNITS[band.unit]);

function drawAxes(svg, x, y, heading, { width, height }) {
  svgElement(svg, "text", { class: "unit", x: 4, y: 14 }, heading);
  for (const value of niceSteps(y.low, y.high, height / 45)) {
    svgElement(svg, "line", { class: "rule", x1: MARGIN.left, x2: width - MARGIN.right, y1: y(value), y2: y(value) });
    const text = value.toFixed(y.high - y.low < 0.1 ? 3 : y.high - y.low < 10 ? 2 : 0);
    svgElement(svg, "text", { x: MARGIN.left - 8, y: y(value) + 4, "text-anchor": "end" }, text);
  }
  for (const [day, text] of dateSteps(x.low, x.high, (width - MARGIN.left) / 62)) {
    svgElement(svg, "line", { class: "rule", x1: x(day), x2: x(day), y1: height - MARGIN.bottom, y2: height - MARGIN.bottom + 4 });
    svgElement(svg, "text", { x: x(day), y: height - 6, "text-anchor": "middle" }, text);
  }
}

// Round numbers within a range, about `count` of them.
function niceSteps(low, high, count) {
  const rough = (high - low) / Math.max(count, 2);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((n) => n * power >= rough);
  const first = Math.ceil(low / step);
  return Array.from({ length: Math.floor(high / step) - first + 1 }, (_, i) => (first + i) * step);
}

// At most `count` dates to write under the axis: first days of months, or of every few months, or days.
function dateSteps(low, high, count) {
  if (high - low < 60) {
    return niceSteps(low, high, count).filter(Number.isInteger).map((day) => [day, new Date(day * 86400000).toISOString().slice(5, 10)]);
  }
  const every = [1, 2, 3, 6, 12, 24, 60, 120].find((n) => (high - low) / (30.4 * n) <= count) ?? 240;
  const start = new Date(low * 86400000);
  const found = [];
  for (let month = 0; ; month += every) {
    const date = new Date(Date.UTC(start.getUTCFullYear(), month, 1));
    const day = date / 86400000;
    if (day > high) return found;
    const text = date.getUTCMonth() === 0 ? String(date.getUTCFullYear()) : date.toLocaleDateString("en", MONTH);
    if (day >= low) found.push([day, text]);
  }
}
