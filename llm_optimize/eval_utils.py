"""Helpers for people who write f: judge a script or a function apart from f, or let a model grade.

`run_script` and `call` keep f and candidate apart: the candidate's process never held f, its labels
or its counters, and nothing that comes back is unpickled. The functions whose names end in
`_unsafe` do not; they are for callers of 2023, see `compat_2023`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import Any

from .blocking import wait_for
from .compat_2023 import (
    exec_temp_script_unsafe,
    exec_unsafe,
    exec_with_timeout_unsafe,
)
from .errors import ScriptFailed, UsageError, VariableMissing
from .llm import as_model
from .records import Limits
from .sandbox import (
    MISSING,
    UNKNOWN,
    Call,
    Outcome,
    OutcomeStatus,
    open_script_sandbox,
    script_error,
)

__all__ = [
    "call",
    "exec_temp_script_unsafe",
    "exec_unsafe",
    "exec_with_timeout_unsafe",
    "get_llm_scorer",
    "run_script",
]

_OWN_ANSWER = (
    "the script failed: it wrote an answer of its own, "
    "of another shape than what was asked for"
)


def run_script(
    script: str,
    inputs: Mapping[str, Any] | None = None,
    outputs: Sequence[str] = (),
    timeout_secs: float = 60.0,
    *,
    limits: Limits | None = None,
    sandbox: str = "process",
) -> dict[str, Any]:
    """Run a script in a sandbox of its own and return some of its variables as plain data.

    Called by an f that is being scored, it runs beside f's own sandbox, in a process that was
    started before f was loaded, in its own scratch directory: it finds neither the labels in f's
    memory nor the files in f's folder, only installed packages and what `limits.readable` names.
    What it prints is printed by f.

    Args:
        script: Python source.
        inputs: its first variables: plain data (what JSON can hold) and numpy arrays.
        outputs: the names of the variables to return; of the same kinds. Tuples come back as lists,
            numpy's numbers as Python's.
        timeout_secs: wall clock; then it is killed with all that it started.
        limits: what it may use, by default `Limits(network=False)`; `result_mb` bounds the outputs.
        sandbox: "process", "namespace" or "auto". Inside f's sandbox it has at least the level of
            that one.

    Raises:
        ScriptTimeout: it did not end in time.
        ScriptFailed: it raised, crashed, broke a limit, or set an output to something else than
            data.
        VariableMissing: it never set one of the outputs.
        SandboxUnavailable: this machine cannot do that level; with what is missing.
        UsageError: an input is not plain data.

    >>> run_script("y = [n + x for n in range(3)]", {"x": 1}, ["y"])
    {'y': [1, 2, 3]}
    """
    job = {
        "script": script,
        "inputs": dict(inputs or {}),
        "outputs": list(outputs),
        "function": None,
    }
    outcome = _run_job(job, timeout_secs, limits, sandbox)
    return _read_outputs(outcome, outputs)


def _read_outputs(outcome: Outcome, names: Sequence[str]) -> dict[str, Any]:
    """Return the variables in an answer that the script itself may have written, in any shape."""
    value = outcome.value if isinstance(outcome.value, dict) else {}
    missing = value.get(MISSING)
    if isinstance(missing, str) and missing in names:
        message = f"the script never set {missing!r}: it must assign this variable"
        raise VariableMissing(message, outcome=outcome)
    found = value.get("outputs")
    if not isinstance(found, dict) or set(found) != set(names):
        raise ScriptFailed(_OWN_ANSWER, outcome=outcome)
    return found


def call(
    script: str,
    function: str,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    timeout_secs: float = 60.0,
    *,
    limits: Limits | None = None,
    sandbox: str = "process",
) -> Any:
    """Run a script in a sandbox of its own, call a function that it defines, and return its value.

    All else is as with `run_script`. Raises as that does, and VariableMissing when the script
    defines no such function.

    >>> call("def double(x): return 2 * x", "double", [21])
    42
    """
    job = {
        "script": script,
        "inputs": {},
        "outputs": [],
        "function": function,
        "args": list(args),
        "kwargs": dict(kwargs or {}),
    }
    outcome = _run_job(job, timeout_secs, limits, sandbox)
    return _read_value(outcome, function)


def _read_value(outcome: Outcome, function: str) -> Any:
    """Return the value in an answer that the script itself may have written, in any shape."""
    value = outcome.value if isinstance(outcome.value, dict) else {}
    if value.get(UNKNOWN) == function:
        message = f"the script defines no function {function!r}: it must"
        raise VariableMissing(message, outcome=outcome)
    if "value" not in value:
        raise ScriptFailed(_OWN_ANSWER, outcome=outcome)
    return value["value"]


def _run_job(
    job: dict[str, Any], timeout_secs: float, limits: Limits | None, level: str
) -> Outcome:
    """Return the outcome of a script that ended well; raises for all others."""
    request = Call(job, timeout_secs, arrays=True)
    try:
        request.body()
    except TypeError as error:
        raise UsageError(f"inputs of a script: {error}") from error
    if limits is None:
        limits = Limits(network=False)
    with closing(open_script_sandbox(level, limits)) as sandbox:
        outcome = sandbox.run(request)
    sys.stdout.write(outcome.output)
    if outcome.status is not OutcomeStatus.OK:
        raise script_error(outcome, timeout_secs)
    return outcome


def get_llm_scorer(
    prompt: str,
    parse_score: Callable[[str], float],
    model: Any = None,
    error_score: float = 0.0,
) -> LlmScorer:
    """Return an f that lets a model grade x.

    Args:
        prompt: the rubric; `{x}` in it is replaced by x, all other braces stay as they are.
        parse_score: from the model's whole answer to a score.
        model: anything that `optimize.run` takes as a model; None takes the default.
        error_score: what stands for the score where `parse_score` raises.
    """
    return LlmScorer(prompt, parse_score, as_model(model), error_score)


class LlmScorer:
    """An f that lets a model grade x; the model's answer is the feedback.

    Args:
        prompt, parse_score, error_score: as of `get_llm_scorer`.
        model: the model itself.
    """

    def __init__(
        self,
        prompt: str,
        parse_score: Callable[[str], float],
        model: Any,
        error_score: float,
    ) -> None:
        self._prompt = prompt
        self._parse_score = parse_score
        self._model = model
        self._error_score = error_score

    def __call__(self, x: Any) -> tuple[float, str]:
        """Return the score and the model's whole answer, or (error_score, message).

        Raises a ModelError when the model does not answer.
        """
        answer = wait_for(self._ask(self._prompt.replace("{x}", str(x))))
        try:
            return self._parse_score(answer), answer
        except (
            Exception
        ) as error:  # a contract of 2023: an error becomes a score and a message
            return self._error_score, f"{type(error).__name__}: {error}"

    async def _ask(self, prompt: str) -> str:
        try:
            reply = await self._model.reply([{"role": "user", "content": prompt}])
        finally:
            await self._model.aclose()
        return str(reply.text)
