// Crops under a divider that can be dragged: one picture to its left, the other to its right.

const spot = (crop) => [crop.frame, crop.top, crop.left, crop.height, crop.width].join("/");

function cropRuns() {
  return focusRuns().filter((run) => run.crops.length);
}

function drawCrops() {
  const runs = cropRuns(), name = naming(runs), body = byId("crops-body"), tools = byId("crops-tools");
  if (!runs.length) {
    tools.replaceChildren();
    return body.replaceChildren(nothing("No run of this video has crops in this page."));
  }
  const ids = runs.map((run) => String(run.id)), best = [...runs].sort((a, b) => (b.psnr.frame ?? 0) - (a.psnr.frame ?? 0))[0];
  const afterId = ids.includes(state.after) ? state.after : String(best.id);
  const before = ["bicubic", "truth", ...ids].includes(state.before) && state.before !== afterId ? state.before : "bicubic";
  const options = runs.map((run) => [String(run.id), name(run)]);
  tools.replaceChildren(
    picker("Before", [["bicubic", "bicubic"], ["truth", "original"], ...options.filter(([id]) => id !== afterId)], before, (value) => { state.before = value; drawCrops(); }),
    picker("After", options, afterId, (value) => { state.after = value; drawCrops(); }));
  const after = RUNS[Number(afterId)], pairs = after.crops.map((crop) => pairOf(crop, after, name, before)).filter(known);
  return body.replaceChildren(pairs.length ? el("div", { class: "pairs" }, pairs) : nothing("These two runs have no crop of the same place."));
}

// The picture to the left: its image, its name and its PSNR; null where the other run has no crop of the place.
function beforeOf(crop, name, side) {
  if (side === "bicubic") return { image: crop.files.bicubic, name: "bicubic", psnr: crop.bicubic };
  if (side === "truth") return { image: crop.files.truth, name: "original", psnr: null };
  const run = RUNS[Number(side)], same = run.crops.find((other) => spot(other) === spot(crop));
  return same ? { image: same.files.ours, name: name(run), psnr: same.ours } : null;
}

function pairOf(crop, run, name, side) {
  const before = beforeOf(crop, name, side);
  if (!before) return null;
  const zoom = Math.max(1, Math.floor(288 / Math.max(crop.width, crop.height)));
  const picture = (key, alt) => el("img", { src: DATA.pool[key], alt, width: crop.width * zoom, height: crop.height * zoom, draggable: "false" });
  const over = picture(before.image, `${before.name}, left of the divider`), edge = el("span", { class: "edge" });
  const slider = el("input", { type: "range", min: 0, max: 100, step: 1, value: 50, "aria-label": `Divider between ${before.name} and ${name(run)}` });
  const move = () => {
    over.style.clipPath = `inset(0 ${100 - slider.value}% 0 0)`;
    edge.style.left = `${slider.value}%`;
    slider.setAttribute("aria-valuetext", `${slider.value} % ${before.name}`);
  };
  slider.addEventListener("input", move);
  slider.addEventListener("pointermove", (event) => { if (event.pointerType === "mouse" && event.buttons === 1) follow(event, slider, move); });
  slider.addEventListener("pointerdown", (event) => follow(event, slider, move));
  move();
  const difference = known(before.psnr) && known(crop.ours) ? ` (${signed(crop.ours - before.psnr)})` : "";
  return el("figure", { class: "pair" },
    el("div", { class: "view", style: `width:${crop.width * zoom}px;aspect-ratio:${crop.width}/${crop.height};max-width:100%` },
      picture(crop.files.ours, `${name(run)}, right of the divider`), over, slider, edge,
      el("span", { class: "tag left" }, before.name), el("span", { class: "tag right" }, name(run))),
    el("p", {}, known(before.psnr) ? `${text(before.psnr)} → ` : "", el("strong", {}, `${text(crop.ours)} dB`), difference),
    el("p", { class: "quiet" }, `${crop.why} · frame ${crop.frame}, ${crop.width}×${crop.height} pixels at ${crop.left}, ${crop.top}`));
}

// The divider stands under the pointer exactly; a range input alone keeps off by half its thumb.
function follow(event, slider, move) {
  const { left, width } = slider.getBoundingClientRect();
  requestAnimationFrame(() => { slider.value = Math.round((100 * (event.clientX - left)) / width); move(); });
}
