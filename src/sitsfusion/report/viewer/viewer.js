"use strict";
// The page itself: which image each side shows, the date, the chosen pixel, and the controls.

const today = () => meta.dates[state.date];
const layerOf = (pane) => meta.layers[pane.layerChoice.value];
const bandNames = () => PRESETS[$("bands").value] ?? [$("bands").value];

// -- images -------------------------------------------------------------------------------------------------------

let running = 0;

// Marks the page busy until the work is done.
async function busy(work) {
  running++;
  $("main").setAttribute("aria-busy", "true");
  const result = await work;
  $("main").setAttribute("aria-busy", String(--running > 0));
  return result;
}

let turn = 0;

// Reads and colours both images anew, then draws. A newer call overtakes an older one.
const paint = () => busy(repaint());

async function repaint() {
  const mine = ++turn;
  const pictures = await Promise.all(panes.map((pane) => makePicture(layerOf(pane))));
  if (mine !== turn) return;
  panes.forEach((pane, i) => showPicture(pane, pictures[i]));
  draw();
  pointAt(state.pointed);
}

async function makePicture(layer) {
  const day = nearestDate(layer, today());
  if (day === null) return { layer, problem: `This page holds no image of ${layer.name}.` };
  if (!showsBands(layer, bandNames())) {
    const missing = bandNames().filter((name) => !bandOf(layer, name));
    return { layer, day, problem: `${layer.name} has no ${missing.join(", no ")} band.` };
  }
  const bands = bandNames().map((name) => bandOf(layer, name));
  const ranges = bands.map(rangeOf);
  const gamma = Math.min(Math.max($("gamma").valueAsNumber || 1, 0.2), 4);
  const tables = bands.map((band, i) => stretchTable(band, ...ranges[i], gamma));
  const stored = await Promise.all(bands.map((band) => bandPixels(layer, day, band)));
  const colours = colourImage(layer, stored, tables, bands.length === 1 ? palette($("palette").value) : null);
  const mask = $("hatch").checked ? maskImage(layer, await clearPixels(layer, day)) : null;
  return { layer, day, bands, ranges, stored, colours, mask };
}

function rangeOf(band) {
  if ($("stretch").value === "layer") return band.range;
  if ($("stretch").value === "shared") return meta.shared[band.group];
  const [low, high] = [$("low").valueAsNumber || 0, $("high").valueAsNumber || 0];
  return [low, Math.max(high, low + band.scale)];
}

function showPicture(pane, picture) {
  pane.picture = picture;
  pane.message.hidden = !picture.problem;
  pane.message.textContent = picture.problem ?? "";
  pane.status.replaceChildren(...(picture.day ? howNear(picture.day) : []));
  pane.status.classList.toggle("away", picture.day !== today());
  pane.canvas.setAttribute("aria-label", `${picture.layer.name}, ${picture.day}. Shift and arrow keys move the chosen pixel.`);
  pane.key.replaceChildren(...(picture.problem ? [] : describeStretch(picture)));
}

function howNear(day) {
  const away = days(day) - days(today());
  if (away === 0) return ["image of ", unbroken(day)];
  const many = Math.abs(away) === 1 ? "day" : "days";
  return ["nearest image: ", unbroken(day), `, ${Math.abs(away)} ${many} ${away < 0 ? "earlier" : "later"}`];
}

// Text that stays on one line.
const unbroken = (textContent) => Object.assign(document.createElement("span"), { className: "unbroken", textContent });

function describeStretch({ bands, ranges }) {
  const number = (value, band) => value.toFixed(DIGITS[band.unit]);
  const span = (i) => unbroken(`${bands[i].key} ${number(ranges[i][0], bands[i])}–${number(ranges[i][1], bands[i])}`);
  if (bands.length === 3) return [span(0), " · ", span(1), " · ", span(2)];
  const ramp = Object.assign(document.createElement("span"), { className: "ramp" });
  ramp.style.background = `linear-gradient(90deg, ${STOPS[$("palette").value].map((c) => `rgb(${c})`).join(", ")})`;
  return [`${bands[0].key} ${number(ranges[0][0], bands[0])} `, ramp, ` ${formatted(ranges[0][1], bands[0].unit)}`];
}

