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

from .. import optimize, settings
from ..errors import LlmOptimizeError
from ..loading import functions_of, model_of
from ..records import Event, Result, RunStarted

OK, FAILED, INTERRUPTED = 0, 1, 130


def main() -> int:
    """Do the job and return the exit code."""
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # a job in the background may have inherited none
    started = os.fdopen(
        os.dup(1), "w"
    )  # what a user's program prints must not get into it
    os.dup2(2, 1)

    def notify(event: Event) -> None:
        if isinstance(event, RunStarted):
            started.write(json.dumps(event.name) + "\n")
            started.close()

    try:
        result = _done(json.load(sys.stdin), notify)
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


def _done(job: Mapping[str, Any], notify: Callable[[Event], None]) -> Result:
    common = {"store": job["store"], "verbose": False, "callbacks": [notify]}
    functions = functions_of(job["func"])
    model = model_of(job["models"], job["base_url"], job["price"])
    given = {**job["options"], "max_steps": job["max_steps"], "model": model}
    given |= {"limits": job["limits"], "budget": job["budget"]}
    if job["verb"] == "resume":
        # All that a human decides comes from the task's file, not from the store, which others may have written.
        changes = {
            name: value
            for name, value in given.items()
            if not settings.option_of(name).no_resume
        }
        return optimize.resume(job["name"], functions, **changes, **common)
    return optimize.run(
        job["task"],
        job["question"],
        functions,
        job["x0"] or None,
        name=job["name"],
        **given,
        **common,
    )


if __name__ == "__main__":
    sys.exit(main())
