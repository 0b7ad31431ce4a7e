// The sortable table of runs.

const ofProtocol = (protocol) => ({ key: protocol, name: PROTOCOL_NAMES[protocol] || protocol, of: (run) => run.psnr[protocol], show: text, down: true, best: Math.max });

const COLUMNS = [
  { key: "name", name: "Run", of: (run) => run.name, text: true },
  { key: "video", name: "Video", of: (run) => run.video, text: true, single: "video" },
  { key: "backbone", name: "Backbone", of: (run) => run.backbone.toUpperCase(), text: true, single: "backbone" },
  { key: "scale", name: "Scale", of: (run) => run.scale, show: (scale) => `×${scale}`, single: "scale" },
  { key: "gain", name: "Δ bicubic", title: "PSNR over bicubic in the chosen protocol", of: gain, show: signed, down: true, best: Math.max },
  ...DATA.references.map(({ key, name }) => ({ key: `over_${key}`, name: `Δ ${name}`, title: `PSNR over ${name} in the chosen protocol, where the runs are comparable and did equal work`, of: (run) => overReference(run, key), show: signed, down: true, optional: true })),
  ...DATA.protocols.map(ofProtocol),
  ...DATA.metrics.map(({ key, name, digits }) => ({ key, name, of: (run) => run[key], show: (value) => text(value, digits), down: true, best: Math.max, optional: true })),
  { key: "chunks", name: "k", title: "Chunks", of: (run) => run.chunks },
  { key: "params", name: "Parameters", of: (run) => run.params, show: short },
  { key: "macs", name: "MACs/frame", of: (run) => run.macs_per_frame, show: short },
  { key: "work", name: "Presentations", title: "How often a patch was shown in training", of: (run) => run.patch_presentations, show: short },
  { key: "passes", name: "Passes", of: (run) => run.passes, show: short },
  { key: "seconds", name: "Training s", of: (run) => run.seconds.train, show: (value) => text(value, 0) },
  { key: "bytes", name: "Package B", title: "Size of the package: video, sound, networks, labels", of: (run) => run.bytes && run.bytes.total, show: short, optional: true },
  { key: "kbps", name: "kbit/s", title: "Bits of the package per second of video", of: (run) => run.bitrate_kbps, show: (value) => text(value, 0), optional: true },
  { key: "seed", name: "Seed", of: (run) => run.seed },
];

function compare(column, down) {
  const words = new Intl.Collator("en", { numeric: true });
  return (a, b) => {
    const [first, second] = [column.of(a), column.of(b)];
    if (!known(first) || !known(second)) return known(second) - known(first); // unknown figures last, either way
    return (down ? -1 : 1) * (column.text ? words.compare(first, second) : first - second) || a.id - b.id;
  };
}

function sortBy(column) {
  const again = state.sort.key === column.key;
  state.sort = { key: column.key, down: again ? !state.sort.down : Boolean(column.down) };
  drawTable();
  keepAddress();
  byId("table").querySelector(`th[data-key="${column.key}"] button`).focus();
}

const MOST_ROWS_AT_ONCE = 200;

// The runs that pass the filters as they are sorted, and the columns that say something: the run and its PSNR first, which stay in sight.
function tableOf() {
  const runs = visible(), told = COLUMNS.filter((column) => (!column.single || distinct(RUNS.map((run) => run[column.single])).length > 1) && (!column.optional || RUNS.some((run) => known(column.of(run)))));
  const pinned = told.find((column) => column.key === state.protocol), [first, ...others] = told.filter((column) => column !== pinned);
  const columns = [first, pinned, ...others], sorted = columns.find((column) => column.key === state.sort.key);
  if (sorted) runs.sort(compare(sorted, state.sort.down));
  return { runs, columns, sorted };
}

