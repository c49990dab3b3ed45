"""Helpers for people who write f: judge a script or a function in a room of its own, or let a model grade a text.

`run_script` and `call` keep f and candidate apart: the candidate's process never held f, its labels or its counters,
and nothing that comes back is unpickled. The functions whose names end in `_unsafe` do not; they are for old callers.
"""

from __future__ import annotations

import base64
import os
import pickle
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from .blocking import wait_for
from .errors import (
    SandboxError,
    ScriptFailed,
    ScriptTimeout,
    UsageError,
    VariableMissing,
)
from .llm import as_model
from .records import Limits
from .sandbox import (
    MISSING,
    UNKNOWN,
    Call,
    Outcome,
    OutcomeStatus,
    open_script_sandbox,
    run_once,
)

__all__ = [
    "call",
    "exec_temp_script_unsafe",
    "exec_unsafe",
    "exec_with_timeout_unsafe",
    "get_llm_scorer",
    "run_script",
]

# Of a child that f itself starts; the limits of f's own scoring hold for it as well.
_LIMITS = Limits(
    memory_mb=1 << 20,
    processes=4096,
    open_files=4096,
    file_mb=1 << 20,
    scratch_mb=1 << 20,
    output_mb=64,
    result_mb=2048,
)
_MAX_TAIL_CHARS = 4_000
_OWN_ANSWER = "the script failed: it wrote an answer of its own, of another shape than what was asked for"


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

    Called by an f that is being scored, it runs beside f's own sandbox, in a process that was started before f was
    loaded, in its own scratch directory: it finds neither the labels in f's memory nor the files in f's folder, only
    installed packages and what `limits.readable` names. What it prints is printed by f.

    Args:
        script: Python source.
        inputs: its first variables: plain data (as JSON holds it) and numpy arrays.
        outputs: the names of the variables to return; of the same kinds. Tuples come back as lists, numpy's numbers as
            Python's.
        timeout_secs: wall clock; then it is killed with all that it started.
        limits: what it may use, by default `Limits(network=False)`; `result_mb` bounds the outputs.
        sandbox: "process", "namespace" or "auto". Inside of f's sandbox it has at least the level of that one.

    Raises:
        ScriptTimeout: it did not end in time.
        ScriptFailed: it raised, crashed, broke a limit, or set an output to something else than data.
        VariableMissing: it never set one of the outputs.
        SandboxUnavailable: this machine cannot do that level; with what is missing.
        UsageError: an input is no plain data.

    >>> run_script("y = [n + x for n in range(3)]", {"x": 1}, ["y"])
    {'y': [1, 2, 3]}
    """
    order = {
        "script": script,
        "inputs": dict(inputs or {}),
        "outputs": list(outputs),
        "function": None,
    }
    return _outputs_in(_judged(order, timeout_secs, limits, sandbox), outputs)


def _outputs_in(outcome: Outcome, names: Sequence[str]) -> dict[str, Any]:
    """Return the variables in an answer that the script itself may have written, in any shape."""
    value = outcome.value if isinstance(outcome.value, dict) else {}
    missing, found = value.get(MISSING), value.get("outputs")
    if isinstance(missing, str) and missing in names:
        raise VariableMissing(
            f"the script never set {missing!r}: it must assign this variable",
            outcome=outcome,
        )
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
    """Run a script in a sandbox of its own, call a function that it defines, and return what that returns, as data.

    All else is as with `run_script`. Raises as that does, VariableMissing when the script defines no such function.

    >>> call("def double(x): return 2 * x", "double", [21])
    42
    """
    arguments = {"args": list(args), "kwargs": dict(kwargs or {})}
    order = {
        "script": script,
        "inputs": {},
        "outputs": [],
        "function": function,
        **arguments,
    }
    return _value_in(_judged(order, timeout_secs, limits, sandbox), function)


def _value_in(outcome: Outcome, function: str) -> Any:
    """Return what a function returned, in an answer that the script itself may have written, in any shape."""
    value = outcome.value if isinstance(outcome.value, dict) else {}
    if value.get(UNKNOWN) == function:
        raise VariableMissing(
            f"the script defines no function {function!r}: it must", outcome=outcome
        )
    if "value" not in value:
        raise ScriptFailed(_OWN_ANSWER, outcome=outcome)
    return value["value"]


def _judged(
    order: dict[str, Any], timeout_secs: float, limits: Limits | None, level: str
) -> Outcome:
    """Return what became of an order to a script that ended well."""
    asked = Call(order, timeout_secs, arrays=True)
    try:
        asked.body()
    except TypeError as error:
        raise UsageError(f"inputs of a script: {error}") from error
    with closing(
        open_script_sandbox(level, limits or Limits(network=False))
    ) as sandbox:
        outcome = sandbox.run(asked)
    sys.stdout.write(outcome.output)
    if outcome.status is not OutcomeStatus.OK:
        raise _error("the script", outcome, timeout_secs)
    return outcome


def exec_unsafe(
    script: str, globals_dict: dict[str, Any] | None = None, locals_dict: Any = None
) -> None:
    """Run a script in this very process, with these globals and locals. Raises whatever the script raises.

    >>> names = {}
    >>> exec_unsafe("y = 2 * x", {"x": 3}, names)
    >>> names
    {'y': 6}
    """
    exec(script, {} if globals_dict is None else globals_dict, locals_dict)  # noqa: S102, as its name says


def exec_with_timeout_unsafe(
    script: str,
    local_vars: Mapping[str, Any] | None = None,
    return_local_vars: Sequence[str] = (),
    timeout_secs: float = 60.0,
) -> dict[str, Any]:
    """Run a script in a child process and return some of its variables, of any type that can be pickled.

    It is unsafe in that the variables are unpickled here: a hostile script can run code in this process. Called by an
    f that runs in a sandbox, that harms f's own process only.

    Args:
        script: Python source.
        local_vars: the globals with which it begins; functions that it defines see them, too.
        return_local_vars: the names of the variables to return.
        timeout_secs: wall clock; then it is killed with all that it started.

    Raises:
        ScriptTimeout: it did not end in time.
        ScriptFailed: it crashed, or ended the process.
        VariableMissing: it never set one of the variables.
        Exception: whatever the script raised.

    >>> exec_with_timeout_unsafe("y = [n + x for n in range(3)]", {"x": 1}, ["y"], 20)
    {'y': [1, 2, 3]}
    """
    outcome = run_once(
        _Script(script, dict(local_vars or {}), list(return_local_vars)),
        Call(None, timeout_secs),
        _LIMITS,
    )
    sys.stdout.write(outcome.output)
    if outcome.status is not OutcomeStatus.OK:
        raise _error("the script", outcome, timeout_secs)
    if not isinstance(outcome.value, dict) or len(outcome.value) != 1:
        raise ScriptFailed(_OWN_ANSWER, outcome=outcome)
    kind, data = next(iter(outcome.value.items()))
    if kind == "missing":
        raise VariableMissing(
            f"the script never set {data!r}: it must assign this variable",
            outcome=outcome,
        )
    found = pickle.loads(base64.b64decode(data))  # noqa: S301, as the name of this function says
    if kind == "raised":
        raise found
    return found  # type: ignore[no-any-return]


class _Script:
    """A script and its variables, called in the child."""

    def __init__(
        self, script: str, variables: dict[str, Any], names: list[str]
    ) -> None:
        self._script = script
        self._variables = variables
        self._names = names

    def __call__(self, _x: None) -> dict[str, str]:
        namespace = {
            "__name__": "__main__",
            "__builtins__": __builtins__,
            **self._variables,
        }
        try:
            exec(compile(self._script, "<script>", "exec"), namespace)  # noqa: S102
        except Exception as error:
            return {"raised": _raisable(error)}
        missing = [name for name in self._names if name not in namespace]
        if missing:
            return {"missing": missing[0]}
        return {"values": _pickled({name: namespace[name] for name in self._names})}


def _pickled(value: Any) -> str:
    import cloudpickle

    return base64.b64encode(cloudpickle.dumps(value)).decode()


def _raisable(error: Exception) -> str:
    """Return an exception as the same one on the other side, or as a ScriptFailed where it cannot travel."""
    try:
        data = _pickled(error)
        pickle.loads(base64.b64decode(data))  # noqa: S301, our own, a moment ago
    except Exception:  # an exception class may fail in any way here
        return _pickled(ScriptFailed(f"{type(error).__name__}: {error}"))
    return data


def exec_temp_script_unsafe(script: str, timeout: float) -> str:
    """Run a script as a file with this Python, and return what it printed; the file is removed.

    Raises ScriptFailed (a RuntimeError) with the output when it ends with another exit code than 0, and ScriptTimeout
    (a subprocess.TimeoutExpired) after `timeout` seconds; it is killed then with all that it started.

    >>> exec_temp_script_unsafe("print(6 * 7)", 20)
    '42\\n'
    """
    outcome = run_once(_run_as_file, Call(script, timeout), _LIMITS)
    ended_well = outcome.exit_code == 0 or outcome.status is OutcomeStatus.OK
    if not ended_well:
        raise _error("the script", outcome, timeout)
    return outcome.output


def _run_as_file(script: str) -> None:
    """Become a Python that runs the script as a file of the scratch directory, which goes with whatever it did there.

    Where a process cannot become another, run it here.
    """
    file = os.path.join(tempfile.gettempdir(), "script.py")
    Path(file).write_text(script, encoding="utf-8")
    if os.name == "posix":
        os.execv(sys.executable, [sys.executable, file])
    import runpy

    runpy.run_path(file, run_name="__main__")


def _error(what: str, outcome: Outcome, timeout_secs: float) -> SandboxError:
    """Return the exception that an outcome stands for."""
    if outcome.status is OutcomeStatus.TIMEOUT:
        return ScriptTimeout(what, timeout_secs, outcome.output, outcome)
    tail = outcome.output[-_MAX_TAIL_CHARS:]
    said = (
        (
            outcome.traceback
            if outcome.status is OutcomeStatus.RAISED
            else outcome.message
        )
        .replace("before f returned", "")
        .strip()
    )
    return ScriptFailed(
        f"{what} failed: {said}" + (f"; its output ends with:\n{tail}" if tail else ""),
        outcome=outcome,
    )


def get_llm_scorer(
    prompt: str,
    parse_score: Callable[[str], float],
    model: Any = None,
    error_score: float = 0.0,
) -> LlmScorer:
    """Return an f that lets a model grade x.

    Args:
        prompt: the rubric; `{x}` in it is replaced by x, all other braces are left alone.
        parse_score: from the model's whole answer to a score.
        model: anything that `optimize.run` takes as a model; None takes the default.
        error_score: what stands for the score where `parse_score` raises.
    """
    return LlmScorer(prompt, parse_score, as_model(model), error_score)


class LlmScorer:
    """An f that lets a model grade x: its answer is the feedback."""

    def __init__(
        self,
        prompt: str,
        parse_score: Callable[[str], float],
        model: Any,
        error_score: float,
    ) -> None:
        """Take what `get_llm_scorer` takes, with the model resolved."""
        self._prompt = prompt
        self._parse_score = parse_score
        self._model = model
        self._error_score = error_score

    def __call__(self, x: Any) -> tuple[float, str]:
        """Return the score and the model's whole answer, or (error_score, message). Raises a ModelError."""
        answer = wait_for(self._ask(self._prompt.replace("{x}", str(x))))
        try:
            return self._parse_score(answer), answer
        except Exception as error:  # the old contract: what parse_score raises becomes a score and a message
            return self._error_score, f"{type(error).__name__}: {error}"

    async def _ask(self, prompt: str) -> str:
        try:
            reply = await self._model.reply([{"role": "user", "content": prompt}])
        finally:
            await self._model.aclose()
        return str(reply.text)
