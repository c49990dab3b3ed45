// Plotly, loaded when the first chart is drawn, in the colours of the page.

import { el, seeAll } from "./dom.js";

const PAPER = 640; // px: the width of a chart on paper
const drawn = new Map(); // element -> how to draw it again
let loader = null;
let loading = null;

export function plotFrom(load) {
  loader = load;
}

// Plotly takes half a second to begin: who waits for data anyway may let it begin meanwhile.
export function beginPlotly() {
  loading ??= loader();
}

export function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

// Plotly reads a few tags in texts: what others wrote must not be one of them.
export function plain(text) {
  return String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
}

export function chart(label, height = 320, paper = PAPER) {
  const node = el("div", { class: "chart", role: "img", "aria-label": label, "data-paper": paper });
  node.style.height = `${height}px`;
  return node;
}

// On paper charts are as wide as the page, and light.
export function onPaper(is) {
  document.documentElement.toggleAttribute("data-print", is);
  resizeAll();
}

// Draw `make()`, a pair of traces and layout, into the element; again when the colours change.
export async function draw(node, make) {
  beginPlotly();
  const Plotly = await loading;
  const first = !drawn.has(node);
  drawn.set(node, make);
  const { data, layout } = make();
  await Plotly.react(node, data, dressed(node, layout), { displayModeBar: false, responsive: true, doubleClick: "reset" });
  node.dataset.drawn = String(Number(node.dataset.drawn ?? 0) + 1);
  return first ? node : null;
}

export function forget(node) {
  drawn.delete(node);
}

export function resizeAll() {
  for (const [node, make] of drawn) if (node.isConnected) draw(node, make);
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", resizeAll);
addEventListener("beforeprint", () => (seeAll(), onPaper(true)));
addEventListener("afterprint", () => onPaper(false));

function dressed(node, layout) {
  const axis = {
    gridcolor: colour("line"),
    linecolor: colour("line"),
    zeroline: false,
    tickcolor: colour("line"),
    automargin: true,
    exponentformat: "e",
    title: { font: { size: 12, color: colour("muted") }, standoff: 8 },
  };
  const out = {
    margin: { l: 48, r: 16, t: 12, b: 40 },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: colour("muted") },
    hoverlabel: {
      bgcolor: colour("raised"),
      bordercolor: colour("line"),
      font: { color: colour("ink") },
      align: "left",
    },
    hovermode: "closest",
    showlegend: false,
    ...(document.documentElement.hasAttribute("data-print") ? { width: Number(node.dataset.paper) } : {}),
    ...layout,
  };
  for (const name of Object.keys(out).filter((key) => /^[xy]axis\d*$/.test(key))) {
    out[name] = { ...axis, ...out[name], title: { ...axis.title, ...out[name].title } };
  }
  return out;
}

// At most about `limit` rows of those given: from each stretch along x the lowest and the highest.
export function thinned(rows, x, y, limit = 1000) {
  if (rows.length <= limit) return rows;
  const low = x[rows[0]];
  const width = (x[rows.at(-1)] - low || 1) / (limit / 2);
  const kept = new Map();
  for (const row of rows) {
    const bucket = Math.floor((x[row] - low) / width);
    const pair = kept.get(bucket) ?? [row, row];
    if (y[row] < y[pair[0]]) pair[0] = row;
    if (y[row] > y[pair[1]]) pair[1] = row;
    kept.set(bucket, pair);
  }
  return [...new Set([...kept.values()].flat())].sort((a, b) => a - b);
}
