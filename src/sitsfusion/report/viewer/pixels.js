"use strict";
// Reads what report/pixels.py wrote: pixel blocks, and colours made of them.

const meta = JSON.parse(document.getElementById("meta").textContent);
const NEVER = 65535;
const blocks = new Map(); // what was read stays in memory

async function inflate(id) {
  const packed = Uint8Array.from(atob(document.getElementById(id).textContent), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

function remembered(id, read) {
  if (!blocks.has(id)) blocks.set(id, read(id));
  return blocks.get(id);
}

// Stored numbers of one band of one date: Uint16Array [height * width].
function bandPixels(layer, day, band) {
  return remembered(`v-${layer.index}-${day}-${layer.bands.indexOf(band)}`, async (id) => {
    const planes = await inflate(id);
    const n = layer.width * layer.height;
    const values = new Uint16Array(n);
    for (let i = 0; i < n; i++) {
      const folded = planes[i] + (planes[n + i] << 8);
      const step = (folded >> 1) ^ -(folded & 1);
      values[i] = (i % layer.width === 0 ? 0 : values[i - 1]) + step; // wraps at 65536
    }
    return values;
  });
}

// 1 where the pixel is clear: Uint8Array [height * width].
function clearPixels(layer, day) {
  return remembered(`m-${layer.index}-${day}`, async (id) => {
    const bits = await inflate(id);
    const clear = new Uint8Array(layer.width * layer.height);
    for (let i = 0; i < clear.length; i++) clear[i] = (bits[i >> 3] >> (7 - (i & 7))) & 1;
    return clear;
  });
}

const physical = (band, stored) => (stored === NEVER ? null : stored * band.scale + band.offset);

// -- bands and dates ---------------------------------------------------------------------------------------------

const PRESETS = {
  "True colour": ["red", "green", "blue"],
  "Colour infrared": ["nir08", "red", "green"],
  "Short-wave infrared": ["swir22", "nir08", "red"],
};
const UNITS = { reflectance: "reflectance", kelvin: "kelvin", decibel: "dB", metre: "m" };
const DIGITS = { reflectance: 3, kelvin: 1, decibel: 2, metre: 1 };

meta.layers.forEach((layer, index) => (layer.index = index));
const groups = new Map(meta.layers.flatMap((layer) => layer.bands).map((band) => [band.name, band.group]));

// The layer's band of this common name, else the one that stands for it (nir for nir08).
function bandOf(layer, name) {
  const group = groups.get(name) ?? name;
  return layer.bands.find((b) => b.name === name) ?? layer.bands.find((b) => b.group === group);
}

const showsBands = (layer, names) => names.every((name) => bandOf(layer, name));
const days = (text) => Date.parse(text) / 86400000;

// The layer's date nearest to this one; of two equally near, the earlier. Null when the layer has none.
function nearestDate(layer, wanted) {
  const distance = (day) => Math.abs(days(day) - days(wanted));
  return layer.dates.reduce((best, day) => (best === null || distance(day) < distance(best) ? day : best), null);
}

function formatted(value, unit) {
  return value === null ? "no value" : `${value.toFixed(DIGITS[unit])} ${UNITS[unit]}`;
}

// -- colours ------------------------------------------------------------------------------------------------------

const STOPS = {
  grey: [[0, 0, 0], [255, 255, 255]],
  temperature: [[0, 0, 4], [58, 12, 95], [128, 31, 108], [193, 58, 80], [237, 105, 37], [251, 180, 26], [252, 255, 164]],
};

// 256 colours [r, g, b] between the stops.
function palette(name) {
  const stops = STOPS[name];
  return Array.from({ length: 256 }, (_, i) => {
    const at = (i / 255) * (stops.length - 1);
    const k = Math.min(Math.floor(at), stops.length - 2);
    return stops[k].map((low, c) => Math.round(low + (at - k) * (stops[k + 1][c] - low)));
  });
}

// Stored number -> 0..255, for a stretch from low to high (physical units): Uint8Array [65536].
function stretchTable(band, low, high, gamma) {
  const table = new Uint8Array(65536);
  for (let stored = 0; stored < NEVER; stored++) {
    const share = Math.min(Math.max((stored * band.scale + band.offset - low) / (high - low), 0), 1);
    table[stored] = Math.round(255 * share ** (1 / gamma));
  }
  return table;
}

function paper(width, height) {
  return Object.assign(document.createElement("canvas"), { width, height });
}

// Three bands as red, green and blue, or one through a palette; transparent where never observed.
function colourImage(layer, stored, tables, colours) {
  const canvas = paper(layer.width, layer.height);
  const context = canvas.getContext("2d");
  const image = context.createImageData(layer.width, layer.height);
  const [r, g, b] = stored.length === 3 ? [0, 1, 2] : [0, 0, 0];
  for (let i = 0, at = 0; i < stored[0].length; i++, at += 4) {
    if (stored.some((band) => band[i] === NEVER)) continue;
    const shade = [tables[r][stored[r][i]], tables[g][stored[g][i]], tables[b][stored[b][i]]];
    image.data.set(colours ? colours[shade[0]] : shade, at);
    image.data[at + 3] = 255;
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

// Opaque where the pixel is not clear.
function maskImage(layer, clear) {
  const canvas = paper(layer.width, layer.height);
  const context = canvas.getContext("2d");
  const image = context.createImageData(layer.width, layer.height);
  for (let i = 0; i < clear.length; i++) image.data[4 * i + 3] = clear[i] ? 0 : 255;
  context.putImageData(image, 0, 0);
  return canvas;
}
