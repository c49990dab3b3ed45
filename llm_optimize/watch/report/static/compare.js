// Several runs in one chart: a line for each, or for several of one contender their median with a band.

import { choice, el, plainTable, section, visible } from "./dom.js";
import { dollars, duration, plainNumber, plural } from "./format.js";
import { chart, colour, draw, plain } from "./plot.js";
import { power, powerChoice, powerTicks, spansPowers } from "./powers.js";
import { reached } from "./baseline.js";
import { verdictSection } from "./verdict.js";

const STEPS = 160; // along the axis of a band
const COST = { trial: String, calls: String, cost: dollars, seconds: duration };

export function compareSection({ runs, verdict }, hrefOf) {
  const sign = runs[0]?.settings.direction === "minimize" ? -1 : 1;
  const groups = grouped(runs);
  const plot = chart("Best score so far of each run", 420);
  const state = { axis: "trial", log: false };
  const options = [
    ["trial", "Trials"],
    ["calls", "Model calls"],
    ["cost", "Dollars"],
    ["seconds", "Time"],
  ].map(([value, text]) => [value, text, missing(runs, value)]);
  const show = () => draw(plot, () => comparisonFigure(groups, state, sign));
  const bar = choice("Best score against", options, state.axis, (value) => {
    state.axis = value;
    show();
  });
  const powers = powerChoice((log) => {
    state.log = log;
    show();
  });
  powers.hidden = !spansPowers(bests(groups));
  const node = section(
    "curves",
    "Best score so far",
    el("div", { class: "bar" }, bar, powers),
    plot,
    legend(groups),
    el(
      "p",
      { class: "note" },
      groups.some((group) => group.runs.length > 2)
        ? "Lines are medians over the seeds; bands hold the middle half of the runs."
        : "One line per run.",
    ),
  );
  return { node, show, verdict: verdictSection(groups, verdict, sign, hrefOf) };
}

function bests(groups) {
  return groups.flatMap((group) => group.runs.flatMap(({ curve }) => curve.best));
}

function missing(runs, axis) {
  if (axis === "calls" && runs.every((run) => !run.curve.calls.at(-1))) return "no model was asked";
  if (axis === "cost" && runs.some((run) => run.curve.cost.includes(null))) return "the price of a model is unknown";
  return axis === "cost" && runs.every((run) => !run.curve.cost.at(-1)) ? "nothing was paid" : "";
}

function grouped(runs) {
  const found = new Map();
  for (const run of runs) {
    if (!found.has(run.contender)) found.set(run.contender, { name: run.contender, runs: [] });
    found.get(run.contender).runs.push(run);
  }
  return [...found.values()].map((group, place) => ({
    ...group,
    hue: `series-${(place % 8) + 1}`,
    dash: ["solid", "dash", "dot"][Math.floor(place / 8) % 3],
  }));
}

function legend(groups) {
  return el(
    "ul",
    { class: "legend" },
    groups.map((group) =>
      el(
        "li",
        {},
        el("span", { class: `swatch ${group.hue}`, "aria-hidden": true }),
        visible(group.name),
        group.runs.length > 1 ? el("span", { class: "note" }, ` ${plural(group.runs.length, "run")}`) : null,
      ),
    ),
  );
}

function comparisonFigure(groups, { axis, log }, sign) {
  const lift = log ? power : (best) => best;
  const data = groups.flatMap((group) =>
    group.runs.length > 2 ? band(group, axis, lift) : group.runs.map((run) => line(group, run, axis, lift)),
  );
  const title = { trial: "trials", calls: "model calls", cost: "dollars", seconds: "seconds" }[axis];
  const lower = sign < 0 ? " (lower is better)" : "";
  const yaxis = { title: { text: `best score so far${lower}` }, ...(log ? powerTicks(bests(groups)) : {}) };
  return { data, layout: { xaxis: { title: { text: title } }, yaxis } };
}

function line(group, run, axis, lift) {
  const { curve } = run;
  const text = curve.best.map(
    (best, place) => `${plain(run.name)}<br>${plainNumber(best, 6)} after ${COST[axis](curve[axis][place])}`,
  );
  return {
    type: "scatter",
    mode: "lines",
    x: curve[axis],
    y: curve.best.map(lift),
    text,
    hoverinfo: "text",
    line: { color: colour(group.hue), dash: group.dash, width: 2, shape: "hv" },
  };
}

function band(group, axis, lift) {
  const ends = group.runs.map((run) => run.curve[axis].at(-1) ?? 0);
  const end = Math.max(...ends);
  const x = Array.from({ length: STEPS + 1 }, (_, place) => (end * place) / STEPS);
  const spread = x.map((at) =>
    group.runs
      .map((run) => reached(run.curve, axis, at))
      .filter((best) => best !== null)
      .sort((a, b) => a - b),
  );
  const some = x.map((_, place) => place).filter((place) => spread[place].length * 2 > group.runs.length);
  const xs = some.map((place) => x[place]);
  const scores = (share) => some.map((place) => quantile(spread[place], share));
  const at = (share) => scores(share).map(lift);
  const hue = colour(group.hue);
  const edge = {
    type: "scatter",
    mode: "lines",
    x: xs,
    hoverinfo: "skip",
    line: { width: 0, shape: "hv", color: hue },
  };
  const middle = at(0.5);
  const text = scores(0.5).map(
    (best, place) =>
      `${plain(group.name)}<br>median ${plainNumber(best, 6)} after ${COST[axis](axis === "seconds" || axis === "cost" ? xs[place] : Math.round(xs[place]))}`,
  );
  return [
    { ...edge, y: at(0.25) },
    { ...edge, y: at(0.75), fill: "tonexty", fillcolor: faded(hue) },
    {
      type: "scatter",
      mode: "lines",
      x: xs,
      y: middle,
      text,
      hoverinfo: "text",
      line: { color: hue, dash: group.dash, width: 2.5, shape: "hv" },
    },
  ];
}

function faded(hex) {
  return `${hex}2e`;
}

export function quantile(sorted, share) {
  if (!sorted.length) return null;
  const at = (sorted.length - 1) * share;
  const low = Math.floor(at);
  return sorted[low] + (sorted[Math.ceil(at)] - sorted[low]) * (at - low);
}
