// Elements are made here and nowhere else. Text goes in as text nodes, never as markup.

const PROPERTIES = new Set(["value", "checked", "selected", "disabled", "hidden", "tabIndex", "open", "scope", "colSpan"]);
const NOT_SEEN = /(?![\n\t])[\p{C}\p{Zl}\p{Zp}]/gu;

export function el(tag, options = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(options)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "class") node.className = value;
    else if (name === "on") for (const [event, act] of Object.entries(value)) node.addEventListener(event, act);
    else if (PROPERTIES.has(name)) node[name] = value;
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

export function fill(node, ...children) {
  node.replaceChildren(
    ...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false),
  );
  return node;
}

// What cannot be seen, or turns the order of what can, is written as an escape, as the terminal's views do.
export function visible(text) {
  return String(text).replace(NOT_SEEN, escaped);
}

function escaped(char) {
  const code = char.codePointAt(0);
  if (char === "\r") return "\\r";
  if (code < 0x100) return "\\x" + code.toString(16).padStart(2, "0");
  return code < 0x10000 ? "\\u" + code.toString(16).padStart(4, "0") : "\\U" + code.toString(16).padStart(8, "0");
}

// A long text is shown up to `limit`, the rest on demand: one line of a megabyte stalls the layout of a page.
export function textBlock(text, { limit = 20000, label = "" } = {}) {
  const shown = text.length > limit ? text.slice(0, limit) : text;
  const pre = el("pre", { class: "text", tabIndex: 0, role: "region", "aria-label": label || null }, visible(shown));
  if (shown.length === text.length) return pre;
  const count = text.length.toLocaleString("en");
  const more = el("button", { type: "button", class: "quiet" }, `Show all ${count} characters`);
  more.addEventListener("click", () => {
    pre.textContent = visible(text);
    more.remove();
  });
  return el("div", {}, pre, more);
}

export function copyButton(text, label = "Copy") {
  const button = el("button", { type: "button", class: "quiet" }, label);
  button.addEventListener("click", async () => {
    button.textContent = (await copied(text)) ? "Copied" : "Not allowed here";
    setTimeout(() => (button.textContent = label), 1500);
  });
  return button;
}

async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}

// A choice of one among a few, as radio buttons that look like one bar.
let bars = 0;
export function choice(label, options, chosen, onChange) {
  const name = `choice-${++bars}`;
  const buttons = options.map(([value, text, off]) => {
    const input = el("input", { type: "radio", name, value, checked: value === chosen, disabled: Boolean(off) });
    input.addEventListener("change", () => onChange(value));
    return el("label", { title: off || null }, input, el("span", {}, text));
  });
  return el("div", { class: "choice", role: "radiogroup", "aria-label": label }, buttons);
}

export function section(id, title, ...children) {
  const heading = el("h2", { id: `${id}-title` }, title);
  return el("section", { id, class: "card", "aria-labelledby": `${id}-title` }, heading, children);
}

// A table of numbers: the first column names the row, the others are aligned to the right.
export function plainTable(heads, rows) {
  const head = heads.map((text, place) => el("th", { scope: "col", class: place ? "num" : null }, text));
  const body = rows.map(([name, ...numbers]) =>
    el(
      "tr",
      {},
      el("th", { scope: "row" }, name),
      numbers.map((cell) => el("td", { class: "num" }, cell)),
    ),
  );
  return el("table", { class: "plain" }, el("thead", {}, el("tr", {}, head)), el("tbody", {}, body));
}

// What is drawn when it comes near the screen, in the order of the page.
const unseen = [];

// Call `act` once the element comes near the screen, or `seeAll` is called.
export function whenSeen(node, act) {
  const waiting = { act: () => (unseen.splice(unseen.indexOf(waiting), 1), watch.disconnect(), act()) };
  const watch = new IntersectionObserver(
    (entries) => entries.some((entry) => entry.isIntersecting) && unseen.includes(waiting) && waiting.act(),
    { rootMargin: "300px" },
  );
  unseen.push(waiting);
  watch.observe(node);
}

// Draw what was not seen yet: at once, as for a printer, or bit by bit while the browser has nothing else to do.
export function seeAll() {
  while (unseen.length) unseen[0].act();
}

export function seeSlowly() {
  const idle = window.requestIdleCallback ?? ((act) => setTimeout(act, 50));
  idle(() => {
    if (!unseen.length) return;
    unseen[0].act();
    seeSlowly();
  });
}

// Act at once, and then at most every so many milliseconds; the last call is never lost.
export function throttled(act, everyMs) {
  let next = 0;
  let waiting = null;
  return () => {
    if (waiting !== null) return;
    const left = next - performance.now();
    const go = () => {
      waiting = null;
      next = performance.now() + everyMs;
      act();
    };
    if (left <= 0) go();
    else waiting = setTimeout(go, left);
  };
}
