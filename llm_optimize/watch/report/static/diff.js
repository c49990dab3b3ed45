// Two texts beside or below each other, with the colours of their syntax and the changed words marked.

import { choice, el, visible } from "./dom.js";

const AROUND = 3; // unchanged lines shown around a change
const MOST = 4000; // lines of a difference that are drawn at once

let manner = "unified";

// `change` holds for each part's name the steps from the old text to the new one; `others` stand in the same bar.
export function diffView(oldParts, newParts, change, label, ...others) {
  const body = el("div", { class: "diffs" });
  const show = () => body.replaceChildren(...files(oldParts, newParts, change, label));
  const bar = choice(
    "How to show the difference",
    [
      ["unified", "Unified"],
      ["split", "Side by side"],
    ],
    manner,
    (value) => {
      manner = value;
      show();
    },
  );
  show();
  return el("div", { class: "diff-view" }, el("div", { class: "bar" }, others, bar), body);
}

function files(oldParts, newParts, change, label) {
  const changed = Object.entries(change).filter(([, steps]) => steps.some(([sign]) => sign !== "="));
  if (!changed.length) return [el("p", { class: "note" }, "The two are equal.")];
  return changed.map(([name, steps]) => {
    const [old, fresh] = [textLines(partOf(oldParts, name)), textLines(partOf(newParts, name))];
    const lines = listed(steps, old, fresh);
    const title = name ? el("h4", {}, visible(name)) : null;
    const table = manner === "unified" ? unified(lines) : split(lines);
    table.setAttribute("aria-label", `${label}${name ? `: ${name}` : ""}`);
    return el("div", { class: "diff-file" }, title, el("div", { class: "diff-scroll", tabIndex: 0 }, table));
  });
}

function partOf(parts, name) {
  return parts.find((part) => part.name === name) ?? { text: "", runs: "" };
}

function textLines({ text, runs }) {
  const colours = runs ? runs.split("\n") : [];
  return text.split("\n").map((line, place) => ({ text: line, runs: colours[place] ?? "" }));
}

// Rows of a difference: unchanged, changed in pairs, or a gap.
function listed(steps, old, fresh) {
  const rows = [];
  steps.forEach(([sign, a, b, c, d], place) => {
    if (sign === "=") return rows.push(...unchanged(old, fresh, [a, b, c], place === 0, place === steps.length - 1));
    for (let at = 0; at < Math.max(b - a, d - c); at++) {
      const [one, other] = [a + at < b ? old[a + at] : null, c + at < d ? fresh[c + at] : null];
      rows.push({
        old: one,
        fresh: other,
        a: a + at,
        b: c + at,
        words: one && other ? middle(one.text, other.text) : null,
      });
    }
    return undefined;
  });
  return rows.length > MOST ? [...rows.slice(0, MOST), { gap: rows.length - MOST }] : rows;
}

function unchanged(old, fresh, [a, b, c], first, last) {
  const line = (at) => ({ same: true, old: old[at], fresh: fresh[c + at - a], a: at, b: c + at - a });
  const head = first ? 0 : AROUND;
  const tail = last ? 0 : AROUND;
  const size = b - a;
  if (size <= head + tail + 1) return Array.from({ length: size }, (_, at) => line(a + at));
  return [
    ...Array.from({ length: head }, (_, at) => line(a + at)),
    { gap: size - head - tail },
    ...Array.from({ length: tail }, (_, at) => line(b - tail + at)),
  ];
}

// Where two lines differ: from which character to how many before the end; null when they share little.
function middle(one, other) {
  const room = Math.min(one.length, other.length, 2000);
  let head = 0;
  while (head < room && one[head] === other[head]) head++;
  let tail = 0;
  while (tail < room - head && one[one.length - 1 - tail] === other[other.length - 1 - tail]) tail++;
  return head + tail >= 0.3 * Math.max(one.length, other.length) ? [head, tail] : null;
}

function gapRow(size, columns) {
  return el(
    "tr",
    { class: "gap" },
    el("td", { colSpan: columns }, `${size.toLocaleString("en")} ${size === 1 ? "line" : "lines"} not shown`),
  );
}

