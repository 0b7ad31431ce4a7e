// The state of the page in its address, so that what is seen can be sent: #at=runs&q=city&sort=-gain

const KEYS = DATA.runs.map((run) => (run.network === null ? run.directory : `${run.directory}/network-${run.network}`));
const idOf = new Map(KEYS.map((key, id) => [`${RUNS[id].video}/${key}`, id]));
const keyOf = (id) => `${RUNS[id].video}/${KEYS[id]}`;
const FIRST = { ...state, hidden: "", sort: "", picked: "" };
const SECTIONS = () => [...document.querySelectorAll("main section[id]")].map((section) => section.id);

const one = (name, allowed) => ({ write: () => state[name], read: (value) => (allowed().includes(value) ? ((state[name] = value), true) : false) });
const several = (value) => value.split(",").map(decodeURIComponent);
const has = (name) => () => distinct(RUNS.map((run) => String(run[name])));

// name in the address -> how the state is written there, and read if it is one that this page has
const ADDRESS = {
  q: { write: () => state.query, read: (value) => { state.query = value.slice(0, 200); return true; } },
  video: one("video", has("video")), backbone: one("backbone", has("backbone")), scale: one("scale", has("scale")),
  protocol: one("protocol", () => DATA.protocols),
  hide: {
    write: () => [...state.hidden].map(encodeURIComponent).join(","),
    read: (value) => {
      const keys = several(value);
      state.hidden = new Set(keys.filter((key) => METHODS.has(key)));
      return keys.every((key) => METHODS.has(key));
    },
  },
  sort: {
    write: () => (state.sort.key ? `${state.sort.down ? "-" : ""}${state.sort.key}` : ""),
    read: (value) => {
      const key = value.replace(/^-/, "");
      if (COLUMNS.every((column) => column.key !== key)) return false;
      state.sort = { key, down: value.startsWith("-") };
      return true;
    },
  },
  many: one("many", () => Object.keys(MEASURES)), worst: one("worst", () => distinct(RUNS.flatMap((run) => [run.point, METHODS.get(run.method).name]))),
  x: one("x", () => Object.keys(COSTS)), y: one("y", () => ["psnr", "gain"]),
  focus: one("focus", () => distinct(RUNS.map(placeOf))),
  runs: {
    write: () => (state.picked.has(focused()) ? [...state.picked.get(focused())].map((id) => encodeURIComponent(keyOf(id))).join(",") : ""),
    read: (value) => {
      const keys = several(value), ids = keys.map((key) => idOf.get(key)).filter(known);
      if (ids.length) state.focus = placeOf(RUNS[ids[0]]);
      state.picked.set(state.focus, new Set(ids.filter((id) => placeOf(RUNS[id]) === state.focus)));
      return ids.length === keys.length;
    },
  },
  frames: one("frames", () => ["psnr", "gain"]), over: one("over", () => ["work", "seconds"]), maps: one("maps", () => ["psnr", "gain", "first"]),
  time: {
    write: () => (state.time === FIRST.time ? "" : state.time.toFixed(3)),
    read: (value) => { const share = Number(value); if (!(share >= 0 && share <= 1)) return false; state.time = share; return true; },
  },
  before: pictureOf("before", ["bicubic", "truth"]), after: pictureOf("after", []),
};

// A side of the crops: a run by its key, as its number is another one in another report.
function pictureOf(side, words) {
  return {
    write: () => (words.includes(state[side]) || !state[side] ? state[side] : keyOf(Number(state[side]))),
    read: (value) => { const id = words.includes(value) ? value : idOf.get(value); if (!known(id)) return false; state[side] = String(id); return true; },
  };
}

let section = "";

function written() {
  const parts = new URLSearchParams();
  if (section) parts.set("at", section);
  for (const [name, { write }] of Object.entries(ADDRESS)) {
    if (write() && write() !== FIRST[name]) parts.set(name, write());
  }
  return parts.toString();
}

// Write the state into the address; a section is one that was gone to.
function keepAddress(to = section) {
  section = to;
  const hash = `#${written()}`;
  if (hash === (location.hash || "#")) return;
  try { history.replaceState(null, "", hash); } catch { location.replace(hash); } // some browsers keep the history from files
}

// Take the state from the address, and say what this report does not have.
function readAddress() {
  const hash = location.hash.slice(1), plain = SECTIONS().includes(hash);
  const parts = new URLSearchParams(plain ? "" : hash), unknown = [];
  Object.assign(state, { ...FIRST, hidden: new Set(), sort: { key: null, down: false }, picked: new Map() });
  section = plain ? hash : "";
  for (const [name, value] of parts) {
    if (name === "at" && SECTIONS().includes(value)) section = value;
    else if (!ADDRESS[name]?.read(value)) unknown.push(`${name}=${value}`.slice(0, 80));
  }
  byId("unknown").textContent = unknown.length ? `The address asks for what this report does not have: ${unknown.slice(0, 5).join(", ")}.` : "";
  byId("unknown").hidden = unknown.length === 0;
}

function goTo(id) {
  const target = byId(id);
  if (!target) return;
  target.scrollIntoView();
  target.querySelector("h2, h3")?.focus({ preventScroll: true });
}
