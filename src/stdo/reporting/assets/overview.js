// The top of the page, the summaries and quality against cost.

function drawHeader() {
  const videos = distinct(RUNS.map((run) => run.video)), backbones = distinct(RUNS.map((run) => run.backbone));
  byId("facts").textContent = [plural(RUNS.length, "run"), plural(videos.length, "video"),
    backbones.map((name) => name.toUpperCase()).join(", "),
    distinct(RUNS.map((run) => run.scale)).sort().map((scale) => `×${scale}`).join(", "), `made ${DATA.made}`].join(" · ");
  byId("origin").replaceChildren(...DATA.origin.map((note) => el("li", {}, el("span", { class: note.warn ? "warn" : null }, note.text))));
  byId("notes").replaceChildren(...DATA.notes.map((note) => el("li", {}, note)));
}

function drawFilters() {
  const choice = (label, key, name = (value) => value) => {
    const values = distinct(RUNS.map((run) => String(run[key])));
    if (values.length < 2) return null;
    return picker(label, [["", "all"], ...values.map((value) => [value, name(value)])], state[key], (value) => { state[key] = value; update(); });
  };
  byId("selects").replaceChildren(...[
    choice("Video", "video"), choice("Backbone", "backbone", (name) => name.toUpperCase()), choice("Scale", "scale", (scale) => `×${scale}`),
    picker("PSNR", DATA.protocols.map((key) => [key, PROTOCOL_NAMES[key] || key]), state.protocol, (value) => { state.protocol = value; update(); }),
  ].filter(known));
  byId("methods").replaceChildren(...DATA.methods.map((method) => {
    const button = el("button", {
      type: "button", "aria-pressed": "true",
      onclick: () => {
        if (!state.hidden.delete(method.key)) state.hidden.add(method.key);
        button.setAttribute("aria-pressed", String(!state.hidden.has(method.key)));
        update();
      },
    }, swatch({ method: method.key }), method.name);
    return button;
  }));
}

// Runs that differ in their seed alone are one point: mean, and half the range.
function points(runs) {
  return [...grouped(runs.filter((run) => known(psnr(run)) && run.network === null), (run) => run.point).values()].map((seeds) => {
    const values = seeds.map(psnr);
    return { run: seeds[0], name: seeds[0].point, seeds: seeds.length, value: mean(values),
      half: (Math.max(...values) - Math.min(...values)) / 2, work: mean(seeds.map((run) => run.patch_presentations)) };
  }).sort((a, b) => b.value - a.value);
}

function verdict(best, all, bicubic) {
  const over = best.value - bicubic;
  const sentence = [`${best.name} is best with ${text(best.value)} dB, `,
    known(bicubic) ? `${signed(over)} dB ${over < 0 ? "against" : "over"} bicubic` : "bicubic unknown"];
  for (const method of ["awdnn", "nas"]) {
    const other = all.find((point) => point.run.method === method);
    if (other && best.run.method !== method) sentence.push(`, ${signed(best.value - other.value)} over ${METHODS.get(method).name}`);
  }
  if (best.run.method === "awdnn") {
    const next = all.find((point) => point.run.method !== "awdnn");
    if (next) sentence.push(`. One network for all beats every split here: ${next.name} follows ${text(best.value - next.value)} dB behind`);
  }
  return `${sentence.join("")}.`;
}

// Who stays below one network for all, or below no network at all.
function below(shown, bicubic, chosen, name) {
  const line = chosen ? shown.find(chosen)?.value : bicubic;
  const worse = known(line) ? shown.filter((point) => point.value < line) : [];
  return worse.length ? el("p", { class: "quiet" }, `Below ${name}: ${worse.map((point) => `${point.name} (${signed(point.value - line)})`).join(", ")}.`) : null;
}

function summaryTile(runs) {
  const all = points(runs), [first] = runs, bicubic = first.bicubic.psnr[state.protocol];
  if (!all.length) return null;
  const best = all[0], shown = [...grouped(all, (point) => point.run.method).values()].map((list) => list[0]);
  const reach = Math.max(...shown.map((point) => Math.abs(point.value - bicubic)), 1e-9);
  const works = shown.map((point) => point.work), unequal = Math.max(...works) > 1.02 * Math.min(...works);
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
    below(shown, bicubic, (point) => point.run.method === "awdnn", "awDNN"),
    below(shown, bicubic, null, "bicubic"),
    tie ? el("p", { class: "quiet" }, "The lead is smaller than the seeds' spread.") : null,
    unequal ? el("p", { class: "warn" }, `Not equal work: ${shown.map((point) => `${point.name} saw ${short(point.work)} patches`).join(", ")}.`) : null);
}

function drawSummary() {
  const tiles = [...grouped(visible(), groupOf).values()].map(summaryTile).filter(known);
  byId("summary-body").replaceChildren(...(tiles.length ? tiles : [el("p", { class: "none" }, visible().length ? "These runs have no figure in this protocol." : "No run passes the filters.")]));
}

