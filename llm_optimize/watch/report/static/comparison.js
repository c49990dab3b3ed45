// A report of a comparison: several runs side by side.

import { el, visible } from "./dom.js";
import { compareSection } from "./compare.js";
import { plural } from "./format.js";
import { plotFrom } from "./plot.js";
import { embeddedPlotly, inside, unpackedJson } from "./unpack.js";
import { anchorOf, runsSection } from "./verdict.js";

async function begin() {
  const main = document.getElementById("app");
  plotFrom(embeddedPlotly);
  const facts = await unpackedJson("facts");
  const { name, runs } = facts;
  const { node, show, verdict } = compareSection(facts, (run) => `#${encodeURIComponent(anchorOf(run))}`);
  const task = runs[0]?.settings.task?.description ?? "";
  const head = el(
    "header",
    { class: "title" },
    el(
      "div",
      { class: "name" },
      el("h1", {}, visible(name)),
      el("span", { class: "status" }, plural(runs.length, "run")),
    ),
    el("p", { class: "task" }, visible(task)),
  );
  inside(main, el("div", { class: "run" }, head, verdict, node, runsSection(runs)));
  addEventListener("hashchange", openRun);
  openRun();
  show();
}

// A link to a run opens what is folded there.
function openRun() {
  const run = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (run) run.open = true;
}

begin();
