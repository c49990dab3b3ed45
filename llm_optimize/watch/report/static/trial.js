// One trial with all that is known of it, in a dialog at the side.

import { copyButton, el, fill, textBlock, visible } from "./dom.js";
import { codeView, diffView } from "./diff.js";
import { count, dollars, duration, moment, plainNumber, signed } from "./format.js";

export class TrialPanel {
  constructor({ facts, source }) {
    Object.assign(this, { facts, source, number: null });
    this.body = el("div", { class: "panel-body", tabIndex: -1, autofocus: true });
    this.title = el("h2", { id: "panel-title" });
    const button = (text, label, act) =>
      el("button", { type: "button", "aria-label": label, title: label, on: { click: act } }, text);
    this.before = button("‹", "Trial before", () => this.step(-1));
    this.after = button("›", "Trial after", () => this.step(1));
    const close = button("✕", "Close", () => this.node.close());
    const head = el("header", {}, this.title, el("div", { class: "buttons" }, this.before, this.after, close));
    this.node = el("dialog", { class: "panel", "aria-labelledby": "panel-title" }, head, this.body);
    this.node.addEventListener("close", () => this.closed());
    this.node.addEventListener("click", (event) => event.target === this.node && this.node.close());
    this.node.addEventListener("keydown", (event) => {
      if (event.target.closest("input, textarea, .diff-scroll, pre")) return;
      if (event.key === "ArrowLeft") this.step(-1);
      if (event.key === "ArrowRight") this.step(1);
    });
  }

  step(by) {
    const next = this.facts.beside(this.number, by);
    if (next !== null) this.open(next);
  }

  closed() {
    history.replaceState(null, "", location.pathname + location.search);
    this.number = null;
  }

  async open(number) {
    this.number = number;
    const one = this.facts.at(number);
    if (!one) return;
    history.replaceState(null, "", `${location.pathname}${location.search}#trial-${number}`);
    const row = this.facts.place.get(number);
    this.before.disabled = this.facts.beside(number, -1) === null;
    this.after.disabled = this.facts.beside(number, 1) === null;
    fill(this.title, `Trial ${number}`);
    fill(this.body, heading(this.facts, row), el("p", { class: "note" }, "Reading …"));
    if (!this.node.open) this.node.showModal();
    const [detail, parent] = await this.read(number, one.parent);
    if (this.number !== number) return;
    fill(
      this.body,
      heading(this.facts, row),
      detail === null
        ? el("p", { class: "note" }, "Its texts could not be read.")
        : content(detail, parent, one, (to) => this.open(to)),
    );
    this.body.scrollTop = 0;
    this.node.dataset.shows = number;
  }

  async read(number, parent) {
    const known = parent !== null && this.facts.place.has(parent);
    return Promise.all([this.source.trial(number), known ? this.source.trial(parent) : null]);
  }
}

function heading(facts, row) {
  const one = facts.row(row);
  const change = facts.change(row);
  const score = one.score === null ? null : el("strong", { class: "score" }, plainNumber(one.score, 8));
  const spread =
    one.error === null
      ? null
      : el("span", { class: "note" }, ` ± ${plainNumber(one.error, 2)} in ${one.scorings} scorings`);
  return el(
    "div",
    { class: "trial-head" },
    el(
      "div",
      {},
      score,
      spread,
      change === null
        ? null
        : el("span", { class: facts.styleOf(change) }, ` ${signed(change)} from trial ${one.parent}`),
    ),
    el(
      "div",
      { class: "chips" },
      el("span", { class: `chip ${one.status}` }, one.status),
      row === facts.champion
        ? el("span", { class: "chip best" }, "★ best")
        : facts.best[row] === row
          ? el("span", { class: "chip best" }, "★ best at its time")
          : null,
      one.stage ? el("span", { class: "chip" }, `stopped at ${visible(one.stage)}`) : null,
      el("span", { class: "note" }, visible(one.source)),
      el("span", { class: "note" }, `${duration(one.seconds)} to score`),
      one.at ? el("span", { class: "note" }, moment(one.at)) : null,
    ),
  );
}

