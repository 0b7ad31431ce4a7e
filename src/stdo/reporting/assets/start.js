// Draw everything, and again when a choice or the width changes.

function update() {
  drawSummary();
  drawTable();
  drawCost();
  drawFocus();
  drawDetails();
}

drawHeader();
drawFilters();
drawCostTools();
drawFramesTools();
drawTrainingTools();
drawMapsTools();
update();

let width = innerWidth;
addEventListener("resize", () => {
  if (innerWidth === width) return; // a phone's address bar changes the height alone
  width = innerWidth;
  requestAnimationFrame(() => { drawCost(); drawFrames(); drawTraining(); drawChunks(); });
});
addEventListener("scroll", hideTip, { passive: true });
addEventListener("beforeprint", () => document.querySelectorAll("details.run").forEach((box) => { if (RUNS.length <= 12) box.open = true; }));
