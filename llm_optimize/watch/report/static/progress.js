// The score against what it took, champions marked.

import { choice, el, section, throttled, whenSeen } from "./dom.js";
import { dollars, duration, plainNumber, plural } from "./format.js";
import { chart, colour, draw, plain, thinned } from "./plot.js";

export function progress({ facts, open }) {
  const plot = chart("Score of each trial, and the best so far", 360);
  const note = el("p", { class: "note" });
  const state = { axis: "trial", all: false, range: null, ready: false };
  const everything = el("button", { type: "button", class: "quiet", hidden: true });
  everything.addEventListener("click", () => {
    state.all = !state.all;
    update();
  });
  const bar = choice("Score against", options(facts), "trial", (axis) => {
    Object.assign(state, { axis, range: null });
    update();
  });
  const update = async () => {
    if (!state.ready) return;
    const fitted = scale(facts);
    everything.hidden = !fitted.below;
    const bad = facts.sign < 0 ? "high" : "low";
    everything.textContent = state.all ? `Hide ${bad} scores` : `Show ${plural(fitted.below, `${bad} score`)} too`;
    note.textContent = remark(facts, state);
    const fresh = await draw(plot, () => figure(facts, state, state.all ? null : fitted));
    if (fresh) listen(fresh, facts, state, open, update);
  };
  whenSeen(plot, () => {
    state.ready = true;
    update();
  });
  return { node: section("progress", "Progress", el("div", { class: "bar" }, bar, everything), plot, note), update };
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
  return `${thin}${failed}Choose a point to open its trial.`;
}

// The scale leaves out far outliers among the worst, which would press all others into a line.
function scale(facts) {
  const known = facts.columns.score.filter((score) => score !== null);
  const scores = known.map((score) => facts.sign * score).sort((a, b) => a - b);
  if (scores.length < 12) return { below: 0 };
  const high = scores.at(-1);
  const low = scores[Math.floor(scores.length * 0.1)];
  const reach = (high - low) * 1.5;
  const bottom = high - reach;
  const below = scores.filter((score) => score < bottom).length;
  if (!below || high - scores[0] < 1.8 * reach) return { below: 0 };
  const ends = [facts.sign * bottom, facts.sign * (high + reach * 0.06)];
  return { below, range: ends.sort((a, b) => a - b) };
}

function figure(facts, state, fitted) {
  const x = facts.along(state.axis);
  const { score, number } = facts.columns;
  const inside = (row) => !state.range || (x[row] >= state.range[0] && x[row] <= state.range[1]);
  const scored = [];
  const failed = [];
  for (let row = 0; row < facts.length; row++) (score[row] === null ? failed : scored).push(row);
  const dots = thinned(scored.filter(inside), x, score);
  const marks = thinned(failed.filter(inside), x, number, 300);
  const data = [
    points(facts, dots, x, { color: colour("dot"), size: 6 }),
    best(facts, x),
    points(facts, facts.champions, x, {
      color: colour("accent"),
      size: 9,
      line: { color: colour("surface"), width: 1.5 },
    }),
    {
      ...points(facts, marks, x, { color: colour("bad"), size: 7, symbol: "line-ns-open" }),
      yaxis: "y2",
      y: marks.map(() => 0.02),
    },
  ];
  const xaxis = {
    title: { text: axisTitle(state.axis) },
    ...(state.range ? { range: state.range } : { autorange: true }),
  };
  const yaxis = { title: { text: "score" }, ...(fitted?.range ? { range: fitted.range } : { autorange: true }) };
  const yaxis2 = { overlaying: "y", range: [0, 1], visible: false, fixedrange: true };
  return { data, layout: { xaxis, yaxis: { ...yaxis, fixedrange: true }, yaxis2 } };
}

function axisTitle(axis) {
  return {
    trial: "trial",
    calls: "model calls so far",
    cost: "dollars so far",
    seconds: "seconds since the run began",
  }[axis];
}

function points(facts, rows, x, marker) {
  const { score, number } = facts.columns;
  return {
    type: "scatter",
    mode: "markers",
    x: rows.map((row) => x[row]),
    y: rows.map((row) => score[row]),
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

function best(facts, x) {
  const rows = facts.champions;
  const xs = rows.map((row) => x[row]);
  const ys = rows.map((row) => facts.columns.score[row]);
  if (rows.length) {
    xs.push(facts.length ? Math.max(x[facts.length - 1], xs.at(-1)) : xs.at(-1));
    ys.push(ys.at(-1));
  }
  const line = { color: colour("accent"), width: 2, shape: "hv" };
  return { type: "scatter", mode: "lines", x: xs, y: ys, line, hoverinfo: "skip" };
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