const COSTS = {
  params: ["parameters", (run) => run.params],
  macs: ["MACs per frame", (run) => run.macs_per_frame],
  seconds: ["training seconds", (run) => run.seconds.train],
  work: ["patch presentations", (run) => run.patch_presentations],
};

function drawCostTools() {
  byId("cost-tools").replaceChildren(
    segments("Horizontal axis", [["params", "Parameters"], ["macs", "MACs"], ["seconds", "Seconds"], ["work", "Presentations"]], state.x, (key) => { state.x = key; drawCost(); }),
    segments("Vertical axis", [["psnr", "PSNR"], ["gain", "over bicubic"]], state.y, (key) => { state.y = key; drawCost(); }));
}

function drawCost() {
  const body = byId("cost-body"), groups = [...grouped(visible(), placeOf).entries()];
  body.replaceChildren(...groups.map(([place]) => el("article", { class: "tile" }, el("p", { class: "place" }, breakable(place)), el("div"))));
  groups.forEach(([place, runs], index) => body.children[index].lastChild.replaceWith(scatter(place, runs, body.children[index].lastChild.clientWidth)));
  if (!groups.length) body.append(el("p", { class: "none" }, "No run passes the filters."));
}

function scatter(place, runs, width) {
  const [xName, xOf] = COSTS[state.x], yOf = state.y === "gain" ? gain : psnr;
  const shown = runs.filter((run) => known(xOf(run)) && known(yOf(run)));
  if (!shown.length) return el("p", { class: "none" }, "These runs do not tell.");
  const height = 270, box = { left: 44, right: width - 10, top: 24, bottom: height - 36 };
  const base = state.y === "gain" ? 0 : shown[0].bicubic.psnr[state.protocol];
  const x = axis(shown.map(xOf), box.left, box.right, { log: true, pad: 0.12 });
  const y = axis([...shown.map(yOf), ...(known(base) ? [base] : [])], box.bottom, box.top);
  const picture = chart(`PSNR against ${xName}, ${place}`, width, height, box, x, y, { xName, yName: state.y === "gain" ? "dB over bicubic" : `${PROTOCOL_NAMES[state.protocol]} PSNR, dB` });
  if (known(base)) {
    picture.append(draw("line", { class: "dash", x1: box.left, x2: box.right, y1: y.place(base), y2: y.place(base) }),
      draw("text", { class: "halo", x: box.left + 4, y: y.place(base) - 5 }, "bicubic"));
  }
  const places = shown.map((run) => [x.place(xOf(run)), y.place(yOf(run))]);
  if (shown.length <= 12) nameThem(picture, shown, places, box, known(base) ? [[box.left, y.place(base) - 16, box.left + 46, y.place(base) + 2]] : []);
  shown.forEach((run, index) => picture.append(draw("path", {
    class: "point", d: shapeOf(run), transform: `translate(${places[index]})`, style: `fill:${colourOf(run)}`,
    onpointermove: (event) => showTip(event, tipOf(run)), onpointerleave: hideTip,
    onclick: () => openDetails(run.id),
  })));
  return picture;
}

function tipOf(run) {
  return [`${run.name} · ${run.backbone.toUpperCase()}`, `${text(psnr(run))} dB, ${signed(gain(run))} over bicubic`,
    `${short(run.params)} parameters, ${short(run.macs_per_frame)} MACs per frame`,
    `${short(run.patch_presentations)} presentations, ${text(run.seconds.train, 0)} s training`].join("\n");
}

// A name beside each point, where there is room for it.
function nameThem(picture, runs, places, box, used) {
  const taken = [...used, ...places.map(([x, y]) => [x - 7, y - 7, x + 7, y + 7])];
  const several = distinct(runs.map((run) => run.backbone)).length > 1;
  runs.forEach((run, index) => {
    const name = several ? `${run.name} ${run.backbone.toUpperCase()}` : run.name, size = name.length * 6.6, [x, y] = places[index];
    for (const [left, middle] of [[x + 9, y], [x - 9 - size, y], [x - size / 2, y - 14], [x - size / 2, y + 15], [x + 7, y - 12], [x + 7, y + 13]]) {
      const area = [left, middle - 7, left + size, middle + 7];
      if (left < box.left || area[2] > box.right + 8 || area[1] < 12 || area[3] > box.bottom) continue;
      if (taken.some((other) => area[0] < other[2] && other[0] < area[2] && area[1] < other[3] && other[1] < area[3])) continue;
      taken.push(area);
      const anchor = left < x - size / 2 - 1 ? "end" : left < x ? "middle" : "start";
      picture.append(draw("text", { class: "halo", x: left + { start: 0, middle: size / 2, end: size }[anchor], y: middle + 4, "text-anchor": anchor }, name));
      return;
    }
  });
}