// -- date -------------------------------------------------------------------------------------------------------------

function goTo(index) {
  state.date = Math.min(Math.max(index, 0), meta.dates.length - 1);
  $("date").value = state.date;
  $("date").setAttribute("aria-valuetext", today());
  $("day").textContent = today();
  $("previous").disabled = state.date === 0;
  $("next").disabled = state.date === meta.dates.length - 1;
  document.querySelectorAll("#available .now").forEach((cell) => cell.classList.remove("now"));
  document.querySelectorAll(`#available [data-day="${today()}"]`).forEach((cell) => cell.classList.add("now"));
  showSeries();
  return paint();
}

// Which layer has an image of which date: one row per layer, paler where less of it is clear.
function drawAvailable() {
  for (const layer of meta.layers) {
    const row = $("available").appendChild(document.createElement("div"));
    row.append(Object.assign(document.createElement("span"), { className: "name", textContent: layer.name }));
    const cells = row.appendChild(Object.assign(document.createElement("span"), { className: "cells" }));
    for (const day of meta.dates) {
      const cell = cells.appendChild(document.createElement("i"));
      cell.dataset.day = day;
      const share = layer.clear[layer.dates.indexOf(day)];
      if (share === undefined) continue;
      cell.title = `${layer.name}, ${day}: ${Math.round(100 * share)} % clear`;
      cell.style.background = `color-mix(in srgb, ${layerColour(layer)} ${20 + 80 * share}%, var(--panel))`;
      cell.addEventListener("click", () => goTo(meta.dates.indexOf(day)));
    }
  }
}

// -- the chosen pixel ----------------------------------------------------------------------------------------------------

const places = meta.degrees ? 6 : Math.max(0, Math.ceil(-Math.log10(finest))) + 1;
const written = ({ x, y }) => `x ${x.toFixed(places)}, y ${y.toFixed(places)} (${meta.crs ?? "no CRS"})`;

async function choosePixel(place) {
  if (place.x < extent.left || place.x >= extent.right || place.y > extent.top || place.y <= extent.bottom) return;
  state.pin = place;
  draw();
  $("place").textContent = "reading …";
  const series = await busy(readSeries(place.x, place.y, $("series-band").value));
  if (state.pin !== place) return;
  state.series = series;
  showSeries();
}

function showSeries() {
  if (!state.pin) return;
  $("place").textContent = written(state.pin);
  $("pixel").hidden = false;
  const keep = (point) => point.clear || $("show-unclear").checked;
  const shown = state.series.map((one) => ({ ...one, points: one.points.filter(keep) }));
  drawSeries($("plot"), $("series-band").value, shown, today(), (day) => goTo(meta.dates.indexOf(day)));
  $("legend-unit").textContent = UNITS[state.series[0]?.band.unit] ?? "value";
  $("legend").tBodies[0].replaceChildren(...meta.layers.map(legendRow));
}

function legendRow(layer) {
  const row = document.createElement("tr");
  const one = state.series.find((s) => s.layer === layer);
  const day = nearestDate(layer, today());
  const point = one?.points.find((p) => p.day === day);
  const value = point ? valueAndState(point, one.band) : bandOf(layer, $("series-band").value) ? "outside" : "no band";
  for (const text of [layer.name, day ? `${day}${daysAway(day)}` : "", value]) row.insertCell().append(text);
  row.cells[0].prepend(swatch(layer));
  if (one) row.cells[0].append(Object.assign(document.createElement("span"), { className: "soft", textContent: ` ${one.band.key}` }));
  return row;
}

function valueAndState(point, band) {
  if (point.value === null) return "never observed";
  return point.value.toFixed(DIGITS[band.unit]) + (point.clear ? "" : ", not clear");
}

function daysAway(day) {
  const away = days(day) - days(today());
  return away ? ` ${away > 0 ? "+" : "−"}${Math.abs(away)} d` : "";
}

