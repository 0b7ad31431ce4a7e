// One video at one scale: which runs are shown, and their curves frame by frame, in training and chunk by chunk.

const pooledNumbers = (key) => DATA.pool[key].split(",").map((value) => (value === "" ? null : Number(value)));

// The video that was asked for, or else the first that passes the filters.
function focused() {
  const runs = visible();
  return runs.some((run) => placeOf(run) === state.focus) ? state.focus : runs.length ? placeOf(runs[0]) : "";
}

function focusRuns() {
  const place = focused();
  return visible().filter((run) => placeOf(run) === place);
}

function picked() {
  const runs = focusRuns(), chosen = state.picked.get(focused());
  const found = chosen ? runs.filter((run) => chosen.has(run.id)) : bestOfEachMethod(runs);
  return found.length || chosen ? found : runs.slice(0, 4);
}

function naming(runs) {
  const several = distinct(runs.map((run) => run.backbone)).length > 1;
  return (run) => (several ? `${run.name} ${run.backbone.toUpperCase()}` : run.name);
}

function drawFocus() {
  const places = distinct(visible().map(placeOf)), here = focused();
  byId("focus-tools").replaceChildren(places.length > 1
    ? picker("Video", places.map((place) => [place, place]), here, (place) => { state.focus = place; drawFocus(); })
    : el("p", { class: "quiet" }, here));
  const runs = focusRuns(), name = naming(runs);
  byId("focus-runs").replaceChildren(...runs.map((run) => {
    const button = el("button", { type: "button", onclick: () => {
      const chosen = new Set(picked().map((each) => each.id));
      if (!chosen.delete(run.id)) chosen.add(run.id);
      state.picked.set(here, chosen);
      button.setAttribute("aria-pressed", String(chosen.has(run.id)));
      drawCloser();
      keepAddress();
    } }, swatch(run), name(run));
    button.setAttribute("aria-pressed", String(picked().includes(run)));
    return button;
  }));
  drawCloser();
}

function drawCloser() {
  drawFrames();
  drawTraining();
  drawChunks();
  drawMaps();
  drawCrops();
}

const nothing = (message) => el("p", { class: "none" }, message);

function drawFramesTools() {
  byId("frames-tools").replaceChildren(segments("Vertical axis", [["psnr", "PSNR"], ["gain", "over bicubic"]], state.frames, (key) => { state.frames = key; drawFrames(); }), saveButtons("frames", () => byId("frames-body"), "Frame by frame"));
}

function meanOf(points) {
  const values = points.map(([, value]) => value).filter(known);
  return values.length ? mean(values) : null;
}

function drawFrames() {
  const body = byId("frames-body"), runs = picked().filter((run) => run.curves), name = naming(runs), over = state.frames === "gain";
  if (!runs.length) return body.replaceChildren(nothing("No run with figures of its frames is chosen."));
  const dash = dashes(runs);
  const lines = runs.map((run, index) => {
    const [frames, ours, bicubic] = [run.curves.frame, run.curves.ours, run.curves.bicubic].map(pooledNumbers);
    const value = (at) => (!known(ours[at]) || !known(bicubic[at]) ? null : over ? ours[at] - bicubic[at] : ours[at]);
    return { name: name(run), colour: colourOf(run), dash: dash[index], points: frames.map((frame, at) => [frame, value(at)]) };
  });
  if (!over) {
    const [frames, bicubic] = [pooledNumbers(runs[0].curves.frame), pooledNumbers(runs[0].curves.bicubic)];
    lines.unshift({ name: "bicubic", colour: "var(--bicubic)", dash: "5 4", points: frames.map((frame, at) => [frame, bicubic[at]]) });
  }
  return body.replaceChildren(lineLegend(lines), lineChart(`PSNR of each frame, mean of ${lines.map((line) => `${line.name}: ${text(meanOf(line.points))}`).join(", ")} dB`, body.clientWidth, lines, {
    xName: "frame", yName: over ? "frame PSNR over bicubic, dB" : "frame PSNR, dB", zero: over, whole: true, describe: (frame) => `frame ${frame}`,
  }));
}

function drawTrainingTools() {
  byId("training-tools").replaceChildren(segments("Horizontal axis", [["work", "Presentations"], ["seconds", "Seconds"]], state.over, (key) => { state.over = key; drawTraining(); }), saveButtons("training", () => byId("training-body"), "Training"));
}

