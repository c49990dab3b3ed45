"""Functions of 2023 that run scripts unsafely, for callers of that time; `eval_utils` exports them.

They give no separation between a candidate and f, and unpickle what the script returns. New code
calls `eval_utils.run_script` or `eval_utils.call` instead.
"""

from __future__ import annotations

import base64
import os
import pickle
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .errors import ScriptFailed, VariableMissing
from .records import Limits
from .sandbox import Call, OutcomeStatus, run_once, script_error

__all__ = [
    "exec_temp_script_unsafe",
    "exec_unsafe",
    "exec_with_timeout_unsafe",
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


def exec_unsafe(
    script: str, globals_dict: dict[str, Any] | None = None, locals_dict: Any = None
) -> None:
    """Run a script in this very process, with these globals and locals.

    Raises whatever the script raises.

    >>> names = {}
    >>> exec_unsafe("y = 2 * x", {"x": 3}, names)
    >>> names
    {'y': 6}
    """
    if globals_dict is None:
        globals_dict = {}
    exec(script, globals_dict, locals_dict)  # noqa: S102, as its name says


def exec_with_timeout_unsafe(
    script: str,
    local_vars: Mapping[str, Any] | None = None,
    return_local_vars: Sequence[str] = (),
    timeout_secs: float = 60.0,
) -> dict[str, Any]:
    """Run a script in a child process and return some of its variables, of any picklable type.

    It is unsafe because the variables are unpickled here: a hostile script can run code in this
    process. Called by an f that runs in a sandbox, that harms f's own process only.

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
    run = _Script(script, dict(local_vars or {}), list(return_local_vars))
    outcome = run_once(run, Call(None, timeout_secs), _LIMITS)
    sys.stdout.write(outcome.output)
    if outcome.status is not OutcomeStatus.OK:
        raise script_error(outcome, timeout_secs)
    if not isinstance(outcome.value, dict) or len(outcome.value) != 1:
        message = (
            "the script failed: it wrote an answer of its own, "
            "of another shape than what was asked for"
        )
        raise ScriptFailed(message, outcome=outcome)
    kind, data = next(iter(outcome.value.items()))
    if kind == "missing":
        message = f"the script never set {data!r}: it must assign this variable"
        raise VariableMissing(message, outcome=outcome)
    found = pickle.loads(base64.b64decode(data))  # noqa: S301, as the function's name says
    if kind == "raised":
        raise found
    return found  # type: ignore[no-any-return]


class _Script:
    """A script and its variables, called in the child; what it returns is pickled there."""

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
        values = {}
        for name in self._names:
            if name not in namespace:
                return {"missing": name}
            values[name] = namespace[name]
        return {"values": _pickled(values)}


def _pickled(value: Any) -> str:
    import cloudpickle

    return base64.b64encode(cloudpickle.dumps(value)).decode()


def _raisable(error: Exception) -> str:
    """Return a pickled exception, or a ScriptFailed in its place where it cannot be pickled."""
    try:
        data = _pickled(error)
        pickle.loads(base64.b64decode(data))  # noqa: S301, our own, a moment ago
    except Exception:  # an exception class may fail in any way here
        return _pickled(ScriptFailed(f"{type(error).__name__}: {error}"))
    return data


def exec_temp_script_unsafe(script: str, timeout: float) -> str:
    """Run a script as a file with this Python, and return what it printed; the file is removed.

    Args:
        script: Python source.
        timeout: wall clock in seconds; then it is killed with all that it started.

    Raises:
        ScriptFailed: a RuntimeError with the output; the script ended with an exit code other than
        0.
        ScriptTimeout: a subprocess.TimeoutExpired; it did not end in time.

    >>> exec_temp_script_unsafe("print(6 * 7)", 20)
    '42\\n'
    """
    outcome = run_once(_run_as_file, Call(script, timeout), _LIMITS)
    if outcome.exit_code != 0 and outcome.status is not OutcomeStatus.OK:
        raise script_error(outcome, timeout)
    return outcome.output


def _run_as_file(script: str) -> None:
    """Become a Python that runs the script as a file of the scratch directory.

    The directory is removed with whatever the script did there. Where a process cannot become
    another, the script is run here.
    """
    file = os.path.join(tempfile.gettempdir(), "script.py")
    Path(file).write_text(script, encoding="utf-8")
    if os.name == "posix":
        os.execv(sys.executable, [sys.executable, file])
    import runpy

    runpy.run_path(file, run_name="__main__")
