// The headline, the champion's story, failures, spend and settings of a run.

import { el, fill, plainTable, section, visible, whenSeen } from "./dom.js";
import { againstBaseline, baselineOf } from "./baseline.js";
import { diffView } from "./diff.js";
import { ago, count, digitsFor, dollars, duration, plainNumber, plural, signed } from "./format.js";

// The headline: what was found, and what it took.

export function headline({ facts, open }) {
  const tiles = el("div", { class: "tiles" });
  const update = () => {
    const { scored, failed, duplicate } = facts.counts;
    const tokens = facts.tokens.prompt + facts.tokens.completion;
    fill(
      tiles,
      bestTile(facts, open),
      baselineTile(facts),
      tile(
        "Trials",
        count(facts.length),
        [
          `${count(scored)} scored`,
          failed ? `${count(failed)} failed` : "",
          duplicate ? `${plural(duplicate, "duplicate")}` : "",
        ]
          .filter(Boolean)
          .join(" · "),
      ),
      tile(
        "Model calls",
        count(facts.sums.calls.at(-1) ?? 0),
        tokens
          ? `${count(tokens)} tokens${facts.tokens.cached ? `, ${Math.round((100 * facts.tokens.cached) / facts.tokens.prompt)} % of the prompts cached` : ""}`
          : "no model was asked",
      ),
      tile("Spent", dollars(facts.usd), facts.usd === null ? "a price is unknown" : spentOn(facts)),
      tile("Time", duration(facts.seconds), facts.length ? `${duration(facts.seconds / facts.length)} per trial` : ""),
    );
  };
  update();
  return { node: tiles, update };
}

function bestTile(facts, open) {
  const name = facts.sign > 0 ? "Best score" : "Best score (lowest)";
  if (facts.champion < 0) return tile(name, "–", "no trial has a score", "best");
  const best = facts.row(facts.champion);
  const digits = digitsFor(facts.champions.map((row) => facts.columns.score[row]));
  const gain = facts.gain();
  const note = [link(`trial ${best.number}`, () => open(best.number)), gain ? ` · ${gain}` : ""];
  return tile(name, plainNumber(best.score, digits), note, "best");
}

function baselineTile(facts) {
  const base = baselineOf(facts);
  if (!base) return null;
  return tile("Baseline", plainNumber(base.score, 5), `${base.words}; ${againstBaseline(facts, base)}`, "wider");
}

function spentOn(facts) {
  const gained = facts.champions.length - 1;
  return facts.usd && gained > 0 ? `${dollars(facts.usd / gained)} per improvement` : " ";
}

function tile(name, value, note, style = "") {
  return el(
    "div",
    { class: `tile ${style}` },
    el("div", { class: "name" }, name),
    el("div", { class: "value" }, value),
    el("div", { class: "note" }, note),
  );
}

function link(text, act) {
  return el("button", { type: "button", class: "link", on: { click: act } }, text);
}

const FIRST = 2;
const LAST = 8;

// The story: what each ancestor of the champion changed.

export function championStory({ facts, source, story, open }) {
  const list = el("ol", { class: "story" });
  const note = el("p", { class: "note" });
  let ready = false;
  let shown = null;
  const update = async () => {
    if (!ready || shown === facts.champion) return;
    shown = facts.champion;
    if (facts.champion < 0) return void (note.textContent = "No trial has a score yet.");
    const { steps, left_out } = await story();
    if (steps.length < 2) note.textContent = "The best trial was not built on another one.";
    if (steps.length < 2) return void fill(list);
    const bettered = facts.sign > 0 ? "raised" : "lowered";
    note.textContent = `The ancestors of the best trial that ${bettered} the score${left_out ? `; ${plural(left_out, "other ancestor")} lie between them` : ""}.`;
    const known = steps.filter(({ number }) => facts.place.has(number));
    listSteps(
      list,
      known.map((step, place) => () => chapter(facts, source, open, step, known.length > 2 && place === known.length - 1)),
    );
  };
  const node = section("story", "How the best came about", note, list);
  whenSeen(node, () => {
    ready = true;
    update();
  });
  return { node, update };
}

// Of a long story the first and the last steps are shown, those between on demand.
function listSteps(list, chapters) {
  const between = chapters.length - FIRST - LAST;
  if (between < 3)
    return fill(
      list,
      chapters.map((make) => make()),
    );
  const more = el("button", { type: "button", class: "quiet" }, `Show ${between} steps between`);
  const item = el("li", { class: "between" }, more);
  more.addEventListener("click", () => item.replaceWith(...chapters.slice(FIRST, -LAST).map((make) => make())));
  return fill(
    list,
    chapters.slice(0, FIRST).map((make) => make()),
    item,
    chapters.slice(-LAST).map((make) => make()),
  );
}

