// The lineage: who was built on whom, colored by score, the champion's ancestors marked.

import { el, fill, section, throttled, whenSeen } from "./dom.js";
import { plainNumber, plural } from "./format.js";
import { chart, colour, draw, plain } from "./plot.js";

const MOST_NODES = 1500;

export function lineage({ facts, open }) {
  const plot = chart("Lineage of the trials, coloured by score", 420);
  const note = el("p", { class: "note" });
  const key = el("p", { class: "note key" });
  let ready = false;
  const update = async () => {
    node.hidden = !facts.columns.parent.some((parent) => parent !== null);
    if (!ready || node.hidden) return;
    const tree = grown(facts);
    const less = tree.left
      ? ` ${plural(tree.left, "trial")} without descendants and with low scores are hidden.`
      : "";
    note.textContent = `Each generation is one step to the right; the thick line leads to the best trial.${less}`;
    const sorted = scoresOf(facts);
    const ramp = el("span", { class: "ramp", "aria-hidden": true });
    fill(key, sorted.length ? [plainNumber(worst(sorted)), ramp, plainNumber(sorted.at(-1))] : "");
    const fresh = await draw(plot, () => treeFigure(facts, tree, sorted));
    if (fresh)
      plot.on("plotly_click", ({ points }) => points[0].customdata !== undefined && open(points[0].customdata));
  };
  whenSeen(plot, () => {
    ready = true;
    update();
  });
  const node = section("lineage", "Lineage", plot, key, note);
  update();
  return { node, update: throttled(update, 3000) };
}

// Rows to draw with their generation, and a height such that no branch crosses another.
function grown(facts) {
  const { parent, score } = facts.columns;
  const above = parent.map((number) => (number === null ? -1 : (facts.place.get(number) ?? -1)));
  const kept = important(facts, above, score);
  const children = new Map();
  const roots = [];
  for (const row of kept) {
    if (above[row] < 0) roots.push(row);
    else children.set(above[row], [...(children.get(above[row]) ?? []), row]);
  }
  return { place: placed(roots, children, championLine(facts, above)), above, left: facts.length - kept.length };
}

function championLine(facts, above) {
  const line = new Set();
  for (let row = facts.champion; row >= 0 && !line.has(row); row = above[row]) line.add(row);
  return line;
}

// A row stands as high as its main child, the one that leads to the champion or has most below it; half of the other
// children stand above and half below.
function placed(roots, children, main) {
  const weight = new Map();
  const order = [];
  const stack = [...roots];
  while (stack.length) {
    const row = stack.pop();
    order.push(row);
    stack.push(...(children.get(row) ?? []));
  }
  for (const row of order.toReversed()) {
    weight.set(
      row,
      (main.has(row) ? 1e9 : 1) + (children.get(row) ?? []).reduce((sum, child) => sum + weight.get(child), 0),
    );
  }
  const place = new Map();
  let leaves = 0;
  const todo = roots.toReversed().map((row) => [row, 0, false]);
  while (todo.length) {
    const [row, depth, seen] = todo.pop();
    const below = arranged(children.get(row) ?? [], weight);
    if (seen || !below.length) {
      place.set(row, [depth, below.length ? place.get(below[Math.ceil(below.length / 2) - 1])[1] : leaves++]);
      continue;
    }
    todo.push([row, depth, true]);
    for (const child of below.toReversed()) todo.push([child, depth + 1, false]);
  }
  return place;
}

function arranged(rows, weight) {
  const sorted = rows.toSorted((a, b) => weight.get(a) - weight.get(b) || a - b);
  const above = sorted.filter((_, place) => place % 2 === (sorted.length - 1) % 2);
  return [...above, ...sorted.filter((_, place) => place % 2 !== (sorted.length - 1) % 2).reverse()];
}

// All rows of a short run; of a long one the best with all their ancestors.
function important(facts, above, score) {
  const rows = [...score.keys()];
  if (rows.length <= MOST_NODES) return rows;
  const byScore = rows.filter((row) => score[row] !== null).sort((a, b) => facts.sign * (score[b] - score[a]));
  const kept = new Set();
  for (const first of byScore) {
    for (let row = first; row >= 0 && !kept.has(row); row = above[row]) kept.add(row);
    if (kept.size >= MOST_NODES) break;
  }
  return [...kept].sort((a, b) => a - b);
}

function lines(pairs, place) {
  const x = [];
  const y = [];
  for (const [from, to] of pairs) {
    const [a, b] = [place.get(from), place.get(to)];
    x.push(a[0], a[0] + 0.5, b[0], null);
    y.push(a[1], b[1], b[1], null);
  }
  return { type: "scatter", mode: "lines", x, y, hoverinfo: "skip" };
}

// All scores, the best last.
function scoresOf(facts) {
  return facts.columns.score.filter((score) => score !== null).sort((a, b) => facts.sign * (a - b));
}

// The colours begin here: a few far worse scores would leave one colour for all others.
function worst(sorted) {
  return sorted[Math.floor(sorted.length * 0.1)] ?? 0;
}

function treeFigure(facts, { place, above }, sorted) {
  const rows = [...place.keys()];
  const pairs = rows.filter((row) => above[row] >= 0 && place.has(above[row])).map((row) => [above[row], row]);
  const path = [];
  for (let row = facts.champion; row >= 0 && above[row] >= 0 && place.has(above[row]); row = above[row])
    path.push([above[row], row]);
  const { score } = facts.columns;
  const scored = rows.filter((row) => score[row] !== null);
  const failed = rows.filter((row) => score[row] === null);
  const values = scored.map((row) => facts.sign * score[row]);
  const scale = {
    color: values,
    colorscale: [
      [0, colour("cold")],
      [0.5, colour("middle")],
      [1, colour("warm")],
    ],
    cmin: facts.sign * worst(sorted),
    cmax: facts.sign * (sorted.at(-1) ?? 1),
    size: rows.length > 300 ? 7 : 10,
    line: { color: colour("surface"), width: 1 },
  };
  const data = [
    { ...lines(pairs, place), line: { color: colour("line"), width: 1 } },
    { ...lines(path, place), line: { color: colour("accent"), width: 3 } },
    nodes(facts, failed, place, { color: colour("bad"), symbol: "x-thin-open", size: 7 }),
    nodes(facts, scored, place, scale),
    nodes(facts, facts.champion < 0 ? [] : [facts.champion], place, {
      color: "rgba(0,0,0,0)",
      size: 17,
      line: { color: colour("accent"), width: 2 },
    }),
  ];
  const deepest = Math.max(1, ...rows.map((row) => place.get(row)[0]));
  const dtick = Math.ceil(deepest / 12); // whole generations
  const xaxis = { title: { text: "generation" }, tick0: 0, dtick, showgrid: false, range: [-0.4, deepest + 0.4] };
  return {
    data,
    layout: { xaxis, yaxis: { visible: false, fixedrange: true }, margin: { l: 12, r: 8, t: 12, b: 40 } },
  };
}

function nodes(facts, rows, place, marker) {
  const { number, score, status, source } = facts.columns;
  return {
    type: "scatter",
    mode: "markers",
    x: rows.map((row) => place.get(row)[0]),
    y: rows.map((row) => place.get(row)[1]),
    customdata: rows.map((row) => number[row]),
    text: rows.map(
      (row) =>
        `Trial ${number[row]} ${score[row] === null ? status[row] : plainNumber(score[row], 6)}<br>${plain(source[row])}`,
    ),
    hoverinfo: "text",
    marker,
  };
}
