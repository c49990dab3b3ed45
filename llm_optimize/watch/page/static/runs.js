// The list of runs: states, progress and time left; a comparison is one row that unfolds. Chosen runs are compared,
// tagged, renamed or deleted.

import { el, fill, visible } from "../../report/static/dom.js";
import { ago, moment, plainNumber, plural } from "../../report/static/format.js";
import { ask, hasToken, manage, runPath, within } from "./api.js";

const EVERY_MS = 1000;
const MOST_COMPARED = 60; // as the server has it
const MOST_SHOWN = 1000;
const STATES = ["running", "paused", "dead", "finished"];
const ORDERS = {
  begun: ["Newest first", (a, b) => b.begun_at - a.begun_at],
  best: ["Best score first", byBest],
  state: ["State", (a, b) => STATES.indexOf(a.state) - STATES.indexOf(b.state) || b.begun_at - a.begun_at],
  name: ["Name", (a, b) => a.name.localeCompare(b.name, "en", { numeric: true })],
};
const HEADS = [
  ["", ""],
  ["Run", ""],
  ["State", ""],
  ["Best", "num"],
  ["Progress", "wide"],
  ["Begun", "wide"],
  ["Model", "wider"],
  ["Task", "grow wider"],
];

// Goals differ: among runs that minimize, the lowest is the first, and they come after the others.
function byBest(a, b) {
  if (a.best === null || b.best === null) return (a.best === null) - (b.best === null) || b.begun_at - a.begun_at;
  if (a.direction !== b.direction) return a.direction.localeCompare(b.direction);
  return a.direction === "minimize" ? a.best - b.best : b.best - a.best;
}

export function runList() {
  const chosen = new Set();
  const unfolded = new Set();
  const verdicts = new Map(); // comparison -> { of: the ends that it knew, sentence }
  const body = el("tbody");
  const search = el("input", {
    type: "search",
    placeholder: "Search: words, tag:good, state:running",
    "aria-label": "Search runs",
  });
  const order = el(
    "select",
    { "aria-label": "Order" },
    Object.entries(ORDERS).map(([value, [text]]) => el("option", { value }, text)),
  );
  const status = el("span", { class: "note", role: "status" });
  const all = el("input", { type: "checkbox", "aria-label": "Choose all shown runs" });
  const heads = HEADS.map(([text, style]) => el("th", { scope: "col", class: style || null }, text || all));
  const table = el("table", { class: "plain runs" }, el("thead", {}, el("tr", {}, heads)), body);
  const actions = el("div", { class: "bar chosen", hidden: true });
  const node = el(
    "div",
    {},
    el("header", { class: "title" }, el("h1", {}, "Runs")),
    el(
      "section",
      { class: "card", "aria-label": "Runs" },
      el("div", { class: "bar" }, search, order, status),
      actions,
      el("div", { class: "scroll" }, table),
    ),
  );
  let runs = [];
  let drawn = "";

  const names = () => runs.map((run) => run.name).filter((name) => chosen.has(name));
  const choose = (some, on) => {
    for (const name of some) chosen[on ? "add" : "delete"](name);
    act();
  };
  const done = async (work) => {
    try {
      await work();
      status.textContent = "";
      await refresh();
    } catch (error) {
      status.textContent = `Not done: ${visible(error.message)}`;
    }
    act();
  };
  const act = () => drawActions(actions, names(), { done, forget: () => chosen.clear() });

  const shown = () => {
    const words = search.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
    return runs.filter((run) => words.every((word) => fits(run, word))).sort(ORDERS[order.value][1]);
  };
  const show = () => {
    const fitting = shown();
    const some = fitting.length === runs.length ? "" : `${fitting.length} of `;
    if (!status.textContent.startsWith("Not done")) status.textContent = some + plural(runs.length, "run");
    const focused = document.activeElement?.dataset?.key;
    const rows = [];
    for (const entry of grouped(fitting)) {
      if (rows.length > MOST_SHOWN) break;
      if (!entry.runs) rows.push(runRow(entry, { chosen, choose, show, search }));
      else rows.push(...comparisonRows(entry, { chosen, choose, show, search, unfolded, verdicts }));
    }
    fill(body, rows);
    if (!runs.length) fill(body, el("tr", {}, el("td", { colSpan: HEADS.length, class: "note" }, "No runs yet.")));
    if (focused) body.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
  };
  const refresh = async () => {
    if (document.hidden) return;
    const answer = await ask("runs").catch((error) => ({ error }));
    if (answer.error) return void (status.textContent = `No answer: ${answer.error.message}`);
    const key = JSON.stringify(answer.runs);
    if (key === drawn) return;
    [runs, drawn] = [answer.runs, key];
    show();
  };
  all.addEventListener("change", () => {
    choose(
      shown().map((run) => run.name),
      all.checked,
    );
    show();
  });
  search.addEventListener("input", show);
  order.addEventListener("change", show);
  setInterval(refresh, EVERY_MS);
  return { node, ready: refresh() };
}