function drawTraining() {
  const body = byId("training-body"), runs = picked().filter((run) => run.training.length > 1), name = naming(runs), clock = state.over === "seconds";
  if (!runs.length) return body.replaceChildren(nothing("No chosen run has kept its training curve."));
  const dash = dashes(runs);
  const lines = runs.map((run, index) => {
    const raw = run.training.map(([work, psnr, seconds]) => [clock ? seconds : work, psnr]);
    return { name: name(run), colour: colourOf(run), dash: dash[index], points: smooth(raw, 0.05), raw };
  });
  return body.replaceChildren(lineLegend(lines), lineChart("PSNR in training", body.clientWidth, lines, {
    xName: clock ? "seconds of training" : "patch presentations", yName: "PSNR of the shown patches, dB",
    describe: (at) => (clock ? `after ${text(at, 1)} s` : `after ${short(at)} presentations`),
  }), el("p", { class: "quiet" }, "Faint: the batches as they came; lines: their running mean. Training draws batches at random and what it draws differs between methods: one that is shown hard patches stands lower here and may still be better."));
}

function drawChunksTools() {
  byId("chunks-tools").replaceChildren(saveButtons("chunks", () => byId("chunks-body"), "Chunk by chunk"));
}

// Bars from 0 dB: chunk k of one method is not chunk k of another, so every run has a panel of its own.
function drawChunks() {
  const body = byId("chunks-body"), runs = picked(), name = naming(runs);
  if (!runs.length) return body.replaceChildren(nothing("No run is chosen."));
  const top = Math.max(...runs.flatMap((run) => run.chunk_psnr).filter(known), 1);
  body.replaceChildren(...runs.map((run) => el("figure", {}, el("figcaption", {}, swatch(run), el("span", { class: "name", title: name(run) }, name(run))), el("p", { class: "quiet" }, order(run)), el("div"))));
  return runs.forEach((run, index) => {
    const place = body.children[index].lastChild;
    place.append(chunkBars(run, place.clientWidth, top));
  });
}

const order = (run) => ({ whole: "the whole video", time: "chunks in order of time", score: "chunks from hardest to easiest" })[run.chunking] || "";

function chunkBars(run, width, top) {
  const count = run.chunk_psnr.length, height = 190, bottom = height - 46, step = Math.min(76, (width - 60) / count), left = 58;
  const y = (value) => bottom - (value / top) * (bottom - 20), size = Math.max(3, step * 0.72), roomy = step > 37;
  const mark = (index, at, words, strong) => draw("text", { class: strong ? "strong" : null, x: left + step * (index + 0.5), y: at, "text-anchor": "middle" }, words);
  const each = (index) => (run.chunk_presentations && run.chunk_patches && run.chunk_patches[index] ? run.chunk_presentations[index] / run.chunk_patches[index] : null);
  return draw("svg", { class: "chart", role: "img", "aria-label": `PSNR of each chunk, ${run.name}: ${run.chunk_psnr.map((value) => text(value)).join(", ")} dB`, width, height, viewBox: `0 0 ${width} ${height}` },
    draw("line", { class: "base", x1: left, x2: left + step * count, y1: bottom, y2: bottom }),
    ["chunk", "shown"].map((words, row) => draw("text", { x: 0, y: bottom + 17 + 17 * row }, words)),
    run.chunk_psnr.map((value, index) => {
      const tell = (event) => showTip(event, [`chunk ${index}: ${text(value)} dB`,
        run.chunk_patches ? plural(run.chunk_patches[index], "patch").replace(/patchs$/, "patches") : "",
        known(each(index)) ? `each shown ${text(each(index), 1)} times on average` : ""].filter(Boolean).join("\n"));
      return [
        known(value) ? draw("rect", { x: left + step * index + (step - size) / 2, width: size, y: y(value), height: bottom - y(value), rx: 3, style: `fill:${colourOf(run)}`, onpointermove: tell, onpointerleave: hideTip }) : null,
        roomy ? mark(index, known(value) ? y(value) - 6 : bottom - 6, text(value), true) : null,
        roomy || index % Math.ceil(count / 8) === 0 ? mark(index, bottom + 17, String(index)) : null,
        roomy || index % Math.ceil(count / 8) === 0 ? mark(index, bottom + 34, known(each(index)) ? `${short(Number(each(index).toFixed(1)))}×` : "–") : null,
      ];
    }));
}
