// Quality against cost: one chart for each video, and one of the means over many.

const COSTS = {
  params: ["parameters", (run) => run.params],
  macs: ["MACs per frame", (run) => run.macs_per_frame],
  seconds: ["training seconds", (run) => run.seconds.train],
  work: ["patch presentations", (run) => run.patch_presentations],
};
const FEW_CHARTS = 6, MOST_NAMES = 40;

function drawCostTools() {
  byId("cost-tools").replaceChildren(
    segments("Horizontal axis", [["params", "Parameters"], ["macs", "MACs"], ["seconds", "Seconds"], ["work", "Presentations"]], state.x, (key) => { state.x = key; drawCost(); }),
    segments("Vertical axis", [["psnr", "PSNR"], ["gain", "over bicubic"]], state.y, (key) => { state.y = key; drawCost(); }),
    saveButtons("cost", () => byId("cost-body"), "Quality against cost"));
}

function drawCost() {
  const body = byId("cost-body"), groups = [...grouped(visible(), placeOf).entries()];
  const add = ([place, runs]) => {
    const spot = el("div", { class: "spot" }), tile = el("article", { class: "tile" }, el("p", { class: "place" }, breakable(place)), spot);
    requestAnimationFrame(() => spot.replaceWith(scatter(place, runs.map(itemOf(runs)), spot.clientWidth, runs[0].bicubic.psnr[state.protocol])));
    return tile;
  };
  body.replaceChildren(...meanCharts(), ...firstFew(groups, FEW_CHARTS, "video", add));
  if (!groups.length) body.append(el("p", { class: "none" }, "No run passes the filters."));
}

// What a chart needs to know of a run.
function itemOf(runs) {
  const name = naming(runs), cost = COSTS[state.x][1], quality = state.y === "gain" ? gain : psnr;
  return (run) => ({ name: name(run), point: run.point + run.backbone, run, x: cost(run), y: quality(run), tip: tipOf(run), open: () => openDetails(run.id) });
}

// One chart for each scale: the mean of every setting that at least half of the videos have.
function meanCharts() {
  return [...grouped(visible(), (run) => run.scale)].flatMap(([scale, runs]) => {
    const videos = distinct(runs.map((run) => run.video)).length;
    if (videos < MANY) return [];
    const several = distinct(runs.map((run) => run.backbone)).length > 1;
    const items = [...grouped(runs.filter((run) => run.network === null), (run) => `${run.point} ${run.backbone}`).values()].map((members) => {
      const [first] = members, own = members.map(itemOf(members)).filter((item) => known(item.x) && known(item.y));
      const name = several ? `${first.point} ${first.backbone.toUpperCase()}` : first.point;
      if (2 * distinct(own.map((one) => one.run.video)).length < videos) return { name, x: null, y: null };
      const item = { name, point: name, run: first, x: mean(own.map((one) => one.x)), y: mean(own.map((one) => one.y)) };
      const over = state.y === "gain" ? `${signed(item.y)} dB over bicubic` : `${text(item.y)} dB`;
      return { ...item, tip: `${name}\n${over}, mean of ${plural(own.length, "run")}\n${short(item.x)} ${COSTS[state.x][0]}` };
    });
    if (items.filter((item) => known(item.x)).length < 2) return [];
    const place = `Mean over ${videos} videos, ×${scale}`, spot = el("div", { class: "spot" });
    requestAnimationFrame(() => spot.replaceWith(scatter(place, items, spot.clientWidth, null)));
    return [el("article", { class: "tile" }, el("p", { class: "place" }, el("strong", {}, place)), spot)];
  });
}

