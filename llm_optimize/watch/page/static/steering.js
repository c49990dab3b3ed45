// Pause, go on, stop, and a hint for the model.

import { el, fill } from "../../report/static/dom.js";
import { steer } from "../../report/static/sections.js";
import { hasToken } from "./api.js";

export function steering({ facts, source }) {
  const status = el("p", { class: "note", role: "status" });
  const buttons = el("div", { class: "bar" });
  const hint = el("input", {
    type: "text",
    "aria-label": "Hint for the model",
    placeholder: "A hint for the model, such as: do not change the loader",
    maxlength: 4000,
  });
  const form = el("form", { class: "bar hint" }, hint, el("button", { class: "plain" }, "Give hint"));
  const asked = el("ul", { class: "steers" });
  const node = el("section", { class: "card steering", "aria-label": "Steer this run" });
  const send = async (kind, text) => {
    try {
      await source.steer(kind, text);
      status.textContent = {
        hint: "The hint will be in the next prompt.",
        stop: "Asked to stop.",
        pause: "Asked to pause.",
        go: "Asked to go on.",
      }[kind];
      return true;
    } catch (error) {
      status.textContent = `Not done: ${error.message}`;
      return false;
    }
  };
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (hint.value.trim() && (await send("hint", hint.value))) hint.value = "";
  });
  const button = (text, act) => el("button", { type: "button", class: "plain", on: { click: act } }, text);
  const usual = () =>
    fill(
      buttons,
      paused(facts) ? button("Go on", () => send("go")) : button("Pause", () => send("pause")),
      button("Stop …", sure),
    );
  const sure = () => {
    const stop = button("Stop the run", () => send("stop").then(usual));
    fill(buttons, el("span", {}, "Stop this run? It can be resumed later."), stop, button("No", usual));
    stop.focus();
  };
  let shown = "";
  const update = () => {
    const { word, steers } = facts.state;
    node.hidden = word !== "running" && word !== "paused";
    const key = `${paused(facts)} ${steers.length}`;
    if (node.hidden || key === shown) return;
    shown = key;
    usual();
    fill(asked, steers.slice(-5).map(steer));
  };
  fill(
    node,
    hasToken()
      ? [buttons, form, status, asked]
      : el(
          "p",
          { class: "note" },
          "To pause or stop this run, or to give a hint, open the address with the token that llm-optimize view printed.",
        ),
  );
  update();
  return { node, update };
}

function paused(facts) {
  return facts.state.word === "paused";
}
