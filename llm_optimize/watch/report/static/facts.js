// A run as columns, and what follows from them. A live run adds rows to the same columns.

import { signed } from "./format.js";

export class Facts {
  constructor(raw) {
    this.run = raw.run;
    this.columns = raw.columns;
    this.state = raw.state;
    this.place = new Map(); // trial number -> row
    this.best = []; // row of the best so far, at each row; -1 before the first score
    this.sums = { calls: [], cost: [], seconds: [] };
    this.counts = { scored: 0, failed: 0, duplicate: 0 };
    this.prices = { known: 0, unknown: 0 };
    this.tokens = { prompt: 0, completion: 0, cached: 0, reasoning: 0 };
    this.champions = [];
    // All scores are as the user sees them: with "minimize" the lowest is the best.
    this.sign = raw.run.settings.direction === "minimize" ? -1 : 1;
    for (let row = 0; row < this.length; row++) this.learn(row);
  }

  // Whether a score is better than another one.
  better(one, other) {
    return this.sign * (one - other) > 0;
  }

  // The style of a change of the score: whether it is for the better.
  styleOf(change) {
    return `delta ${this.sign * change > 0 ? "up" : "down"}`;
  }

  // The row that the best is compared with: x0, or the first trial with a score where x0 has none.
  get base() {
    const { number, score, source } = this.columns;
    const zero = this.place.get(0);
    if (zero !== undefined && score[zero] !== null) return zero;
    if (zero !== undefined && source[zero] === "x0") return zero;
    let first = -1;
    for (let row = 0; row < this.length; row++)
      if (score[row] !== null && (first < 0 || number[row] < number[first])) first = row;
    return first;
  }

  // How far the best is from x0, in words; empty where it is x0 itself, or x0 has no score.
  gain() {
    const { score, source, number } = this.columns;
    const { champion, base } = this;
    if (champion < 0 || base < 0 || champion === base || score[base] === null) return "";
    const from = source[base] === "x0" ? "x0" : `trial ${number[base]}`;
    return `${signed(score[champion] - score[base])} from ${from}`;
  }

  // The number of the trial before or after one, by number; null where there is none.
  beside(number, by) {
    let found = null;
    for (const other of this.columns.number) {
      if (by * (other - number) > 0 && (found === null || by * (found - other) > 0)) found = other;
    }
    return found;
  }

  // The rows at which the best so far changes along an axis, which need not be the order of finishing.
  stairs(axis) {
    const x = this.along(axis);
    const { score } = this.columns;
    const scored = [...score.keys()].filter((row) => score[row] !== null);
    scored.sort((a, b) => x[a] - x[b] || a - b);
    const found = [];
    for (const row of scored) if (!found.length || this.better(score[row], score[found.at(-1)])) found.push(row);
    return found;
  }

  get length() {
    return this.columns.number.length;
  }

  get champion() {
    return this.length ? this.best[this.length - 1] : -1;
  }

  get usd() {
    return this.prices.unknown ? null : (this.sums.cost.at(-1) ?? 0);
  }

  get seconds() {
    return this.sums.seconds.at(-1) ?? 0;
  }

  row(row) {
    return Object.fromEntries(Object.entries(this.columns).map(([name, values]) => [name, values[row]]));
  }

  at(number) {
    return this.place.has(number) ? this.row(this.place.get(number)) : null;
  }

  learn(row) {
    const { number, score, status, calls, cost, at } = this.columns;
    const before = row ? this.best[row - 1] : -1;
    const rose = score[row] !== null && (before < 0 || this.better(score[row], score[before]));
    this.place.set(number[row], row);
    this.best[row] = rose ? row : before;
    if (rose) this.champions.push(row);
    const last = (values) => (row ? values[row - 1] : 0);
    this.sums.calls[row] = last(this.sums.calls) + calls[row];
    this.sums.cost[row] = last(this.sums.cost) + (cost[row] ?? 0);
    this.sums.seconds[row] = Math.max(last(this.sums.seconds), at[row] - this.run.begun_at);
    if (calls[row]) this.prices[cost[row] === null ? "unknown" : "known"] += 1;
    const kind = status[row] === "duplicate" ? "duplicate" : score[row] === null ? "failed" : "scored";
    this.counts[kind] += 1;
    for (const name of Object.keys(this.tokens)) this.tokens[name] += this.columns[name][row];
  }