function scatter(place, items, width, bicubic) {
  const [xName] = COSTS[state.x], shown = items.filter((item) => known(item.x) && known(item.y));
  if (!shown.length) return el("p", { class: "none" }, "These runs do not tell.");
  const height = 270, box = { left: 44, right: width - 10, top: 24, bottom: height - 36 };
  const base = state.y === "gain" ? 0 : bicubic;
  const x = axis(shown.map((item) => item.x), box.left, box.right, { log: true, pad: 0.12 });
  const y = axis([...shown.map((item) => item.y), ...(known(base) ? [base] : [])], box.bottom, box.top, { pad: 0.12 });
  const picture = chart(`PSNR against ${xName}, ${place}: ${shown.map((item) => `${item.name} ${text(item.y)}`).join(", ")}`, width, height, box, x, y,
    { xName, yName: state.y === "gain" ? "dB over bicubic" : `${PROTOCOL_NAMES[state.protocol]} PSNR, dB` });
  const places = shown.map((item) => [x.place(item.x), y.place(item.y)]), taken = [];
  if (known(base)) {
    const at = y.place(base);
    const size = wide("bicubic"), marks = places.map(([left, top]) => [left - 7, top - 7, left + 7, top + 7]);
    const ends = [[box.left + 4, at - 9], [box.right - size, at - 9], [box.left + 4, at + 10], [box.right - size, at + 10]];
    const areas = ends.map(([left, middle]) => [left, middle - 7, left + size, middle + 7]), free = areas.find((area) => area[3] < box.bottom && !marks.some((mark) => touch(area, mark))) || areas[0];
    picture.append(draw("line", { class: "dash", x1: box.left, x2: box.right, y1: at, y2: at }), draw("text", { class: "halo", x: free[0], y: free[1] + 11 }, "bicubic"));
    taken.push(free, [box.left, at - 3, box.right, at + 3]);
  }
  nameThem(picture, shown, places, box, taken);
  const marks = shown.map((item, index) => draw("path", {
    class: item.open ? "point opens" : "point", d: shapeOf(item.run), transform: `translate(${places[index]})`, style: `fill:${colourOf(item.run)}`,
    onpointermove: (event) => showTip(event, item.tip), onpointerleave: hideTip, onclick: item.open,
  }));
  picture.append(...marks);
  walk(picture, shown.length, (index) => {
    showTipAt(marks[index], shown[index].tip);
    marks.forEach((mark, at) => mark.classList.toggle("here", at === index));
  }, (index) => shown[index].open?.());
  return picture;
}

function tipOf(run) {
  return [`${run.name} · ${run.backbone.toUpperCase()}`, `${text(psnr(run))} dB, ${signed(gain(run))} over bicubic`,
    `${short(run.params)} parameters, ${short(run.macs_per_frame)} MACs per frame`,
    `${short(run.patch_presentations)} presentations, ${text(run.seconds.train, 0)} s training`].join("\n");
}

// A name beside each point that touches no other name, point or line; further away with a thin line to its point where it must. Seeds share one name.
function nameThem(picture, items, places, box, lines) {
  const taken = [...lines, ...places.map(([x, y]) => [x - 7, y - 7, x + 7, y + 7])], named = new Set();
  items.forEach((item, index) => {
    if (named.has(item.point) || named.size >= MOST_NAMES) return;
    named.add(item.point);
    const words = items.some((other) => other !== item && other.point === item.point) ? item.run.point : item.name;
    const found = freePlace(places[index], wide(words), box, taken);
    if (!found) return;
    taken.push(found.area);
    const [x, y] = places[index], [left, top, right] = found.area, nearest = Math.max(left, Math.min(x, right));
    if (found.far) picture.append(draw("line", { class: "lead", x1: x, y1: y, x2: nearest, y2: top + 7 < y ? top + 13 : top + 2 }));
    picture.append(draw("text", { class: "halo", x: left + 1, y: top + 11 }, words));
  });
}

const touch = (a, b) => a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];

function freePlace([x, y], size, box, taken) {
  for (const far of [0, 16, 32, 48, 64, 80]) {
    const beside = [[x + 9, y - far], [x - 9 - size, y - far], [x + 9, y + far], [x - 9 - size, y + far]];
    const around = [[x - size / 2, y - 15 - far], [x - size / 2, y + 15 + far], [x + 9 + far, y - 13], [x + 9 + far, y + 13], [x - 9 - far - size, y - 13], [x - 9 - far - size, y + 13]];
    for (const [left, middle] of [...beside, ...around]) {
      const area = [left, middle - 7, left + size, middle + 7];
      if (left < box.left || area[2] > box.right + 8 || area[1] < 14 || area[3] > box.bottom) continue;
      if (!taken.some((other) => touch(area, other))) return { area, far: far > 0 };
    }
  }
  return null;
}
