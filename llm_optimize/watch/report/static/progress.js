// The score against what it took, champions marked.

import { baselineOf } from "./baseline.js";
import { choice, el, section, visible, whenSeen } from "./dom.js";
import { dollars, duration, plainNumber, plural } from "./format.js";
import { chart, colour, draw, plain, thinned } from "./plot.js";
import { power, powerChoice, powerTicks, spansPowers } from "./powers.js";

export function progress({ facts, open }) {
  const plot = chart("Score of each trial, and the best so far", 250);
  const note = el("p", { class: "note" });
  const state = { axis: "trial", all: false, range: null, ready: false, log: false };
  const everything = el("button", { type: "button", class: "quiet", hidden: true });
  everything.addEventListener("click", () => {
    state.all = !state.all;
    update();
  });
  const bar = choice("Score against", options(facts), "trial", (axis) => {
    Object.assign(state, { axis, range: null });
    update();
  });
  const powers = powerChoice((log) => {
    state.log = log;
    update();
  });
  const update = async () => {
    if (!state.ready) return;
    const spans = spansPowers(facts.columns.score);
    powers.hidden = !spans;
    state.log &&= spans;
    const fitted = scale(facts);
    everything.hidden = !fitted.beyond || state.log;
    const words = `${facts.sign > 0 ? "low" : "high"} score`;
    everything.textContent = state.all ? `Hide ${words}s` : `Show ${plural(fitted.beyond, words)} too`;
    note.textContent = remark(facts, state);
    const fresh = await draw(plot, () => figure(facts, state, state.all || state.log ? null : fitted));
    if (fresh) listen(fresh, facts, state, open, update);
  };
  whenSeen(plot, () => {
    state.ready = true;
    update();
  });
  const controls = el("div", { class: "bar" }, bar, powers, everything);
  return { node: section("progress", "Progress", controls, plot, note), update };
}

function options(facts) {
  const dear = facts.usd === null ? "the price of a model is unknown" : facts.usd === 0 ? "nothing was paid" : "";
  const asked = facts.sums.calls.at(-1) ? "" : "no model was asked";
  return [
    ["trial", "Trials"],
    ["calls", "Model calls", facts.state.stop_reason === null ? "" : asked],
    ["cost", "Dollars", facts.state.stop_reason === null && facts.usd !== null ? "" : dear],
    ["seconds", "Time"],
  ];
}

function remark(facts, state) {
  const shown = facts.counts.scored + facts.counts.duplicate > 1000 && !state.range;
  const thin = shown ? "Of many points only the highest and lowest are drawn; zoom in to see all. " : "";
  const failed = facts.counts.failed
    ? `Marks at the bottom are ${plural(facts.counts.failed, "trial")} without a score. `
    : "";
  const base = baselineFits(state) ? baselineOf(facts) : null;
  const dashed = base ? `The dashed line is ${visible(base.run.name)}, the ${base.words} (${base.at}). ` : "";
  return `${thin}${failed}${dashed}Choose a point to open its trial.`;
}

// The scale leaves out far outliers on the worse side, which would press all others into a line.
function scale(facts) {
  const { sign } = facts;
  const scores = facts.columns.score.filter((score) => score !== null).map((score) => sign * score);
  scores.sort((a, b) => a - b);
  if (scores.length < 12) return { beyond: 0 };
  const high = scores.at(-1);
  const low = scores[Math.floor(scores.length * 0.1)];
  const reach = (high - low) * 1.5;
  const bottom = high - reach;
  const beyond = scores.filter((score) => score < bottom).length;
  if (!beyond || high - scores[0] < 1.8 * reach) return { beyond: 0 };
  const range = [sign * bottom, sign * (high + reach * 0.06)];
  return { beyond, range: range.sort((a, b) => a - b) };
}

