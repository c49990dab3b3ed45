// Trade-offs between two of several metrics: the trials, and those that no other one dominates.

import { el, fill, section, throttled, visible, whenSeen } from "./dom.js";
import { plainNumber, plural } from "./format.js";
import { chart, colour, draw, plain, thinned } from "./plot.js";

export function tradeOffs({ facts, open }) {
  const plot = chart("Two metrics of each trial, and the Pareto front", 360);
  const note = el("p", { class: "note" });
  const bar = el("div", { class: "bar" });
  const state = { ready: false, names: [], axes: [] };
  const node = section("front", "Trade-offs", bar, plot, note);
  node.hidden = true;
  const update = async () => {
    const names = metricNames(facts);
    node.hidden = names.length < 2;
    if (node.hidden || !state.ready) return;
    if (names.join() !== state.names.join()) {
      state.names = names;
      if (!state.axes.length) state.axes = names.slice(0, 2).map((name) => ({ name, less: facts.sign < 0 && name === SCORE }));
      fill(bar, state.axes.map((axis, place) => picker(axis, place, names, show)));
    }
    await show();
  };
  const show = async () => {
    const rows = rowsOf(facts, state.axes);
    const front = frontOf(rows);
    note.textContent = remark(facts, rows, front, state.axes);
    const fresh = await draw(plot, () => figure(facts, state.axes, rows, front));
    if (fresh) plot.on("plotly_click", ({ points }) => points[0].customdata !== undefined && open(points[0].customdata));
  };
  const begin = () => {
    state.ready = true;
    update();
  };
  whenSeen(node, begin);
  update();
  return { node, update: throttled(update, 2000) };
}

const SCORE = "score";

// The metrics of the trials, and the score; nothing where one metric stands beside the score by chance.
function metricNames({ columns, run }) {
  const found = new Set();
  for (const metrics of columns.metrics) for (const name of Object.keys(metrics ?? {})) found.add(name);
  found.delete(SCORE);
  const wanted = String(run.settings.search).startsWith("pareto") ? 1 : 2;
  return found.size < wanted ? [] : [...found, SCORE];
}

function valueOf({ columns }, row, { name }) {
  const metric = columns.metrics[row]?.[name];
  return metric === undefined && name === SCORE ? columns.score[row] : (metric ?? null);
}

function picker(axis, place, names, show) {
  const which = el(
    "select",
    { "aria-label": `${place ? "Vertical" : "Horizontal"} axis` },
    names.map((name) => el("option", { value: name, selected: name === axis.name }, visible(name))),
  );
  const way = el(
    "select",
    { "aria-label": `What is better on the ${place ? "vertical" : "horizontal"} axis` },
    el("option", { value: "more", selected: !axis.less }, "higher is better"),
    el("option", { value: "less", selected: axis.less }, "lower is better"),
  );
  which.addEventListener("change", () => {
    axis.name = which.value;
    show();
  });
  way.addEventListener("change", () => {
    axis.less = way.value === "less";
    show();
  });
  return el("span", { class: "axis" }, el("span", { class: "note" }, place ? "against" : ""), which, way);
}

// The trials that have both metrics, with numbers of which higher is better.
function rowsOf(facts, axes) {
  const rows = [];
  for (let row = 0; row < facts.length; row++) {
    if (facts.columns.score[row] === null) continue;
    const values = axes.map((axis) => valueOf(facts, row, axis));
    if (values.some((value) => typeof value !== "number")) continue;
    rows.push({ row, values, good: values.map((value, place) => (axes[place].less ? -value : value)) });
  }
  return rows;
}

// The rows that no other dominates, from the best on the first axis to the best on the second.
export function frontOf(rows) {
  const sorted = rows.toSorted((a, b) => b.good[0] - a.good[0] || b.good[1] - a.good[1]);
  const front = [];
  for (const one of sorted) if (!front.length || one.good[1] > front.at(-1).good[1]) front.push(one);
  return front;
}

function remark(facts, rows, front, axes) {
  const without = facts.counts.scored + facts.counts.duplicate - rows.length;
  const missing = without > 0 ? ` ${plural(without, "scored trial")} without both metrics left out.` : "";
  const words = axes.map(({ name, less }) => `${less ? "lower" : "higher"} ${visible(name)}`).join(" and ");
  return `The line is the Pareto front for ${words}: of ${plural(rows.length, "trial")}, ${front.length} that no other one equals on one axis and beats on the other.${missing}`;
}

function figure(facts, axes, rows, front) {
  const { number, score } = facts.columns;
  const byRow = new Map(rows.map((one) => [one.row, one]));
  const x = {};
  const y = {};
  for (const { row, values } of rows) [x[row], y[row]] = values;
  const sorted = rows.map(({ row }) => row).sort((a, b) => x[a] - x[b]);
  const some = thinned(sorted, x, y, 2000).map((row) => byRow.get(row));
  const dots = (chosen, marker) => ({
    type: "scatter",
    mode: "markers",
    x: chosen.map(({ values }) => values[0]),
    y: chosen.map(({ values }) => values[1]),
    customdata: chosen.map(({ row }) => number[row]),
    text: chosen.map(({ row, values }) => {
      const both = axes.map(({ name }, place) => `${plain(name)} ${plainNumber(values[place], 5)}`);
      return `Trial ${number[row]}, score ${plainNumber(score[row], 6)}<br>${both.join("<br>")}`;
    }),
    hoverinfo: "text",
    marker,
  });
  const best = some.filter(({ row }) => row === facts.champion);
  const edge = {
    type: "scatter",
    mode: "lines",
    x: front.map(({ values }) => values[0]),
    y: front.map(({ values }) => values[1]),
    hoverinfo: "skip",
    line: { color: colour("accent"), width: 2, shape: "linear", dash: "dot" },
  };
  const data = [
    dots(some, { color: colour("dot"), size: 7 }),
    edge,
    dots(front, { color: colour("accent"), size: 9, line: { color: colour("surface"), width: 1.5 } }),
    dots(best, { color: "rgba(0,0,0,0)", size: 17, line: { color: colour("accent"), width: 2 } }),
  ];
  const title = ({ name, less }) => ({ title: { text: plain(`${name} (${less ? "lower" : "higher"} is better)`) } });
  return { data, layout: { xaxis: title(axes[0]), yaxis: title(axes[1]) } };
}
