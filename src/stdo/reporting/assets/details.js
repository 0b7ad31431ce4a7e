// Configuration and provenance of each run; filled in when a run is opened.

const FEW = 16; // more runs than that are folded, video by video
const FEW_PLACES = 40;
const placeBoxes = new Map();

function drawDetails() {
  const runs = visible(), places = grouped(runs, placeOf);
  if (runs.length <= FEW || places.size < 2) byId("details-body").replaceChildren(...runs.map(detailsBox));
  else byId("details-body").replaceChildren(...firstFew([...places], FEW_PLACES, "video", ([place, members]) => placeBox(place, members)));
}

function placeBox(place, members) {
  const fillPlace = () => { if (box.children.length === 1) box.append(...members.map(detailsBox)); };
  const box = el("details", { class: "place", ontoggle: () => { if (box.open) fillPlace(); } },
    el("summary", {}, place, el("span", { class: "quiet" }, ` · ${plural(members.length, "run")}`)));
  box.fill = fillPlace;
  placeBoxes.set(place, box);
  return box;
}

function detailsBox(run) {
  const box = el("details", { class: "run", id: `run-${run.id}`, ontoggle: () => { if (box.open) fill(box, run); } },
    el("summary", {}, swatch(run), el("strong", {}, run.name), el("span", { class: "quiet" }, `${run.video} · ×${run.scale} · ${run.backbone.toUpperCase()} · ${text(run.psnr.frame)} dB`)));
  return box;
}

function fill(box, run) {
  if (box.children.length === 1) box.append(detailsOf(run));
}

function openDetails(id) {
  if (!byId(`run-${id}`)) {
    const place = placeOf(RUNS[id]);
    if (!placeBoxes.get(place)?.isConnected) byId("details-body").querySelector("button.more")?.click();
    placeBoxes.get(place)?.fill();
  }
  const box = byId(`run-${id}`);
  if (!box) return;
  fill(box, RUNS[id]);
  for (let outer = box; outer; outer = outer.parentElement.closest("details")) outer.open = true;
  box.scrollIntoView({ block: "start" });
  box.querySelector("summary").focus({ preventScroll: true });
}

function detailsOf(run) {
  const { origin } = run, facts = [
    ["Run directory", run.directory], ["Commit", origin.commit ? origin.commit + (origin.dirty ? " with uncommitted changes" : "") : "unknown"],
    ["Started", origin.started], ["Machine", [origin.machine, origin.system].filter(Boolean).join(" · ")],
    ["Trained on", `${run.device}, ${run.precision}`], ["Versions", origin.versions],
    ["Method", `chunking ${run.chunking}, sharing ${run.sharing}, sampler ${run.sampler}, scorer ${run.scorer}`],
    ["Work", `${plural(run.patch_presentations, "presentation")} in ${plural(run.steps, "step")} of batch ${run.batch} (${short(run.passes)} passes over ${run.patches.toLocaleString("en")} patches)`],
    ["Parameters", short(run.params) + (run.params_per_chunk ? ` (${short(run.params_base)} shared, ${short(run.params_per_chunk)} for each chunk)` : "")],
    ["Seconds", Object.entries(run.seconds).map(([step, seconds]) => `${step} ${text(seconds, 1)}`).join(", ")],
  ];
  return el("div", {},
    origin.command ? commandBox(origin.command) : "",
    el("dl", {}, facts.filter(([, value]) => value).map(([name, value]) => [el("dt", {}, name), el("dd", {}, value)])),
    folded("Configuration", DATA.pool[run.config] || "(none was kept)", true),
    origin.diff ? folded("Uncommitted changes", DATA.pool[origin.diff]) : "");
}

function folded(title, content, open = false) {
  return el("details", { open }, el("summary", {}, title), el("pre", { tabindex: 0 }, content));
}

function commandBox(command) {
  const sweep = / (-m|--multirun)( |$)/.test(command.replace(/^python -m /, ""));
  const button = el("button", { type: "button", class: "copy", onclick: () => copy(command, button) }, "Copy");
  return el("div", {}, el("p", { class: "quiet" }, sweep ? "The command of the sweep that this run is one of:" : "The command that repeats this run:"),
    el("div", { class: "command" }, el("pre", { class: "wrap" }, command), button));
}

async function copy(words, button) {
  let done = false;
  try { await navigator.clipboard.writeText(words); done = true; } catch { done = copyOldWay(words); }
  button.textContent = done ? "Copied" : "Select it by hand";
  setTimeout(() => { button.textContent = "Copy"; }, 1600);
}

function copyOldWay(words) { // where the clipboard is closed to files
  const box = el("textarea", { style: "position:fixed;opacity:0" });
  box.value = words;
  document.body.append(box);
  box.select();
  const done = document.execCommand("copy");
  box.remove();
  return done;
}
