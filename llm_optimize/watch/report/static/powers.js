// The scale of powers of ten: offered where all scores have one sign and differ much.

import { choice } from "./dom.js";
import { plainNumber } from "./format.js";

const WIDE_SPAN = 100; // between the scores nearest to 0 and farthest from it

// Whether a scale of powers of ten shows these scores better; null is no score.
export function spansPowers(scores) {
  let low = Infinity;
  let high = 0;
  let signs = 0;
  let count = 0;
  for (const score of scores) {
    if (score === null) continue;
    low = Math.min(low, Math.abs(score));
    high = Math.max(high, Math.abs(score));
    signs += Math.sign(score);
    count += 1;
  }
  return count > 1 && low > 0 && high / low >= WIDE_SPAN && Math.abs(signs) === count;
}

// The height of a score: those of negative scores grow towards 0.
export function power(score) {
  return Math.sign(score) * Math.log10(Math.abs(score));
}

export function powerTicks(scores) {
  const known = scores.filter((score) => score !== null);
  const heights = known.map(power);
  const low = Math.floor(heights.reduce((a, b) => Math.min(a, b)));
  const high = Math.ceil(heights.reduce((a, b) => Math.max(a, b)));
  const step = Math.ceil((high - low) / 8);
  const tickvals = [];
  for (let at = low; at <= high; at += step) tickvals.push(at);
  const label = (at) => plainNumber(known[0] < 0 ? -(10 ** -at) : 10 ** at);
  return { tickvals, ticktext: tickvals.map(label) };
}

// Hidden until the scores differ much.
export function powerChoice(onChange) {
  const scales = [
    ["linear", "Linear"],
    ["log", "Log"],
  ];
  const node = choice("Scale of the score", scales, "linear", (value) => onChange(value === "log"));
  node.hidden = true;
  return node;
}
