// Numbers and times for reading.

export function plainNumber(value, digits = 4) {
  if (value === null || value === undefined) return "";
  if (!Number.isFinite(value)) return String(value);
  const text = (value || 0).toPrecision(digits);
  if (!text.includes("e")) return text.includes(".") ? text.replace(/\.?0+$/, "") : text;
  const size = Math.abs(value);
  if (size >= 1e-5 && size < 1e15) return String(Number(text));
  return text.replace(/\.?0+e/, "e");
}

// Enough digits to tell all values apart, from four to nine.
export function digitsFor(values) {
  const some = [...new Set(values)].slice(0, 4000);
  for (let digits = 4; digits < 9; digits++) {
    if (new Set(some.map((value) => plainNumber(value, digits))).size === some.length) return digits;
  }
  return 9;
}

export function count(value) {
  if (value < 100000) return value.toLocaleString("en");
  return value < 1e6 ? `${Math.round(value / 1000)} k` : `${plainNumber(value / 1e6, 3)} M`;
}

export function dollars(value) {
  if (value === null || value === undefined) return "unknown";
  if (value === 0) return "$0";
  return value < 0.01 ? `$${plainNumber(value, 2)}` : `$${value.toFixed(value < 1 ? 4 : 2)}`;
}

export function duration(seconds) {
  if (seconds < 0.0995) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 60) return `${seconds < 9.95 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${String(Math.floor(seconds % 60)).padStart(2, "0")} s`;
  if (minutes < 48 * 60) return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")} min`;
  return `${Math.round(minutes / 1440)} days`;
}

export function ago(at) {
  const seconds = Math.max(0, Date.now() / 1000 - at);
  if (seconds < 1.5) return "just now";
  return seconds < 90 || seconds > 5400
    ? `${duration(Math.round(seconds))} ago`
    : `${Math.round(seconds / 60)} min ago`;
}

export function moment(at) {
  return new Date(at * 1000).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
}

export function plural(number, word) {
  return `${number.toLocaleString("en")} ${word}${number === 1 ? "" : "s"}`;
}

// Signs around a change, with a real minus.
export function signed(value, digits = 3) {
  const text = plainNumber(Math.abs(value), digits);
  return value > 0 ? `+${text}` : value < 0 ? `−${text}` : "±0";
}

// Why a run ended, in words.
export function ending(reason) {
  const [kind, ...rest] = reason.split(": ");
  const detail = rest.join(": ");
  const words = {
    max_steps: "finished: all steps are done",
    budget: `finished: all ${detail} are used`,
    stop: `finished: ${detail}`,
    interrupted: "interrupted",
    closed: "closed before its end",
    forked: "a fork that has not gone on yet",
  };
  return words[kind] ?? reason;
}