function content(detail, parent, one, open) {
  const changed = detail.change && parent;
  return [
    detail.lesson ? block("Lesson", textBlock(detail.lesson, { label: "Lesson" })) : null,
    changed
      ? block(
          ["Change from ", jump(one.parent, open)],
          diffView(parent.parts, detail.parts, detail.change, `Change from trial ${one.parent}`),
        )
      : null,
    detail.feedback ? block("Feedback", textBlock(detail.feedback, { label: "Feedback" })) : null,
    detail.output ? block("Output", textBlock(detail.output, { label: "Output" })) : null,
    detail.parts.length
      ? folded("x", wholeX(detail.parts), !changed)
      : block("x", el("p", { class: "note" }, "No candidate could be read from the reply.")),
    detail.calls.map((call, place) =>
      folded(`Prompt and reply${detail.calls.length > 1 ? ` ${place + 1}` : ""}`, conversation(call), false),
    ),
    folded("Numbers", numbers(detail, one), false),
  ];
}

export function jump(number, open) {
  return el("button", { type: "button", class: "link", on: { click: () => open(number) } }, `trial ${number}`);
}

function block(title, ...inside) {
  return el("section", { class: "block" }, el("h3", {}, title), inside);
}

function folded(title, inside, open) {
  return el("details", { class: "block", open }, el("summary", {}, title), inside);
}

export function wholeX(parts) {
  return parts.map((part) =>
    el(
      "div",
      { class: "x-part", "data-part": part.name },
      el("div", { class: "bar" }, part.name ? el("h4", {}, visible(part.name)) : null, copyButton(part.text)),
      codeView(part),
    ),
  );
}

function conversation(call) {
  const { reply } = call;
  const facts = [visible(reply?.model ?? call.model), moment(call.sent_at)];
  if (reply)
    facts.push(
      duration(reply.seconds),
      `${count(reply.usage.prompt_tokens)} + ${count(reply.usage.completion_tokens)} tokens`,
      dollars(call.cost),
      visible(reply.finish_reason),
    );
  return el(
    "div",
    {},
    el("p", { class: "note" }, facts.join(" · ")),
    call.messages.map((message) => messageBlock(message.role, message.content)),
    reply?.reasoning ? messageBlock("thinking", reply.reasoning) : null,
    reply
      ? messageBlock("reply", reply.text)
      : el(
          "p",
          { class: "problem" },
          call.error ? visible(call.error) : "No answer arrived; the call may have been billed.",
        ),
  );
}

function messageBlock(role, text) {
  return el(
    "div",
    { class: `message ${["system", "user", "assistant", "reply", "thinking"].includes(role) ? role : ""}` },
    el("div", { class: "bar" }, el("h4", {}, visible(role)), copyButton(text)),
    textBlock(text, { label: role }),
  );
}

function numbers(detail, one) {
  const { usage } = detail;
  const rows = {
    scorings: detail.scorings,
    "seed of f": detail.seed,
    "model calls": usage.calls,
    "tokens in": usage.prompt_tokens && `${count(usage.prompt_tokens)}, of them ${count(usage.cached_tokens)} cached`,
    "tokens out":
      usage.completion_tokens && `${count(usage.completion_tokens)}, of them ${count(usage.reasoning_tokens)} thinking`,
    cost: usage.calls ? dollars(usage.cost_usd) : null,
    "stopped at stage": one.stage,
    ...detail.metrics,
  };
  return [
    factTable(rows),
    ...[
      ["Decision", detail.decision],
      ["Instances", detail.instances],
    ].map(([title, values]) => (Object.keys(values).length ? [el("h4", {}, title), factTable(values)] : null)),
  ];
}

// Names and values, nested ones below each other; empty ones are left out.
export function factTable(values) {
  const rows = Object.entries(values).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return el(
    "dl",
    { class: "facts" },
    rows.map(([name, value]) => [el("dt", {}, visible(name)), el("dd", {}, factValue(value))]),
  );
}

function listed(values) {
  return values.length > 3 ? values.map((one) => el("div", {}, visible(one))) : visible(values.join(", "));
}

function factValue(value) {
  if (Array.isArray(value) ? value.length : value && typeof value === "object" && Object.keys(value).length) {
    if (Array.isArray(value) && value.every((one) => typeof one !== "object"))
      return value.some((one) => String(one).length > 80) ? value.map((one) => textBlock(String(one))) : listed(value);
    return factTable(value);
  }
  if (typeof value === "number") return plainNumber(value, 8);
  if (typeof value === "object") return "–";
  return String(value).length > 200 || String(value).includes("\n") ? textBlock(String(value)) : visible(value);
}