function swatch(layer) {
  const svg = document.createElementNS($("plot").namespaceURI, "svg");
  svg.setAttribute("class", "swatch");
  svg.setAttribute("viewBox", "-12 -7 24 14");
  if (layer.kind !== "input") svgElement(svg, "path", { class: `line ${layer.kind}`, d: "M-11 0H11", stroke: layerColour(layer) });
  if (layer.kind !== "truth") drawMarker(svg, layer, true, 0, 0);
  return svg;
}

function pointAt(place) {
  state.pointed = place;
  $("hover").textContent = place ? readOut(place) : "";
}

function readOut(place) {
  const values = ["left", "right"].map((side, i) => {
    const { layer, bands, stored } = panes[i].picture ?? {};
    if (!stored) return `${side}: no image`;
    const at = pixelAt(layer, place.x, place.y);
    const numbers = bands.map((band, i) => (at === null ? null : physical(band, stored[i][at])));
    const text = numbers.some((n) => n === null) ? "no value" : numbers.map((n, i) => n.toFixed(DIGITS[bands[i].unit])).join(" / ");
    return `${side} ${text}`;
  });
  return [written(place), ...values].join(" · ");
}

// -- controls ---------------------------------------------------------------------------------------------------------------

function option(select, value, text = value) {
  select.add(new Option(text, value));
}

function fillChoices() {
  for (const pane of panes) meta.layers.forEach((layer, i) => option(pane.layerChoice, i, layer.name));
  const first = (kind) => meta.layers.findIndex((layer) => layer.kind === kind);
  panes[0].layerChoice.value = Math.max(first("input"), 0);
  panes[1].layerChoice.value = [first("prediction"), first("truth"), meta.layers.length - 1].find((i) => i >= 0);
  for (const [name, bands] of Object.entries(PRESETS)) {
    if (meta.layers.some((layer) => showsBands(layer, bands))) option($("bands"), name);
  }
  for (const name of groups.keys()) {
    option($("bands"), name);
    option($("series-band"), name);
  }
  $("series-band").value = ["nir08", "nir", "red"].find((name) => groups.has(name)) ?? [...groups.keys()][0];
  $("date").max = meta.dates.length - 1;
  document.documentElement.style.setProperty("--count", meta.dates.length);
}

// A single band on show is also the one plotted; temperatures get their palette; limits follow the band.
function changeBands() {
  const names = bandNames();
  const shown = [...panes.map(layerOf), ...meta.layers].map((layer) => bandOf(layer, names[0])).find(Boolean);
  if (names.length === 1) {
    $("palette").value = shown.unit === "kelvin" ? "temperature" : "grey";
    $("series-band").value = names[0];
    if (state.pin) choosePixel(state.pin);
  }
  suggestLimits(shown);
  return paint();
}

// Given limits start as the band's own range, and stay while the unit does.
function suggestLimits(band) {
  const given = $("stretch").value === "manual";
  $("low").disabled = $("high").disabled = !given;
  if (given && $("low").dataset.unit === band.unit) return;
  [$("low").value, $("high").value] = given ? band.range : ["", ""];
  $("low").dataset.unit = given ? band.unit : "";
}

function changeLayout(value) {
  $("stage").className = value;
  $("divider").hidden = value !== "swipe";
  draw();
}

function moveDivider(share) {
  state.swipe = Math.min(Math.max(share, 0), 1);
  draw();
}

// A press that hardly moves chooses a pixel; one that moves drags the view.
function watchCanvas(canvas) {
  let press = null;
  canvas.addEventListener("pointerdown", (event) => {
    press = { x: event.clientX, y: event.clientY, centre: { ...state.centre }, moved: false };
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    pointAt(toPlace(canvas, event));
    if (!press) return;
    const [dx, dy] = [event.clientX - press.x, event.clientY - press.y];
    press.moved ||= Math.hypot(dx, dy) > 4;
    if (!press.moved) return;
    const unit = devicePixelRatio / pixelsPerUnit(canvas);
    state.centre = { x: press.centre.x - dx * unit, y: press.centre.y + dy * unit };
    keepInside();
    draw();
  });
  canvas.addEventListener("pointerup", (event) => {
    if (press && !press.moved) choosePixel(toPlace(canvas, event));
    press = null;
  });
  canvas.addEventListener("pointercancel", () => (press = null));
  canvas.addEventListener("pointerleave", () => pointAt(null));
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoomBy(event.deltaY < 0 ? 1.25 : 0.8, toPlace(canvas, event));
  }, { passive: false });
}

