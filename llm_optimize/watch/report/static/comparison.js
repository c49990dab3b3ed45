// A report of a comparison: several runs side by side.

import { el, visible } from "./dom.js";
import { compareSection } from "./compare.js";
import { plural } from "./format.js";
import { plotFrom } from "./plot.js";
import { embeddedPlotly, inside, unpackedJson } from "./unpack.js";

async function begin() {
  const main = document.getElementById("app");
  plotFrom(embeddedPlotly);
  const { name, runs } = await unpackedJson("facts");
  const { node, show, verdict } = compareSection(runs);
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
  inside(main, el("div", { class: "run" }, head, verdict, node));
  show();
}

begin();
