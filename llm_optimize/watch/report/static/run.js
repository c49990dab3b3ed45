// The whole page of one run: the same for the report and for the live page.

import { bestX } from "./best.js";
import { el, fill, seeSlowly, visible } from "./dom.js";
import { duration, ending, plural } from "./format.js";
import { tradeOffs } from "./front.js";
import { parameterSection } from "./parameters.js";
import { progress } from "./progress.js";
import { championStory, failures, headline, spend } from "./sections.js";
import { settings } from "./settings.js";
import { TrialTable } from "./table.js";
import { lineage } from "./tree.js";
import { TrialPanel } from "./trial.js";

const AT_ONCE = 3000; // trials, above which only what is on screen is drawn

export class RunView {
  constructor(facts, source, extra = []) {
    this.facts = facts;
    const context = { facts, source, open: (number) => this.panel.open(number), story: storyOf(facts, source) };
    this.panel = new TrialPanel(context);
    this.table = new TrialTable(context);
    this.parts = [
      headline(context),
      progress(context),
      bestX(context),
      championStory(context),
      ...(facts.run.settings.space ? [parameterSection(context)] : []),
      tradeOffs(context),
      this.table,
      lineage(context),
      failures(context),
      spend(context),
      settings(context),
    ];
    this.status = el("span", { class: "status" });
    this.announcement = el("p", { class: "unseen", role: "status", "aria-live": "polite" });
    const sections = this.parts.slice(1).map((part) => part.node);
    this.contents = contents(sections);
    this.node = el(
      "div",
      { class: "run" },
      title(facts, this.status),
      extra,
      this.parts[0].node,
      this.contents.node,
      sections,
      this.announcement,
      this.panel.node,
    );
    this.showStatus();
    addEventListener("hashchange", () => this.openFromAddress());
    this.compareWithBaseline(source);
    if (facts.length <= AT_ONCE) seeSlowly();
  }

  async compareWithBaseline(source) {
    this.facts.baselines = await source.baselines();
    if (!this.facts.baselines.length) return;
    for (const part of this.parts.slice(0, 2)) part.update();
  }

  showStatus() {
    this.contents.update();
    const { word, stop_reason: reason, begun } = this.facts.state;
    const failed = word === "dead" || reason?.startsWith("error");
    this.status.className = `status ${failed ? "broken" : { running: "live", paused: "paused" }[word] ?? "ended"}`;
    const flying = begun.length ? ` · ${plural(begun.length, "trial")} in flight` : "";
    const words = {
      running: `running${flying}${timeLeft(this.facts)}`,
      paused: `paused${flying}`,
      dead: "dead: its process has ended; resume it to go on",
      finished: visible(ending(reason ?? "")),
    };
    fill(this.status, words[word], el("span", { class: "caps" }, usedOf(this.facts.state.caps)));
  }

  // Show what a live run brought.
  update({ from, to }) {
    const better = this.facts.champions.filter((row) => row >= from && row < to).at(-1);
    if (better !== undefined)
      this.announcement.textContent = `New best: ${this.facts.columns.score[better]} in trial ${this.facts.columns.number[better]}`;
    for (const part of this.parts) part.update();
    this.showStatus();
  }

  openFromAddress() {
    const found = /^#trial-(\d+)$/.exec(location.hash);
    if (found && this.facts.place.has(Number(found[1]))) this.panel.open(Number(found[1]));
  }
}

const PACE = 20; // the last trials, by whose pace the time left is estimated

// When the first cap is reached, at the pace of the last trials; empty while there is none.
function timeLeft({ columns, state, length }) {
  const { at } = columns;
  const count = Math.min(PACE, length - 1);
  if (count < 3) return "";
  const pace = (at.at(-1) - at.at(-1 - count)) / count; // seconds a trial
  const steady = state.caps.filter(({ name, used }) => name !== "stale steps" && used > 0);
  const trials = Math.min(...steady.map(({ used, cap }) => (length * (cap - used)) / used));
  return Number.isFinite(trials) && pace > 0 ? ` · about ${duration(Math.max(0, pace * trials))} left` : "";
}

function usedOf(caps) {
  return caps.length ? ` · ${caps.map(({ name, shown }) => `${shown} ${name}`).join(", ")}` : "";
}

// What the source knows of the champion's story is asked once for each champion.
function storyOf(facts, source) {
  let known = { champion: null, story: null };
  return () => {
    if (known.champion !== facts.champion) known = { champion: facts.champion, story: source.story() };
    return known.story;
  };
}

function title({ run }, status) {
  const words = run.settings.task?.description ?? "";
  const task = el("p", { class: "task" }, visible(words));
  const more = el("button", { type: "button", class: "quiet", "aria-expanded": "false" }, "Whole task");
  more.addEventListener("click", () => {
    const whole = task.classList.toggle("whole");
    more.setAttribute("aria-expanded", String(whole));
    more.textContent = whole ? "Less" : "Whole task";
  });
  return el(
    "header",
    { class: "title" },
    el("div", { class: "name" }, el("h1", {}, visible(run.name)), status),
    words ? task : null,
    words.length > 260 || words.split("\n").length > 3 ? more : null,
  );
}

function contents(sections) {
  const links = sections.map((node) => {
    const text = node.querySelector("h2").textContent;
    return [node, el("a", { href: `#${node.id}`, on: { click: (event) => go(event, node) } }, text)];
  });
  const update = () => links.forEach(([node, link]) => (link.hidden = node.hidden));
  return { node: el("nav", { class: "contents", "aria-label": "Parts of this page" }, links.map(([, link]) => link)), update };
}

// The address keeps the trial that is open, and nothing else.
function go(event, node) {
  event.preventDefault();
  node.scrollIntoView({ behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
}
