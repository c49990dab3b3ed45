"""The paperclip factory: a script runs it for thirty days, behind a little web server.

Each day the script may buy wire, buy machines and make clips; a machine that is never serviced
makes fewer. More clips are better. The server keeps the books, so the score is what it counted,
whatever the script prints. The example starts and stops the server, on a free port. It needs flask.

    python examples/paperclips.py --model gpt-5-mini
"""

import argparse
import io
import json
import logging
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from functools import partial

from llm_optimize import eval_utils, optimize
from llm_optimize.errors import LlmOptimizeError, SandboxError
from llm_optimize.records import Limits

try:
    from flask import Flask, jsonify, request
    from werkzeug.serving import make_server
except ImportError:
    sys.exit("error: this example needs flask: pip install flask")

DAYS, WIRE_PRICE, MACHINE_PRICE, CLIP_PRICE, SERVICE_PRICE = 30, 1, 40, 2, 5

TASK = f"""\
Run a paperclip factory for {DAYS} days with a Python script that has json, urllib.request and URL.
POST /day with JSON {{wire, machines, service}} is one day: wire costs {WIRE_PRICE} each,
a machine {MACHINE_PRICE}, a service {SERVICE_PRICE}; a clip takes one wire and brings {CLIP_PRICE}.
A machine makes 12 clips a day, one less for each day since the last service, never less than 2.
You start with cash 100 and 1 machine. The answer is the state of the books, as for GET /state."""


@dataclass
class Factory:
    """The books of one factory."""

    day: int = 0
    cash: int = 100
    wire: int = 0
    machines: int = 1
    wear: int = 0
    clips: int = 0

    def live_a_day(
        self, wire: int = 0, machines: int = 0, service: bool = False
    ) -> None:
        """Buy, service, make clips and sell them. Raises ValueError for what cannot be done."""
        cost = wire * WIRE_PRICE + machines * MACHINE_PRICE + service * SERVICE_PRICE
        if self.day >= DAYS:
            raise ValueError("the month is over")
        if min(wire, machines) < 0 or cost > self.cash:
            raise ValueError(f"that costs {cost}, the cash is {self.cash}")
        self.cash -= cost
        self.wire += wire
        self.machines += machines
        self.wear = 0 if service else self.wear + 1
        made = min(self.wire, self.machines * max(2, 12 - self.wear))
        self.wire -= made
        self.clips += made
        self.cash += made * CLIP_PRICE
        self.day += 1


def make_app() -> Flask:
    """Return the web server of one factory: POST /new, GET /state, POST /day."""
    app = Flask("paperclips")
    books = [Factory()]

    @app.post("/new")
    def new():  # type: ignore[no-untyped-def]
        books[0] = Factory()
        return jsonify(vars(books[0]))

    @app.get("/state")
    def state():  # type: ignore[no-untyped-def]
        return jsonify(vars(books[0]))

    @app.post("/day")
    def day():  # type: ignore[no-untyped-def]
        order = request.get_json()
        try:
            books[0].live_a_day(
                int(order.get("wire", 0)),
                int(order.get("machines", 0)),
                bool(order.get("service")),
            )
        except (ValueError, TypeError) as error:
            return jsonify(error=str(error)), 400
        return jsonify(vars(books[0]))

    return app


@contextmanager
def factory_server() -> Iterator[str]:
    """Yield the address of a running factory; it is closed behind."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = make_server("127.0.0.1", 0, make_app(), threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


X0 = """\
def call(path, **order):
    data = json.dumps(order).encode()
    question = urllib.request.Request(URL + path, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(question, timeout=5) as answer:
        return json.load(answer)

for day in range(30):
    state = call("/day", wire=10)
    print(state)
"""
_HEAD = "import json, urllib.request\nURL = {url!r}\n"


def ask(url: str, path: str, data: bytes | None = None) -> Factory:
    """Return the books as the server has them."""
    with urllib.request.urlopen(url + path, data, timeout=5) as answer:
        return Factory(**json.load(answer))


def f(url: str, script: str) -> tuple[float, str]:
    """Run a fresh factory by the script; return the clips that the server counted."""
    ask(url, "/new", b"")
    printed = io.StringIO()
    try:
        with redirect_stdout(printed):
            code = _HEAD.format(url=url) + script
            eval_utils.run_script(code, timeout_secs=20, limits=Limits())
        said = f"the end of what the script printed:\n{printed.getvalue()[-500:]}"
    except SandboxError as error:
        said = str(error)
    books = ask(url, "/state")
    return float(books.clips), f"{books}\n{said}"


def main() -> None:
    """Start the factory, optimize the script, stop the factory."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", help="a model's name")
    parser.add_argument("--steps", type=int, default=10)
    arguments = parser.parse_args()
    with factory_server() as url:
        best_score, _, best_x = optimize.run(
            TASK,
            "Which script makes more clips in total?",
            partial(f, url),
            x0=X0,
            max_steps=arguments.steps,
            model=arguments.model,
            timeout_secs=30,
        )
    print(f"\n{best_x}\n{best_score:.0f} clips")


if __name__ == "__main__":
    try:
        main()
    except LlmOptimizeError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