function fits(run, word) {
  const [kind, rest] = word.split(/:(.*)/s);
  if (kind === "tag" && rest) return run.tags.some((tag) => tag.toLowerCase() === rest);
  if (kind === "state" && rest) return run.state === rest;
  return [run.name, run.task, run.model, ...run.tags].some((text) => text.toLowerCase().includes(word));
}

// A comparison stands where the first of its runs would.
function grouped(runs) {
  const entries = [];
  const groups = new Map();
  for (const run of runs) {
    if (!run.comparison) entries.push(run);
    else if (groups.has(run.comparison)) groups.get(run.comparison).runs.push(run);
    else {
      const group = { name: run.comparison, runs: [run] };
      groups.set(run.comparison, group);
      entries.push(group);
    }
  }
  return entries;
}

function drawActions(bar, names, { done, forget }) {
  bar.hidden = names.length === 0;
  if (bar.hidden) return;
  const button = (text, act, style = "plain") =>
    el("button", { type: "button", class: style, on: { click: act } }, text);
  const usual = () => drawActions(bar, names, { done, forget });
  const form = (label, text, act, value = "") => {
    const input = el("input", { type: "text", "aria-label": label, placeholder: label, value, maxlength: 200 });
    const whole = el("form", { class: "bar" }, input, el("button", { class: "plain" }, text), button("Cancel", usual));
    whole.addEventListener("submit", (event) => {
      event.preventDefault();
      done(() => act(input.value.trim()));
    });
    fill(bar, whole);
    input.focus();
  };
  const tag = (text) => each(names, (name) => changeTags(name, text.split(/[\s,]+/).filter(Boolean)));
  const sure = () => {
    const remove = button("Delete", () =>
      done(async () => {
        await each(names, (name) => manage(name, "delete"));
        forget();
      }),
    );
    fill(bar, el("span", {}, `Delete ${plural(names.length, "run")} for good?`), remove, button("No", usual));
    remove.focus();
  };
  const rename = async (text) => {
    await manage(names[0], "rename", text);
    forget();
  };
  const compared = within(
    "/compare",
    names.map((one) => ["run", one]),
  );
  fill(
    bar,
    el("span", {}, `${plural(names.length, "run")} chosen`),
    names.length > 1 && names.length <= MOST_COMPARED
      ? el("a", { class: "button", href: compared }, `Compare ${plural(names.length, "run")}`)
      : null,
    hasToken()
      ? [
          button("Tag …", () => form("Tags; -word takes one away", "Tag", tag)),
          names.length === 1 ? button("Rename …", () => form("New name", "Rename", rename, names[0])) : null,
          button("Delete …", sure),
        ]
      : el("span", { class: "note" }, "To tag, rename or delete, open the address that llm-optimize view printed."),
  );
}

async function each(names, act) {
  for (const name of names) await act(name);
}

async function changeTags(name, words) {
  const gone = words.filter((word) => word.startsWith("-")).map((word) => word.slice(1));
  const added = words.filter((word) => !word.startsWith("-"));
  if (added.length) await manage(name, "tag", added.join(" "));
  if (gone.length) await manage(name, "untag", gone.join(" "));
}

// Rows.

const cell = (content, style) => el("td", { class: style || null }, content);

function box(names, key, label, { chosen, choose, show }) {
  const input = el("input", {
    type: "checkbox",
    "aria-label": label,
    "data-key": `box ${key}`,
    checked: names.every((name) => chosen.has(name)),
  });
  input.addEventListener("change", () => {
    choose(names, input.checked);
    show();
  });
  return input;
}

