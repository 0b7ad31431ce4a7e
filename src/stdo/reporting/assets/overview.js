// The top of the page, the filters and a summary of each video.

function drawHeader() {
  const videos = distinct(RUNS.map((run) => run.video)), backbones = distinct(RUNS.map((run) => run.backbone));
  byId("facts").textContent = [plural(RUNS.length, "run"), plural(videos.length, "video"),
    backbones.map((name) => name.toUpperCase()).join(", "),
    distinct(RUNS.map((run) => run.scale)).sort().map((scale) => `×${scale}`).join(", "), `made ${DATA.made}`].join(" · ");
  byId("origin").replaceChildren(...DATA.origin.map((note) => el("li", {}, el("span", { class: note.warn ? "warn" : null }, note.text))));
  byId("notes").replaceChildren(...DATA.notes.map((note) => el("li", {}, note)));
}

// Every word must be in a run's video, name, backbone or directory.
function searchBox() {
  let waiting = 0;
  const seek = (event) => {
    clearTimeout(waiting);
    waiting = setTimeout(() => { state.query = event.target.value; changed(); }, 150);
  };
  const box = el("input", { type: "search", id: "search", placeholder: "video, method, …", autocomplete: "off", spellcheck: "false", maxlength: 200, oninput: seek });
  box.value = state.query;
  return el("label", { class: "pick" }, "Search", box);
}

function drawFilters() {
  const choice = (label, key, name = (value) => value) => {
    const values = distinct(RUNS.map((run) => String(run[key])));
    if (values.length < 2) return null;
    return picker(label, [["", "all"], ...values.map((value) => [value, name(value)])], state[key], (value) => { state[key] = value; changed(); });
  };
  byId("selects").replaceChildren(...[
    searchBox(),
    choice("Video", "video"), choice("Backbone", "backbone", (name) => name.toUpperCase()), choice("Scale", "scale", (scale) => `×${scale}`),
    picker("PSNR", DATA.protocols.map((key) => [key, PROTOCOL_NAMES[key] || key]), state.protocol, (value) => { state.protocol = value; changed(); }),
  ].filter(known));
  byId("methods").replaceChildren(...DATA.methods.map((method) => {
    const button = el("button", {
      type: "button", "aria-pressed": String(!state.hidden.has(method.key)),
      onclick: () => {
        if (!state.hidden.delete(method.key)) state.hidden.add(method.key);
        button.setAttribute("aria-pressed", String(!state.hidden.has(method.key)));
        changed();
      },
    }, swatch({ method: method.key }), method.name);
    return button;
  }));
}

function verdict(best, all, bicubic) {
  const over = best.value - bicubic;
  const sentence = [`${best.name} is best with ${text(best.value)} dB, `,
    known(bicubic) ? `${signed(over)} dB ${over < 0 ? "against" : "over"} bicubic` : "bicubic unknown"];
  for (const [method, name] of REFERENCES) {
    const ahead = ofSeeds(best, (run) => overReference(run, method));
    if (known(ahead)) sentence.push(`, ${signed(ahead)} ${ahead < 0 ? "against" : "over"} ${name}`);
  }
  if (best.run.method === "awdnn") {
    const next = all.find((point) => point.run.method !== "awdnn");
    if (next) sentence.push(`. One network for all beats every split here: ${next.name} follows ${text(best.value - next.value)} dB behind`);
  }
  return `${sentence.join("")}.`;
}

// Who stays below one network for all, or below no network at all.
function below(shown, ahead, name) {
  const worse = shown.filter((point) => known(ahead(point)) && ahead(point) <= -0.005);
  return worse.length ? el("p", { class: "quiet" }, `Below ${name}: ${worse.map((point) => `${point.name} (${signed(ahead(point))})`).join(", ")}.`) : null;
}

// Who was shown more or fewer patches than most of the others, as in the terminal's table.
function unequalWork(shown) {
  const counts = [...grouped(shown, (point) => point.work)].sort((a, b) => b[1].length - a[1].length);
  const [usual] = counts[0], equal = (point) => Math.abs(point.work - usual) <= DATA.equal_work * Math.max(point.work, usual);
  const odd = shown.filter((point) => !equal(point)), others = shown.filter(equal);
  if (!odd.length) return null;
  const told = odd.map((point) => `${point.name} saw ${short(point.work)} patches`).join(", ");
  const rest = others.length === 1 ? others[0].name : "the others";
  return el("p", { class: "warn" }, `Not equal work: ${told}; ${rest} saw ${short(usual)}.`);
}

// Networks that train side by side share a batch in one reading of equal work, and have one each in the other.
function readings(shown) {
  const found = distinct(shown.map((point) => point.run.equal).filter(known)).sort();
  return found.length < 2 ? null : el("p", { class: "warn" }, `Two readings of equal work stand here (${found.join(" and ")}): compare within one.`);
}

function summaryTile(runs) {
  const all = points(runs), [first] = runs, bicubic = first.bicubic.psnr[state.protocol];
  const best = all[0], shown = [...grouped(all, (point) => point.run.method).values()].map((list) => list[0]);
  const reach = Math.max(...shown.map((point) => Math.abs(point.value - bicubic)), 1e-9);
  const tie = shown[1] && best.value - shown[1].value < Math.max(best.half, shown[1].half);
  return el("article", { class: "tile" },
    el("h3", {}, breakable(first.video)),
    el("p", { class: "place" }, `×${first.scale} · ${first.backbone.toUpperCase()} · ${plural(first.frames, "frame")}`),
    el("p", { class: "big" }, verdict(best, all, bicubic)),
    el("div", { class: "ladder" }, shown.flatMap((point) => [
      el("span", { class: "name" }, swatch(point.run), point.name + (point.seeds > 1 ? ` (${point.seeds} seeds)` : "")),
      el("span", { class: "bar", style: `width:${(100 * Math.max(0, point.value - bicubic)) / reach}%;background:${colourOf(point.run)}` }),
      el("span", { class: "right" }, `${text(point.value)}${point.seeds > 1 ? ` ±${text(point.half)}` : ""}`),
      el("span", { class: "right quiet" }, signed(point.value - bicubic)),
    ])),
    below(shown, (point) => ofSeeds(point, (run) => overReference(run, "awdnn")), "awDNN"),
    below(shown, (point) => (known(bicubic) ? point.value - bicubic : null), "bicubic"),
    tie ? el("p", { class: "quiet" }, "The lead is smaller than the seeds' spread.") : null,
    unequalWork(shown), readings(all));
}

const FEW_TILES = 12;

function drawSummary() {
  const groups = [...grouped(visible(), groupOf).values()].filter((runs) => points(runs).length);
  const tiles = firstFew(groups, FEW_TILES, "video", summaryTile);
  byId("summary-body").replaceChildren(...(tiles.length ? tiles : [el("p", { class: "none" }, visible().length ? "These runs have no figure in this protocol." : "No run passes the filters.")]));
}