function watchDivider() {
  const divider = $("divider");
  const follow = (event) => {
    const box = $("stage").getBoundingClientRect();
    moveDivider((event.clientX - box.left) / box.width);
  };
  divider.addEventListener("pointerdown", (event) => divider.setPointerCapture(event.pointerId));
  divider.addEventListener("pointermove", (event) => event.buttons && follow(event));
  divider.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -0.02, ArrowDown: -0.02, ArrowRight: 0.02, ArrowUp: 0.02, Home: -1, End: 1 }[event.key];
    if (!step) return;
    event.preventDefault();
    moveDivider(state.swipe + step);
  });
}

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

// Arrow keys move the date; with Shift they move the chosen pixel. Controls that use arrows themselves keep them.
function pressKey(event) {
  const arrow = ARROWS[event.key];
  if (!arrow || event.target.closest("input, select, #divider") || event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.shiftKey) {
    event.preventDefault();
    const { x, y } = state.pin ?? middle;
    choosePixel({ x: x + arrow[0] * finest, y: y + arrow[1] * finest });
  } else if (arrow[0]) {
    event.preventDefault();
    goTo(state.date + arrow[0]);
  }
}

function watchControls() {
  const on = (id, type, action) => $(id).addEventListener(type, action);
  panes.forEach((pane) => pane.layerChoice.addEventListener("change", paint));
  panes.forEach((pane) => watchCanvas(pane.canvas));
  document.querySelectorAll("[name=layout]").forEach((radio) => radio.addEventListener("change", () => changeLayout(radio.value)));
  on("bands", "change", changeBands);
  on("stretch", "change", changeBands);
  for (const id of ["palette", "hatch", "low", "high", "gamma"]) on(id, "input", paint);
  on("series-band", "change", () => state.pin && choosePixel({ ...state.pin }));
  on("show-unclear", "change", showSeries);
  on("date", "input", () => goTo($("date").valueAsNumber));
  on("previous", "click", () => goTo(state.date - 1));
  on("next", "click", () => goTo(state.date + 1));
  on("zoom-in", "click", () => zoomBy(1.5));
  on("zoom-out", "click", () => zoomBy(1 / 1.5));
  on("zoom-fit", "click", () => zoomBy(0));
  addEventListener("keydown", pressKey);
  watchDivider();
  // a frame later, as drawing may change the size that is observed
  new ResizeObserver(() => requestAnimationFrame(draw)).observe($("stage"));
  new ResizeObserver(() => requestAnimationFrame(showSeries)).observe($("plot"));
}

function summarise() {
  const span = meta.dates.length > 1 ? `${meta.dates.length} dates, ${meta.dates[0]} to ${meta.dates.at(-1)}` : meta.dates[0];
  const size = meta.crs && !meta.degrees ? ` · ${(width / 1000).toPrecision(3)} × ${(height / 1000).toPrecision(3)} km` : "";
  $("summary").textContent = `${span} · ${meta.crs ?? "no CRS"}${size}`;
}

function alarm(text) {
  $("alarm").hidden = false;
  $("alarm").textContent = text;
}

addEventListener("error", (event) => alarm(`The page failed: ${event.message}`));
addEventListener("unhandledrejection", (event) => alarm(`The page failed: ${event.reason}`));

if (typeof DecompressionStream === "undefined") {
  alarm("This browser is too old for the page: it needs Chrome 80, Firefox 113, Safari 16.4 or later.");
} else {
  summarise();
  fillChoices();
  drawAvailable();
  watchControls();
  changeBands();
  goTo(0);
}
