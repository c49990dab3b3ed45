// The list of runs, the newest first; some of them can be chosen and compared.

import { el, fill, visible } from "../../report/static/dom.js";
import { ago, moment, plainNumber, plural } from "../../report/static/format.js";
import { ask, runPath, within } from "./api.js";

const EVERY_MS = 1000;
const MOST_COMPARED = 60; // as the server has it

export function runList() {
  const chosen = new Set();
  const body = el("tbody");
  const search = el("input", { type: "search", placeholder: "Search runs …", "aria-label": "Search runs" });
  const compare = el("a", { class: "button", href: "#", hidden: true });
  const status = el("span", { class: "note", role: "status" });
  const all = el("input", { type: "checkbox", "aria-label": "Compare all shown runs" });
  const heads = [
    ["", ""],
    ["Run", ""],
    ["State", ""],
    ["Trials", "num"],
    ["Best", "num"],
    ["Begun", "wide"],
    ["Model", "wide"],
    ["Task", "grow wide"],
  ];
  const table = el(
    "table",
    { class: "plain runs" },
    el(
      "thead",
      {},
      el(
        "tr",
        {},
        heads.map(([text, style]) => el("th", { scope: "col", class: style || null }, text || all)),
      ),
    ),
    body,
  );
  const node = el(
    "div",
    {},
    el("header", { class: "title" }, el("h1", {}, "Runs")),
    el(
      "section",
      { class: "card", "aria-label": "Runs" },
      el("div", { class: "bar" }, search, compare, status),
      el("div", { class: "scroll" }, table),
    ),
  );
  let runs = [];
  let drawn = "";
  const choose = (name, on) => {
    chosen[on ? "add" : "delete"](name);
    compare.hidden = chosen.size < 2;
    compare.textContent = `Compare ${plural(chosen.size, "run")}`;
    compare.href = within(
      "/compare",
      [...chosen].map((one) => ["run", one]),
    );
  };
  const shown = () => {
    const query = search.value.trim().toLowerCase();
    return runs
      .filter((run) => [run.name, run.task, run.model].some((text) => text.toLowerCase().includes(query)))
      .reverse();
  };
  const show = () => {
    const fitting = shown();
    status.textContent =
      fitting.length === runs.length
        ? plural(runs.length, "run")
        : `${fitting.length} of ${plural(runs.length, "run")}`;
    const focused = document.activeElement?.dataset?.key;
    fill(
      body,
      fitting.slice(0, 1000).map((run) => line(run, chosen, choose)),
    );
    if (!runs.length) fill(body, el("tr", {}, el("td", { colSpan: heads.length, class: "note" }, "No runs yet.")));
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
    for (const run of shown().slice(0, MOST_COMPARED)) choose(run.name, all.checked);
    show();
  });
  search.addEventListener("input", show);
  setInterval(refresh, EVERY_MS);
  return { node, ready: refresh() };
}

function line(run, chosen, choose) {
  const box = el("input", {
    type: "checkbox",
    "aria-label": `Compare ${visible(run.name)}`,
    "data-key": `box ${run.name}`,
    checked: chosen.has(run.name),
  });
  box.addEventListener("change", () => choose(run.name, box.checked));
  const reason = run.stop_reason;
  const style = reason === null ? "live" : reason.startsWith("error") ? "broken" : "ended";
  const origin = run.origin ? el("span", { class: "note" }, ` from ${visible(run.origin.run)}`) : null;
  const cell = (content, style) => el("td", { class: style || null }, content);
  return el(
    "tr",
    { "data-run": run.name },
    cell(box),
    el(
      "th",
      { scope: "row" },
      el("a", { href: runPath(run.name), "data-key": `link ${run.name}` }, visible(run.name)),
      origin,
    ),
    cell(
      el(
        "span",
        { class: `status ${style}`, title: reason },
        reason === null ? "not ended" : visible(reason.split(":")[0]),
      ),
    ),
    cell(run.trials.toLocaleString("en"), "num"),
    cell(run.best === null ? "–" : plainNumber(run.best, 6), "num"),
    cell(el("span", { title: moment(run.begun_at) }, ago(run.begun_at)), "wide"),
    cell(visible(run.model), "wide"),
    cell(visible(run.task), "grow wide"),
  );
}
