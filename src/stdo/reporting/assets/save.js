// What is seen as files: the table as TSV, charts as SVG and PNG. All is made here; nothing is asked from anywhere.

const slug = (words) => words.normalize("NFKD").replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-+|-+$/g, "").toLowerCase().slice(0, 80) || "report";

function save(name, blob) {
  const link = el("a", { href: URL.createObjectURL(blob), download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

function saveButtons(name, place, title) {
  const button = (kind, make) => el("button", { type: "button", class: "save", "aria-label": `Save ${title} as ${kind}`, onclick: async () => {
    const picture = photograph(place(), [title, ...(name === "cost" || name === "many" ? [DATA.title] : [focused()])].join(", "));
    if (picture) save(`${slug(`${DATA.title} ${title}`)}.${kind.toLowerCase()}`, await make(picture));
  } }, kind);
  return el("span", { class: "segments saves" }, button("SVG", (picture) => new Blob([picture.text], { type: "image/svg+xml" })), button("PNG", toPng));
}

async function toPng({ text: words, width, height }) {
  const image = new Image(), sharp = Math.min(2, 8192 / Math.max(width, height));
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(words)}`;
  await image.decode();
  const canvas = el("canvas", { width: Math.round(width * sharp), height: Math.round(height * sharp) });
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  return new Promise((done) => { canvas.toBlob(done, "image/png"); });
}

// The colours of the light page: those of its rules that hold for every screen.
function lightColours() {
  const rules = [...document.styleSheets[0].cssRules].filter((rule) => rule.selectorText === ":root");
  return rules.flatMap((rule) => [...rule.style].filter((name) => name.startsWith("--")).map((name) => [name, rule.style.getPropertyValue(name)]));
}

// A drawing of a part of the page as one SVG on white: its charts, texts and bars where they stand, in the colours of the light page.
function photograph(place, title) {
  if (!place.querySelector("svg.chart, .maps svg")) return null;
  const colours = lightColours();
  for (const [name, value] of colours) place.style.setProperty(name, value);
  try {
    const { left, top, width, height } = place.getBoundingClientRect(), up = 34, edge = 12;
    const size = { width: Math.ceil(width + 2 * edge), height: Math.ceil(height + up + edge) };
    const picture = draw("svg", { xmlns: "http://www.w3.org/2000/svg", ...size, viewBox: `0 0 ${size.width} ${size.height}`, "font-family": "system-ui, 'Segoe UI', Roboto, sans-serif" },
      draw("title", {}, title), draw("rect", { ...size, fill: "#ffffff" }),
      draw("text", { x: edge, y: 21, "font-size": 14, "font-weight": 600, fill: "#1b1f26" }, title));
    const at = (box) => ({ x: box.left - left + edge, y: box.top - top + up });
    for (const chart of [...place.querySelectorAll("svg")].filter(seen)) picture.append(stillOf(chart, at(chart.getBoundingClientRect())));
    for (const bar of [...place.querySelectorAll("i")].filter(seen)) picture.append(...gradient(bar, at(bar.getBoundingClientRect())));
    const texts = document.createTreeWalker(place, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) picture.append(...linesOf(texts.currentNode, at));
    return { ...size, text: `<?xml version="1.0" encoding="UTF-8"?>\n${new XMLSerializer().serializeToString(picture)}` };
  } finally {
    for (const [name] of colours) place.style.removeProperty(name);
  }
}

const seen = (node) => node.getClientRects().length > 0;
const LOOK = ["fill", "fill-opacity", "stroke", "stroke-width", "stroke-dasharray", "stroke-linejoin", "opacity", "font-size", "font-weight", "paint-order", "visibility"];

// A copy of a chart that needs no style sheet.
function stillOf(chart, { x, y }) {
  const copy = chart.cloneNode(true), { width, height } = chart.getBoundingClientRect();
  const originals = [chart, ...chart.querySelectorAll("*")];
  [copy, ...copy.querySelectorAll("*")].forEach((node, index) => {
    const style = getComputedStyle(originals[index]);
    for (const name of ["class", "style", "tabindex", "role", "aria-label", "aria-hidden", "aria-description"]) node.removeAttribute(name);
    if (node === copy) return;
    for (const name of LOOK) node.setAttribute(name, style.getPropertyValue(name));
  });
  for (const [name, value] of Object.entries({ x, y, width, height, overflow: "visible" })) copy.setAttribute(name, value);
  return copy;
}

// The strip of colours of a map's legend.
function gradient(bar, { x, y }) {
  const stops = bar.dataset.stops.split(","), { width, height } = bar.getBoundingClientRect();
  return [draw("defs", {}, draw("linearGradient", { id: "scale" }, stops.map((colour, index) => draw("stop", { offset: index / (stops.length - 1), "stop-color": colour })))),
    draw("rect", { x, y, width, height, rx: 3, fill: "url(#scale)" })];
}

// The lines of a text outside of charts, each where it stands.
function linesOf(node, at) {
  const parent = node.parentElement, lines = [];
  if (!node.data.trim() || parent.closest("svg, select, button, input, .saves, .skip") || !seen(parent)) return [];
  const style = getComputedStyle(parent), range = document.createRange();
  for (const word of node.data.matchAll(/\S+\s*/g)) {
    range.setStart(node, word.index);
    range.setEnd(node, word.index + word[0].trimEnd().length);
    const box = range.getBoundingClientRect(), last = lines.at(-1);
    if (last && Math.abs(last.box.top - box.top) < 2) last.words += word[0];
    else lines.push({ box, words: word[0] });
  }
  return lines.map(({ box, words }) => {
    const { x, y } = at(box);
    return draw("text", { x, y: y + box.height * 0.78, "font-size": style.fontSize, "font-weight": style.fontWeight, fill: style.color }, words.trimEnd());
  });
}

// The rows and columns that the table has at the moment, whole numbers whole and others to four digits.
function saveTable() {
  const { runs, columns } = tableOf();
  const cellOf = (value) => {
    if (!known(value)) return "";
    if (typeof value === "number") return String(Number(value.toFixed(4)));
    const words = String(value).split(/\s+/).filter(Boolean).join(" ");
    return /^[=+\-@\uff1d\uff0b\uff0d\uff20]/.test(words) ? `'${words}` : words; // no spreadsheet takes it for a formula
  };
  const rows = runs.map((run) => [...columns.map((column) => cellOf(column.of(run))), cellOf(run.directory)]);
  const head = [...columns.map((column) => column.name), "Run directory"];
  save(`${slug(DATA.title)}.tsv`, new Blob([[head, ...rows].map((row) => `${row.join("\t")}\n`).join("")], { type: "text/tab-separated-values" }));
}