function chapter(facts, source, open, { number, on, change }, unfolded) {
  const one = facts.at(number);
  const before = on === null ? null : facts.at(on);
  const gain = before && one.score !== null && before.score !== null ? one.score - before.score : null;
  const body = el("div", { class: "chapter-body" });
  const details = el(
    "details",
    { open: unfolded },
    el(
      "summary",
      {},
      el("strong", {}, one.score === null ? one.status : plainNumber(one.score, 6)),
      gain === null ? null : el("span", { class: facts.styleOf(gain) }, ` ${signed(gain)}`),
      el("span", { class: "note" }, ` trial ${number} · ${visible(one.source)}`),
      el("span", { class: "words" }, visible(one.lesson || one.feedback)),
    ),
    body,
  );
  const show = async () => {
    if (body.childElementCount) return;
    body.append(
      el(
        "p",
        { class: "bar" },
        link(`Open trial ${number}`, () => open(number)),
      ),
    );
    if (change === null) return;
    const [fresh, old] = await Promise.all([source.trial(number), source.trial(on)]);
    if (fresh && old)
      body.append(diffView(old.parts, fresh.parts, change, `Change from trial ${on} to trial ${number}`));
  };
  details.addEventListener("toggle", () => details.open && show());
  if (unfolded) show();
  return el("li", {}, details);
}

// What failed and why.

export function failures({ facts, open }) {
  const body = el("div");
  const node = section("failures", "What failed, and why", body);
  const update = () => {
    const groups = facts.failures();
    const failed = facts.counts.failed;
    if (!failed)
      return fill(body, el("p", { class: "note" }, facts.length ? "No trial failed." : "No trial is finished yet."));
    const most = groups[0].trials.length;
    return fill(
      body,
      el(
        "p",
        { class: "note" },
        `${plural(failed, "trial")} of ${facts.length.toLocaleString("en")} have no score.`,
      ),
      groups.slice(0, 60).map((group) => failureGroup(group, most, open)),
      groups.length > 60
        ? el("p", { class: "note" }, `${plural(groups.length - 60, "rarer kind")} not shown; the table has them.`)
        : null,
    );
  };
  update();
  return { node, update };
}

function failureGroup({ status, stage, feedback, trials }, most, open) {
  const bar = el("span", { class: "meter", "aria-hidden": true });
  bar.style.width = `${Math.max(2, (100 * trials.length) / most)}%`;
  return el(
    "details",
    { class: "failure" },
    el(
      "summary",
      {},
      el("span", { class: "times" }, `${trials.length.toLocaleString("en")}×`),
      el("span", { class: `chip ${status}` }, stage ? `${status} at ${visible(stage)}` : status),
      el("span", { class: "words" }, visible(feedback)),
      el("span", { class: "meters" }, bar),
    ),
    el(
      "p",
      { class: "numbers" },
      trials.slice(0, 200).map((number) => link(String(number), () => open(number))),
      trials.length > 200 ? ` and ${trials.length - 200} more` : "",
    ),
  );
}

// Spend by who wrote x.

export function spend({ facts }) {
  const body = el("div", { class: "scroll" });
  const node = section("spend", "Who wrote it, and what it cost", body);
  const update = () =>
    fill(body, facts.length ? spendTable(facts) : el("p", { class: "note" }, "Nothing was spent yet."));
  update();
  return { node, update };
}

function spendTable(facts) {
  const digits = digitsFor(facts.champions.map((row) => facts.columns.score[row]));
  const heads = [
    "Written by",
    "Trials",
    "Scored",
    "Champions",
    "Best",
    "Calls",
    "Tokens in",
    "Cached",
    "Tokens out",
    "Cost",
    "Scoring time",
  ];
  const rows = facts
    .sources()
    .map((one) => [
      visible(one.name),
      count(one.trials),
      count(one.scored),
      count(one.champions),
      one.best === null ? "–" : plainNumber(one.best, digits),
      count(one.calls),
      count(one.prompt),
      one.prompt ? `${Math.round((100 * one.cached) / one.prompt)} %` : "–",
      count(one.completion),
      one.unknown ? "unknown" : one.calls ? dollars(one.cost) : "–",
      duration(one.seconds),
    ]);
  return plainTable(heads, rows);
}

export function steer({ kind, text, given_at }) {
  return el(
    "li",
    {},
    el("span", { class: "chip" }, kind),
    text ? ` ${visible(text)}` : "",
    el("span", { class: "note" }, ` ${ago(given_at)}`),
  );
}
