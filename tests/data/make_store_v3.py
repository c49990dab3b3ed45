"""Make store_v3.db, a store of format 3, as commit 24a9f5f wrote it: run this with that version, in
its own folder.

$ mkdir /tmp/v3 && git archive 24a9f5f | tar -x -C /tmp/v3 $ cp tests/data/make_store_v3.py /tmp/v3
&& cd /tmp/v3 && PYTHONPATH=. python make_store_v3.py store_v3.db

amber    finished: repeats, lessons, failures, a duplicate, an impossible score, a version of f,
steers birch    a fork of amber at trial 3 cedar    parameters: x is a dict, one reply was mended (a
note), one held no x damson   killed: one x is being scored, one is scored and waits for its lesson;
another has a reply and no x elder    repeats of every x, some of which give no score; feedback
whose last line begins like our summary
"""

import asyncio
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading

from llm_optimize import optimize
from llm_optimize.evaluate import Repeats
from llm_optimize.records import Plan, Reply, Usage
from llm_optimize.space import Float, Int, Space
from llm_optimize.store import Store

TASK = ("Raise f(x).", "A better x?")


def noisy(x):
    if x.startswith("raise"):
        raise ValueError("not a number")
    return float(x) + random.random(), f"about {x}"


def flaky(x):
    rolled = random.random()
    if rolled < 0.2:
        raise ConnectionError("no line")
    return float(x) + rolled, "errors by fold: a, b\nmean of absolute errors: 0.3"


def trained(x):
    return -abs(x["lr"] - 0.1) + x["layers"], {"feedback": "trained", "loss": x["lr"]}


def asks_for_a_lesson(messages):
    return any(
        begin in str(messages)
        for begin in ("This x was tried", "This change of x was tried")
    )


def writer(*answers):
    left = iter(answers)

    def model(messages):
        if asks_for_a_lesson(messages):
            return (
                f"Lesson {sum(map(len, map(str, messages))) % 97}: take larger numbers."
            )
        return next(left, "I give up.")

    return model


def block(x):
    return f"Better:\n```\n{x}\n```"


def make(url):
    options = {"store": url, "verbose": False, "sandbox": "inline"}
    answers = map(block, ["2", "raise", "2 ", "1.5", "2.1", "99", "3"])
    model = writer(*answers, "I give up.", block("0.5"))
    more = {
        "repeats": Repeats(3),
        "reflect": True,
        "seed": 3,
        "func_version": "v1",
        "max_score": 50.0,
    }
    with open(os.devnull, "w"):
        optimize.run(*TASK, noisy, "1", 9, model, name="amber", **more, **options)
    store = Store(url)
    store.steer("amber", "hint", "Larger.")
    store.steer("amber", "pause")
    store.steer("amber", "go")
    store.fork("amber", 3, "birch")
    store.close()
    space = Space({"lr": Float(1e-5, 1, log=True), "layers": Int(1, 8)})
    replies = [
        '```\n{"lr": 0.5, "layers": 3}\n```',
        '```\n{"lr": 7, "layers": 99}\n```',
        "No.",
        '{"lr": 0.1}',
    ]
    x0 = {"lr": 0.01, "layers": 2}
    optimize.run(
        *TASK,
        trained,
        x0,
        4,
        writer(*replies),
        name="cedar",
        space=space,
        seed=5,
        **options,
    )
    model = writer(block("4"), block("2"), block("6"), block("7"))
    every = Repeats(4, champion=False)
    optimize.run(
        *TASK, flaky, "3", 4, model, name="elder", repeats=every, seed=11, **options
    )


def kill_damson(url):
    """One candidate waits for its lesson while the next is scored; then the whole program dies."""
    asked, scored = threading.Event(), threading.Event()

    async def model(messages):
        if asks_for_a_lesson(messages):
            asked.set()
            await asyncio.sleep(60)
        number = 2 if scored.is_set() else 1
        return block("raise" if number == 1 else "8")

    def f(x):
        if x == "1":
            return 1.0, "one"
        if x == "raise":
            scored.set()
            raise ValueError("not a number")
        asked.wait(30)
        return os.kill(os.getpid(), signal.SIGKILL)

    more = {"reflect": True, "seed": 2, "workers": 2, "model_slots": 1}
    optimize.run(
        *TASK,
        f,
        "1",
        9,
        model,
        name="damson",
        store=url,
        verbose=False,
        sandbox="inline",
        **more,
    )


def add_an_unread_reply(url):
    store = Store(url)
    run = store.hold("damson")
    number = 1 + max(pending.number for pending in run.pending())
    run.plan(number, Plan(run.trials()[0]))
    call = run.sent(number, 0, "model", [{"role": "user", "content": "A better x?"}])
    run.received(call, Reply(block("9"), Usage(1, 10, 5), "model"))
    run.sent(number + 1, 0, "model", [{"role": "user", "content": "Nobody knows."}])
    store.close()


if __name__ == "__main__":
    path = os.path.abspath(sys.argv[1])
    if sys.argv[2:] == ["damson"]:
        kill_damson(f"sqlite:///{path}")
    else:
        make(f"sqlite:///{path}")
        subprocess.run([sys.executable, __file__, path, "damson"])
        add_an_unread_reply(f"sqlite:///{path}")
        connection = sqlite3.connect(path)
        connection.execute("pragma journal_mode = delete")
        connection.execute("vacuum")
        connection.close()
