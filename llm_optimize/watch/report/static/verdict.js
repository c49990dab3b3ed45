// What a comparison found: the sentence of the command line, a row for each contender, and its runs.

import { copyButton, el, plainTable, section, textBlock, visible } from "./dom.js";
import { count, dollars, duration, ending, plainNumber, plural } from "./format.js";

export function verdictSection(groups, verdict, sign, hrefOf) {
  const table = verdict ? standings(groups, verdict, hrefOf) : sideBySide(groups, sign, hrefOf);
  return section(
    "verdict",
    "Result",
    el("p", { class: "verdict" }, visible(verdict ? verdict.sentence : noVerdict(groups))),
    el("div", { class: "scroll" }, table),
    verdict ? [pairs(verdict), problems(verdict)] : null,
  );
}

// Single runs prove nothing, and runs that were not made to be compared are not tested.
function noVerdict(groups) {
  const single = groups.every((group) => group.runs.length === 1);
  if (single && groups.length > 1)
    return "One run each proves nothing: two runs of the same method differ as well. llm-optimize compare makes several runs of each contender.";
  if (single) return "There is one run only: nothing to compare it with.";
  if (groups.some((group) => group.runs.some((run) => run.stop_reason === null)))
    return "No verdict yet: no seed has ended for all contenders.";
  return "No verdict: these runs were not made as one comparison, with the same seeds and scorings.";
}

function nameOf(group, hrefOf) {
  const swatch = el("span", { class: `swatch ${group.hue}`, "aria-hidden": true });
  return [swatch, visible(group.name), runLinks(group, hrefOf)];
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

// Medians with their intervals at some scorings, the test against the first, and what it took.
function standings(groups, { standings: rows, differences }, hrefOf) {
  const first = rows[0].name;
  const checkpoints = rows[0].at.map(({ after }) => `After ${after}`);
  const heads = ["", ...checkpoints, `Test against ${visible(first)}`, "Calls", "Tokens", "Cost", "Time"];
  const byName = new Map(groups.map((group) => [group.name, group]));
  return plainTable(
    heads,
    rows.map((row) => [
      nameOf(byName.get(row.name), hrefOf),
      ...row.at.map(interval),
      row.name === first ? "–" : tested(differences, first, row.name),
      count(row.calls),
      count(row.tokens),
      row.calls ? dollars(row.cost) : "–",
      duration(row.seconds),
    ]),
  );
}

function interval({ median, low, high }) {
  const known = (value) => (typeof value === "number" ? plainNumber(value, 4) : "none");
  return [known(median), el("span", { class: "note range" }, `${known(low)} to ${known(high)}`)];
}

function tested(differences, first, other) {
  const pair = differences.find(({ ahead, behind }) => [ahead, behind].includes(first) && [ahead, behind].includes(other));
  return [p(pair), el("span", { class: "note range" }, pair.is_significant ? `${visible(pair.ahead)} is ahead` : "may be noise")];
}

function p({ p_value: value }) {
  return value < 0.001 ? "p < 0.001" : `p = ${plainNumber(value, 2)}`;
}

function pairs({ differences }) {
  if (differences.length < 2) return explained();
  const rows = differences.map((pair) => [
    `${visible(pair.ahead)} over ${visible(pair.behind)}`,
    p(pair),
    pair.is_significant ? "beyond noise" : "may be noise",
  ]);
  const table = el("div", { class: "scroll" }, plainTable(["Pair", "Test", ""], rows));
  return [explained(), el("details", { class: "block" }, el("summary", {}, "All pairs"), table)];
}

function explained() {
  const words =
    "Each cell has the median over the seeds of the best score by then, and the interval that holds it with 95 %. The test is the rank test, corrected for the number of pairs.";
  return el("p", { class: "note" }, words);
}

function problems({ standings: rows }) {
  const found = rows.flatMap((row) => row.problems.map((problem) => `${row.name}: ${problem}`));
  return found.map((problem) => el("p", { class: "problem" }, visible(problem)));
}

// Runs without a verdict: for one run its best score, for several their median and their range.
function sideBySide(groups, sign, hrefOf) {
  const finals = ({ runs }) => runs.map(({ curve }) => curve.best.at(-1)).filter((best) => best !== undefined);
  const several = groups.some((group) => group.runs.length > 1);
  const heads = ["", ...(several ? ["Runs", "Median best", "Lowest", "Highest"] : ["Best"]), "Trials", "Calls", "Cost", "Time"];
  const ranked = groups
    .map((group) => ({ group, best: finals(group).sort((a, b) => a - b) }))
    .sort((a, b) => sign * ((middle(b.best) ?? -sign * Infinity) - (middle(a.best) ?? -sign * Infinity)));
  const shown = (value) => (value === null || value === undefined ? "–" : plainNumber(value, 5));
  const rows = ranked.map(({ group, best }) => {
    const last = (name) => group.runs.map(({ curve }) => (curve[name].length ? curve[name].at(-1) : 0)); // null: unknown
    const sum = (values) => (values.includes(null) ? null : values.reduce((a, b) => a + b, 0));
    const numbers = several ? [String(group.runs.length), shown(middle(best)), shown(best[0]), shown(best.at(-1))] : [shown(best[0])];
    const calls = sum(last("calls"));
    return [
      nameOf(group, hrefOf),
      ...numbers,
      count(sum(group.runs.map((run) => run.trials))),
      count(calls),
      calls ? dollars(sum(last("cost"))) : "–",
      duration(sum(last("seconds"))),
    ];
  });
  return plainTable(heads, rows);
}

function middle(sorted) {
  if (!sorted.length) return null;
  const half = (sorted.length - 1) / 2;
  return (sorted[Math.floor(half)] + sorted[Math.ceil(half)]) / 2;
}

// In a file there is no page of a run to go to: its best x is here.
export function runsSection(runs) {
  const rows = runs.map((run) => {
    const best = run.curve.best.at(-1);
    return el(
      "details",
      { class: "block one-run", id: anchorOf(run.name) },
      el(
        "summary",
        {},
        visible(run.name),
        el(
          "span",
          { class: "note" },
          ` ${best === undefined ? "no score" : plainNumber(best, 6)} · ${plural(run.trials, "trial")} · ${run.stop_reason === null ? "not ended" : visible(ending(run.stop_reason))}`,
        ),
      ),
      run.best_x === null ? null : [el("div", { class: "bar" }, copyButton(run.best_x, "Copy best x")), textBlock(run.best_x, { label: "best x" })],
    );
  });
  return section("runs", "Runs, and the best x of each", rows);
}

export function anchorOf(name) {
  return `run-${name}`;
}
