// The blocks of a report: gzip in base64, unpacked when they are asked for.

import { el } from "./dom.js";

export async function unpacked(id) {
  const block = document.getElementById(id);
  const packed = atob(block.textContent);
  const bytes = new Uint8Array(packed.length);
  for (let at = 0; at < packed.length; at++) bytes[at] = packed.charCodeAt(at);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}

export async function unpackedJson(id) {
  return JSON.parse(await unpacked(id));
}

// The policy of the page admits exactly this script, by its hash.
export async function embeddedPlotly() {
  const script = el("script", {}, await unpacked("plotly"));
  document.head.append(script);
  return window.Plotly;
}

export function inside(main, node) {
  main.replaceChildren(node);
  main.setAttribute("aria-busy", "false");
}
