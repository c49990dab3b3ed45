// Parallel coordinates: one line for each of the best trials, through its parameters to its score.
//
// Plotly's own trace of this kind compiles code at run time, which the policy of the page refuses; these are plain lines.

import { el, visible, whenSeen } from "./dom.js";
import { plainNumber, plural } from "./format.js";
import { chart, colour, draw, plain } from "./plot.js";

const MOST = 200; // lines; more cannot be told apart
const SHADES = 8; // lines of a shade are one trace

export function parallel(rows, result, sign, open) {
  const plot = chart("Parameters and score of the best trials, a line for each", 340);
  const shown = Math.min(MOST, result.scores.length);
  const which = shown < result.trials ? `The best ${plural(shown, "trial")} of ${result.trials.toLocaleString("en")}` : plural(shown, "trial");
  whenSeen(plot, async () => {
    const fresh = await draw(plot, () => figure(rows, result, shown, sign));
    if (fresh)
      plot.on("plotly_click", ({ points }) => points[0].customdata !== undefined && open(points[0].customdata));
  });
  return el(
    "figure",
    { class: "parallel" },
    el("figcaption", {}, `${which}: each line leads through the parameters of a trial to its score; the darkest are the best.`),
    el("div", { class: "scroll" }, plot),
  );
}

// Places of values between 0 and 1, and a few ticks.
function axisOf(row, values) {
  if (row.kind === "choice") {
    const options = row.options;
    const step = options.length > 1 ? 1 / (options.length - 1) : 0;
    const at = (value) => (step ? options.indexOf(String(value)) * step : 0.5);
    return { at, ticks: options.slice(0, 12).map((option, place) => [step ? place * step : 0.5, visible(option)]) };
  }
  const bend = row.log ? Math.log10 : (value) => value;
  const numbers = values.map(bend);
  const [low, high] = row.range ? row.range.map(bend) : [numbers.reduce((a, b) => Math.min(a, b)), numbers.reduce((a, b) => Math.max(a, b))];
  const span = high - low || 1;
  const back = (share) => (row.log ? 10 ** (low + share * span) : low + share * span);
  const ticks = [0, 0.25, 0.5, 0.75, 1].map((share) => [share, plainNumber(back(share), 3)]);
  return { at: (value) => (bend(value) - low) / span, ticks: high === low ? ticks.slice(0, 1) : ticks };
}

function figure(rows, result, shown, sign) {
  const scores = result.scores.slice(0, shown);
  const columns = rows.map((row) => ({ name: row.name, values: result.values[row.name].slice(0, shown), row }));
  columns.push({ name: "score", values: scores, row: { kind: "float" } });
  const axes = columns.map(({ row, values }) => axisOf(row, values));
  const order = [...scores.keys()].reverse(); // the best are drawn last, on top
  const shades = Array.from({ length: SHADES }, () => ({ x: [], y: [], customdata: [], text: [] }));
  for (const place of order) {
    const shade = shades[Math.min(SHADES - 1, Math.floor((SHADES * (shown - 1 - place)) / Math.max(1, shown - 1)))];
    columns.forEach(({ name, values }, at) => {
      shade.x.push(at);
      shade.y.push(axes[at].at(values[place]));
      shade.customdata.push(result.numbers[place]);
      const value = typeof values[place] === "number" ? plainNumber(values[place], 5) : plain(values[place]);
      shade.text.push(`Trial ${result.numbers[place]}, score ${plainNumber(scores[place], 6)}<br>${plain(name)} ${value}`);
    });
    shade.x.push(null);
    shade.y.push(null);
    shade.customdata.push(undefined);
    shade.text.push("");
  }
  const data = shades.map((shade, at) => ({
    type: "scatter",
    mode: "lines",
    ...shade,
    hoverinfo: "text",
    line: { color: mixed(colour("cold"), colour("warm"), at / (SHADES - 1)), width: at === SHADES - 1 ? 1.6 : 1 },
  }));
  const shapes = columns.map((_, at) => ({
    type: "line",
    x0: at,
    x1: at,
    y0: 0,
    y1: 1,
    layer: "above",
    line: { color: colour("muted"), width: 1 },
  }));
  const annotations = axes.flatMap(({ ticks }, at) =>
    ticks.map(([y, text]) => ({
      x: at,
      y,
      text: plain(text.length > 12 ? `${text.slice(0, 11)}…` : text),
      showarrow: false,
      xanchor: "left",
      xshift: 4,
      bgcolor: colour("surface"),
      opacity: 0.85,
      borderpad: 1,
      font: { size: 10, color: colour("muted") },
    })),
  );
  const names = columns.map(({ name }) => plain(name.length > 16 ? `${name.slice(0, 15)}…` : name));
  const lower = sign < 0 ? " (lower is better)" : "";
  names[names.length - 1] += lower;
  const xaxis = {
    tickvals: columns.map((_, at) => at),
    ticktext: names,
    range: [-0.15, columns.length - 1 + 0.4],
    showgrid: false,
    fixedrange: true,
    side: "top",
  };
  const yaxis = { visible: false, range: [-0.05, 1.05], fixedrange: true };
  return { data, layout: { xaxis, yaxis, shapes, annotations, margin: { l: 12, r: 12, t: 36, b: 8 } } };
}

// A color between two, both written as #rrggbb.
function mixed(one, other, share) {
  const part = (hex, at) => parseInt(hex.slice(at, at + 2), 16);
  const mix = (at) => Math.round(part(one, at) + (part(other, at) - part(one, at)) * share);
  return `rgb(${mix(1)}, ${mix(3)}, ${mix(5)})`;
}
