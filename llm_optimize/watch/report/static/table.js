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
const MOST_PRINTED = 5000;
const BEFORE = [
  ["number", "Trial", "num", "5.2rem"],
  ["score", "Score", "num", "7.2rem"],
  ["change", "Change", "num", "6rem", "Difference from the score of its parent"],
  ["status", "Status", "", "6.4rem"],
];
const AFTER = [
  ["source", "Written by", "wide", "minmax(7rem, 11rem)"],
  ["seconds", "Time", "num wide", "5rem"],
  ["feedback", "Feedback", "grow", "minmax(8rem, 1fr)"],
];
const PARAMETER = "x."; // begins the key of a column of a parameter

// The columns, with one for each parameter of a run that has a space.
function columnsOf({ settings }) {
  const parameters = Object.entries(settings.space ?? {}).map(([name, { kind }]) => {
    const style = kind === "choice" ? "parameter" : "parameter num";
    return [PARAMETER + name, visible(name), style, "minmax(5.5rem, 7rem)", name];
  });
  return [...BEFORE, ...parameters, ...AFTER];
}

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
    this.columns = columnsOf(facts.run);
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
      { class: `table${facts.run.settings.space ? " with-parameters" : ""}`, role: "table", "aria-label": "Trials", tabIndex: 0 },
      el("div", { class: "whole", role: "presentation" }, el("div", { role: "rowgroup", class: "heads" }, this.head), this.body),
    );
    const widths = (columns) => columns.map(([, , , width]) => width).join(" ");
    this.scroller.style.setProperty("--columns", widths(this.columns));
    const narrow = this.columns.filter(([, , style]) => !style.includes("wide"));
    this.scroller.style.setProperty("--narrow", widths(narrow));
    this.scroller.addEventListener("scroll", () => requestAnimationFrame(() => this.paint()));
    this.scroller.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.paint()).observe(this.scroller);
    addEventListener("beforeprint", () => this.print(true));
    addEventListener("afterprint", () => this.print(false));
    this.paper = el("div", { class: "printed" });
    this.drawHead();
    this.node = section(
      "trials",
      "Trials",
      el("div", { class: "bar" }, this.search, this.filters(), this.shown),
      this.scroller,
      this.paper,
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
      this.columns.map(([name, title, style, , hint]) => {
        const sorted = this.sort === name ? (this.up ? "ascending" : "descending") : "none";
        const button = el(
          "button",
          { type: "button", title: hint },
          title,
          el("span", { class: "arrow", "aria-hidden": true }, sorted === "none" ? "" : this.up ? "↑" : "↓"),
        );
        button.addEventListener("click", () => this.sortBy(name));
        return el("div", { class: `cell ${style} ${kindOf(name)}`, role: "columnheader", "aria-sort": sorted }, button);
      }),
    );
  }

  sortBy(name) {
    const most = ["seconds", ...(this.facts.sign > 0 ? ["score", "change"] : [])];
    this.up = this.sort === name ? !this.up : !most.includes(name);
    this.sort = name;
    this.drawHead();
    this.update();
    this.scroller.scrollTop = 0;
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
    const { columns } = this.facts;
    const parameter = this.sort.startsWith(PARAMETER) ? this.sort.slice(PARAMETER.length) : null;
    const values = rows.map((row) => {
      if (parameter !== null) return columns.values[row]?.[parameter];
      return this.sort === "change" ? this.facts.change(row) : columns[this.sort][row];
    });
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

  // On paper all rows are there, not only those on screen, in a table whose head comes again on each page.
  print(is) {
    const rows = is ? this.order.slice(0, MOST_PRINTED) : [];
    const left = this.order.length - rows.length;
    const heads = this.columns.map(([, title, style]) => el("th", { class: style }, title));
    fill(
      this.paper,
      rows.length ? el("table", { class: "plain" }, el("thead", {}, el("tr", {}, heads)), el("tbody", {}, rows.map((row) => this.printedLine(row)))) : "",
      left > 0 ? el("p", { class: "note" }, `${plural(left, "trial")} more are not printed.`) : "",
    );
  }

  printedLine(row) {
    const cells = this.cells(row);
    return el("tr", {}, this.columns.map(([name, , style]) => el("td", { class: `${style} ${this.kindOf(name, row)}` }, cells[name])));
  }

  paint() {
    const from = Math.max(0, Math.floor(this.scroller.scrollTop / ROW) - SPARE);
    const to = Math.min(
      this.order.length,
      Math.ceil((this.scroller.scrollTop + this.scroller.clientHeight) / ROW) + SPARE,
    );
    if (this.painted === `${from}-${to}`) return;
    this.painted = `${from}-${to}`;
    fill(
      this.body,
      this.order.length ? [] : this.nothing(),
      this.order.slice(from, to).map((row, place) => this.line(row, from + place)),
    );
  }

  nothing() {
    return el("p", { class: "note empty" }, this.facts.length ? "No trial matches." : "No trial is finished yet.");
  }

  // What stands in each column.
  cells(row) {
    const { facts } = this;
    const one = facts.row(row);
    const change = facts.change(row);
    const cells = {
      number: [
        facts.best[row] === row ? el("span", { class: "star", title: "best so far when it was scored" }, "★ ") : null,
        String(one.number),
      ],
      score: [one.score === null ? "–" : plainNumber(one.score, this.digits)],
      change: [change === null ? "" : signed(change)],
      status: [el("span", { class: `chip ${one.status}` }, one.status)],
      source: [visible(one.source)],
      seconds: [duration(one.seconds)],
      feedback: [visible(one.feedback)],
    };
    for (const [name] of this.columns) if (name.startsWith(PARAMETER)) cells[name] = [parameterCell(one, name)];
    return cells;
  }

  kindOf(name, row) {
    const change = name === "change" ? this.facts.change(row) : null;
    return change ? `${kindOf(name)} ${this.facts.styleOf(change)}` : kindOf(name);
  }

  line(row, place) {
    const { facts } = this;
    const number = facts.columns.number[row];
    const cells = this.cells(row);
    const node = el(
      "div",
      {
        class: `row${facts.best[row] === row ? " champion" : ""}${row === facts.champion ? " top" : ""}`,
        role: "row",
        "aria-rowindex": place + 2,
        "data-trial": number,
        tabIndex: place === this.focus ? 0 : -1,
      },
      this.columns.map(([name, , style]) =>
        el("div", { class: `cell ${style} ${this.kindOf(name, row)}`, role: "cell" }, cells[name]),
      ),
    );
    node.style.transform = `translateY(${place * ROW}px)`;
    node.addEventListener("click", () => this.open(number));
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

// The style of a column; names of parameters are not ours.
function kindOf(name) {
  return name.startsWith(PARAMETER) ? "c-parameter" : `c-${name}`;
}

function parameterCell({ values }, name) {
  const value = values?.[name.slice(PARAMETER.length)];
  if (value === undefined || value === null) return "–";
  return typeof value === "number" ? plainNumber(value, 4) : visible(value);
}
