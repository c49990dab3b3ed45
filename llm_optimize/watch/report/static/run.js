// The whole page of one run: the same for the report and for the live page.

import { el, fill, visible } from "./dom.js";
import { plural } from "./format.js";
import { parameterSection } from "./parameters.js";
import { progress } from "./progress.js";
import { championStory, failures, headline, settings, spend } from "./sections.js";
import { TrialTable } from "./table.js";
import { lineage } from "./tree.js";
import { TrialPanel } from "./trial.js";

export class RunView {
  constructor(facts, source, extra = []) {
    this.facts = facts;
    const context = { facts, source, open: (number) => this.panel.open(number) };
    this.panel = new TrialPanel(context);
    this.table = new TrialTable(context);
    this.parts = [
      headline(context),
      progress(context),
      this.table,
      lineage(context),
      championStory(context),
      failures(context),
      spend(context),
    ];
    if (facts.run.settings.space) this.parts.splice(2, 0, parameterSection(context));
    this.parts.push(settings(context));
    this.status = el("span", { class: "status" });
    this.announcement = el("p", { class: "unseen", role: "status", "aria-live": "polite" });
    const sections = this.parts.slice(1).map((part) => part.node);
    this.node = el(
      "div",
      { class: "run" },
      title(facts, this.status),
      extra,
      this.parts[0].node,
      contents(sections),
      sections,
      this.announcement,
      this.panel.node,
    );
    this.showStatus();
    addEventListener("hashchange", () => this.openFromAddress());
  }

  showStatus() {
    const reason = this.facts.state.stop_reason;
    const flying = this.facts.state.begun.length;
    this.status.className = `status ${reason === null ? "live" : reason.startsWith("error") ? "broken" : "ended"}`;
    fill(
      this.status,
      reason === null
        ? `not ended${flying ? ` · ${plural(flying, "trial")} in flight` : ""}`
        : `ended: ${visible(reason)}`,
    );
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
  return el(
    "nav",
    { class: "contents", "aria-label": "Parts of this page" },
    sections.map((node) =>
      el("a", { href: `#${node.id}`, on: { click: (event) => go(event, node) } }, node.querySelector("h2").textContent),
    ),
  );
}

// The address keeps the trial that is open, and nothing else.
function go(event, node) {
  event.preventDefault();
  node.scrollIntoView({ behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
}
