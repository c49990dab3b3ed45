// Runs of the baseline, random mutation, of the same task and f: what the model has to beat.

import { plainNumber, plural } from "./format.js";

// The best score of a run when it had so much of something; null before the first.
export function reached(curve, axis, at) {
  let best = null;
  for (let place = 0; place < curve.best.length && curve[axis][place] <= at; place++) best = curve.best[place];
  return best;
}

// The best of all baseline runs at equal scorings, and what this run had by then; null where there is nothing to say.
export function baselineOf(facts) {
  const runs = (facts.baselines ?? []).filter(({ curve }) => curve.best.length);
  if (!runs.length || facts.champion < 0) return null;
  const longest = Math.max(...runs.map(({ scorings }) => scorings));
  const { total, best } = scored(facts, longest);
  const at = Math.min(longest, total);
  let found = null;
  for (const run of runs) {
    const score = reached(run.curve, "scorings", at);
    if (score !== null && (found === null || facts.better(score, found.score))) found = { run, score };
  }
  if (found === null || best === null) return null;
  return { ...found, at, own: best, words: `best of ${plural(runs.length, "mutation run")} at equal scorings` };
}

// How many scorings a run had, and its best score within the first `limit` of them.
function scored(facts, limit) {
  const { status, x, scorings, score } = facts.columns;
  let total = 0;
  let best = null;
  for (let row = 0; row < facts.length; row++) {
    if (status[row] === "duplicate" || x[row] === "") continue;
    total += Math.max(1, scorings[row]);
    if (total > limit || score[row] === null) continue;
    if (best === null || facts.better(score[row], best)) best = score[row];
  }
  return { total, best };
}

// How this run stands against its baseline, in words.
export function againstBaseline(facts, { score, own }) {
  if (own === score) return "this run was equal";
  const gap = plainNumber(Math.abs(own - score), 3);
  return `this run was ${facts.better(own, score) ? "better" : "worse"} by ${gap}`;
}
