"use strict";
// What is shown (`state`), where on the screen it is, and drawing it.

const $ = (id) => document.getElementById(id);
const extent = {
  left: Math.min(...meta.layers.map((l) => l.left)),
  right: Math.max(...meta.layers.map((l) => l.right)),
  top: Math.max(...meta.layers.map((l) => l.top)),
  bottom: Math.min(...meta.layers.map((l) => l.bottom)),
};
const middle = { x: (extent.left + extent.right) / 2, y: (extent.top + extent.bottom) / 2 };
const width = extent.right - extent.left;
const height = extent.top - extent.bottom;
const finest = Math.min(...meta.layers.map((l) => l.dx));

const state = {
  date: 0, // index into meta.dates
  swipe: 0.5, // share of the width left of the divider
  zoom: 1, // 1: everything fits
  centre: { ...middle }, // CRS units
  pin: null, // the chosen place, CRS units
  pointed: null, // the place under the mouse, CRS units
  series: [],
};

const panes = ["left", "right"].map((side) => ({
  canvas: $(`canvas-${side}`),
  layerChoice: $(`layer-${side}`),
  status: $(`status-${side}`),
  key: $(`key-${side}`),
  message: $(`message-${side}`),
  picture: null, // { layer, colours, mask }
}));

const isSwipe = () => $("stage").className === "swipe";

// -- geometry: CRS units to pixels of a canvas and back --------------------------------------------------------------

const pixelsPerUnit = (canvas) => state.zoom * Math.min(canvas.width / width, canvas.height / height);

function toCanvas(canvas, x, y) {
  const k = pixelsPerUnit(canvas);
  return [canvas.width / 2 + (x - state.centre.x) * k, canvas.height / 2 - (y - state.centre.y) * k];
}

function toPlace(canvas, event) {
  const box = canvas.getBoundingClientRect();
  const ratio = canvas.width / box.width;
  const k = pixelsPerUnit(canvas);
  return {
    x: state.centre.x + ((event.clientX - box.left) * ratio - canvas.width / 2) / k,
    y: state.centre.y - ((event.clientY - box.top) * ratio - canvas.height / 2) / k,
  };
}

// -- drawing --------------------------------------------------------------------------------------------------------

function draw() {
  fitCanvases();
  panes.forEach(drawPane);
}

function fitCanvases() {
  const share = isSwipe() ? 1 : 0.5;
  const wide = ($("stage").clientWidth - (isSwipe() ? 0 : 8)) * share;
  const tall = Math.max(Math.min((wide * height) / width, 0.5 * innerHeight), 140);
  for (const { canvas } of panes) {
    const size = [Math.round(wide * devicePixelRatio), Math.round(tall * devicePixelRatio)];
    if (canvas.width !== size[0] || canvas.height !== size[1]) [canvas.width, canvas.height] = size;
    canvas.style.height = `${tall}px`;
  }
  const cut = isSwipe() ? `inset(0 0 0 ${100 * state.swipe}%)` : "none";
  panes[1].canvas.parentElement.style.clipPath = cut;
  $("divider").style.left = `${100 * state.swipe}%`;
  $("divider").setAttribute("aria-valuenow", Math.round(100 * state.swipe));
}

function drawPane({ canvas, picture }) {
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, canvas.width, canvas.height);
  if (picture?.colours) {
    const { layer, colours, mask } = picture;
    const [x0, y0] = toCanvas(canvas, layer.left, layer.top);
    const [x1, y1] = toCanvas(canvas, layer.right, layer.bottom);
    const k = pixelsPerUnit(canvas);
    const box = [x0, y0, layer.width * layer.dx * k, layer.height * layer.dy * k];
    context.save();
    context.beginPath();
    context.rect(x0, y0, x1 - x0, y1 - y0);
    context.clip();
    context.imageSmoothingEnabled = box[2] < colours.width; // crisp pixels, unless they are smaller than the screen's
    context.drawImage(colours, ...box);
    if (mask) context.drawImage(hatched(canvas, mask, box), 0, 0);
    context.restore();
  }
  if (state.pin) drawPin(context, ...toCanvas(canvas, state.pin.x, state.pin.y));
}

// Diagonal lines, dark beside light so that they show on clouds and on dark ground, where the mask is opaque.
function hatched(canvas, mask, box) {
  const sheet = paper(canvas.width, canvas.height);
  const context = sheet.getContext("2d");
  context.imageSmoothingEnabled = false;
  context.drawImage(mask, ...box);
  context.globalCompositeOperation = "source-in";
  context.fillStyle = context.createPattern(hatchTile(), "repeat");
  context.fillRect(0, 0, canvas.width, canvas.height);
  return sheet;
}

function hatchTile() {
  const n = Math.round(8 * devicePixelRatio);
  const tile = paper(n, n);
  const context = tile.getContext("2d");
  for (const [colour, shift] of [["#0009", 0], ["#fff9", 1.5 * devicePixelRatio]]) {
    context.strokeStyle = colour;
    context.lineWidth = 1.2 * devicePixelRatio;
    for (const start of [-n, 0, n]) {
      context.beginPath();
      context.moveTo(start + shift - 2, n + 2);
      context.lineTo(start + shift + n + 2, -2);
      context.stroke();
    }
  }
  return tile;
}

function drawPin(context, x, y) {
  const r = 7 * devicePixelRatio;
  for (const [colour, thick] of [["#000", 4], ["#fff", 2]]) {
    context.strokeStyle = colour;
    context.lineWidth = thick * devicePixelRatio;
    context.beginPath();
    context.arc(x, y, r, 0, 7);
    context.stroke();
  }
}

function zoomBy(factor, around = state.centre) {
  const atFit = ((pixelsPerUnit(panes[0].canvas) / state.zoom) * finest) / devicePixelRatio;
  const most = 64 / atFit; // until the finest pixel is 64 screen pixels wide
  const zoom = Math.min(Math.max(state.zoom * factor, 1), Math.max(most, 1));
  const moved = 1 - state.zoom / zoom;
  state.centre.x += (around.x - state.centre.x) * moved;
  state.centre.y += (around.y - state.centre.y) * moved;
  state.zoom = zoom;
  keepInside();
  draw();
}

function keepInside() {
  const [w, h] = [width, height].map((n) => (n / 2) * (1 - 1 / state.zoom));
  state.centre.x = Math.min(Math.max(state.centre.x, middle.x - w), middle.x + w);
  state.centre.y = Math.min(Math.max(state.centre.y, middle.y - h), middle.y + h);
  for (const { canvas } of panes) canvas.style.touchAction = state.zoom > 1 ? "none" : "pan-y";
}
