// The best x, and what changed from x0 to it.

import { choice, copyButton, el, fill, plainTable, section, visible, whenSeen } from "./dom.js";
import { diffView } from "./diff.js";
import { plainNumber } from "./format.js";
import { jump, wholeX } from "./trial.js";

export function bestX(context) {
  const { facts, story, source } = context;
  const body = el("div");
  const node = section("best", "Best x", body);
  const state = { ready: false, shown: "", view: "change" };
  const update = async () => {
    const key = `${facts.champion} ${facts.base}`;
    if (!state.ready || state.shown === key) return;
    state.shown = key;
    if (facts.champion < 0) return void fill(body, el("p", { class: "note" }, nothing(facts)));
    const { best } = await story();
    if (!best || state.shown !== key) return;
    // The store may know more than this page by now: what is missing comes, and this is asked again.
    if (!facts.place.has(best.number) || (best.on !== null && !facts.place.has(best.on))) return void (state.shown = "");
    const [found, base] = await Promise.all([best.number, best.on].map((one) => (one === null ? null : source.trial(one))));
    if (found && state.shown === key) fill(body, content(context, best, { found, base }, state));
  };
  whenSeen(node, () => {
    state.ready = true;
    update();
  });
  return { node, update };
}

function nothing(facts) {
  if (!facts.length) return "No trial is finished yet.";
  return "No trial has a score: there is no best x. See what failed, and why, below.";
}

function content({ facts, open }, { number, on, change }, { found, base }, state) {
  const one = facts.at(number);
  const view = el("div");
  const copies = found.parts.length === 1 ? copyButton(found.parts[0].text, "Copy best x") : null;
  const changed = base && change && on !== number;
  const origin = on !== null && facts.at(on)?.source === "x0" ? "x0" : `trial ${on}`;
  const chosen = changed ? views(origin, state, () => show()) : null;
  const show = () => {
    const isChange = state.view === "change" && changed;
    if (isChange) fill(view, difference(facts, number, on, found, base, change, origin, [chosen, copies]));
    else fill(view, chosen && el("div", { class: "bar" }, chosen), wholeX(found.parts));
  };
  show();
  const gain = facts.gain();
  const words = [
    el("strong", {}, plainNumber(one.score, 6)),
    gain ? el("span", { class: "delta up" }, ` ${gain}`) : "",
    " · ",
    jump(number, open),
    ` · ${visible(one.source)}`,
    !changed && facts.length > 1 ? " · no other trial is better" : "",
  ];
  return [el("p", { class: "best-line" }, words), view];
}

function views(origin, state, show) {
  const all = [
    ["change", `Change from ${origin}`],
    ["whole", "Whole x"],
  ];
  return choice("What to show of the best x", all, state.view, (value) => {
    state.view = value;
    show();
  });
}

// Parameters stand beside each other, texts as a difference.
function difference(facts, number, on, found, base, change, origin, bar) {
  const [after, before] = [facts.at(number).values, facts.at(on).values];
  const names = Object.keys(facts.run.settings.space ?? {});
  const label = `Change from ${origin} to the best x`;
  if (!names.length || !after || !before) return diffView(base.parts, found.parts, change, label, bar);
  const rows = names.map((name) => {
    const [was, is] = [before[name], after[name]].map((value) => (value === undefined ? "–" : shown(value)));
    return [visible(name), was, was === is ? is : el("strong", {}, is)];
  });
  const table = plainTable(["Parameter", origin, "Best"], rows);
  return [el("div", { class: "bar" }, bar), el("div", { class: "scroll" }, table)];
}

function shown(value) {
  return typeof value === "number" ? plainNumber(value, 5) : visible(value);
}
