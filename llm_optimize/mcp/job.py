"""One run in a process of its own, as the server starts it: `python -m llm_optimize.mcp.job`.

The order comes as JSON on standard input. The name of the run goes to standard output as soon as
the run has started; whatever else is printed goes to standard error, and so does, last, the one
sentence that says what went wrong.

It is not `llm-optimize run`: x0, tables and prompts of an order are data of any shape and length,
which flags cannot carry, and the arguments of a process can be read by every user of the machine.
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
    """Execute the order and return the exit code."""
    # The server may itself be a job in the background, which inherits an ignored SIGINT: but SIGINT
    # is how the server ends a run.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Standard output carries the name and nothing else: the user's code must not print into it. So
    # the pipe moves to another descriptor, and descriptor 1 becomes standard error, also for
    # processes that the user's code starts.
    name_pipe = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def watch(event: Event) -> None:
        if isinstance(event, RunStarted):
            name_pipe.write(json.dumps(event.name) + "\n")
            name_pipe.close()

    try:
        result = _execute(json.load(sys.stdin), watch)
    except LlmOptimizeError as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        return INTERRUPTED
    if result.stop_reason.startswith("error"):
        return _fail(result.stop_reason)
    return OK


def _fail(sentence: str) -> int:
    """Write the sentence after all that the user's code printed, and return the exit code."""
    sys.stdout.flush()
    sys.stderr.write(f"\n{sentence}\n")
    return FAILED


def _execute(order: Mapping[str, Any], watch: Callable[[Event], None]) -> Result:
    functions = functions_of(order["func"])
    options = dict(order["options"])
    of_chat = {name: options.pop(name, None) for name in settings.OF_CHAT}
    of_chat["base_url"] = order["base_url"]
    options |= {
        "max_steps": order["max_steps"],
        "model": model_of(order["models"], order["price"], of_chat),
        "limits": order["limits"],
        "budget": order["budget"],
        "store": order["store"],
        "verbose": False,
        "callbacks": [watch],
    }
    if order["verb"] == "run":
        return optimize.run(
            order["task"],
            order["question"],
            functions,
            order["x0"] or None,
            name=order["name"],
            **options,
        )
    # What a human decides comes from the task's file and not from the store, which others may have
    # written; what a resume cannot change, such as x0, is left to the store.
    for name, option in settings.options().items():
        if option.no_resume:
            options.pop(name, None)
    return optimize.resume(order["name"], functions, **options)


if __name__ == "__main__":
    sys.exit(main())
