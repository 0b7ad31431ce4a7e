// Many videos at once: the mean of each setting, how its videos spread, and the worst ten.

const MANY = 3; // videos from which on a mean is shown
const WORST = 10, MOST_ROWS = 16;
const MEASURES = {
  gain: ["over bicubic", (point) => ofSeeds(point, gain), signed],
  awdnn: ["over awDNN", (point) => ofSeeds(point, (run) => overReference(run, "awdnn")), signed],
  psnr: ["PSNR", (point) => point.value, text],
};

function drawManyTools() {
  byId("many-tools").replaceChildren(
    segments("What the videos are compared by", Object.entries(MEASURES).map(([key, [name]]) => [key, name]), state.many, (key) => { state.many = key; drawMany(); }),
    saveButtons("many", () => byId("many-body"), "All videos"));
}

function drawMany() {
  const groups = [...grouped(visible(), (run) => `×${run.scale} · ${run.backbone.toUpperCase()}`)]
    .map(([name, runs]) => [name, [...grouped(runs, (run) => run.video).values()]]).filter(([, videos]) => videos.length >= MANY);
  byId("many").hidden = byId("nav-many").hidden = groups.length === 0;
  byId("many-body").replaceChildren(...groups.map(([name, videos]) => manyCard(name, videos)));
}

function quantile(sorted, share) {
  const at = share * (sorted.length - 1), low = Math.floor(at);
  return sorted[low] + ((sorted[low + 1] ?? sorted[low]) - sorted[low]) * (at - low);
}

// Every setting with the videos that have the figure, best mean first. Where settings differ from video to video (k=3 here, k=4 there), every method with the best of its settings for each video, as in the summaries.
function settingsOf(videos) {
  const value = MEASURES[state.many][1], all = videos.map(points);
  const bySetting = [...grouped(all.flat(), (point) => point.name).values()].every((each) => 2 * each.length >= videos.length);
  const rivals = bySetting ? all.flat() : all.flatMap((list) => [...grouped(list, (point) => point.run.method).values()].map(([best]) => best));
  const nameOf = bySetting ? (point) => point.name : (point) => METHODS.get(point.run.method).name;
  const figures = rivals.map((point) => ({ point, value: value(point) })).filter((each) => known(each.value));
  return [...grouped(figures, (each) => nameOf(each.point))].map(([name, each]) => ({
    name, run: each[0].point.run, each, sorted: each.map((one) => one.value).sort((a, b) => a - b),
    mean: mean(each.map((one) => one.value)), psnr: mean(each.map((one) => one.point.value)),
  })).sort((a, b) => b.mean - a.mean);
}

function manyCard(name, videos) {
  const rows = settingsOf(videos), shown = rows.slice(0, MOST_ROWS), [measure, , write] = MEASURES[state.many];
  const card = el("article", { class: "card" }, el("h3", {}, `${plural(videos.length, "video")}, ${name}`));
  if (!rows.length) return build(card, {}, [nothing(`No video has a figure ${measure}: it needs comparable runs.`)]);
  const range = axis(shown.flatMap((row) => [row.sorted[0], row.sorted.at(-1)]), 6, STRIP - 6, { pad: 0.02 });
  const most = Math.max(...rows.map((row) => row.each.length)), few = rows.filter((row) => row.each.length < most);
  const head = (words, kind) => el("th", { scope: "col", role: "columnheader", class: kind }, words), td = (words, kind) => el("td", { role: "cell", class: kind }, words);
  const byPsnr = state.many === "psnr", ends = "ends"; // the roles: on a phone the rows are no table rows to the browser
  card.append(
    el("div", { class: "spread", tabindex: 0, role: "region", "aria-label": `Means over the videos, ${name}` }, el("table", { role: "table" },
      el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, head("Run", "text"), head("Videos"), head("PSNR"), byPsnr ? "" : head(measure),
        head("least", ends), head("median", ends), head("most", ends), head("each video", "text strip"))),
      el("tbody", { role: "rowgroup" }, shown.map((row) => el("tr", { role: "row" },
        el("th", { scope: "row", role: "rowheader" }, swatch(row.run), " ", row.name),
        td(String(row.each.length)), td(text(row.psnr)), byPsnr ? "" : td(el("strong", {}, write(row.mean))),
        [0, 0.5, 1].map((share) => td(write(quantile(row.sorted, share)), ends)), td(strip(row, range, write), "strip")))),
      el("tfoot", { "aria-hidden": "true" }, el("tr", {}, el("td", { colspan: byPsnr ? 6 : 7, class: ends }), el("td", { class: "strip" }, stripAxis(range)))))),
    el("p", { class: "quiet" }, `Means over the videos in dB, ${PROTOCOL_NAMES[state.protocol]} PSNR. Box: the middle half of the videos; its line: the median; dots: single videos.`));
  if (rows.some((row) => row.each.some(({ point }) => point.name !== row.name))) card.append(el("p", { class: "quiet" }, "Settings differ between the videos, so each method counts with its best setting for each video."));
  if (few.length) card.append(el("p", { class: "warn" }, `Not the same videos: ${few.slice(0, 8).map((row) => `${row.name} has ${row.each.length}`).join(", ")} of ${most}.`));
  if (rows.length > shown.length) card.append(el("p", { class: "quiet" }, `${rows.length - shown.length} more settings are in the table of runs.`));
  return build(card, {}, [worstTen(rows, write)]);
}

