// The table of trials: sorted, searched, and only the rows on screen are in the page.

import { el, fill, section, visible } from "./dom.js";
import { digitsFor, duration, plainNumber, plural, signed } from "./format.js";

const ROW = 34; // px, as in the style sheet
const SPARE = 12; // rows above and below the screen
const KEPT = {
  all: () => true,
  scored: (f, row) => f.columns.score[row] !== null,
  best: (f, row) => f.best[row] === row,
  failed: (f, row) => f.columns.score[row] === null,
};
const COLUMNS = [
  ["number", "Trial", "num"],
  ["score", "Score", "num"],
  ["change", "Change", "num", "Difference to the score of its parent"],
  ["status", "Status", ""],
  ["source", "Written by", "wide"],
  ["seconds", "Time", "num wide"],
  ["feedback", "Feedback of f", "grow"],
];

export class TrialTable {
  constructor({ facts, source, open }) {
    Object.assign(this, {
      facts,
      source,
      open,
      sort: "number",
      up: true,
      kept: "all",
      query: "",
      found: null,
      focus: 0,
    });
    this.order = [];
    this.search = el("input", {
      type: "search",
      placeholder: "Search x, feedback, source …",
      "aria-label": "Search trials",
    });
    this.search.addEventListener("input", () => this.ask());
    this.shown = el("span", { class: "note", role: "status" });
    this.body = el("div", { class: "rows", role: "rowgroup" });
    this.head = el("div", { class: "row head", role: "row" });
    this.scroller = el(
      "div",
      { class: "table", role: "table", "aria-label": "Trials", tabIndex: 0 },
      el("div", { role: "rowgroup", class: "heads" }, this.head),
      this.body,
    );
    this.scroller.addEventListener("scroll", () => requestAnimationFrame(() => this.paint()));
    this.scroller.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.paint()).observe(this.scroller);
    this.drawHead();
    this.node = section(
      "trials",
      "Trials",
      el("div", { class: "bar" }, this.search, this.filters(), this.shown),
      this.scroller,
    );
    this.update();
  }

  filters() {
    const names = { all: "All", scored: "Scored", best: "Champions", failed: "Failed" };
    const select = el(
      "select",
      { "aria-label": "Which trials" },
      Object.entries(names).map(([value, name]) => el("option", { value }, name)),
    );
    select.addEventListener("change", () => {
      this.kept = select.value;
      this.update();
    });
    return select;
  }

  drawHead() {
    fill(
      this.head,
      COLUMNS.map(([name, title, style, hint]) => {
        const sorted = this.sort === name ? (this.up ? "ascending" : "descending") : "none";
        const button = el(
          "button",
          { type: "button", title: hint },
          title,
          el("span", { class: "arrow", "aria-hidden": true }, sorted === "none" ? "" : this.up ? "↑" : "↓"),
        );
        button.addEventListener("click", () => this.sortBy(name));
        return el("div", { class: `cell ${style} c-${name}`, role: "columnheader", "aria-sort": sorted }, button);
      }),
    );
  }

  sortBy(name) {
    this.up = this.sort === name ? !this.up : !this.bestFirst(name);
    this.sort = name;
    this.drawHead();
    this.update();
    this.scroller.scrollTop = 0;
  }

  // Whether the first click sorts from the highest down: the best scores stand first.
  bestFirst(name) {
    if (name === "seconds") return true;
    return ["score", "change"].includes(name) && this.facts.sign > 0;
  }

  // What is in the columns is found at once, the whole texts are asked for.
  async ask() {
    const query = (this.query = this.search.value.trim().toLowerCase());
    this.found = null;
    this.update();
    if (query.length < 2) return;
    await new Promise((done) => setTimeout(done, 250));
    if (query !== this.query) return;
    const found = await this.source.search(query);
    if (query !== this.query) return;
    this.found = found;
    this.update();
  }

  matches(row) {
    const { number, feedback, x, source, status, lesson } = this.facts.columns;
    if (this.found?.has(number[row])) return true;
    return [String(number[row]), feedback[row], x[row], source[row], status[row], lesson[row]].some((text) =>
      text.toLowerCase().includes(this.query),
    );
  }

  update() {
    const { facts } = this;
    const rows = [];
    for (let row = 0; row < facts.length; row++) {
      if (KEPT[this.kept](facts, row) && (!this.query || this.matches(row))) rows.push(row);
    }
    this.digits = digitsFor(facts.columns.score.filter((score) => score !== null));
    this.order = this.sorted(rows);
    this.shown.textContent =
      rows.length === facts.length
        ? plural(facts.length, "trial")
        : `${rows.length.toLocaleString("en")} of ${plural(facts.length, "trial")}`;
    this.scroller.setAttribute("aria-rowcount", rows.length + 1);
    this.body.style.height = `${rows.length * ROW}px`;
    this.painted = null;
    this.paint();
  }

  sorted(rows) {
    const values =
      this.sort === "change"
        ? rows.map((row) => this.facts.change(row))
        : rows.map((row) => this.facts.columns[this.sort][row]);
    const places = rows.map((_, place) => place);
    const missing = (value) => value === null || value === undefined || value === "";
    const turn = this.up ? 1 : -1;
    places.sort((a, b) => {
      const [one, other] = [values[a], values[b]];
      if (missing(one) || missing(other)) return missing(one) - missing(other) || a - b;
      return one === other ? a - b : one < other ? -turn : turn;
    });
    return places.map((place) => rows[place]);
  }

  paint() {
    const from = Math.max(0, Math.floor(this.scroller.scrollTop / ROW) - SPARE);
    const to = Math.min(
      this.order.length,
      Math.ceil((this.scroller.scrollTop + this.scroller.clientHeight) / ROW) + SPARE,
    );
    if (this.painted === `${from}-${to}`) return;
    this.painted = `${from}-${to}`;
    const empty = this.order.length
      ? []
      : [el("p", { class: "note empty" }, this.facts.length ? "No trial matches." : "No trial is finished yet.")];
    fill(
      this.body,
      empty,
      this.order.slice(from, to).map((row, place) => this.line(row, from + place)),
    );
  }

  line(row, place) {
    const { facts } = this;
    const one = facts.row(row);
    const change = facts.change(row);
    const champion = facts.best[row] === row;
    const score = one.score === null ? "–" : plainNumber(one.score, this.digits);
    const cells = {
      number: [
        champion ? el("span", { class: "star", title: "best so far when it was scored" }, "★ ") : null,
        String(one.number),
      ],
      score: [score],
      change: [change === null ? "" : signed(change)],
      status: [el("span", { class: `chip ${one.status}` }, one.status)],
      source: [visible(one.source)],
      seconds: [duration(one.seconds)],
      feedback: [visible(one.feedback)],
    };
    const node = el(
      "div",
      {
        class: `row${champion ? " champion" : ""}${row === facts.champion ? " top" : ""}`,
        role: "row",
        "aria-rowindex": place + 2,
        "data-trial": one.number,
        tabIndex: place === this.focus ? 0 : -1,
      },
      COLUMNS.map(([name, , style]) =>
        el(
          "div",
          {
            class: `cell ${style} c-${name}${name === "change" && change ? (facts.sign * change > 0 ? " up" : " down") : ""}`,
            role: "cell",
          },
          cells[name],
        ),
      ),
    );
    node.style.transform = `translateY(${place * ROW}px)`;
    node.addEventListener("click", () => this.open(one.number));
    return node;
  }

  key(event) {
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 12, PageUp: -12, Home: -Infinity, End: Infinity }[event.key];
    if (event.key === "Enter" && event.target.dataset.trial) {
      event.preventDefault(); // else it would press the button that gets the focus in the dialog
      return this.open(Number(event.target.dataset.trial));
    }
    if (step === undefined || event.target.closest(".heads") || !this.order.length) return undefined;
    event.preventDefault();
    const inside = event.target.dataset.trial !== undefined;
    this.focus = Math.min(this.order.length - 1, Math.max(0, inside ? this.focus + step : this.focus));
    const top = this.focus * ROW;
    const room = this.scroller.clientHeight - 2 * ROW;
    if (top < this.scroller.scrollTop) this.scroller.scrollTop = top;
    else if (top > this.scroller.scrollTop + room) this.scroller.scrollTop = top - room;
    this.painted = null;
    this.paint();
    this.body.querySelector('[tabindex="0"]')?.focus({ preventScroll: true });
    return undefined;
  }
}
