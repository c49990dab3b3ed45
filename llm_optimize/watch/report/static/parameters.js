// Which parameters went with the score, and the score against each.

import { el, fill, section, throttled, visible, whenSeen } from "./dom.js";
import { plainNumber, plural } from "./format.js";
import { parallel } from "./parallel.js";
import { chart, colour, draw, forget, plain } from "./plot.js";

const HONEST =
  "The share of the variance of the score's ranks that one parameter explains on its own, less what chance would explain. " +
  "The trials were chosen by a search and not drawn at random, and parameters that matter only together may show little: this describes the run, not f.";

export function parameterSection({ facts, source, open }) {
  const bars = el("div", { class: "bars", role: "list" });
  const slices = el("div", { class: "slices" });
  const note = el("p", { class: "note" });
  const lines = el("div");
  const node = section("parameters", "Parameters", note, bars, slices, lines);
  let ready = false;
  let seen = -1;
  const update = async () => {
    if (!ready || seen === facts.length) return;
    seen = facts.length;
    const result = await source.parameters();
    if (!result) return;
    note.textContent = result.rows.some((row) => row.importance !== null)
      ? HONEST
      : `${plural(result.trials, "scored trial")}: too few to show which parameters matter.`;
    const rows = [...result.rows].sort((a, b) => (b.importance ?? 0) - (a.importance ?? 0));
    fill(bars, rows.map(importance));
    for (const old of node.querySelectorAll(".chart")) forget(old);
    fill(
      slices,
      rows.slice(0, 24).map((row) => slice(row, result, open)),
    );
    fill(lines, result.scores.length > 1 && rows.length > 1 ? parallel(rows.slice(0, 12), result, facts.sign, open) : "");
  };
  whenSeen(node, () => {
    ready = true;
    update();
  });
  return { node, update: throttled(update, 5000) };
}

function importance(row) {
  const share = row.importance ?? 0;
  const bar = el("span", { class: "meter" });
  bar.style.width = `${Math.max(0.5, 100 * share)}%`;
  const way =
    row.correlation === null
      ? ""
      : row.correlation > 0.1
        ? "higher is better"
        : row.correlation < -0.1
          ? "lower is better"
          : "neither higher nor lower is better";
  return el(
    "div",
    { class: "importance", role: "listitem" },
    el("span", { class: "name" }, visible(row.name)),
    el("span", { class: "meters" }, bar),
    el("span", { class: "num" }, row.importance === null ? "–" : `${Math.round(100 * share)} %`),
    el("span", { class: "note" }, way && `${way} (rank correlation ${plainNumber(row.correlation, 2)})`),
  );
}

function slice(row, result, open) {
  const plot = chart(`Score against ${visible(row.name)}`, 220, 300);
  whenSeen(plot, async () => {
    const fresh = await draw(plot, () => sliceFigure(row, result));
    if (fresh) plot.on("plotly_click", ({ points }) => open(points[0].customdata));
  });
  return el("figure", {}, el("figcaption", {}, visible(row.name)), plot);
}

function sliceFigure(row, result) {
  const choice = row.kind === "choice";
  const values = result.values[row.name].map((value) => (choice ? plain(value) : value));
  const data = [
    {
      type: "scatter",
      mode: "markers",
      x: values,
      y: result.scores,
      customdata: result.numbers,
      text: result.numbers.map(
        (number, place) =>
          `Trial ${number} ${plainNumber(result.scores[place], 6)}<br>${plain(row.name)} ${values[place]}`,
      ),
      hoverinfo: "text",
      marker: {
        color: result.numbers,
        colorscale: [
          [0, colour("dot")],
          [1, colour("accent")],
        ],
        size: 6,
        opacity: 0.8,
      },
    },
  ];
  const xaxis = choice
    ? { type: "category", categoryorder: "array", categoryarray: row.options.map(plain) }
    : { type: row.log ? "log" : "linear" };
  return {
    data,
    layout: { xaxis: { ...xaxis, nticks: row.log ? 4 : 6 }, yaxis: { nticks: 5 }, margin: { l: 44, r: 8, t: 8, b: 32 } },
  };
}
