"""One tree of exceptions; each says what happened, with the value, and what to do about it.

LlmOptimizeError
├── UsageError (ValueError)          a wrong argument; the command line answers it with exit code 2
│   ├── UnknownName                  a word that is none of the known ones, with the nearest
│   ├── FunctionUnusable             f cannot be imported or cannot be sent to a sandbox
│   ├── TaskFileError                a TASK.toml cannot be read, or says what cannot be
│   ├── NotAllowed                   an agent asked for what a human decides
│   └── MissingExtra (ImportError)   an optional package is not installed
├── NothingToPropose                 a proposer has no further x: the run is over
├── InvalidScore (ValueError)        f returned something that is no finite score
├── EditFailed (ValueError)          a model's edits do not fit x; it is told so, the user never sees it
├── ModelError (RuntimeError)        a chat model did not answer
│   ├── MissingKey                   no API key was given
│   ├── BudgetSpent                  the budget allows no further call
│   ├── ModelUnavailable             it failed for good after the allowed attempts, or its deadline passed
│   │   └── EndpointRests            it is left alone for a while after many failures
│   ├── ModelRefused                 something must be changed (400, 401, 403, 404, quota, a wrong address)
│   │   └── ContextTooLong           the prompt does not fit: make it smaller and ask again
│   └── ScriptExhausted              a scripted model ran out of replies
├── StoreError (RuntimeError)        runs cannot be written or read
│   ├── NotAStore                    the file or URL is no database of ours
│   ├── NewerStore                   it was written by a newer version
│   ├── RunHeld                      another process writes this run, or this one does already
│   └── RunNotFound (LookupError)    no run of that name, with the nearest
└── SandboxError (RuntimeError)      code in a sandbox did not end well
    ├── SandboxUnavailable           this level cannot work on this machine
    ├── ScriptFailed                 a script ended with an error
    ├── VariableMissing (KeyError)   a script never set what was asked for
    └── ScriptTimeout (subprocess.TimeoutExpired)   a script did not end within its deadline
"""

from __future__ import annotations

import difflib
import subprocess
from collections.abc import Iterable
from importlib.util import find_spec
from typing import Any


class LlmOptimizeError(Exception):
    """Base of everything that this library raises on purpose."""


class UsageError(LlmOptimizeError, ValueError):
    """An argument is wrong; the message names it, its value and what would be right."""


class UnknownName(UsageError):
    """A word is none of the known ones."""

    def __init__(self, what: str, given: str, known: Iterable[str]) -> None:
        """Say which `what` was `given`, and the nearest of the `known` ones."""
        self.given = given
        self.known = tuple(sorted(known))
        super().__init__(f"unknown {what} {given!r}: {suggestion(given, self.known)}")


class FunctionUnusable(UsageError):
    """The scoring function cannot be imported, or cannot be sent to a sandbox."""


class TaskFileError(UsageError):
    """A TASK.toml cannot be read, or a key of it has a value that cannot be; the message names file and key."""


class NotAllowed(UsageError):
    """An agent asked for what a human decides; the message says where a human does."""


class MissingExtra(UsageError, ImportError):
    """An optional package is not installed; the message holds the install line."""


class NothingToPropose(LlmOptimizeError):
    """A proposer has no further x, and will have none: the run is over."""


class InvalidScore(LlmOptimizeError, ValueError):
    """A scoring function returned something that is no finite score."""


class EditFailed(LlmOptimizeError, ValueError):
    """Edits that a model wrote cannot be made; the message is for the model, and says what to write instead."""


class ModelError(LlmOptimizeError, RuntimeError):
    """A chat model did not answer."""

    def __init__(self, said: str = "", *, uncertain_calls: int = 0) -> None:
        """Take the message, and how many requests brought no answer but may be billed all the same."""
        self.uncertain_calls = uncertain_calls
        super().__init__(said)


class BudgetSpent(ModelError):
    """The budget of the run allows no further model call."""


class MissingKey(ModelError):
    """No API key was given."""


class ModelUnavailable(ModelError):
    """The model failed after all allowed attempts, or its total deadline passed."""


class EndpointRests(ModelUnavailable):
    """The endpoint failed many times in a row, or asked for a pause: it is left alone for a while."""


class ModelRefused(ModelError):
    """The endpoint said no, and asking the same again would not help."""