function unified(rows) {
  const body = el("tbody");
  let held = []; // added lines wait until the removed ones of their change are shown
  const release = () => {
    body.append(...held);
    held = [];
  };
  for (const row of rows) {
    if (row.gap || row.same) release();
    if (row.gap) body.append(gapRow(row.gap, 4));
    else if (row.same) body.append(unifiedLine(row.a, row.b, " ", row.fresh, null));
    else {
      if (row.old) body.append(unifiedLine(row.a, null, "−", row.old, row.words));
      if (row.fresh) held.push(unifiedLine(null, row.b, "+", row.fresh, row.words));
    }
  }
  release();
  return el("table", { class: "diff unified" }, body);
}

function unifiedLine(a, b, sign, line, words) {
  const kind = { "−": "gone", "+": "new", " ": "same" }[sign];
  return el(
    "tr",
    { class: kind },
    lineNumber(a),
    lineNumber(b),
    el("td", { class: "sign" }, sign),
    el("td", { class: "code" }, codeLine(line, words)),
  );
}

function lineNumber(at) {
  return el("td", { class: "line", "data-line": at === null ? "" : at + 1 });
}

function split(rows) {
  const body = el("tbody");
  for (const row of rows) {
    if (row.gap) body.append(gapRow(row.gap, 4));
    else
      body.append(
        el(
          "tr",
          {},
          half(row.old, row.a, row.same ? "same" : "gone", row.words),
          half(row.fresh, row.b, row.same ? "same" : "new", row.words),
        ),
      );
  }
  const columns = ["number", null, "number", null].map((style) => el("col", { class: style }));
  return el("table", { class: "diff split" }, el("colgroup", {}, columns), body);
}

function half(line, at, kind, words) {
  if (!line) return [lineNumber(null), el("td", { class: "code none" })];
  return [lineNumber(at), el("td", { class: `code ${kind}` }, codeLine(line, words))];
}

const MOST_IN_LINE = 3000;

// One line of a text: its runs of colour, cut where the changed words begin and end.
export function codeLine({ text, runs }, words = null) {
  const shown = text.length > MOST_IN_LINE ? text.slice(0, MOST_IN_LINE) : text;
  const [from, to] = words ? [words[0], text.length - words[1]] : [0, 0];
  const pieces = [];
  let at = 0;
  for (const [kind, end] of stretches(runs, text.length)) {
    for (const stop of [from, to, end].filter((place) => place > at && place <= end).sort((a, b) => a - b)) {
      if (stop <= at) continue;
      pieces.push(piece(shown.slice(at, stop), kind, at >= from && stop <= to));
      at = stop;
    }
  }
  if (shown.length < text.length)
    pieces.push(
      el(
        "span",
        { class: "cut" },
        ` … ${(text.length - shown.length).toLocaleString("en")} more characters in this line`,
      ),
    );
  return pieces;
}

function stretches(runs, length) {
  const found = [];
  let end = 0;
  for (const [, kind, size] of runs.matchAll(/([a-z.])(\d+)/g)) found.push([kind, (end += Number(size))]);
  if (end < length) found.push([".", length]);
  return found;
}

function piece(text, kind, changed) {
  if (!text) return null;
  const shown = visible(text);
  if (kind === "." && !changed) return document.createTextNode(shown);
  return el(changed ? "mark" : "span", { class: kind === "." ? null : `t-${kind}` }, shown);
}

// A whole text with line numbers and colours.
export function codeView(part, limit = 2000) {
  const all = textLines(part);
  const draw = (lines) =>
    el(
      "tbody",
      {},
      lines.map((line, at) => el("tr", {}, lineNumber(at), el("td", { class: "code" }, codeLine(line)))),
    );
  const table = el("table", { class: "diff whole" }, draw(all.slice(0, limit)));
  const scroll = el("div", { class: "diff-scroll", tabIndex: 0 }, table);
  if (all.length <= limit) return scroll;
  const more = el("button", { type: "button", class: "quiet" }, `Show all ${all.length.toLocaleString("en")} lines`);
  more.addEventListener("click", () => {
    table.replaceChildren(draw(all));
    more.remove();
  });
  return el("div", {}, scroll, more);
}
