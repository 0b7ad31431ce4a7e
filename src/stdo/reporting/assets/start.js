// Draw everything, and again when a choice, the address or the width changes.

function update() {
  drawMany();
  drawSummary();
  drawTable();
  drawCost();
  drawFocus();
  drawDetails();
}

function changed() {
  update();
  keepAddress();
}

function drawTools() {
  drawFilters();
  drawManyTools();
  drawTableTools();
  drawCostTools();
  drawFramesTools();
  drawTrainingTools();
  drawChunksTools();
  drawMapsTools();
}

function start() {
  readAddress();
  drawTools();
  update();
  if (section) goTo(section);
}

drawHeader();
start();

addEventListener("hashchange", () => { if (location.hash.slice(1) !== written()) start(); });
document.querySelectorAll("nav a, a.skip").forEach((link) => link.addEventListener("click", (event) => {
  event.preventDefault();
  const id = link.getAttribute("href").slice(1);
  keepAddress(id);
  goTo(id);
}));
byId("filters").addEventListener("submit", (event) => event.preventDefault());

let width = innerWidth;
addEventListener("resize", () => {
  if (innerWidth === width) return; // a phone's address bar changes the height alone
  width = innerWidth;
  requestAnimationFrame(() => { drawCost(); drawFrames(); drawTraining(); drawChunks(); pinColumns(); });
});
addEventListener("scroll", hideTip, { passive: true });
addEventListener("beforeprint", () => document.querySelectorAll("details.run").forEach((box) => { if (RUNS.length <= 12) box.open = true; }));
