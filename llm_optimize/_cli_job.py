"""One run in a process of its own, for `llm-optimize mcp`: the job comes as JSON on standard input.

The name of the run goes to standard output as soon as the run has begun; whatever else is printed goes to standard
error, and so does the one sentence that says what went wrong.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from typing import Any

from . import optimize
from ._cli_func import load
from .errors import LlmOptimizeError, UsageError
from .llm import Chat
from .records import Budget, Event, Limits, Result, RunStarted
from .store import Store

OK, FAILED, INTERRUPTED = 0, 1, 130


def main() -> int:
    """Do the job and return the exit code."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background may have inherited none
    started = os.fdopen(os.dup(1), "w")  # what a user's program prints must not get into it
    os.dup2(2, 1)

    def tell(event: Event) -> None:
        if isinstance(event, RunStarted):
            started.write(json.dumps(event.name) + "\n")
            started.close()

    try:
        result = _done(json.load(sys.stdin), tell)
    except LlmOptimizeError as error:
        return _failed(str(error))
    except KeyboardInterrupt:
        return INTERRUPTED
    return _failed(result.stop_reason) if result.stop_reason.startswith("error") else OK


def _failed(sentence: str) -> int:
    """Say it last, after all that the user's file printed."""
    sys.stdout.flush()
    sys.stderr.write(f"\n{sentence}\n")
    return FAILED


def _done(job: Mapping[str, Any], tell: Callable[[Event], None]) -> Result:
    common = {"store": job["store"], "verbose": False, "callbacks": [tell]}
    return _resumed(job, common) if job["verb"] == "resume" else _run(job, common)


def _run(job: Mapping[str, Any], common: Mapping[str, Any]) -> Result:
    options = dict(job["options"])
    question, limits, base_url = options.pop("question"), options.pop("limits"), options.pop("base_url")
    return optimize.run(
        job["task"],
        question,
        load(job["func"]),
        job["x0"],
        job["steps"],
        _model(job["model"], base_url),
        budget=None if job["budget"] is None else Budget(**job["budget"]),
        limits=None if limits is None else Limits(**limits),
        name=job["name"],
        **options,
        **common,
    )


def _resumed(job: Mapping[str, Any], common: Mapping[str, Any]) -> Result:
    opened = Store(job["store"], create=False)
    settings = opened.run(job["name"]).settings
    opened.close()
    where = job["func"] or settings["func"]
    if where is None:
        raise UsageError(f"the run {job['name']!r} does not know where its f is: give func as FILE.py:NAME")
    changes: dict[str, Any] = dict(common)
    if job["model"] is not None:
        changes["model"] = _model(job["model"], settings["base_url"])
    changes |= {"max_steps": job["steps"]} if job["steps"] is not None else {}
    return optimize.resume(job["name"], load(where), **changes)


def _model(name: str | None, base_url: str | None) -> Any:
    return name if name == "mutation" or base_url is None else Chat(name, base_url=base_url)


if __name__ == "__main__":
    sys.exit(main())