function stateCell(word, text) {
  const style = { running: "live", paused: "paused", dead: "broken" }[word] ?? "ended";
  const failed = /\(error/.test(text);
  return cell(el("span", { class: `status ${failed ? "broken" : style}`, title: visible(text) }, visible(text)), "state");
}

function progressCell(share, text, left) {
  const meter = el("span", { class: "meter" });
  meter.style.width = `${Math.round(100 * Math.min(1, share ?? 0))}%`;
  return cell(
    [
      share === null ? null : el("span", { class: "meters bars" }, meter),
      el("span", { class: "note" }, [text, left].filter(Boolean).join(" · ")),
    ],
    "wide progress",
  );
}

function tagList(tags, { search, show }) {
  return tags.map((tag) => {
    const button = el("button", { type: "button", class: "tag", "aria-label": `Search by the tag ${visible(tag)}` }, tag);
    button.addEventListener("click", () => {
      search.value = `tag:${tag}`;
      show();
    });
    return button;
  });
}

function runRow(run, context, child = false) {
  const origin = run.origin ? el("span", { class: "note" }, ` from ${visible(run.origin.run)}`) : null;
  const link = el(
    "a",
    { href: runPath(run.name), "data-key": `link ${run.name}` },
    visible(child ? run.contender : run.name),
  );
  const brief = [run.progress, run.left].filter(Boolean).join(" · ");
  return el(
    "tr",
    { "data-run": run.name, class: child ? "child" : null },
    cell(box([run.name], run.name, `Choose ${visible(run.name)}`, context)),
    el(
      "th",
      { scope: "row" },
      link,
      origin,
      tagList(run.tags, context),
      el("span", { class: "note narrow" }, brief),
    ),
    stateCell(run.state, run.state_words),
    cell(run.best === null ? "–" : plainNumber(run.best, 6), "num"),
    progressCell(run.share, run.progress, run.left),
    cell(el("span", { title: moment(run.begun_at) }, ago(run.begun_at)), "wide"),
    cell(visible(run.model), "wider"),
    cell(visible(run.task), "grow wider"),
  );
}

function comparisonRows(group, context) {
  const { name, runs } = group;
  const { unfolded, verdicts, show } = context;
  const open = unfolded.has(name);
  const word = STATES.find((state) => runs.some((run) => run.state === state));
  const ended = runs.filter((run) => run.state === "finished").length;
  const first = [...runs].sort(byBest)[0];
  const toggle = el(
    "button",
    { type: "button", class: "fold", "aria-expanded": String(open), "data-key": `fold ${name}` },
    `${open ? "▾" : "▸"} ${visible(name)}`,
  );
  toggle.addEventListener("click", () => {
    unfolded[open ? "delete" : "add"](name);
    show();
  });
  const shared = runs[0].tags.filter((tag) => runs.every((run) => run.tags.includes(tag)));
  const text = `${ended} of ${plural(runs.length, "run")} finished`;
  const verdict = sentence(group, verdicts, show);
  const row = el(
    "tr",
    { "data-comparison": name },
    cell(
      box(
        runs.map((run) => run.name),
        name,
        `Choose all runs of ${visible(name)}`,
        context,
      ),
    ),
    el(
      "th",
      { scope: "row" },
      toggle,
      tagList(shared, context),
      el("span", { class: "note narrow" }, text),
      verdict ? el("span", { class: "note verdict" }, visible(verdict)) : null,
    ),
    stateCell(word, word),
    cell(first.best === null ? "–" : plainNumber(first.best, 6), "num"),
    progressCell(ended / runs.length, text, ""),
    cell(el("span", { title: moment(first.begun_at) }, ago(Math.min(...runs.map((run) => run.begun_at)))), "wide"),
    cell(
      visible([...new Set(runs.map((run) => run.contender.replace(/\/[^/]*$/, "")))].join(", ")),
      "wider",
    ),
    cell(visible(runs[0].task), "grow wider"),
  );
  const children = [...runs].sort(ORDERS.name[1]).map((run) => runRow(run, context, true));
  return open ? [row, ...children] : [row];
}

// The server reads all trials of a comparison for it, so it is asked once for each state of the runs.
function sentence({ name, runs }, verdicts, show) {
  const of = runs.map((run) => run.stop_reason ?? "").join();
  const known = verdicts.get(name);
  if (known?.of !== of) {
    verdicts.set(name, { of, sentence: known?.sentence ?? "" });
    ask("verdict", [["run", name]])
      .then((answer) => {
        verdicts.set(name, { of, sentence: answer.sentence });
        show();
      })
      .catch(() => verdicts.delete(name));
  }
  return verdicts.get(name).sentence;
}
