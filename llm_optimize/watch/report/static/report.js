// A report of one run: all its data is in the file.

import { el } from "./dom.js";
import { Facts } from "./facts.js";
import { moment, plural } from "./format.js";
import { plotFrom } from "./plot.js";
import { RunView } from "./run.js";
import { embeddedPlotly, inside, unpackedJson } from "./unpack.js";

class Embedded {
  constructor(raw) {
    this.raw = raw;
    this.blocks = new Map();
  }

  block(id) {
    if (!this.blocks.has(id)) this.blocks.set(id, unpackedJson(id));
    return this.blocks.get(id);
  }

  async trial(number) {
    const block = this.raw.texts[number];
    return block === undefined ? null : (await this.block(`texts-${block}`))[number];
  }

  async search(query) {
    const found = new Set();
    for (const block of new Set(Object.values(this.raw.texts))) {
      for (const [number, trial] of Object.entries(await this.block(`texts-${block}`))) {
        const texts = [...trial.parts.map((part) => part.text), trial.feedback, trial.output, trial.lesson];
        if (texts.some((text) => text.toLowerCase().includes(query))) found.add(Number(number));
      }
    }
    return found;
  }

  async story() {
    return this.raw.story;
  }

  async baselines() {
    return this.raw.baselines;
  }

  async parameters() {
    return this.raw.parameters;
  }
}

async function begin() {
  const main = document.getElementById("app");
  plotFrom(embeddedPlotly);
  const raw = await unpackedJson("facts");
  const view = new RunView(new Facts(raw), new Embedded(raw));
  const clipped = raw.run.clipped_chars
    ? ` Texts longer than ${plural(raw.run.clipped_chars, "character")} are clipped in this file; the store has all of them.`
    : "";
  const foot = el(
    "footer",
    { class: "note" },
    `Written ${moment(raw.run.written_at)} by llm-optimize ${raw.run.versions.llm_optimize}.${clipped}`,
  );
  inside(main, el("div", {}, view.node, foot));
  view.openFromAddress();
}

begin();