const STRIP = 300, BOXED = 8; // pixels; fewer videos have no middle half to speak of

function strip(row, range, write) {
  const { sorted, name } = row, [low, first, middle, third, high] = [0, 0.25, 0.5, 0.75, 1].map((share) => quantile(sorted, share)), at = range.place;
  const picture = draw("svg", { class: "chart", role: "img", width: STRIP, height: 26, viewBox: `0 0 ${STRIP} 26`,
    "aria-label": `${name}: from ${write(low)} to ${write(high)} dB, the middle half from ${write(first)} to ${write(third)}` });
  if (state.many !== "psnr") picture.append(draw("line", { class: "dash", x1: at(0), x2: at(0), y1: 0, y2: 26 }));
  for (const [index, { point, value }] of row.each.entries()) { // spread in height, so that equal ones are seen
    picture.append(draw("circle", { cx: at(value), cy: 5 + ((index * 7) % 17), r: 2, style: `fill:${colourOf(row.run)}`, opacity: sorted.length > 60 ? 0.45 : 0.9,
      onpointermove: (event) => showTip(event, `${point.run.video}\n${name}: ${write(value)} dB`), onpointerleave: hideTip }));
  }
  picture.append(
    ...(sorted.length >= BOXED ? [draw("rect", { class: "box", x: at(first), width: Math.max(1, at(third) - at(first)), y: 6, height: 14, rx: 2 })] : []),
    draw("line", { class: "middle", x1: at(middle), x2: at(middle), y1: 4, y2: 22 }));
  return picture;
}

function stripAxis(range) {
  const write = state.many === "psnr" ? text : signed, shown = range.ticks.filter((value) => range.place(value) >= 0 && range.place(value) <= STRIP);
  const digits = shown.length > 1 && shown[1] - shown[0] < 1 ? (shown[1] - shown[0] < 0.1 ? 2 : 1) : 0;
  const said = (value) => (value === 0 ? "0" : write(value, digits));
  return draw("svg", { class: "chart", width: STRIP, height: 20, viewBox: `0 0 ${STRIP} 20`, "aria-hidden": "true" },
    draw("line", { class: "base", x1: 0, x2: STRIP, y1: 1, y2: 1 }),
    uncrowded(shown, range.place, said).map((value) => draw("text", { x: range.place(value), y: 15, "text-anchor": "middle" }, said(value))));
}

function worstTen(rows, write) {
  const most = Math.max(...rows.map((each) => each.each.length)), row = rows.find((each) => each.name === state.worst) || rows.find((each) => each.each.length === most);
  const worst = [...row.each].sort((a, b) => a.value - b.value).slice(0, WORST);
  const go = (run) => (event) => {
    event.preventDefault();
    state.focus = placeOf(run);
    drawFocus();
    keepAddress("closer");
    byId("closer").scrollIntoView();
    byId("closer").querySelector("h2").focus({ preventScroll: true });
  };
  return el("div", { class: "worst" },
    el("div", { class: "heading" }, el("h4", {}, `The worst ${worst.length} of ${row.name}`),
      rows.length > 1 ? picker("Run", rows.map((each) => [each.name, each.name]), row.name, (value) => { state.worst = value; drawMany(); }) : ""),
    el("ol", {}, worst.map(({ point, value }) => el("li", {}, el("div", {},
      el("a", { href: "#closer", onclick: go(point.run) }, breakable(point.run.video)),
      el("span", { class: "quiet" }, state.many === "psnr" ? `${signed(ofSeeds(point, gain))} over bicubic` : `${text(point.value)} dB`),
      el("span", { class: "value" }, `${write(value)} dB`))))));
}