  // Whether there is anything new: a stream begins with what is known already.
  differ({ columns, again, state }) {
    return columns.number.length > 0 || again.length > 0 || JSON.stringify(state) !== JSON.stringify(this.state);
  }

  // Take rows that are new, and those that were scored again.
  add(news) {
    const from = this.length;
    const added = news.columns.number;
    for (let place = 0; place < added.length; place++) {
      if (this.place.has(added[place])) continue;
      for (const name of Object.keys(this.columns)) this.columns[name].push(news.columns[name][place]);
      this.learn(this.length - 1);
    }
    for (const again of news.again) this.rescore(again);
    if (news.state) this.state = news.state;
    return { from, to: this.length };
  }

  rescore({ trial, score, standard_error, scorings }) {
    const row = this.place.get(trial);
    if (row === undefined) return;
    this.columns.score[row] = score;
    this.columns.error[row] = standard_error;
    this.columns.scorings[row] = scorings;
    this.champions = [];
    for (let each = 0; each < this.length; each++) {
      const before = each ? this.best[each - 1] : -1;
      const value = this.columns.score[each];
      const rose = value !== null && (before < 0 || this.better(value, this.columns.score[before]));
      this.best[each] = rose ? each : before;
      if (rose) this.champions.push(each);
    }
  }

  // Where a row stands on an axis: trial, calls, cost or seconds.
  along(axis) {
    return axis === "trial" ? this.columns.number : this.sums[axis];
  }

  change(row) {
    const { score, parent } = this.columns;
    const above = parent[row] === null ? undefined : this.place.get(parent[row]);
    if (score[row] === null || above === undefined || score[above] === null) return null;
    return score[row] - score[above];
  }

  // Failures by status and words, numbers in them left aside; the largest group first.
  failures() {
    const { status, feedback, number, score, stage } = this.columns;
    const groups = new Map();
    for (let row = 0; row < this.length; row++) {
      if (score[row] !== null) continue;
      const key = `${status[row]}|${stage[row]}|${feedback[row].replace(/\d+(\.\d+)?/g, "#")}`;
      const group = groups.get(key) ?? { status: status[row], stage: stage[row], feedback: feedback[row], trials: [] };
      group.trials.push(number[row]);
      groups.set(key, group);
    }
    return [...groups.values()].sort((a, b) => b.trials.length - a.trials.length);
  }

  // What each source wrote and spent.
  sources() {
    const found = new Map();
    for (let row = 0; row < this.length; row++) {
      const name = this.columns.source[row];
      if (!found.has(name)) {
        const zero = { trials: 0, scored: 0, best: null, champions: 0, calls: 0, cost: 0, unknown: 0, seconds: 0 };
        found.set(name, { name, ...zero, prompt: 0, completion: 0, cached: 0, reasoning: 0 });
      }
      this.count(found.get(name), row);
    }
    for (const row of this.champions) found.get(this.columns.source[row]).champions += 1;
    return [...found.values()].sort((a, b) => b.cost - a.cost || b.trials - a.trials);
  }

  count(source, row) {
    const { columns } = this;
    source.trials += 1;
    source.seconds += columns.seconds[row];
    if (columns.score[row] !== null) {
      source.scored += 1;
      const score = columns.score[row];
      if (source.best === null || this.better(score, source.best)) source.best = score;
    }
    if (columns.calls[row] && columns.cost[row] === null) source.unknown += columns.calls[row];
    source.cost += columns.cost[row] ?? 0;
    for (const name of ["calls", "prompt", "completion", "cached", "reasoning"]) source[name] += columns[name][row];
  }
}
