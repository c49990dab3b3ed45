"""Judged scripts: what their child does, which never sees f, and the error of one that failed."""

from __future__ import annotations

from typing import Any

from ..errors import SandboxError, ScriptFailed, ScriptTimeout
from .outcome import Outcome, OutcomeStatus

MISSING = "missing"  # the key of an answer that names a variable that was never set
# The key of one that names a function that the script does not define.
UNKNOWN = "unknown"
_MAX_TAIL_CHARS = 4_000


def run_job(job: dict[str, Any]) -> dict[str, Any]:
    """Run the script of a job with its inputs as globals.

    Returns its outputs, or what the function of the job returns, or what is missing.
    """
    names: dict[str, Any] = {
        "__name__": "__main__",
        "__builtins__": __builtins__,
        **job["inputs"],
    }
    code = compile(job["script"], "<script>", "exec")
    exec(code, names)  # noqa: S102, this is what the sandbox is for
    if job["function"] is not None:
        function = names.get(job["function"])
        if not callable(function):
            return {UNKNOWN: job["function"]}
        return {"value": function(*job["args"], **job["kwargs"])}
    outputs = {}
    for name in job["outputs"]:
        if name not in names:
            return {MISSING: name}
        outputs[name] = names[name]
    return {"outputs": outputs}


def script_error(outcome: Outcome, timeout_secs: float) -> SandboxError:
    """Return the exception that the outcome of a failed script stands for."""
    if outcome.status is OutcomeStatus.TIMEOUT:
        return ScriptTimeout("the script", timeout_secs, outcome.output, outcome)
    reason = outcome.message
    if outcome.status is OutcomeStatus.RAISED:
        reason = outcome.traceback
    reason = reason.replace("before f returned", "").strip()
    message = f"the script failed: {reason}"
    tail = outcome.output[-_MAX_TAIL_CHARS:]
    if tail:
        message += f"; its output ends with:\n{tail}"
    return ScriptFailed(message, outcome=outcome)