class ContextTooLong(ModelRefused):
    """The messages are longer than the model reads: make them smaller and ask again."""

    def __init__(
        self,
        said: str,
        *,
        limit_tokens: int | None = None,
        prompt_tokens: int | None = None,
    ) -> None:
        """Take the message, how many tokens the model reads, and how many there were; None where it is unknown."""
        self.limit_tokens = limit_tokens
        self.prompt_tokens = prompt_tokens
        super().__init__(said)


class ScriptExhausted(ModelError):
    """A scripted model has no reply left."""


class StoreError(LlmOptimizeError, RuntimeError):
    """Runs cannot be written or read."""


class NotAStore(StoreError):
    """The file or URL is no database of this library."""


class NewerStore(StoreError):
    """The database was written by a newer version of this library."""


class RunHeld(StoreError):
    """The run is open for writing already, in the process `pid` of `host`; 0 and "" where they are not known."""

    def __init__(self, name: str, store: str, pid: int, host: str, repair: str) -> None:
        """Say who holds which run of which store, and what to do about it."""
        self.name, self.pid, self.host = name, pid, host
        who = f"process {pid} on host {host}" if pid else "another process"
        super().__init__(
            f"the run {name!r} in {store} is held by {who}: {repair}, or start a run of another name"
        )


class RunNotFound(StoreError, LookupError):
    """The store has no run of that name."""

    def __init__(self, name: str, known: Iterable[str], store: str) -> None:
        """Say which name is missing from which store, and the nearest names."""
        self.name = name
        super().__init__(
            f"no run named {name!r} in {store}: {suggestion(name, tuple(known))}"
        )


class SandboxError(LlmOptimizeError, RuntimeError):
    """Code in a sandbox did not end well; `outcome` is a `sandbox.Outcome`, or None where nothing ran."""

    def __init__(self, *words: object, outcome: Any = None) -> None:
        """Take the message, and what became of the code."""
        super().__init__(*words)
        self.outcome = outcome


class SandboxUnavailable(SandboxError):
    """This sandbox level cannot work on this machine; the message names what is missing."""


class ScriptFailed(SandboxError):
    """A script ended with an error; the message holds the end of its output."""


class VariableMissing(SandboxError, KeyError):
    """A script ended well but never set a variable, or defined a function, that was asked for."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class ScriptTimeout(SandboxError, subprocess.TimeoutExpired):
    """A script did not end within its deadline and was killed with all that it had started."""

    def __init__(
        self, cmd: str, timeout: float, output: str = "", outcome: Any = None
    ) -> None:
        """Take what ran, its deadline in seconds, what it had printed, and its whole outcome."""
        subprocess.TimeoutExpired.__init__(self, cmd, timeout, output)
        self.outcome = outcome

    def __str__(self) -> str:
        return f"{self.cmd} was killed at its deadline of {self.timeout:g} s: give it more time or make it faster"


def suggestion(given: str, known: Iterable[str]) -> str:
    """Return the nearest of the known words as a question, or all of them as a list.

    >>> suggestion("islnds", ["best", "chat", "islands"])
    "did you mean 'islands'?"
    >>> suggestion("zzz", ["best", "chat"])
    'known are best, chat'
    >>> suggestion("zzz", [])
    'there are none yet'
    """
    words = list(known)
    near = difflib.get_close_matches(given, words, n=3, cutoff=0.6)
    if near:
        return "did you mean " + " or ".join(map(repr, near)) + "?"
    return "known are " + ", ".join(words[:20]) if words else "there are none yet"


def require(*modules: str, extra: str | None, needed_by: str) -> None:
    """Raise MissingExtra unless all modules are installed; none of them is imported.

    Call it before the import statement of an optional package.

    Args:
        modules: top-level names, such as "pandas".
        extra: the extra of this package that installs them; None where they have the same name on
            PyPI and are in no extra.
        needed_by: what the user asked for, the subject of the sentence.

    >>> require("pandsa", extra="plots", needed_by="to_pandas")
    Traceback (most recent call last):
    llm_optimize.errors.MissingExtra: to_pandas needs pandsa: pip install "llm_optimize[plots]"
    """
    missing = [module for module in modules if find_spec(module) is None]
    if not missing:
        return
    package = f'"llm_optimize[{extra}]"' if extra else " ".join(missing)
    names = " and ".join(missing)
    raise MissingExtra(f"{needed_by} needs {names}: pip install {package}")
