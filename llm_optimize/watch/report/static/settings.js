// What the run was asked to do, in words; all settings as they were stored; versions.

import { copyButton, el, fill, section, textBlock, visible } from "./dom.js";
import { dollars, duration, moment, plainNumber, plural } from "./format.js";
import { steer } from "./sections.js";
import { codeView } from "./diff.js";
import { factTable } from "./trial.js";

export function settings({ facts }) {
  const body = el("div");
  const node = section("settings", "Settings", body);
  const update = () => fill(body, settingsBody(facts));
  update();
  return { node, update };
}

function settingsBody({ run, state, columns }) {
  const { task = {}, x0, ...rest } = run.settings;
  const prompts = Object.entries(task).filter(([name, text]) => name !== "description" && text);
  const versions = Object.entries({ ...run.versions, plotly: run.plotly }).map(([name, version]) => `${name} ${version}`);
  return [
    factTable(inWords(run, state, columns)),
    firstOnes(x0).map(([title, text]) => folded(title, el("div", { class: "bar" }, copyButton(text)), codeView({ text }))),
    prompts.map(([name, text]) => folded(name.replaceAll("_", " "), textBlock(String(text), { label: name }))),
    state.steers.length
      ? [el("h3", {}, "Control commands"), el("ul", { class: "steers" }, state.steers.map(steer))]
      : null,
    folded("All settings as they are stored", factTable(rest)),
    el("p", { class: "note versions" }, visible(versions.join(" · "))),
  ];
}

function folded(title, ...inside) {
  return el("details", { class: "block" }, el("summary", {}, visible(title)), inside);
}

// x0, or each of several, as texts with their lines.
function firstOnes(x0) {
  const all = Array.isArray(x0) ? x0 : x0 === null || x0 === undefined ? [] : [x0];
  return all.flatMap((x, place) => {
    const title = all.length > 1 ? `x0, ${place + 1} of ${all.length}` : "x0";
    if (typeof x === "string") return [[title, x]];
    const texts = Object.entries(x ?? {});
    if (texts.length && texts.every(([, text]) => typeof text === "string") && texts.some(([, text]) => text.includes("\n")))
      return texts.map(([name, text]) => [`${title}: ${name}`, text]);
    return [[title, JSON.stringify(x, null, 1)]];
  });
}

function inWords({ settings: s, origin, func_version: version, begun_at: begun }, state, { at }) {
  const budget = s.budget ?? {};
  const caps = [
    s.max_steps === undefined ? "" : plural(s.max_steps, "step"),
    budget.scorings && plural(budget.scorings, "scoring"),
    budget.calls && plural(budget.calls, "model call"),
    budget.tokens && plural(budget.tokens, "token"),
    budget.usd && dollars(budget.usd),
    budget.seconds && span(budget.seconds),
    budget.stale_steps && `${plural(budget.stale_steps, "step")} without a new best`,
  ].filter(Boolean);
  const words = {
    goal: goal(s),
    f: [s.func, version && `version ${version}`].filter(Boolean).join(", "),
    "written by": writer(s),
    search: s.search,
    "ends after": caps.length ? `at most ${caps.join(", ")}` : "",
    "at a time": [
      s.workers && plural(s.workers, "worker"),
      s.model_slots && plural(s.model_slots, "model slot"),
    ].filter(Boolean).join(", "),
    "each scoring": scoring(s),
    parameters: s.space ? Object.entries(s.space).map(([name, parameter]) => `${name}: ${rangeOf(parameter)}`) : null,
    seed: s.seed === null || s.seed === undefined ? "" : String(s.seed),
    "a fork of": origin ? `${origin.run} at trial ${origin.trial}` : "",
    begun: moment(begun),
    "last trial": at.length ? moment(Math.max(...at.slice(-50))) : "",
  };
  return words;
}

// A time span without what is 0 in it.
function span(seconds) {
  return duration(seconds).replace(/ 00 (s|min)$/, "");
}

function goal({ direction, stop_score: enough, max_score: most }) {
  const which = direction === "minimize" ? "the lowest score" : "the highest score";
  const ends = enough === null || enough === undefined ? "" : `, or one that reaches ${plainNumber(enough, 8)}`;
  const limit = direction === "minimize" ? "lower" : "higher";
  const bound = most === null || most === undefined ? "" : `; a score ${limit} than ${plainNumber(most, 8)} is invalid`;
  return `${which}${ends}${bound}`;
}

function writer({ model, proposer, base_url: address, temperature, reasoning_effort: effort }) {
  if (proposer && proposer !== "model") return model && proposer.includes("model") ? `${proposer}, model ${model}` : proposer;
  const more = [
    address && `at ${address}`,
    temperature !== null && temperature !== undefined && `temperature ${temperature}`,
    effort && `reasoning effort ${effort}`,
  ].filter(Boolean);
  const names = Array.isArray(model) ? model.join(", ") : model;
  if (names === "mutation") return "mutation, no model";
  return [names ? `model ${names}` : "", ...more].filter(Boolean).join(", ");
}

function scoring({ sandbox, timeout_secs: secs, limits = {}, repeats, tune, reflect }) {
  return [
    sandbox && (sandbox === "inline" ? "inline, without a sandbox" : `in the sandbox ${sandbox}`),
    secs && `at most ${span(secs)}`,
    sandbox !== "inline" && limits.memory_mb && `${plainNumber(limits.memory_mb / 1024, 3)} GB of memory a process`,
    repeats && `a champion is scored ${typeof repeats === "number" ? plural(repeats, "time") : "again"}`,
    tune && `${plural(tune, "scoring")} to tune the knobs of a champion`,
    reflect && "with lessons from failures",
  ].filter(Boolean).join(", ");
}

function rangeOf({ kind, low, high, log, options, when }) {
  const range = options ? options.map(String).join(", ") : low === undefined ? kind : `${plainNumber(low, 6)} to ${plainNumber(high, 6)}`;
  const scale = log ? ", log" : kind === "int" ? ", whole" : "";
  const only = Object.entries(when ?? {}).map(([name, value]) => `${name} is ${[value].flat().join(" or ")}`);
  return `${range}${scale}${only.length ? `, if ${only.join(" and ")}` : ""}`;
}
