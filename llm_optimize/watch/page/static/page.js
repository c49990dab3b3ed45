// The page that the server shows: the list of runs, one run, or several in one chart.

import { compareSection } from "../../report/static/compare.js";
import { el, fill, visible } from "../../report/static/dom.js";
import { Facts } from "../../report/static/facts.js";
import { plural } from "../../report/static/format.js";
import { beginPlotly, plotFrom } from "../../report/static/plot.js";
import { RunView } from "../../report/static/run.js";
import { Served, ask, runPath, within } from "./api.js";
import { runList } from "./runs.js";
import { steering } from "./steering.js";

const main = document.getElementById("app");

function servedPlotly() {
  return new Promise((done, failed) => {
    const script = el("script", { src: main.dataset.plotly });
    script.addEventListener("load", () => done(window.Plotly));
    script.addEventListener("error", () => failed(new Error("plotly could not be loaded")));
    document.head.append(script);
  });
}

function crumbs() {
  return el("nav", { class: "crumbs", "aria-label": "Where you are" }, el("a", { href: within("/") }, "All runs"));
}

async function showRun(name) {
  document.title = `${visible(name)} · llm-optimize`;
  beginPlotly();
  const raw = await ask("facts", [["run", name]]);
  const facts = new Facts(raw);
  const source = new Served(name);
  const controls = steering({ facts, source });
  const lost = el(
    "p",
    { class: "problem", role: "status", hidden: true },
    "The server does not answer; this page goes on as soon as it does.",
  );
  const view = new RunView(facts, source, [lost, controls.node]);
  fill(main, crumbs(), view.node);
  view.openFromAddress();
  const take = (news) => {
    if (!facts.differ(news)) return;
    view.update(facts.add(news));
    controls.update();
  };
  source.follow(raw.cursor, take, (there) => (lost.hidden = there));
}

async function showComparison(names) {
  document.title = "Comparison · llm-optimize";
  beginPlotly();
  const found = await ask(
    "curves",
    names.map((name) => ["run", name]),
  );
  const { runs } = found;
  const { node, show, verdict } = compareSection(found, runPath);
  const head = el("header", { class: "title" }, el("h1", {}, plural(runs.length, "run")));
  fill(main, crumbs(), head, verdict, node);
  show();
}

async function showRuns() {
  const { node, ready } = runList();
  await ready;
  fill(main, node);
}

async function begin() {
  plotFrom(servedPlotly);
  const run = /^\/run\/(.+)$/.exec(location.pathname);
  const compared = new URLSearchParams(location.search).getAll("run");
  try {
    if (run) await showRun(run[1].split("/").map(decodeURIComponent).join("/"));
    else if (location.pathname === "/compare") await showComparison(compared);
    else await showRuns();
  } catch (error) {
    fill(main, crumbs(), el("p", { class: "problem" }, visible(error.message)));
  }
  main.setAttribute("aria-busy", "false");
}

begin();