function drawTable() {
  const { runs, columns, sorted } = tableOf(), best = bestValues(runs, columns);
  const head = el("tr", {}, columns.map((column, index) => el("th", {
    scope: "col", class: [column.text ? "text" : "", index === 1 ? "pinned" : ""].join(" ").trim() || null, "data-key": column.key, title: column.title,
    "aria-sort": column === sorted ? (state.sort.down ? "descending" : "ascending") : null,
  }, el("button", { type: "button", onclick: () => sortBy(column) }, column.name))));
  const row = (run) => el("tr", {}, columns.map((column, index) => cell(run, column, index, best)));
  byId("table").replaceChildren(el("caption", { class: "skip" }, "Runs"), el("thead", {}, head), el("tbody", {}, runs.slice(0, MOST_ROWS_AT_ONCE).map(row)));
  const left = runs.length - MOST_ROWS_AT_ONCE;
  byId("runs-more").replaceChildren(left > 0 ? el("button", { type: "button", class: "more", onclick: () => {
    byId("table").tBodies[0].append(...runs.slice(MOST_ROWS_AT_ONCE).map(row));
    byId("runs-more").replaceChildren();
    byId("table-box").focus();
  } }, `Show ${left.toLocaleString("en")} more runs`) : "");
  byId("runs-count").textContent = runs.length === RUNS.length ? plural(runs.length, "run") : `${runs.length.toLocaleString("en")} of ${plural(RUNS.length, "run")}`;
  pinColumns();
}

function drawTableTools() {
  byId("table-tools").replaceChildren(
    el("button", { type: "button", id: "table-right", onclick: () => byId("table-box").scrollBy({ left: (byId("table-box").dataset.right ? 0.7 : -9) * byId("table-box").clientWidth }) }),
    el("button", { type: "button", class: "save", "aria-label": "Save the table as TSV", onclick: saveTable }, "TSV"));
  byId("table-box").addEventListener("scroll", tellColumns, { passive: true });
}

// The second column stays beside the first, whose width is known once it is drawn.
function pinColumns() {
  const first = byId("table").querySelector("thead th");
  byId("table").style.setProperty("--pinned", `${first.getBoundingClientRect().width}px`);
  tellColumns();
}

// How many columns lie to the right: in words, and as a shade at the table's edge.
function tellColumns() {
  const box = byId("table-box"), button = byId("table-right"), { right } = box.getBoundingClientRect();
  const hidden = [...box.querySelectorAll("thead th")].filter((head) => head.getBoundingClientRect().right > right + 2).length;
  const scrolls = box.scrollWidth > box.clientWidth + 1;
  button.hidden = !scrolls;
  button.textContent = hidden ? `${plural(hidden, "more column")} →` : "← first columns";
  for (const [side, on] of [["right", hidden > 0], ["below", box.scrollTop + box.clientHeight < box.scrollHeight - 2]]) {
    if (on) box.dataset[side] = "1"; else delete box.dataset[side];
    byId("table-frame").classList.toggle(side, on);
  }
}

function bestValues(runs, columns) {
  const best = new Map();
  for (const [group, members] of grouped(runs.filter((run) => run.network === null), groupOf)) {
    for (const column of columns.filter((each) => each.best)) {
      const values = members.map(column.of).filter(known);
      if (members.length > 1 && values.length) best.set(`${group} ${column.key}`, column.best(...values));
    }
  }
  return best;
}

function cell(run, column, index, best) {
  const value = column.of(run), shown = column.show ? column.show(value) : String(value);
  if (index === 0) {
    const link = el("a", { href: `#run-${run.id}`, onclick: (event) => { event.preventDefault(); openDetails(run.id); } }, swatch(run), el("span", {}, shown));
    return el("th", { scope: "row" }, link);
  }
  const first = known(value) && best.get(`${groupOf(run)} ${column.key}`) === value;
  return el("td", { class: [column.text ? "text" : "", index === 1 ? "pinned" : "", column.key === "video" ? "video" : "", first ? "best" : ""].join(" ").trim() || null, title: column.key === "video" ? value : null }, shown);
}
