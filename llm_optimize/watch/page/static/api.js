// What the page asks of its server.

const token = new URLSearchParams(location.search).get("token") ?? "";

export function hasToken() {
  return token !== "";
}

// Addresses within the page keep the token, so that a link or a reload loses nothing.
export function within(path, query = []) {
  const all = new URLSearchParams([...query, ...(token ? [["token", token]] : [])]).toString();
  return all ? `${path}?${all}` : path;
}

export function runPath(name) {
  return within(`/run/${name.split("/").map(encodeURIComponent).join("/")}`);
}

export async function ask(what, query = []) {
  return read(await fetch(within(`/api/${what}`, query), { cache: "no-store" }));
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

  parameters() {
    return ask("parameters", [["run", this.name]]);
  }

  steer(kind, text = "") {
    return send("steer", [["run", this.name]], { kind, text });
  }

  // Call `take` with what is new, from a cursor on; `tell` with whether the server is there.
  follow(cursor, take, tell) {
    const stream = new EventSource(
      within("/api/live", [
        ["run", this.name],
        ["after", cursor],
      ]),
    );
    stream.addEventListener("message", (event) => take(JSON.parse(event.data)));
    stream.addEventListener("open", () => tell(true));
    stream.addEventListener("error", () => tell(false));
    addEventListener("pagehide", () => stream.close());
  }
}
