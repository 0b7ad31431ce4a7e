// Patch PSNR over the frame: one map per run, one colour scale for all.

const VIRIDIS = ["#440154", "#482878", "#3e4989", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6ece58", "#b5de2b", "#fde725"];
const EITHER = ["#b35806", "#e08214", "#fdb863", "#fee0b6", "#f7f7f7", "#d8daeb", "#b2abd2", "#8073ac", "#542788"];

const channels = (colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));

function shade(stops, share) {
  const at = Math.max(0, Math.min(1, share)) * (stops.length - 1), index = Math.min(stops.length - 2, Math.floor(at));
  const [from, to] = [channels(stops[index]), channels(stops[index + 1])];
  return from.map((value, n) => Math.round(value + (to[n] - value) * (at - index)));
}

const unpacked = new Map();
function mapValues(key) { // hundredths of a dB, uint16, little endian
  if (!unpacked.has(key)) {
    const bytes = Uint8Array.from(atob(DATA.pool[key]), (letter) => letter.charCodeAt(0)), view = new DataView(bytes.buffer);
    unpacked.set(key, Float32Array.from({ length: bytes.length / 2 }, (_, index) => view.getUint16(2 * index, true) / 100));
  }
  return unpacked.get(key);
}

function drawMapsTools() {
  byId("maps-tools").replaceChildren(segments("What the maps show",
    [["psnr", "PSNR"], ["gain", "over bicubic"], ["first", "against the first run"]], state.maps, (key) => { state.maps = key; drawMaps(); }), saveButtons("maps", () => byId("maps-body"), "Where in the frame"));
}

// What is drawn: bicubic and every run, or differences, each with its values for all frames.
function mapPanels(runs, name) {
  const [first] = runs, bicubic = mapValues(first.maps.bicubic);
  const minus = (run, other) => mapValues(run.maps.ours).map((value, index) => value - other[index]);
  if (state.maps === "gain") return runs.map((run) => ({ run, name: name(run), values: minus(run, mapValues(run.maps.bicubic)) }));
  if (state.maps === "first") return runs.slice(1).map((run) => ({ run, name: `${name(run)} − ${name(first)}`, values: minus(run, mapValues(first.maps.ours)) }));
  return [{ name: "bicubic", values: bicubic }, ...runs.map((run) => ({ run, name: name(run), values: mapValues(run.maps.ours) }))];
}

function colourScale(panels) {
  const usual = panels.flatMap((panel) => Array.from(panel.values)).filter((value) => state.maps !== "psnr" || value < 100).sort((a, b) => a - b);
  const part = (share) => usual[Math.round(share * (usual.length - 1))] ?? 0;
  if (state.maps === "psnr") return { stops: VIRIDIS, low: part(0), high: Math.max(part(0.95), part(0) + 1) };
  const far = Math.max(0.1, Math.abs(part(0.02)), Math.abs(part(0.98)));
  return { stops: EITHER, low: -far, high: far };
}

function drawMaps() {
  const body = byId("maps-body"), chosen = picked(), name = naming(chosen);
  const with_maps = chosen.filter((run) => run.maps), [first] = with_maps;
  if (!first) return body.replaceChildren(nothing("No chosen run has heat maps in this page."));
  const runs = with_maps.filter((run) => run.maps.x.length === first.maps.x.length && run.maps.y.length === first.maps.y.length && run.maps.frames.length === first.maps.frames.length);
  const panels = mapPanels(runs, name), absent = chosen.filter((run) => !runs.includes(run));
  if (!panels.length) return body.replaceChildren(nothing("Choose two runs or more to compare them with the first."));
  const scale = colourScale(panels), frames = first.maps.frames;
  const figures = panels.map((panel) => mapFigure(panel, first.maps, scale));
  const output = el("output"), slider = el("input", { type: "range", min: 0, max: frames.length - 1, value: Math.round(state.time * (frames.length - 1)), "aria-label": "Frame", id: "maps-frame" });
  const paint = () => {
    const at = Number(slider.value);
    output.textContent = `frame ${frames[at]} of ${first.frames}`;
    slider.setAttribute("aria-valuetext", output.textContent);
    figures.forEach((figure) => figure.paint(at));
  };
  slider.addEventListener("input", () => { state.time = frames.length > 1 ? Number(slider.value) / (frames.length - 1) : 0; paint(); });
  slider.addEventListener("change", () => keepAddress());
  body.replaceChildren(el("div", { class: "time" }, slider, output), el("div", { class: "maps" }, figures.map((figure) => figure.node)), scaleLegend(scale),
    absent.length ? el("p", { class: "quiet" }, `Without a map in this page: ${absent.map(name).join("; ")}.`) : "");
  return paint();
}

function scaleLegend({ stops, low, high }) {
  const write = state.maps === "psnr" ? text : signed;
  return el("div", { class: "scale" }, `${write(low, 1)} dB`, el("i", { "data-stops": stops.join(","), style: `background:linear-gradient(90deg,${stops.join(",")})` }), `${write(high, 1)} dB`,
    el("span", {}, state.maps === "psnr" ? "PSNR of each patch" : state.maps === "gain" ? "over bicubic; orange: worse, purple: better" : "orange: worse than the first run, purple: better"));
}

function mapFigure(panel, { x, y }, scale) {
  const [width, height] = [x.at(-1), y.at(-1)], rows = y.length - 1, cols = x.length - 1, share = 340 / width;
  const cells = [], caption = el("span", { class: "quiet" });
  const picture = draw("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `Patch PSNR, ${panel.name}`, class: height > width ? "tall" : null });
  for (let row = 0; row < rows; row += 1) {
    for (let col = 0; col < cols; col += 1) {
      const [w, h] = [x[col + 1] - x[col], y[row + 1] - y[row]], size = Math.min(12, w * share / 2.9, h * share / 1.3);
      const box = draw("rect", { x: x[col], y: y[row], width: w, height: h, stroke: "#ffffff40", "stroke-width": 0.6 / share });
      const label = size >= 7.5 ? draw("text", { x: x[col] + w / 2, y: y[row] + h / 2, "font-size": size / share, "text-anchor": "middle", "dominant-baseline": "central", "pointer-events": "none" }) : null;
      cells.push([box, label]);
      picture.append(box, ...(label ? [label] : []));
      box.addEventListener("pointermove", (event) => showTip(event, `row ${row}, column ${col}\n${cells[row * cols + col].said} dB`));
      box.addEventListener("pointerleave", hideTip);
    }
  }
  const write = state.maps === "psnr" ? text : signed;
  const paint = (at) => {
    const values = panel.values.subarray(at * rows * cols, (at + 1) * rows * cols);
    cells.forEach((each, index) => {
      const [box, label] = each, rgb = shade(scale.stops, (values[index] - scale.low) / (scale.high - scale.low));
      each.said = write(values[index]);
      box.setAttribute("fill", `rgb(${rgb})`);
      if (!label) return;
      label.textContent = state.maps === "psnr" && values[index] >= 100 ? "same" : write(values[index], 1);
      label.setAttribute("fill", 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2] > 128 ? "#000" : "#fff");
    });
    caption.textContent = `patch mean ${write(mean(Array.from(values)))} dB`;
  };
  return { paint, node: el("figure", {}, el("figcaption", {}, panel.run ? swatch(panel.run) : "", el("span", { class: "name", title: panel.name }, panel.name), caption), picture) };
}
