// What the page asks of its server.

const AGAIN_MS = 10_000;
const KEY = "llm-optimize-token";
const given = new URLSearchParams(location.search).get("token");
const kept = keep();
const token = given ?? (kept ? sessionStorage.getItem(KEY) : "") ?? "";

// The token leaves the address bar, where it would be seen, copied and remembered, and stays with this tab: unlike a
// cookie, the storage of a tab is not sent to other ports of this machine. Without storage it stays in the address.
function keep() {
  try {
    if (given) sessionStorage.setItem(KEY, given);
    else sessionStorage.getItem(KEY);
  } catch {
    return false;
  }
  if (given !== null) {
    const address = new URL(location.href);
    address.searchParams.delete("token");
    history.replaceState(history.state, "", address);
  }
  return true;
}

export function hasToken() {
  return token !== "";
}

// Addresses within the page hold the token only where the tab cannot keep it.
export function within(path, query = []) {
  return withQuery(path, [...query, ...(token && !kept ? [["token", token]] : [])]);
}

function withQuery(path, query) {
  const all = new URLSearchParams(query).toString();
  return all ? `${path}?${all}` : path;
}

export function runPath(name) {
  return within(`/run/${name.split("/").map(encodeURIComponent).join("/")}`);
}

export async function ask(what, query = []) {
  const headers = token ? { "x-llm-optimize-token": token } : {};
  return read(await fetch(withQuery(`/api/${what}`, query), { cache: "no-store", headers }));
}

export async function send(what, query, body) {
  const headers = { "content-type": "application/json", "x-llm-optimize-token": token };
  const path = `/api/${what}?${new URLSearchParams(query)}`;
  return read(await fetch(path, { method: "POST", headers, body: JSON.stringify(body) }));
}

async function read(response) {
  const value = await response.json().catch(() => ({ error: `the server answered ${response.status}` }));
  if (!response.ok) throw new Error(value.error ?? `the server answered ${response.status}`);
  return value;
}

export function manage(name, kind, text = "") {
  return send("manage", [["run", name]], { kind, text });
}

export class Served {
  constructor(name) {
    this.name = name;
    this.trials = new Map();
  }

  // The last few are kept: a trial is looked at beside its parent.
  trial(number) {
    if (!this.trials.has(number)) {
      if (this.trials.size > 40) this.trials.delete(this.trials.keys().next().value);
      const asked = ask("trial", [
        ["run", this.name],
        ["number", number],
      ]).catch(() => {
        this.trials.delete(number);
        return null;
      });
      this.trials.set(number, asked);
    }
    return this.trials.get(number);
  }

  async search(query) {
    return new Set(
      await ask("search", [
        ["run", this.name],
        ["q", query],
      ]),
    );
  }

  story() {
    return ask("story", [["run", this.name]]);
  }

  baselines() {
    return ask("baselines", [["run", this.name]]).catch(() => []);
  }

  parameters() {
    return ask("parameters", [["run", this.name]]);
  }

  steer(kind, text = "") {
    return send("steer", [["run", this.name]], { kind, text });
  }

  // Call `take` with what is new, from a cursor on; `notify` with whether the server answers.
  follow(cursor, take, notify) {
    let stream;
    let at = cursor;
    const open = () => {
      const query = [
        ["run", this.name],
        ["after", at],
        ...(token ? [["token", token]] : []), // an event source sends no headers
      ];
      stream = new EventSource(withQuery("/api/live", query));
      stream.addEventListener("message", (event) => {
        at = event.lastEventId || at;
        take(JSON.parse(event.data));
      });
      stream.addEventListener("open", () => notify(true));
      stream.addEventListener("error", () => {
        notify(false);
        if (stream.readyState === EventSource.CLOSED) setTimeout(open, AGAIN_MS); // refused: too many are open
      });
    };
    open();
    addEventListener("pagehide", () => stream.close());
  }
}