function figure(facts, state, fitted) {
  const x = facts.along(state.axis);
  const { score, number } = facts.columns;
  const lift = state.log ? power : (value) => value;
  const inside = (row) => !state.range || (x[row] >= state.range[0] && x[row] <= state.range[1]);
  const scored = [];
  const failed = [];
  for (let row = 0; row < facts.length; row++) (score[row] === null ? failed : scored).push(row);
  const dots = thinned(scored.filter(inside), x, score);
  const marks = thinned(failed.filter(inside), x, number, 300);
  const stairs = facts.stairs(state.axis);
  const last = x.reduce((a, b) => Math.max(a, b), 0);
  const data = [
    points(facts, dots, x, { color: colour("dot"), size: 6 }, lift),
    best(facts, stairs, x, last, lift),
    points(
      facts,
      stairs,
      x,
      { color: colour("accent"), size: 9, line: { color: colour("surface"), width: 1.5 } },
      lift,
    ),
    {
      ...points(facts, marks, x, { color: colour("bad"), size: 7, symbol: "line-ns-open" }),
      yaxis: "y2",
      y: marks.map(() => 0.02),
    },
    ...baseline(facts, state, last, lift),
  ];
  const whole = state.axis === "trial" || state.axis === "calls" ? { tickformat: ",d", dtick: wholeStep(last) } : {};
  const xaxis = {
    title: { text: axisTitle(state.axis) },
    ...(state.range ? { range: state.range } : { autorange: true, ...whole }),
  };
  const yaxis = {
    title: { text: facts.sign > 0 ? "score" : "score (lower is better)" },
    visible: facts.champion >= 0,
    ...(fitted?.range ? { range: fitted.range } : { autorange: true }),
    ...(state.log ? powerTicks(facts.columns.score) : {}),
  };
  const yaxis2 = { overlaying: "y", range: [0, 1], visible: false, fixedrange: true };
  return { data, layout: { xaxis, yaxis: { ...yaxis, fixedrange: true }, yaxis2 } };
}

// Plotly would put 0.5 between two trials of a short run.
function wholeStep(last) {
  return last > 12 ? undefined : Math.max(1, Math.ceil(last / 8));
}

function axisTitle(axis) {
  return {
    trial: "trial",
    calls: "model calls so far",
    cost: "dollars so far",
    seconds: "seconds since the run began",
  }[axis];
}

function points(facts, rows, x, marker, lift = (value) => value) {
  const { score, number } = facts.columns;
  return {
    type: "scatter",
    mode: "markers",
    x: rows.map((row) => x[row]),
    y: rows.map((row) => (score[row] === null ? null : lift(score[row]))),
    customdata: rows.map((row) => number[row]),
    text: rows.map((row) => hover(facts, row)),
    hoverinfo: "text",
    marker,
  };
}

function hover(facts, row) {
  const { number, score, status, source, feedback, cost, seconds } = facts.columns;
  const value = score[row] === null ? status[row] : `score ${plainNumber(score[row], 6)}`;
  const paid = cost[row] ? `, ${dollars(cost[row])}` : "";
  const words = feedback[row].length > 70 ? `${feedback[row].slice(0, 69)}…` : feedback[row];
  return `Trial ${number[row]} ${plain(value)}<br>${plain(source[row])}, ${duration(seconds[row])}${paid}<br>${plain(words)}`;
}

// The best so far, drawn out to the last trial.
function best(facts, stairs, x, last, lift) {
  const xs = stairs.map((row) => x[row]);
  const ys = stairs.map((row) => lift(facts.columns.score[row]));
  if (xs.length) {
    xs.push(Math.max(last, xs.at(-1)));
    ys.push(ys.at(-1));
  }
  const line = { color: colour("accent"), width: 2, shape: "hv" };
  return { type: "scatter", mode: "lines", x: xs, y: ys, line, hoverinfo: "skip" };
}

// Mutation asks no model: it has no place on the axes of calls and dollars.
function baselineFits(state) {
  return state.axis === "trial" || state.axis === "seconds";
}

function baseline(facts, state, last, lift) {
  const found = baselineFits(state) ? baselineOf(facts) : null;
  if (!found) return [];
  const { curve, name } = found.run;
  const along = state.axis === "trial" ? curve.trial.map((count) => count - 1) : curve.seconds;
  const sign = Math.sign(found.own); // powers of ten are drawn for one sign only
  const fits = (place) => along[place] <= last && (!state.log || Math.sign(curve.best[place]) === sign);
  const kept = [...curve.best.keys()].filter(fits);
  if (!kept.length) return [];
  const xs = kept.map((place) => along[place]);
  const ys = kept.map((place) => lift(curve.best[place]));
  xs.push(Math.min(last, along.at(-1)));
  ys.push(ys.at(-1));
  const text = `${plain(name)}<br>${plain(found.words)}`;
  const line = { color: colour("series-2"), width: 1.5, dash: "dash", shape: "hv" };
  return [{ type: "scatter", mode: "lines", x: xs, y: ys, text, hoverinfo: "text", line }];
}

function listen(plot, facts, state, open, update) {
  plot.on("plotly_click", (event) => {
    const number = event.points.find((point) => point.customdata !== undefined)?.customdata;
    if (number !== undefined) open(number);
  });
  plot.on("plotly_relayout", (change) => {
    if (change["xaxis.autorange"]) state.range = null;
    else if ("xaxis.range[0]" in change) state.range = [change["xaxis.range[0]"], change["xaxis.range[1]"]];
    else return;
    update();
  });
}
