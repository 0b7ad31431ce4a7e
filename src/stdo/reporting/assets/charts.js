// Axes and lines, drawn at the width of their place so that text keeps its size.

function ticks(low, high, count) {
  const raw = (high - low) / count, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= raw * 0.999);
  const found = [];
  for (let n = Math.ceil(low / step - 1e-9); n * step <= high + step * 1e-9; n += 1) found.push(n * step);
  return found;
}

function logTicks(low, high) {
  const found = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power += 1) {
    for (const factor of high / low > 300 ? [1] : high / low > 30 ? [1, 3] : [1, 2, 5]) {
      const value = factor * 10 ** power;
      if (value >= low && value <= high) found.push(value);
    }
  }
  return found;
}

// Where a value stands between two pixels: linear, or logarithmic where positive values span more than 8 to 1.
function axis(values, from, to, { log = false, pad = 0.06, whole = false } = {}) {
  let low = Math.min(...values), high = Math.max(...values);
  const bent = log && low > 0 && high / low > 8;
  if (bent) [low, high] = [Math.log10(low), Math.log10(high)];
  const room = (high - low) * pad || (bent ? 0.1 : Math.abs(high) * 0.05 || 1);
  low -= room; high += room;
  const place = (value) => from + (((bent ? Math.log10(value) : value) - low) / (high - low)) * (to - from);
  const count = Math.max(2, Math.round(Math.abs(to - from) / (Math.abs(to) > Math.abs(from) ? 85 : 46)));
  return { place, ticks: bent ? logTicks(10 ** low, 10 ** high) : ticks(low, high, count).filter((value) => !whole || Number.isInteger(value)) };
}

// Pixels that a text takes in a chart.
const pen = document.createElement("canvas").getContext("2d");
function wide(words) {
  pen.font = "11.5px system-ui, 'Segoe UI', Roboto, sans-serif";
  return pen.measureText(words).width + 3;
}

// Those of the values whose texts, centred, do not touch.
function uncrowded(values, place, write) {
  let end = -Infinity;
  return values.filter((value) => {
    const half = wide(write(value)) / 2;
    if (place(value) - half < end + 5) return false;
    end = place(value) + half;
    return true;
  });
}

// One stop for the keyboard in a chart: arrows go from mark to mark, Enter opens one.
function walk(picture, count, show, open = () => {}) {
  let at = -1;
  picture.setAttribute("tabindex", "0");
  picture.setAttribute("aria-description", "Arrow keys tell the figures");
  picture.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1, PageDown: 10, PageUp: -10, Home: -count, End: count }[event.key];
    if (event.key === "Enter" && at >= 0) {
      event.preventDefault(); // else it would close at once what is opened and gets the focus
      open(at);
    }
    else if (event.key === "Escape") hideTip();
    else if (step) {
      event.preventDefault();
      at = Math.max(0, Math.min(count - 1, at + step));
      show(at);
    }
  });
  picture.addEventListener("blur", hideTip);
}

function chart(label, width, height, box, x, y, { xName, yName, xText = short, yText = null }) {
  const steps = y.ticks.length > 1 ? y.ticks[1] - y.ticks[0] : 1;
  const write = yText || ((value) => value.toFixed(steps < 0.1 ? 2 : steps < 1 ? 1 : 0).replace("-", "−"));
  return draw("svg", { class: "chart", role: "img", "aria-label": label, width, height, viewBox: `0 0 ${width} ${height}` },
    y.ticks.map((value) => [
      draw("line", { class: "rule", x1: box.left, x2: box.right, y1: y.place(value), y2: y.place(value) }),
      draw("text", { x: box.left - 7, y: y.place(value) + 4, "text-anchor": "end" }, write(value)),
    ]),
    uncrowded(x.ticks, x.place, xText).map((value) => [
      draw("line", { class: "base", x1: x.place(value), x2: x.place(value), y1: box.bottom, y2: box.bottom + 4 }),
      draw("text", { x: x.place(value), y: box.bottom + 17, "text-anchor": "middle" }, xText(value)),
    ]),
    draw("line", { class: "base", x1: box.left, x2: box.right, y1: box.bottom, y2: box.bottom }),
    draw("text", { x: box.right, y: height - 3, "text-anchor": "end" }, xName),
    draw("text", { x: 0, y: 10 }, yName));
}

