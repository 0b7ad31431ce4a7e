"use strict";
// What all parts of the page share: the data, the state, building elements, writing numbers.

const DATA = JSON.parse(document.getElementById("data").textContent);
const RUNS = DATA.runs.map((run, id) => ({ ...run, id }));
const METHODS = new Map(DATA.methods.map((method, index) => [method.key, { ...method, colour: `var(--m${index})` }]));
const PROTOCOL_NAMES = DATA.protocol_names;

const REFERENCES = new Map(DATA.references.map(({ key, name }) => [key, name]));

const state = {
  query: "", video: "", backbone: "", scale: "", protocol: "frame", hidden: new Set(),
  sort: { key: null, down: false },
  x: "params", y: "psnr", many: "gain", worst: "",
  focus: "", picked: new Map(), frames: "psnr", over: "work", maps: "psnr", time: 0.5, before: "bicubic", after: "",
};

const byId = (id) => document.getElementById(id);

function build(node, attributes, children) {
  for (const [key, value] of Object.entries(attributes || {})) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== ""));
  return node;
}
const el = (tag, attributes, ...children) => build(document.createElement(tag), attributes, children);
const draw = (tag, attributes, ...children) =>
  build(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

const known = (value) => value !== null && value !== undefined;
const text = (value, digits = 2) => (known(value) ? value.toFixed(digits) : "–");
const signed = (value, digits = 2) =>
  known(value) ? `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(digits)}` : "–";
const plural = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;

function short(value) {
  if (!known(value)) return "–";
  for (const [unit, size] of [["T", 1e12], ["G", 1e9], ["M", 1e6], ["k", 1e3]]) {
    if (Math.abs(value) >= size) return `${Number((value / size).toPrecision(3))} ${unit}`;
  }
  return `${Number(value.toPrecision(3))}`;
}

// A long name may break after its underscores and hyphens.
const breakable = (name) => name.split(/(?<=[_-])/).flatMap((part) => [part, el("wbr")]);

const psnr = (run) => run.psnr[state.protocol];
const gain = (run) => (known(psnr(run)) && known(run.bicubic.psnr[state.protocol]) ? psnr(run) - run.bicubic.psnr[state.protocol] : null);

// A run's PSNR over that of the runs it may be compared with; null where there are none.
function overReference(run, method) {
  const others = run.against[method].map((id) => psnr(RUNS[id])).filter(known);
  return known(psnr(run)) && others.length ? psnr(run) - mean(others) : null;
}

const placeOf = (run) => `${run.video} ×${run.scale}`;
const groupOf = (run) => `${placeOf(run)} ${run.backbone}`;
const distinct = (values) => [...new Set(values)];
const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

function grouped(items, key) {
  const groups = new Map();
  for (const item of items) {
    if (!groups.has(key(item))) groups.set(key(item), []);
    groups.get(key(item)).push(item);
  }
  return groups;
}

const haystack = (run) => [run.video, run.name, METHODS.get(run.method).name, run.backbone, `×${run.scale}`, run.directory].join("\n").toLowerCase();
for (const run of RUNS) run.words = haystack(run);

function visible() {
  const sought = state.query.toLowerCase().split(/\s+/).filter(Boolean);
  return RUNS.filter((run) => sought.every((word) => run.words.includes(word)) &&
    (!state.video || run.video === state.video) && (!state.backbone || run.backbone === state.backbone) &&
    (!state.scale || String(run.scale) === state.scale) && !state.hidden.has(run.method));
}

// Of each method the run that has maps and crops in this page, or else the one of the best frame PSNR.
function bestOfEachMethod(runs) {
  const best = new Map(), rank = (run) => (run.maps || run.crops.length ? 1000 : 0) + (run.psnr.frame ?? -1);
  for (const run of runs.filter((each) => each.network === null)) {
    if (!best.has(run.method) || rank(run) > rank(best.get(run.method))) best.set(run.method, run);
  }
  const chosen = new Set(best.values());
  return runs.filter((run) => chosen.has(run));
}

// Runs that differ in their seed alone are one point: mean, and half the range.
function points(runs) {
  return [...grouped(runs.filter((run) => known(psnr(run)) && run.network === null && !known(run.shortened)), (run) => run.point).values()].map((seeds) => {
    const values = seeds.map(psnr);
    return { run: seeds[0], name: seeds[0].point, seeds: seeds.length, members: seeds, value: mean(values),
      half: (Math.max(...values) - Math.min(...values)) / 2, work: mean(seeds.map((run) => run.patch_presentations)) };
  }).sort((a, b) => b.value - a.value);
}

// The mean of what its seeds have; null where one has none.
function ofSeeds(point, value) {
  const values = point.members.map(value);
  return values.every(known) ? mean(values) : null;
}

// Of all that is to be drawn the first few; a button adds the rest.
function firstFew(items, most, noun, draw) {
  const shown = items.slice(0, most).map(draw), left = items.length - shown.length;
  if (left <= 0) return shown;
  const more = el("button", { type: "button", class: "more", onclick: () => {
    const rest = items.slice(most).map(draw);
    more.replaceWith(...rest);
    rest.find(known)?.setAttribute("tabindex", "-1");
    rest.find(known)?.focus();
  } }, `Show ${left.toLocaleString("en")} more ${noun}${left === 1 ? "" : "s"}`);
  return [...shown, more];
}

// Controls ---------------------------------------------------------------------------------------

function picker(label, options, value, onpick) {
  const select = el("select", { "data-pick": label, onchange: (event) => {
    onpick(event.target.value);
    keepAddress();
    if (!select.isConnected) document.querySelector(`select[data-pick="${label}"]`)?.focus(); // it was drawn anew
  } },
    options.map(([key, name]) => el("option", { value: key, selected: key === value }, name)));
  return el("label", { class: "pick" }, label, select);
}

function segments(label, options, value, onpick) {
  const buttons = options.map(([key, name]) => el("button", {
    type: "button", "aria-pressed": String(key === value),
    onclick: (event) => {
      for (const button of buttons) button.setAttribute("aria-pressed", String(button === event.currentTarget));
      onpick(key);
      keepAddress();
    },
  }, name));
  return el("span", { class: "segments", role: "group", "aria-label": label }, buttons);
}

const SHAPES = {
  o: "M0-5A5 5 0 1 1 0 5A5 5 0 1 1 0-5Z", s: "M-4.5-4.5H4.5V4.5H-4.5Z", D: "M0-6L6 0L0 6L-6 0Z",
  "^": "M0-5.8L5.6 4.4H-5.6Z", v: "M0 5.8L5.6-4.4H-5.6Z", "<": "M-5.8 0L4.4-5.6V5.6Z",
  P: "M-2-6H2V-2H6V2H2V6H-2V2H-6V-2H-2Z", ">": "M5.8 0L-4.4-5.6V5.6Z",
  d: "M0-6.5L3.8 0L0 6.5L-3.8 0Z", "8": "M-2.4-5.8H2.4L5.8-2.4V2.4L2.4 5.8H-2.4L-5.8 2.4V-2.4Z",
  H: "M-3-5.2H3L6 0L3 5.2H-3L-6 0Z",
  X: "M-5.5-3L-3-5.5L0-2.5L3-5.5L5.5-3L2.5 0L5.5 3L3 5.5L0 2.5L-3 5.5L-5.5 3L-2.5 0Z",
  p: "M0-6L5.7-1.9L3.5 4.9H-3.5L-5.7-1.9Z", h: "M0-6L5.2-3V3L0 6L-5.2 3V-3Z",
  "*": "M0-6.5L1.6-2.2L6.2-2L2.6.8L3.8 5.3L0 2.7L-3.8 5.3L-2.6.8L-6.2-2L-1.6-2.2Z",
};
const shapeOf = (run) => SHAPES[METHODS.get(run.method).shape];
const colourOf = (run) => METHODS.get(run.method).colour;

function swatch(run) {
  return draw("svg", { class: "swatch", width: 14, height: 14, viewBox: "-7 -7 14 14", "aria-hidden": "true" },
    draw("path", { d: shapeOf(run), fill: colourOf(run) }));
}

// The one tooltip --------------------------------------------------------------------------------

function showTip(event, message) {
  const tip = byId("tip");
  if (tip.textContent !== message) tip.textContent = message;
  tip.hidden = false;
  const { width, height } = tip.getBoundingClientRect();
  const left = event.clientX + 14 + width > innerWidth ? event.clientX - width - 14 : event.clientX + 14;
  tip.style.left = `${Math.max(4, Math.min(left, innerWidth - width - 4))}px`;
  tip.style.top = `${Math.max(4, Math.min(event.clientY + 14, innerHeight - height - 4))}px`;
}
function showTipAt(mark, message) {
  const { right, top } = mark.getBoundingClientRect();
  showTip({ clientX: right, clientY: Math.max(4, top) }, message);
}
function hideTip() { byId("tip").hidden = true; }
