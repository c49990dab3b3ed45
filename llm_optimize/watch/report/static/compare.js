// Several runs in one chart: a line for each, or for several of one contender their median with a band.

import { choice, el, plainTable, section, visible } from "./dom.js";
import { dollars, duration, plainNumber, plural } from "./format.js";
import { chart, colour, draw, plain } from "./plot.js";

const STEPS = 160; // along the axis of a band
const COST = { trial: String, calls: String, cost: dollars, seconds: duration };

export function compareSection(runs, hrefOf) {
  const groups = grouped(runs);
  const plot = chart("Best score so far of each run", 420);
  let axis = "trial";
  const options = [
    ["trial", "Trials"],
    ["calls", "Model calls"],
    ["cost", "Dollars"],
    ["seconds", "Time"],
  ].map(([value, text]) => [value, text, missing(runs, value)]);
  const show = () => draw(plot, () => comparisonFigure(groups, axis));
  const bar = choice("Best score against", options, axis, (value) => {
    axis = value;
    show();
  });
  const node = section(
    "curves",
    "Best score so far",
    el("div", { class: "bar" }, bar),
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
  return {
    node,
    show,
    verdict: section(
      "verdict",
      "Side by side",
      verdictTable(groups, hrefOf),
      el("p", { class: "note" }, verdict(groups)),
    ),
  };
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

function comparisonFigure(groups, axis) {
  const data = groups.flatMap((group) =>
    group.runs.length > 2 ? band(group, axis) : group.runs.map((run) => line(group, run, axis)),
  );
  const title = { trial: "trials", calls: "model calls", cost: "dollars", seconds: "seconds" }[axis];
  return { data, layout: { xaxis: { title: { text: title } }, yaxis: { title: { text: "best score so far" } } } };
}

function line(group, run, axis) {
  const { curve } = run;
  const text = curve.best.map(
    (best, place) => `${plain(run.name)}<br>${plainNumber(best, 6)} after ${COST[axis](curve[axis][place])}`,
  );
  return {
    type: "scatter",
    mode: "lines",
    x: curve[axis],
    y: curve.best,
    text,
    hoverinfo: "text",
    line: { color: colour(group.hue), dash: group.dash, width: 2, shape: "hv" },
  };
}

function band(group, axis) {
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
  const at = (share) => some.map((place) => quantile(spread[place], share));
  const hue = colour(group.hue);
  const edge = {
    type: "scatter",
    mode: "lines",
    x: xs,
    hoverinfo: "skip",
    line: { width: 0, shape: "hv", color: hue },
  };
  const middle = at(0.5);
  const text = middle.map(
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

// The best score when so much was used; a run that ended keeps its last.
function reached(curve, axis, at) {
  let best = null;
  for (let place = 0; place < curve.best.length && curve[axis][place] <= at; place++) best = curve.best[place];
  return best;
}

export function quantile(sorted, share) {
  if (!sorted.length) return null;
  const at = (sorted.length - 1) * share;
  const low = Math.floor(at);
  return sorted[low] + (sorted[Math.ceil(at)] - sorted[low]) * (at - low);
}

function finals(group) {
  return group.runs
    .map((run) => run.curve.best.at(-1))
    .filter((best) => best !== undefined)
    .sort((a, b) => a - b);
}

function verdictTable(groups, hrefOf) {
  const heads = ["", "Runs", "Median best", "Middle half", "Lowest", "Highest", "Trials"];
  const rows = [...groups]
    .sort((a, b) => standing(b) - standing(a))
    .map((group) => {
      const best = finals(group);
      const at = (share) => (best.length ? plainNumber(quantile(best, share), 6) : "–");
      const trials = group.runs.reduce((sum, run) => sum + run.trials, 0);
      const name = [
        el("span", { class: `swatch ${group.hue}`, "aria-hidden": true }),
        visible(group.name),
        hrefOf ? runLinks(group, hrefOf) : null,
      ];
      return [
        name,
        String(group.runs.length),
        at(0.5),
        best.length > 1 ? `${at(0.25)} to ${at(0.75)}` : "–",
        at(0),
        at(1),
        trials.toLocaleString("en"),
      ];
    });
  return el("div", { class: "scroll" }, plainTable(heads, rows));
}

function runLinks({ runs }, hrefOf) {
  const word = (run, place) => (runs.length > 1 ? visible(run.seed || String(place + 1)) : "open");
  return el(
    "span",
    { class: "note run-links" },
    runs.length > 1 ? "seed" : "",
    runs.map((run, place) => el("a", { href: hrefOf(run.name) }, word(run, place))),
  );
}

// Times a score: higher is better. Runs of both directions cannot be compared in a sentence.
function signOf(group) {
  return group.runs[0].settings.direction === "minimize" ? -1 : 1;
}

function standing(group) {
  const median = quantile(finals(group), 0.5);
  return median === null ? -Infinity : signOf(group) * median;
}

// The two with the best medians, over the seeds that both have.
function verdict(groups) {
  if (new Set(groups.map(signOf)).size > 1) return "Some of these runs maximize and some minimize.";
  const sign = signOf(groups[0]);
  const ranked = groups.filter((group) => finals(group).length).sort((a, b) => standing(b) - standing(a));
  if (ranked.length < 2) return "";
  const [first, second] = ranked;
  const seeds = first.runs
    .filter((run) => run.seed)
    .flatMap((run) => second.runs.filter((other) => other.seed === run.seed).map((other) => [run, other]));
  const last = (run) => (run.curve.best.length ? sign * run.curve.best.at(-1) : -Infinity);
  const pairs = seeds.map(([run, other]) => [last(run), last(other)]);
  const gap = plainNumber(standing(first) - standing(second), 3);
  const lead = `${visible(first.name)} leads ${visible(second.name)} by ${gap} in the median.`;
  if (!pairs.length)
    return first.runs.length + second.runs.length > 2
      ? lead
      : `${lead} One run each is little evidence: runs differ by chance.`;
  const wins = pairs.filter(([a, b]) => a > b).length;
  const ties = pairs.filter(([a, b]) => a === b).length;
  return `${lead} With the same seed it was better in ${wins} of ${pairs.length}${ties ? `, equal in ${ties}` : ""}.${pairs.length < 6 ? " So few pairs may differ by chance." : ""}`;
}