const DASHES = [null, "7 3", "2 3", "10 3 2 3", "4 2 1 2"];

// Runs of one method share its colour, so their lines differ in their dashes.
function dashes(runs) {
  const seen = new Map();
  return runs.map((run) => {
    const count = seen.get(run.method) || 0;
    seen.set(run.method, count + 1);
    return DASHES[count % DASHES.length];
  });
}

const stroke = (colour, dash) => ({ style: `stroke:${colour}`, "stroke-dasharray": dash });

function lineLegend(lines) {
  return el("div", { class: "legend" }, lines.map((line) => el("span", {},
    draw("svg", { width: 24, height: 8, "aria-hidden": "true" },
      draw("line", { x1: 0, x2: 24, y1: 4, y2: 4, "stroke-width": 2.4, ...stroke(line.colour, line.dash) })), line.name)));
}

// The mean of the points around each, weighed by their nearness; reach is a share of the whole curve.
function smooth(points, reach) {
  const wide = Math.max(1, points.length * reach);
  return points.map(([at], here) => {
    const weights = points.map((_, there) => Math.exp(-0.5 * ((there - here) / wide) ** 2));
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    return [at, points.reduce((sum, point, there) => sum + point[1] * weights[there], 0) / total];
  });
}

// lines: [{name, colour, dash, points: [[x, y or null], …], raw: the same before smoothing, drawn faintly}]. The tooltip tells every line's value at the pointer.
function lineChart(label, width, lines, { xName, yName, xText = short, describe, zero = false, whole = false }) {
  const height = width < 500 ? 240 : 300;
  const box = { left: 44, right: width - 8, top: 22, bottom: height - 36 };
  const all = lines.flatMap((line) => [...line.points, ...(line.raw || [])]).filter((point) => known(point[1]));
  if (!all.length) return el("p", { class: "none" }, "Nothing to draw.");
  const x = axis(all.map((point) => point[0]), box.left, box.right, { pad: 0.005, whole });
  const y = axis([...all.map((point) => point[1]), ...(zero ? [0] : [])], box.bottom, box.top);
  const picture = chart(label, width, height, box, x, y, { xName, yName, xText });
  if (zero) picture.append(draw("line", { class: "dash", x1: box.left, x2: box.right, y1: y.place(0), y2: y.place(0) }));
  const path = (points) => {
    let steps = "", pen = "M";
    for (const [at, value] of points) {
      if (known(value)) { steps += `${pen}${x.place(at).toFixed(1)} ${y.place(value).toFixed(1)}`; pen = "L"; } else pen = "M";
    }
    return steps;
  };
  for (const line of lines.filter((each) => each.raw)) picture.append(draw("path", { class: "faint", d: path(line.raw), ...stroke(line.colour, null) }));
  for (const line of lines) picture.append(draw("path", { class: "line", d: path(line.points), ...stroke(line.colour, line.dash) }));
  const cursor = draw("line", { class: "base", y1: box.top, y2: box.bottom, visibility: "hidden" });
  picture.append(cursor);
  const drawn = lines.filter((line) => line.points.length);
  const tell = (here) => {
    const nearest = (points) => points.reduce((a, b) => (Math.abs(x.place(b[0]) - here) < Math.abs(x.place(a[0]) - here) ? b : a));
    const found = drawn.map((line) => [line, nearest(line.points)]), at = x.place(found[0][1][0]);
    cursor.setAttribute("x1", at); cursor.setAttribute("x2", at); cursor.setAttribute("visibility", "visible");
    return [describe(found[0][1][0]), ...found.map(([line, point]) => `${line.name}: ${zero ? signed(point[1]) : text(point[1])} dB`)].join("\n");
  };
  picture.addEventListener("pointermove", (event) => showTip(event, tell(event.clientX - picture.getBoundingClientRect().left)));
  walk(picture, drawn[0].points.length, (index) => {
    const words = tell(x.place(drawn[0].points[index][0]));
    showTipAt(cursor, words);
  });
  picture.addEventListener("pointerleave", () => { cursor.setAttribute("visibility", "hidden"); hideTip(); });
  return picture;
}
